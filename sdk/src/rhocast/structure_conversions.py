"""Structures as objects of pymatgen and ASE, which are imported only here and only when asked for."""

# Neither library ships types for what is used here.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

from typing import TYPE_CHECKING, Union

from rhocast.structure import Structure

if TYPE_CHECKING:
    from ase import Atoms
    from pymatgen.core import Molecule
    from pymatgen.core import Structure as PymatgenStructure


def pymatgen_of(structure: Structure) -> Union["PymatgenStructure", "Molecule"]:
    """A structure as pymatgen's Structure, a molecule as its Molecule.

    Args:
        structure: The atoms; a molecule leaves its box behind.

    Raises:
        ImportError: If pymatgen is not installed.
    """
    try:
        from pymatgen.core import Molecule  # noqa: PLC0415
        from pymatgen.core import Structure as PymatgenStructure  # noqa: PLC0415
    except ImportError as error:
        raise ImportError("pymatgen is not installed; install it with: pip install 'rhocast[pymatgen]'") from error
    if not structure.is_periodic:
        return Molecule(structure.symbols, structure.positions)
    return PymatgenStructure(structure.cell, structure.symbols, structure.positions, coords_are_cartesian=True)


def atoms_of(structure: Structure) -> "Atoms":
    """A structure as ASE's Atoms, without a calculator.

    Args:
        structure: The atoms; a molecule keeps its box.

    Raises:
        ImportError: If ASE is not installed.
    """
    try:
        from ase import Atoms  # noqa: PLC0415
    except ImportError as error:
        raise ImportError("ASE is not installed; install it with: pip install 'rhocast[ase]'") from error
    pbc = structure.is_periodic
    return Atoms(numbers=structure.numbers, positions=structure.positions, cell=structure.cell, pbc=pbc)
