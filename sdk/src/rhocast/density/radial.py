"""Radial functions as cubics in intervals of one length, without scipy."""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


class RadialFunction(Protocol):
    """A function of the distance to an atom, zero from its cutoff (Å) on."""

    @property
    def cutoff(self) -> float: ...

    def __call__(self, distance: FloatArray) -> FloatArray: ...


@dataclass(frozen=True, eq=False)
class RadialCubic:
    """Cubic Hermite interpolant: values and slopes at equidistant radii, zero beyond the last.

    Attributes:
        values: Function at the knots k·spacing, [n_knots].
        slopes: Its derivative there, per Å.
        spacing: Distance of the knots in Å.
    """

    values: FloatArray
    slopes: FloatArray
    spacing: float

    @classmethod
    def clamped(cls, values: FloatArray, spacing: float) -> "RadialCubic":
        """The cubic spline through some values whose slope is zero at both ends.

        Args:
            values: Function at the knots, at least two.
            spacing: Distance of the knots in Å.
        """
        # Continuous curvature: s[k−1] + 4 s[k] + s[k+1] = 3 (f[k+1] − f[k−1])/spacing, solved from both sides.
        right = 3 * (values[2:] - values[:-2]) / spacing
        n_inner = len(right)
        pivots, reduced = np.empty(n_inner), np.empty(n_inner)
        for k in range(n_inner):
            pivots[k] = 4 - (1 / pivots[k - 1] if k else 0)
            reduced[k] = right[k] - (reduced[k - 1] / pivots[k - 1] if k else 0)
        slopes = np.zeros(len(values))
        for k in reversed(range(n_inner)):
            slopes[k + 1] = (reduced[k] - slopes[k + 2]) / pivots[k]
        return cls(values, slopes, spacing)

    @property
    def cutoff(self) -> float:
        """Radius in Å of the last knot."""
        return self.spacing * (len(self.values) - 1)

    @property
    def integral(self) -> float:
        """∫ f 4πr² dr, exact."""
        nodes, weights = np.polynomial.legendre.leggauss(3)  # exact to degree 5: a cubic times r²
        radii = self.spacing * (np.arange(len(self.values) - 1)[:, None] + (nodes + 1) / 2)
        return float(2 * np.pi * self.spacing * np.sum(weights * self(radii) * radii**2))

    @cached_property
    def _coefficients(self) -> FloatArray:
        """Coefficients of 1, u, u² and u³ in each interval, u from 0 to 1, [4, n_knots]; zero from the last knot on."""
        rise, slopes = np.diff(self.values), self.slopes * self.spacing
        coefficients = np.zeros((4, len(self.values)))
        coefficients[0, :-1] = self.values[:-1]
        coefficients[1, :-1] = slopes[:-1]
        coefficients[2, :-1] = 3 * rise - 2 * slopes[:-1] - slopes[1:]
        coefficients[3, :-1] = slopes[:-1] + slopes[1:] - 2 * rise
        return coefficients

    def __call__(self, distance: FloatArray) -> FloatArray:
        """The function at some distances in Å, of any shape."""
        u = np.minimum(distance / self.spacing, len(self.values) - 1)
        index = u.astype(np.int64)
        u -= index
        constant, linear, quadratic, cubic = self._coefficients
        result = cubic.take(index)
        for coefficient in (quadratic, linear, constant):  # in place: what it takes is passes over memory
            result *= u
            result += coefficient.take(index)
        return result


@dataclass(frozen=True)
class GaussianCharge:
    """A charge smeared to q/(π^(3/2) w³) · exp(−r²/w²).

    Attributes:
        charge: Its integral q, in e.
        width: w in Å.
    """

    charge: float
    width: float

    @property
    def cutoff(self) -> float:
        """Radius in Å beyond which 10⁻¹⁷ of the charge lies."""
        return 6.5 * self.width

    def __call__(self, distance: FloatArray) -> FloatArray:
        """Charge density in e/Å³ at some distances in Å."""
        return self.charge / (np.pi**1.5 * self.width**3) * np.exp(-((distance / self.width) ** 2))
