"""Which decoder is cheaper, by what each was measured to cost.

Both give the same values; real space pays for pairs of a centre and a point within its radius, reciprocal space for
wavevectors, and for pairs of a wavevector and a centre. Seconds of one core of an Intel Xeon with AVX-512 (Sapphire
Rapids), float32, L = 4; `python -m benchmarks.decoder` prints them for the machine at hand. On more cores both shrink
alike, and only their ratio matters here. What follows from them: with exponents up to 12 bohr⁻² real space is cheaper
unless the cell holds very few atoms; the reciprocal decoder pays for smooth bases on fine grids, where a real-space
point meets hundreds of images and the sphere of wavevectors is small.

Orbitals on a GPU are decoded there, in real space.
"""

from math import pi
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from torch import Tensor

from models.basis.gaussian import Orbitals
from models.decoder.frame import FloatArray
from models.decoder.orbital import RealSpaceDecoder
from models.decoder.reciprocal import ReciprocalDecoder
from models.interface import GridShape

if TYPE_CHECKING:
    from models.decoder.tiled import TiledDecoder

OrbitalDecoder: TypeAlias = "RealSpaceDecoder | TiledDecoder"
"""What decodes in real space; both have the same methods."""

SECONDS_PER_PAIR = 8e-9
SECONDS_PER_WAVEVECTOR = 1.6e-6
SECONDS_PER_PHASE = 2e-8


def real_space_decoder(
    cell: FloatArray, is_periodic: bool, positions: FloatArray, orbitals: Orbitals, dtype: torch.dtype = torch.float32
) -> OrbitalDecoder:
    """The decoder in real space for the device on which the orbitals are.

    Args:
        cell: Cell vectors in Å, one a row, [3, 3]; for a molecule the box that frames its grid.
        is_periodic: Whether the cell repeats.
        positions: Cartesian positions of the centres in Å, [n_centres, 3].
        orbitals: Their functions.
        dtype: Of the radial tables; float64 is for tests.

    Raises:
        ValueError: If the positions are not finite or not as many as the orbitals' centres, or a degree is too high.
    """
    if orbitals.coefficients.device.type != "cuda":
        return RealSpaceDecoder(cell, is_periodic, positions, orbitals, dtype)
    # Triton comes with torch for CUDA, and need not be there without.
    from models.decoder.tiled import TiledDecoder  # noqa: PLC0415

    return TiledDecoder(cell, is_periodic, positions, orbitals, dtype)


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
    # The costs are those of processors.
    may_be_reciprocal = is_periodic and orbitals.coefficients.device.type == "cpu"
    if may_be_reciprocal and reciprocal_seconds(cell, orbitals) < real_space_seconds(cell, shape, orbitals):
        return ReciprocalDecoder(cell, positions, orbitals).on_grid(shape)
    return real_space_decoder(cell, is_periodic, positions, orbitals).on_grid(shape)
