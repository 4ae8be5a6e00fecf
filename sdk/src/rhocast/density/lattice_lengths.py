"""Lengths of lattice and grid vectors."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def squared_lengths(vectors: FloatArray, x: FloatArray, y: FloatArray, z: FloatArray) -> FloatArray:
    """|x·a + y·b + z·c|² for all combinations of coordinates, [n_x, n_y, n_z].

    Args:
        vectors: a, b and c, one a row, [3, 3].
        x: Coordinates along a, [n_x].
        y: Along b, [n_y].
        z: Along c, [n_z].
    """
    metric = vectors @ vectors.T
    x, y, z = x[:, None, None], y[None, :, None], z[None, None, :]
    plane = metric[0, 0] * x**2 + metric[1, 1] * y**2 + 2 * metric[0, 1] * x * y
    squared = 2 * (metric[0, 2] * x + metric[1, 2] * y) * z
    squared += plane  # in place: what it takes is passes over memory
    squared += metric[2, 2] * z**2
    return np.maximum(squared, 0.0, out=squared)  # rounding at the origin
