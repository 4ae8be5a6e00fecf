"""Gaussian-type functions on centres, and what is known of them in closed form.

φ(r) = N(α, l) r^l exp(−α r²) Y_lm(r̂), with exponents in bohr⁻² and harmonics as in `models.basis.harmonics`. Lengths in
bohr end here: what these functions return is in Å, e and e/Å³.
"""

from dataclasses import dataclass
from math import log, pi, sqrt

import torch
from torch import Tensor

from models.basis.harmonics import degree_of, degrees
from models.basis.radial_tables import RadialTables, tabulate
from rhocast.density.cube import BOHR
from rhocast.density.gaussians import reach


def radial_norm(exponents: Tensor, degree: Tensor) -> Tensor:
    r"""Constant that makes a primitive Gaussian radial function square-normalised, in bohr^−(l + 3/2).

    .. math:: N^2 \int_0^\infty r^{2l}\, e^{-2\alpha r^2}\, r^2\, dr = 1, \qquad
        N^2 = \frac{2\, (2\alpha)^{l+3/2}}{\Gamma(l+3/2)}

    Args:
        exponents: α in bohr⁻², above zero.
        degree: l; is broadcast with the exponents.
    """
    order = degree.to(exponents.dtype) + 1.5
    return torch.exp(0.5 * (order * torch.log(2 * exponents) + log(2) - torch.lgamma(order)))


@dataclass(frozen=True, eq=False)
class Orbitals:
    """Σ_jlm c_jlm N(α_j, l) r^l exp(−α_j r²) Y_lm(r̂) about each of some centres.

    Attributes:
        exponents: α in bohr⁻², [n_centres, n_radial].
        coefficients: c in e·bohr^(−3/2), [n_centres, n_radial, (L + 1)²].

    Raises:
        ValueError: If the shapes disagree, a number is not finite or an exponent not above zero.
    """

    exponents: Tensor
    coefficients: Tensor

    def __post_init__(self) -> None:
        exponents, coefficients = self.exponents, self.coefficients
        if exponents.ndim != 2 or coefficients.ndim != 3 or coefficients.shape[:2] != exponents.shape:
            raise ValueError(
                f"found exponents of shape {tuple(exponents.shape)} and coefficients of shape "
                f"{tuple(coefficients.shape)}; expected [n_centres, n_radial] and [n_centres, n_radial, (L + 1)²]"
            )
        if not exponents.shape[1]:
            raise ValueError("found no radial function; expected one exponent at least; give zero coefficients instead")
        degree_of(coefficients.shape[2])
        if not bool(torch.isfinite(coefficients).all()):
            raise ValueError("found a coefficient that is not finite; expected numbers; look for an overflow before")
        if not bool((torch.isfinite(exponents) & (exponents > 0)).all()):
            raise ValueError(
                f"found an exponent of {_worst(exponents):g} bohr⁻²; expected numbers above zero; "
                "make them from their logarithms"
            )

    @property
    def n_centres(self) -> int:
        return self.exponents.shape[0]

    @property
    def highest_degree(self) -> int:
        return degree_of(self.coefficients.shape[2])

    def multipoles(self) -> Tensor:
        r"""Moments ∫ φ(r) r^l Y_lm(r̂) d³r of each centre about itself, float64, [n_centres, (L + 1)²].

        .. math:: q_{lm} = \sum_j c_{jlm} N_{jl}\, (\pi/\alpha_j)^{3/2}\, \frac{(2l-1)!!}{(2\alpha_j)^l}

        In e·Å^l. The first is the charge, the next three are the dipole (x, y, z).
        """
        degree = self._degrees
        double_factorial = torch.exp(torch.lgamma(degree + 0.5) + degree * log(2)) / sqrt(pi)
        exponents, weights = self._in_angstrom()
        widths = (pi / exponents) ** 1.5
        return (weights * widths[..., None] * (2 * exponents[..., None]) ** -degree).sum(1) * double_factorial

    def radii(self) -> Tensor:
        """Distance in Å from each centre beyond which its functions are left out, float64, [n_centres].

        √(x/α_min), with x of `rhocast.density.gaussians.reach`; it follows from the most diffuse exponent and carries
        no gradient.
        """
        most_diffuse = self.exponents.detach().double().min(dim=1).values
        return BOHR * torch.sqrt(reach(self.highest_degree) / most_diffuse)

    def tables(self) -> RadialTables:
        """Σ_j c_jlm N_jl exp(−α_j r²) of each centre and (l, m) over r in Å, in e·Å^(−3 − l)."""
        return tabulate(*self._in_angstrom(), self.radii())

    def wavenumber_limit(self) -> float:
        """|G| in Å⁻¹ beyond which the Fourier transforms of all centres are left out; zero if there is no centre.

        √(4 α_max x), with the same x; it follows from the sharpest exponent and carries no gradient.
        """
        sharpest = float(self.exponents.detach().max()) if self.n_centres else 0.0
        return sqrt(4 * sharpest * reach(self.highest_degree)) / BOHR

    def fourier_tables(self) -> RadialTables:
        r"""Radial parts t of the Fourier transforms of each centre and (l, m) over |G| in Å⁻¹, in e·Å^l.

        .. math:: \int \varphi(r)\, e^{-iG\cdot r} d^3r = (-i)^l\, |G|^l\, Y_{lm}(\hat G)\, t_{lm}(|G|), \qquad
            t_{lm} = \sum_j c_{jlm} N_{jl}\, (\pi/\alpha_j)^{3/2}\, (2\alpha_j)^{-l}\, e^{-G^2/4\alpha_j}

        All tables end at `wavenumber_limit`, so that all have the same knots.
        """
        inverse_exponents, transformed = self._transformed()
        limits = torch.full_like(inverse_exponents[:, 0], self.wavenumber_limit())
        return tabulate(inverse_exponents, transformed, limits.detach())

    def fourier_parts(self, wave_numbers: Tensor) -> Tensor:
        """The same radial parts t at a few |G|, without tables, in e·Å^l, float64, [n_centres, n_waves, (L + 1)²].

        Args:
            wave_numbers: |G| in Å⁻¹, float64, [n_waves].
        """
        inverse_exponents, transformed = self._transformed()
        exponentials = torch.exp(-wave_numbers.square()[:, None] * inverse_exponents[:, None])
        return exponentials @ transformed

    @property
    def _degrees(self) -> Tensor:
        return degrees(self.highest_degree).to(self.exponents.device, torch.float64)

    def _transformed(self) -> tuple[Tensor, Tensor]:
        """1/4α in Å² and the factors of exp(−G²/4α) in t in e·Å^l, both float64."""
        exponents, weights = self._in_angstrom()
        widths = (pi / exponents) ** 1.5
        return 1 / (4 * exponents), weights * widths[..., None] * (2 * exponents[..., None]) ** -self._degrees

    def _in_angstrom(self) -> tuple[Tensor, Tensor]:
        """Exponents in Å⁻² and the factors of exp(−α r²) r^l Y_lm in e·Å^(−3 − l), both float64."""
        exponents, degree = self.exponents.double(), self._degrees
        norms = radial_norm(exponents[..., None], degree) * BOHR ** (-3 - degree)
        return exponents / BOHR**2, self.coefficients.double() * norms


def _worst(exponents: Tensor) -> float:
    bad = exponents[~(torch.isfinite(exponents) & (exponents > 0))]
    return float(bad[0])
