"""Which decoder is cheaper, by what each was measured to cost.

Both give the same values; real space pays for pairs of a centre and a point within its radius, reciprocal space for
wavevectors, and for pairs of a wavevector and a centre. Seconds of one core of an Intel Xeon with AVX-512 (Sapphire
Rapids), float32, L = 4; `python -m benchmarks.decoder` prints them for the machine at hand. On more cores both shrink
alike, and only their ratio matters here. What follows from them: with exponents up to 12 bohr⁻² real space is cheaper
unless the cell holds very few atoms; the reciprocal decoder pays for smooth bases on fine grids, where a real-space
point meets hundreds of images and the sphere of wavevectors is small.
"""

from math import pi

import numpy as np
from torch import Tensor

from models.basis.gaussian import Orbitals
from models.decoder.frame import FloatArray
from models.decoder.orbital import RealSpaceDecoder
from models.decoder.reciprocal import ReciprocalDecoder
from models.interface import GridShape

SECONDS_PER_PAIR = 8e-9
SECONDS_PER_WAVEVECTOR = 1.6e-6
SECONDS_PER_PHASE = 2e-8


def n_pairs(cell: FloatArray, shape: GridShape, orbitals: Orbitals) -> float:
    """Expected number of pairs of a centre's image and a grid point within its radius, in a crystal."""
    volume = abs(float(np.linalg.det(cell)))
    return 4 / 3 * pi * float(orbitals.radii().pow(3).sum()) * float(np.prod(shape)) / volume


def n_wavevectors(cell: FloatArray, orbitals: Orbitals) -> float:
    """Expected number of wavevectors in half the sphere that the basis fills."""
    volume = abs(float(np.linalg.det(cell)))
    return 2 / 3 * pi * orbitals.wavenumber_limit() ** 3 * volume / (2 * pi) ** 3


def real_space_seconds(cell: FloatArray, shape: GridShape, orbitals: Orbitals) -> float:
    """Expected time of `RealSpaceDecoder.on_grid` in a crystal."""
    return SECONDS_PER_PAIR * n_pairs(cell, shape, orbitals)


def reciprocal_seconds(cell: FloatArray, orbitals: Orbitals) -> float:
    """Expected time of `ReciprocalDecoder.on_grid`; the transform itself is a small part."""
    return n_wavevectors(cell, orbitals) * (SECONDS_PER_WAVEVECTOR + SECONDS_PER_PHASE * orbitals.n_centres)


def on_grid(cell: FloatArray, is_periodic: bool, positions: FloatArray, orbitals: Orbitals, shape: GridShape) -> Tensor:
    """Point values in e/Å³ by the decoder that is expected to be faster, float64, [n0, n1, n2].

    Args:
        cell: Cell vectors in Å, one a row, [3, 3].
        is_periodic: Whether the cell repeats; a molecule is always decoded in real space.
        positions: Cartesian positions of the centres in Å, [n_centres, 3].
        orbitals: Their functions.
        shape: Of the grid.

    Raises:
        ValueError: If the positions are not finite or not as many as the orbitals' centres.
    """
    if is_periodic and reciprocal_seconds(cell, orbitals) < real_space_seconds(cell, shape, orbitals):
        return ReciprocalDecoder(cell, positions, orbitals).on_grid(shape)
    return RealSpaceDecoder(cell, is_periodic, positions, orbitals).on_grid(shape)
