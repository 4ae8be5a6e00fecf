"""Real spherical harmonics in GPAW's order, how they turn, and their conversion to e3nn's order.

Normalised to ∫Y² dΩ = 1, for degrees l = 0, 1, 2 … of any size. In GPAW's order m runs from −l to l: cos(mφ) goes with
m ≥ 0 and sin(|m|φ) with m < 0, without Condon and Shortley's sign, so that l = 1 is (y, z, x). e3nn has the same
functions with y as the polar axis, so that l = 1 is (x, y, z). Coefficients of functions convert by the same matrices
as the functions, for the matrices are orthogonal.
"""

from collections.abc import Sequence
from math import factorial, pi

import numpy as np
from numpy.polynomial.legendre import Legendre, leggauss
from numpy.typing import NDArray
from scipy.linalg import block_diag

FloatArray = NDArray[np.float64]

E3NN_AXES = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
"""Takes e3nn's polar axis, y, to z."""


def real_harmonics(degree: int, directions: FloatArray) -> FloatArray:
    """Y_lm of one degree in GPAW's order, [2l+1, n].

    Args:
        degree: l.
        directions: Unit vectors, [n, 3].
    """
    x, y, z = np.asarray(directions, dtype=float).T
    rows = []
    for order in range(-degree, degree + 1):
        m = abs(order)
        azimuthal = (x + 1j * y) ** m
        norm = (2 - (m == 0)) * (2 * degree + 1) / (4 * pi) * factorial(degree - m) / factorial(degree + m)
        polar = Legendre.basis(degree).deriv(m)(z) if m else Legendre.basis(degree)(z)
        rows.append(np.sqrt(norm) * polar * (azimuthal.imag if order < 0 else azimuthal.real))
    return np.stack(rows)


def sphere(degree: int) -> tuple[FloatArray, FloatArray]:
    """Directions, [n, 3], and weights, [n], that integrate polynomials up to a degree exactly over the sphere."""
    n_polar, n_azimuthal = degree // 2 + 1, degree + 1
    z, weights = leggauss(n_polar)
    angle = 2 * pi * np.arange(n_azimuthal) / n_azimuthal
    radius = np.sqrt(1 - z**2)
    directions = np.stack(
        [np.outer(radius, np.cos(angle)), np.outer(radius, np.sin(angle)), np.outer(z, np.ones(n_azimuthal))], axis=-1
    )
    return directions.reshape(-1, 3), np.repeat(weights, n_azimuthal) * 2 * pi / n_azimuthal


def turning(degrees: Sequence[int], rotation: FloatArray) -> FloatArray:
    """D with Y(R r) = D Y(r), in GPAW's order; one block per degree, [n, n] with n = Σ(2l + 1).

    A function Σ c_m Y_m turned by R has the coefficients D c.

    Args:
        degrees: l of each block, in any order, with repeats.
        rotation: R, orthogonal, [3, 3]; it may contain an inversion.
    """
    blocks = {}
    for degree in set(degrees):
        directions, weights = sphere(2 * degree)
        turned = real_harmonics(degree, directions @ rotation.T)
        blocks[degree] = np.einsum("in,jn,n->ij", turned, real_harmonics(degree, directions), weights)
    return np.asarray(block_diag(*(blocks[degree] for degree in degrees)))


def to_e3nn(degrees: Sequence[int]) -> FloatArray:
    """C with Y_e3nn = C Y_GPAW; one block per degree, [n, n] with n = Σ(2l + 1).

    Multipoles q in GPAW's order are C q in e3nn's; a matrix M between such functions is C M Cᵀ.

    Args:
        degrees: l of each block: (0, 1, 2) for the multipoles of a record.
    """
    return turning(degrees, E3NN_AXES)


def coupling(first: int, second: int, total: int) -> FloatArray:
    """∫ Y_m1 Y_m2 Y_M dΩ in GPAW's order, [2·first+1, 2·second+1, 2·total+1]: what two functions contribute to each
    degree of their product.

    Args:
        first: l of the first function.
        second: l of the second.
        total: L of the product's component.
    """
    directions, weights = sphere(first + second + total)
    factors = (real_harmonics(degree, directions) for degree in (first, second, total))
    return np.einsum("in,jn,kn,n->ijk", *factors, weights)
