"""Atoms in a cell: the one structure type of the service, the models and the SDK."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Union

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rhocast.elements import ATOMIC_NUMBERS, SYMBOLS
from rhocast.errors import InvalidStructure

if TYPE_CHECKING:
    from ase import Atoms
    from pymatgen.core import Molecule
    from pymatgen.core import Structure as PymatgenStructure

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Structure:
    """Atoms with the cell in which their density is drawn.

    Attributes:
        numbers: Atomic numbers, [n_atoms].
        positions: Cartesian positions in Å, [n_atoms, 3].
        cell: Cell vectors in Å, one a row, [3, 3]. For a molecule: the box that frames its grid.
        is_periodic: Whether the cell repeats. False for a molecule in a box.
    """

    numbers: IntArray
    positions: FloatArray
    cell: FloatArray
    is_periodic: bool = True

    def __post_init__(self) -> None:
        if self.cell.shape != (3, 3) or self.positions.shape != (len(self.numbers), 3):
            raise InvalidStructure(
                f"found {len(self.numbers)} atomic numbers, positions of shape {self.positions.shape} and a cell of "
                f"shape {self.cell.shape}; expected (n_atoms,), (n_atoms, 3) and (3, 3)"
            )

    @classmethod
    def from_symbols(
        cls, symbols: Sequence[str], positions: ArrayLike, cell: ArrayLike, is_periodic: bool = True
    ) -> "Structure":
        """Structure from chemical symbols and array-likes.

        Args:
            symbols: Chemical symbols, one an atom.
            positions: Cartesian positions in Å.
            cell: Cell vectors in Å, one a row.
            is_periodic: Whether the cell repeats.

        Raises:
            InvalidStructure: If a symbol is no element or the shapes disagree.
        """
        unknown = sorted({symbol for symbol in symbols if symbol not in ATOMIC_NUMBERS})
        if unknown:
            raise InvalidStructure(f"found {', '.join(map(repr, unknown))}; expected chemical symbols such as 'Si'")
        numbers = np.array([ATOMIC_NUMBERS[symbol] for symbol in symbols], dtype=np.int64)
        return cls(numbers, np.asarray(positions, float).reshape(-1, 3), np.asarray(cell, float), is_periodic)

    @property
    def n_atoms(self) -> int:
        return len(self.numbers)

    @property
    def symbols(self) -> list[str]:
        return [SYMBOLS[number] for number in self.numbers]

    @property
    def volume(self) -> float:
        """Volume of the cell in Å³, positive for either handedness."""
        return float(abs(np.linalg.det(self.cell)))

    @property
    def fractional_positions(self) -> FloatArray:
        return self.positions @ np.linalg.inv(self.cell)

    @property
    def wrapped_positions(self) -> FloatArray:
        """Positions in Å moved into the cell by lattice vectors, [n_atoms, 3]; those of a molecule as they are."""
        if not self.is_periodic:
            return self.positions
        # An atom a rounding error below the far face belongs to the near face: else it would flip between the two.
        return self.positions - np.floor(self.fractional_positions + 1e-9) @ self.cell

    @property
    def formula(self) -> str:
        """Formula in order of first appearance, such as 'Na4Cl4'."""
        return "".join(symbol + (str(n) if n > 1 else "") for symbol, n in Counter(self.symbols).items())

    def reordered(self, order: IntArray) -> "Structure":
        """The same structure with atom k taken from atom `order[k]`."""
        return Structure(self.numbers[order], self.positions[order], self.cell, self.is_periodic)

    def write(self, path: str | os.PathLike[str], format: str | None = None) -> None:
        """Writes the structure to a file, whole or not at all.

        Args:
            path: Where to. POSCAR*, CONTCAR*, *.vasp, *.cif, *.extxyz and *.xyz say their format.
            format: cif, poscar or extxyz, where the name does not say it.

        Raises:
            UnsupportedFormat: If neither the name nor `format` is one of these.
            InvalidStructure: If a CIF is wanted of a molecule.
            OSError: If the file cannot be written.
        """
        from rhocast.structure_files import write_structure  # noqa: PLC0415  (it needs the schemas, this class does not)

        write_structure(self, Path(path), format)

    def to_pymatgen(self) -> Union["PymatgenStructure", "Molecule"]:
        """The same atoms as `pymatgen.core.Structure`; those of a molecule as `pymatgen.core.Molecule`.

        Raises:
            ImportError: If pymatgen is not installed.
        """
        from rhocast.structure_conversions import pymatgen_of  # noqa: PLC0415

        return pymatgen_of(self)

    def to_ase(self) -> "Atoms":
        """The same atoms as `ase.Atoms`, without a calculator.

        Raises:
            ImportError: If ASE is not installed.
        """
        from rhocast.structure_conversions import atoms_of  # noqa: PLC0415

        return atoms_of(self)
