"""A density between the points of its grid."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

POINTS_AT_A_TIME = 512
"""Bounds memory: each takes a plane of the grid."""


def interpolated(density: FloatArray, cell: FloatArray, points: FloatArray) -> FloatArray:
    """Trigonometric interpolation, e/Å³, [n]: the sum of the grid's own waves, exact at the grid's points.

    Args:
        density: e/Å³, [n0, n1, n2].
        cell: Rows in Å, [3, 3].
        points: Å, [n, 3].
    """
    waves = np.fft.fftn(density) / density.size
    fractions = points @ np.linalg.inv(cell)
    found = [
        _sum_of_waves(waves, fractions[start : start + POINTS_AT_A_TIME])
        for start in range(0, len(points), POINTS_AT_A_TIME)
    ]
    return np.concatenate(found)


def _sum_of_waves(waves: NDArray[np.complex128], fractions: FloatArray) -> FloatArray:
    a, b, c = (_phases(n, column) for n, column in zip(waves.shape, fractions.T, strict=True))
    planes = (a @ waves.reshape(len(waves), -1)).reshape(len(fractions), *waves.shape[1:])
    return np.real(np.einsum("pbc,pb,pc->p", planes, b, c, optimize=True))


def _phases(n: int, fractions: FloatArray) -> NDArray[np.complex128]:
    frequency = np.fft.fftfreq(n, 1 / n)
    phases = np.exp(2j * np.pi * np.outer(fractions, frequency))
    if n % 2 == 0:  # the highest wave stands for both its signs
        phases[:, n // 2] = np.cos(np.pi * n * fractions)
    return phases


def grid_points(shape: tuple[int, ...], cell: FloatArray, step: int = 1) -> FloatArray:
    """Positions of a grid's points in Å, [n, 3], in C order.

    Args:
        shape: Points along each cell vector.
        cell: Rows in Å, [3, 3].
        step: Takes every step-th point along each vector.
    """
    axes = [np.arange(0, n, step) / n for n in shape]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3) @ cell


def difference(found: FloatArray, expected: FloatArray) -> float:
    """Σ|found − expected| / Σ expected, in %: an NMAE where the points stand for equal volumes."""
    return float(100 * np.abs(found - expected).sum() / expected.sum())
