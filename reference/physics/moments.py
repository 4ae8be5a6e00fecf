"""Dipole and second moment of the reference density against those of GPAW's own density on a fine grid."""

import numpy as np
from numpy.typing import NDArray

from reference.box_moments import box_moments
from reference.physics.laboratory import Laboratory
from reference.physics.report import Row
from reference.physics.structures import FLUOROMETHANOL, FORMAMIDE, Molecule
from reference.structure import VALENCE
from rhocast.elements import SYMBOLS

FloatArray = NDArray[np.float64]

LARGEST_ERROR = 1e-3
"""e·Å and e·Å²."""


def traceless(second_moment: FloatArray) -> FloatArray:
    """∫ρ (x xᵀ − r²/3), e·Å², [3, 3].

    The trace depends on how wide the compensation charges are, which is a convention.
    """
    return second_moment - np.eye(3) * np.trace(second_moment) / 3


def moment_rows(laboratory: Laboratory) -> list[Row]:
    """Largest components of the differences, for polar molecules."""
    return [row for molecule in (FORMAMIDE, FLUOROMETHANOL) for row in _rows_of(laboratory, molecule)]


def _rows_of(laboratory: Laboratory, molecule: Molecule) -> list[Row]:
    structure = molecule.boxed()
    arrays = laboratory.labels(structure).arrays
    lengths = np.diag(structure.cell)
    _, dipole, second = box_moments(arrays["density"], lengths)
    charges = np.array([VALENCE[SYMBOLS[number]] for number in structure.numbers])
    whole = charges @ (structure.positions - lengths / 2) - dipole
    off_whole = np.abs(whole - arrays["molecular_dipole"]).max()
    size = np.linalg.norm(arrays["molecular_dipole"])
    return [
        Row(
            "dipole of ρ against GPAW's fine grid",
            molecule.name,
            float(np.abs(dipole - arrays["fine_dipole"]).max()),
            "e·Å",
            LARGEST_ERROR,
            f"the molecule has {size:.3f} e·Å; {off_whole:.0e} from the dipole that GPAW itself gives",
            {"dipole": dipole.tolist(), "fine": arrays["fine_dipole"].tolist()},
        ),
        Row(
            "traceless second moment of ρ against GPAW's fine grid",
            molecule.name,
            float(np.abs(traceless(second) - traceless(arrays["fine_second_moment"])).max()),
            "e·Å²",
            LARGEST_ERROR,
            f"largest component {np.abs(traceless(second)).max():.2f} e·Å², about the middle of the box",
            {"second": second.tolist(), "fine": arrays["fine_second_moment"].tolist()},
        ),
    ]
