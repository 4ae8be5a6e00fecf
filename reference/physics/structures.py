"""Structures that the physics is measured on: small, so that all of it costs minutes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from reference.settings import MOLECULE, DftSettings
from reference.structure import VACUUM, ReferenceStructure
from rhocast.elements import SYMBOLS

FloatArray = NDArray[np.float64]

WIDE = 6.0
"""Å of vacuum on each side of a molecule that should hardly feel its images."""

ROTATION: FloatArray = Rotation.from_rotvec([0.7, -1.1, 0.4]).as_matrix()
"""Of 78° about no special axis."""


@dataclass(frozen=True)
class Molecule:
    """Nuclei without a box.

    Attributes:
        name: For people.
        symbols: Elements, by atom.
        positions: Å, [n_atoms, 3].
    """

    name: str
    symbols: str
    positions: FloatArray

    def turned(self, rotation: FloatArray) -> "Molecule":
        return Molecule(self.name, self.symbols, self.positions @ rotation.T)

    def boxed(self, vacuum: float = VACUUM) -> ReferenceStructure:
        """In an orthorhombic box, like every molecule of the sets.

        Args:
            vacuum: Å between the outermost nuclei and each wall.
        """
        lengths = np.ptp(self.positions, axis=0) + 2 * vacuum
        return structure(
            self.symbols, self.positions - self.positions.min(axis=0) + vacuum, np.diag(lengths), settings=MOLECULE
        )


METHANOL = Molecule(
    "displaced methanol",
    "C O H H H H",
    np.array([
        [0.055, 0.537, 0.021], [-0.076, -0.781, -0.011], [-1.194, 0.958, -0.043],
        [1.045, -1.037, -0.018], [0.423, 1.047, 0.839], [0.418, 1.104, -0.904],
    ]),
)  # fmt: skip

FLUOROMETHANOL = Molecule(
    "fluoromethanol",
    "C F O H H H",
    np.array([
        [-0.020, -0.005, 0.050], [0.822, 0.753, 0.802], [0.778, -0.792, -0.845],
        [-0.628, 0.642, -0.588], [-0.626, -0.620, 0.590], [1.356, -0.277, -1.369],
    ]),
)  # fmt: skip
"""Gauche and displaced: chiral, with no symmetry at all. C, F and O have d projectors."""

FORMAMIDE = Molecule(
    "formamide",
    "C N O H H H",
    np.array([
        [0.000, 0.000, 0.000], [0.805, -0.056, -1.096], [0.040, 0.871, 0.842],
        [-0.712, -0.844, 0.052], [1.489, 0.667, -1.236], [0.724, -0.806, -1.760],
    ]),
)  # fmt: skip
"""Planar, and turned so that no component of dipole or second moment is zero."""


def structure(
    symbols: str, positions: FloatArray, cell: FloatArray, settings: DftSettings, is_periodic: bool = False
) -> ReferenceStructure:
    """A structure of no set.

    Args:
        symbols: Elements, by atom.
        positions: Å, [n_atoms, 3].
        cell: Rows in Å, [3, 3].
        settings: Of the DFT.
        is_periodic: False for a molecule.
    """
    return ReferenceStructure(
        set_name="physics",
        seed=0,
        index=0,
        numbers=np.array([SYMBOLS.index(symbol) for symbol in symbols.split()]),
        positions=np.asarray(positions, dtype=float),
        cell=np.asarray(cell, dtype=float),
        is_periodic=is_periodic,
        group=symbols,
        split="train",
        settings=settings,
    )
