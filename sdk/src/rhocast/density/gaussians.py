"""Gaussian-type functions on centres, and what is known of them in closed form.

φ(r) = N(α, l) r^l exp(−α r²) Y_lm(r̂), with exponents in bohr⁻² and harmonics as in `rhocast.density.harmonics`. Lengths
in bohr end here: what these functions return is in Å, e and e/Å³.
"""

from dataclasses import dataclass
from functools import cached_property
from math import lgamma, log, pi

import numpy as np
from numpy.typing import NDArray

from rhocast.density.cube import BOHR
from rhocast.density.harmonics import degree_of, degrees, solid_harmonics
from rhocast.errors import InvalidField

FloatArray = NDArray[np.float64]

REACH_OF_S = 16.0
"""α r² at which an s function ends, e⁻¹⁶ = 10⁻⁷ of its largest value."""

REMAINDER = 1e-6
"""Largest part of its largest value that a function of any degree may have where it ends."""

SMALLEST_EXPONENT, LARGEST_EXPONENT = 1e-3, 1e6
"""bohr⁻²; an s function of the first reaches 67 Å. Others are taken for a mistake of unit."""

_POINTS_AT_ONCE = 2**14  # their harmonics and radial functions stay in the cache


def reach(degree: int) -> float:
    """α r² at which a function of this degree ends.

    F = x^(l/2) e^(−x), x = α r², has fallen to `REMAINDER` of its largest value, at x = l/2; but x is 16 at least.

    Args:
        degree: l.
    """
    found = REACH_OF_S
    for _ in range(60):  # contracts by l / 2x < 1/5 at each step
        rise = degree / 2 * log(2 * found / degree) if degree else 0.0
        found = degree / 2 + rise - log(REMAINDER)
    return max(found, REACH_OF_S)


@dataclass(frozen=True, eq=False)
class Gaussians:
    """Σ_jlm c_jlm N(α_j, l) r^l exp(−α_j r²) Y_lm(r̂) about each of some centres, wherever these are.

    Each primitive is normalised, ∫ (N r^l e^(−α r²))² r² dr = 1 with r in bohr.

    Attributes:
        exponents: α in bohr⁻², [n_centres, n_radial].
        coefficients: c in e·bohr^(−3/2), [n_centres, n_radial, (L + 1)²].

    Raises:
        InvalidField: If the shapes disagree, a number is not finite, an exponent too small or large, or a degree too
            high.
    """

    exponents: FloatArray
    coefficients: FloatArray

    def __post_init__(self) -> None:
        exponents, coefficients = self.exponents, self.coefficients
        if exponents.ndim != 2 or coefficients.ndim != 3 or coefficients.shape[:2] != exponents.shape:
            raise InvalidField(
                f"found exponents of shape {exponents.shape} and coefficients of shape {coefficients.shape}; "
                "expected [n_centres, n_radial] and [n_centres, n_radial, (L + 1)²]"
            )
        if not exponents.size:
            raise InvalidField(
                f"found exponents of shape {exponents.shape}; expected a centre and a function at least: give None"
            )
        degree_of(coefficients.shape[2])
        lowest, highest = float(exponents.min()), float(exponents.max())
        if not (np.isfinite(coefficients).all() and SMALLEST_EXPONENT <= lowest <= highest <= LARGEST_EXPONENT):
            raise InvalidField(
                f"found exponents from {lowest:g} to {highest:g} bohr⁻² and coefficients from {coefficients.min():g} "
                f"to {coefficients.max():g}; expected exponents from {SMALLEST_EXPONENT:g} to {LARGEST_EXPONENT:g} "
                "bohr⁻² and finite coefficients in e·bohr^(−3/2)"
            )

    @property
    def n_centres(self) -> int:
        return len(self.exponents)

    @property
    def highest_degree(self) -> int:
        return degree_of(self.coefficients.shape[2])

    @cached_property
    def in_angstrom(self) -> tuple[FloatArray, FloatArray]:
        """Exponents in Å⁻² and the factors of exp(−α r²) r^l Y_lm in e·Å^(−3 − l)."""
        degree = degrees(self.highest_degree)
        order = degree + 1.5
        log_gamma = np.array([lgamma(one) for one in order])
        norms = np.exp(0.5 * (order * np.log(2 * self.exponents[..., None]) + log(2) - log_gamma))
        return self.exponents / BOHR**2, self.coefficients * norms * BOHR ** (-3 - degree)

    @cached_property
    def radii(self) -> FloatArray:
        """Distance in Å from each centre beyond which its functions are left out, [n_centres].

        √(x/α_min), with x of `reach`: where the service's decoders leave them out.
        """
        return BOHR * np.sqrt(reach(self.highest_degree) / self.exponents.min(axis=1))

    @cached_property
    def multipoles(self) -> FloatArray:
        r"""Moments ∫ φ(r) r^l Y_lm(r̂) d³r of each centre about itself, [n_centres, (L + 1)²].

        .. math:: q_{lm} = \sum_j c_{jlm} N_{jl}\, (\pi/\alpha_j)^{3/2}\, \frac{(2l-1)!!}{(2\alpha_j)^l}

        In e·Å^l; e counts electrons, so positive is more of them. The first is their number, the next three are
        ∫ φ (x, y, z).
        """
        degree = degrees(self.highest_degree)
        double_factorial = np.exp([lgamma(one + 0.5) + one * log(2) - 0.5 * log(pi) for one in degree])
        exponents, weights = self.in_angstrom
        integrals = (pi / exponents[..., None]) ** 1.5 * (2 * exponents[..., None]) ** -degree
        return (weights * integrals).sum(axis=1) * double_factorial

    def about(self, centre: int, vectors: FloatArray) -> FloatArray:
        """Sum of the functions of one centre in e/Å³, not cut off anywhere, [n].

        Args:
            centre: Index of the centre.
            vectors: From the centre to each point in Å, [n, 3].
        """
        exponents, weights = (one[centre] for one in self.in_angstrom)
        values = np.empty(len(vectors))
        for start in range(0, len(vectors), _POINTS_AT_ONCE):
            some = vectors[start : start + _POINTS_AT_ONCE]
            exponentials = np.exp(-exponents[:, None] * np.square(some).sum(axis=1))
            radial = weights.T @ exponentials
            radial *= solid_harmonics(some, self.highest_degree)
            values[start : start + _POINTS_AT_ONCE] = radial.sum(axis=0)
        return values
