"""Atoms in a cell: the one structure type of the service, the models and the SDK."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rhocast.elements import ATOMIC_NUMBERS, SYMBOLS
from rhocast.errors import InvalidStructure

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
