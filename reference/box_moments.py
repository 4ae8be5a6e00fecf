"""Charge, dipole and second moment of a density in a molecule's box. Needs NumPy alone."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def box_moments(density: FloatArray, lengths: FloatArray) -> tuple[float, FloatArray, FloatArray]:
    """Charge (e), dipole ∫ρ x (e·Å, [3]) and second moment ∫ρ x xᵀ (e·Å², [3, 3]) about the middle of the box.

    Args:
        density: e/Å³ at the points of a grid over the box, [n0, n1, n2].
        lengths: Edges of the orthorhombic box in Å, [3].
    """
    odd = [(np.arange(n) / n - 0.5) * length for n, length in zip(density.shape, lengths, strict=True)]
    even = [axis**2 for axis in odd]
    for axis in odd:
        axis[0] = 0.0  # this point is on both walls, at −L/2 and at +L/2
    one = [np.ones(n) for n in density.shape]
    voxel = np.prod(lengths) / density.size

    def integral(*factors: FloatArray) -> float:
        return float(np.einsum("xyz,x,y,z->", density, *factors, optimize=True) * voxel)

    def replaced(changes: dict[int, FloatArray]) -> list[FloatArray]:
        return [changes.get(axis, one[axis]) for axis in range(3)]

    dipole = np.array([integral(*replaced({i: odd[i]})) for i in range(3)])
    second = [
        [integral(*replaced({i: even[i]} if i == j else {i: odd[i], j: odd[j]})) for j in range(3)] for i in range(3)
    ]
    return integral(*one), dipole, np.array(second)
