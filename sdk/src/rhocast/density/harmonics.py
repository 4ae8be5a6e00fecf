"""Real solid harmonics, e3nn's order and 'norm' normalisation: l = 1 is (x, y, z), and Σ_m Y_lm² = 1 on the sphere."""

from math import factorial, isqrt, sqrt

import numpy as np
from numpy.typing import NDArray

from rhocast.errors import InvalidField

FloatArray = NDArray[np.float64]

HIGHEST_DEGREE = 6
"""What the tests hold to scipy's harmonics, and the service's decoders go up to."""


def degree_of(n_harmonics: int) -> int:
    """The highest degree L among this number of harmonics.

    Args:
        n_harmonics: Number of harmonics of the degrees 0 to L.

    Raises:
        InvalidField: If no L has this number, or it is too high.
    """
    highest_degree = isqrt(n_harmonics) - 1
    if (highest_degree + 1) ** 2 != n_harmonics or not 0 <= highest_degree <= HIGHEST_DEGREE:
        raise InvalidField(
            f"found {n_harmonics} harmonics; expected (L + 1)² of them with L ≤ {HIGHEST_DEGREE}: give every m of "
            "every degree, with zeros for those that are not used"
        )
    return highest_degree


def degrees(highest_degree: int) -> FloatArray:
    """Degree l of each harmonic, [(L + 1)²].

    Args:
        highest_degree: L.
    """
    per_degree = np.arange(highest_degree + 1.0)
    return np.repeat(per_degree, 2 * np.arange(highest_degree + 1) + 1)


def solid_harmonics(vectors: FloatArray, highest_degree: int) -> FloatArray:
    r"""Homogeneous polynomials r^l Y_lm(r̂), [(L + 1)², n].

    .. math:: r^l Y_{l,\pm m} = \sqrt{\frac{2 (l-m)!}{(l+m)!}}\; \Pi_l^m(\zeta, r)\;
        \mathrm{Re | Im}\, (\xi + i \eta)^m, \qquad
        (l-m)\, \Pi_l^m = (2l-1)\, \zeta\, \Pi_{l-1}^m - (l+m-1)\, r^2\, \Pi_{l-2}^m

    with (ξ, η, ζ) = (z, x, y), for e3nn's polar axis is y (Helgaker, Jørgensen, Olsen, *Molecular Electronic-Structure
    Theory*, 6.4; without the Condon–Shortley phase).

    Args:
        vectors: Cartesian vectors in any unit, [n, 3].
        highest_degree: L.
    """
    eta, zeta, xi = np.ascontiguousarray(vectors.T)
    r_squared = xi**2 + eta**2 + zeta**2
    harmonics = np.empty(((highest_degree + 1) ** 2, len(vectors)))
    cosine, sine = np.ones_like(xi), np.zeros_like(xi)
    for m in range(highest_degree + 1):
        for degree, polar in enumerate(_polar_parts(m, highest_degree, zeta, r_squared), start=m):
            middle = degree * (degree + 1)
            norm = sqrt(2 * factorial(degree - m) / factorial(degree + m)) if m else 1.0
            harmonics[middle - m] = norm * polar * sine
            harmonics[middle + m] = norm * polar * cosine  # m = 0: over the sine, which is zero
        cosine, sine = xi * cosine - eta * sine, xi * sine + eta * cosine
    return harmonics


def _polar_parts(m: int, highest_degree: int, zeta: FloatArray, r_squared: FloatArray) -> list[FloatArray]:
    """Π_l^m for l from m to the highest degree."""
    parts = [np.full_like(zeta, factorial(2 * m) // (2**m * factorial(m)))]  # (2m − 1)!!
    for degree in range(m + 1, highest_degree + 1):
        part = (2 * degree - 1) * zeta * parts[-1]
        if len(parts) > 1:
            part -= (degree + m - 1) * r_squared * parts[-2]
        parts.append(part / (degree - m))
    return parts
