"""Electrostatic potential of a charge on a grid: of a crystal, and of a molecule in free space."""

import math

import numpy as np
from numpy.typing import NDArray

from rhocast.density.lattice_lengths import squared_lengths
from rhocast.density.radial import RadialCubic

FloatArray = NDArray[np.float64]
Shape = tuple[int, int, int]

_AXES = (0, 1, 2)
_DECAYED = 5.0  # erfc(5) = 1.5e-12
_KNOTS_PER_SPLIT_LENGTH = 200


def periodic_potential(charge: FloatArray, cell: FloatArray) -> FloatArray:
    r"""∫ρ(r′)/|r − r′| dr′ over all periods, with mean zero, in e/Å.

    .. math:: \phi_G = \frac{4\pi}{G^2} \rho_G, \qquad \phi_0 = 0

    Exact for the Fourier interpolant of the charge. A net charge is compensated by a uniform background. The waves of
    n/2 on even axes are left out, for their phase is not on the grid.

    Args:
        charge: Charge density in e/Å³, [n0, n1, n2].
        cell: Cell vectors in Å, one a row.
    """
    shape = _shape_of(charge)
    squared = _squared_waves(shape, cell)
    squared[0, 0, 0] = np.inf
    waves = np.fft.rfftn(charge)
    waves *= 4 * np.pi / squared
    _drop_nyquist(waves, shape)
    return np.fft.irfftn(waves, shape, _AXES)


def free_potential(charge: FloatArray, cell: FloatArray) -> FloatArray:
    r"""∫ρ(r′)/|r − r′| dr′ over the box alone, zero at infinity, in e/Å.

    On a box twice as long in each direction, where no two points of the charge meet an image of each other (Martyna and
    Tuckerman, J. Chem. Phys. 110, 2810 (1999)): 1/r = erf(αr)/r + erfc(αr)/r, the first, which is smooth, summed over
    points, the second, which is short, by its waves. It takes eight times the memory of the grid, some times over.

    Args:
        charge: Charge density in e/Å³, [n0, n1, n2], which has vanished at the walls of the box.
        cell: Vectors of the box in Å, one a row.
    """
    n0, n1, n2 = _shape_of(charge)
    doubled: Shape = (2 * n0, 2 * n1, 2 * n2)
    volume_of_point = float(abs(np.linalg.det(cell))) / charge.size
    # From one point of the box to an image of another it is at least the least height of the box.
    split = _DECAYED * float(np.linalg.norm(np.linalg.inv(cell), axis=0).max())
    kernel = np.fft.rfftn(_smooth_kernel(doubled, 2 * cell, split))
    kernel *= volume_of_point
    kernel += _short_kernel(doubled, 2 * cell, split)
    kernel *= np.fft.rfftn(charge, doubled, _AXES)
    return np.ascontiguousarray(np.fft.irfftn(kernel, doubled, _AXES)[:n0, :n1, :n2])


def _shape_of(values: FloatArray) -> Shape:
    n0, n1, n2 = values.shape
    return n0, n1, n2


def _squared_waves(shape: Shape, cell: FloatArray) -> FloatArray:
    """G² in Å⁻² of the waves of a real transform, [n0, n1, n2//2 + 1]."""
    reciprocal: FloatArray = np.asarray(2 * np.pi * np.linalg.inv(cell).T, dtype=np.float64)
    return squared_lengths(
        reciprocal, _indices(shape[0]), _indices(shape[1]), np.arange(shape[2] // 2 + 1, dtype=np.float64)
    )


def _indices(n_points: int) -> FloatArray:
    """Indices along a periodic axis, those of its second half negative, in the order of a Fourier transform."""
    order = np.arange(n_points, dtype=np.float64)
    return np.where(order < (n_points + 1) // 2, order, order - n_points)


def _drop_nyquist(waves: NDArray[np.complexfloating] | FloatArray, shape: Shape) -> None:
    for axis, n in enumerate(shape):
        if n % 2 == 0:
            np.moveaxis(waves, axis, 0)[n // 2] = 0


def _smooth_kernel(shape: Shape, cell: FloatArray, split: float) -> FloatArray:
    """erf(αr)/r in Å⁻¹ at the points of a box, the origin of r at its first point and images taken to the nearest."""
    steps = cell / np.array(shape)[:, None]
    x, y, z = (_indices(n) for n in shape)
    corners = np.array([[i, j, k] for i in (-1, 1) for j in (-1, 1) for k in (-1, 1)]) @ cell / 2
    function = _erf_over_distance(split, float(np.linalg.norm(corners, axis=1).max()))
    kernel = np.empty(shape)
    for index in range(shape[0]):  # plane by plane, to save memory
        kernel[index] = function(np.sqrt(squared_lengths(steps, x[index : index + 1], y, z)[0]))
    return kernel


def _erf_over_distance(split: float, furthest: float) -> RadialCubic:
    """erf(αr)/r up to a distance in Å; its cubics are off by 10⁻¹² α."""
    spacing = 1 / (_KNOTS_PER_SPLIT_LENGTH * split)
    radii = np.arange(math.ceil(furthest / spacing) + 2) * spacing
    slope_of_erf = 2 * split / math.sqrt(math.pi)
    values, slopes = np.full(len(radii), slope_of_erf), np.zeros(len(radii))
    outer = radii[1:]
    values[1:] = np.array([math.erf(split * radius) for radius in outer]) / outer
    slopes[1:] = (slope_of_erf * np.exp(-((split * outer) ** 2)) - values[1:]) / outer
    return RadialCubic(values, slopes, spacing)


def _short_kernel(shape: Shape, cell: FloatArray, split: float) -> FloatArray:
    """Waves of erfc(αr)/r: 4π (1 − exp(−G²/4α²))/G², in Å²."""
    squared = _squared_waves(shape, cell)
    squared[0, 0, 0] = 1.0
    kernel = -4 * np.pi * np.expm1(-squared / (4 * split**2)) / squared
    kernel[0, 0, 0] = np.pi / split**2
    _drop_nyquist(kernel, shape)
    return kernel
