"""Densities as objects of pymatgen and ASE, which are imported only here and only when asked for."""

# Neither library ships types for what is used here.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

from typing import TYPE_CHECKING, Any

from rhocast.density.volumetric import Density
from rhocast.structure_conversions import atoms_of

if TYPE_CHECKING:
    from ase.calculators.vasp import VaspChargeDensity
    from pymatgen.io.vasp import Chgcar


def chgcar_of(density: Density) -> "Chgcar":
    """A density as pymatgen's Chgcar.

    Args:
        density: Any density; pymatgen takes every cell as periodic.

    Raises:
        ImportError: If pymatgen is not installed.
    """
    try:
        from pymatgen.core import Structure  # noqa: PLC0415
        from pymatgen.io.vasp import Chgcar, Poscar  # noqa: PLC0415
    except ImportError as error:
        raise ImportError("pymatgen is not installed; install it with: pip install 'rhocast[pymatgen]'") from error
    atoms = density.structure
    structure = Structure(atoms.cell, atoms.symbols, atoms.positions, coords_are_cartesian=True)
    data = {"total": density.values * atoms.volume}
    occupancies = {"total": density.augmentation.total if density.augmentation else ()}
    if density.magnetization is not None:
        data["diff"] = density.magnetization * atoms.volume
        occupancies["diff"] = density.augmentation.difference if density.augmentation else ()
    # pymatgen declares arrays here and means one dictionary by ion.
    data_aug: dict[str, Any] = {key: dict(enumerate(blocks, start=1)) for key, blocks in occupancies.items()}
    return Chgcar(Poscar(structure, comment=density.comment or atoms.formula), data, data_aug=data_aug)


def vasp_charge_density_of(density: Density) -> "VaspChargeDensity":
    """A density as ASE's VaspChargeDensity of one frame.

    Args:
        density: Any density; its augmentation is left out, which ASE keeps as text.

    Raises:
        ImportError: If ASE is not installed.
    """
    try:
        from ase.calculators.vasp import VaspChargeDensity  # noqa: PLC0415
    except ImportError as error:
        raise ImportError("ASE is not installed; install it with: pip install 'rhocast[ase]'") from error
    converted = VaspChargeDensity(None)
    converted.atoms.append(atoms_of(density.structure))
    converted.chg.append(density.values.copy())
    if density.magnetization is not None:
        converted.chgdiff.append(density.magnetization.copy())
    return converted
