r"""Products of two Gaussian-type functions on two centres, in closed form.

With φ and φ' about 0 and R, exponents α and β, p = α + β and P = βR/p, a product is a Gaussian about P times a
polynomial, which is written in derivatives of the Gaussian (Hermite Gaussians):

.. math:: \varphi(r)\, \varphi'(r - R) = e^{-\alpha\beta R^2/p} \sum_{tuv} E_{tuv}\,
    \partial_{P_x}^t \partial_{P_y}^u \partial_{P_z}^v\, e^{-p\, (r-P)^2}

(L. E. McMurchie, E. R. Davidson, J. Comput. Phys. 26, 218, 1978; Helgaker, Jørgensen, Olsen, *Molecular
Electronic-Structure Theory*, 9.5). The derivatives integrate to zero, so that E₀₀₀ alone gives the overlap; all of them
give the Fourier transform, for a derivative becomes a factor −iG.
"""

from functools import lru_cache
from math import pi
from typing import NamedTuple

import torch
from torch import Tensor

from models.basis.gaussian import radial_norm
from models.basis.harmonics import degrees, n_harmonics, solid_harmonics


class HermiteProducts(NamedTuple):
    """Products of the functions of pairs of centres in Hermite Gaussians.

    Attributes:
        exponents: p in bohr⁻², float64, [n_pairs, J, J'].
        centres: P − R_first in bohr, float64, [n_pairs, J, J', 3].
        coefficients: E times the first exponential, in bohr⁻³ and powers of bohr, float64,
            [n_pairs, J, (L + 1)², J', (L + 1)², n_hermite], in the order of `hermite_powers`.
    """

    exponents: Tensor
    centres: Tensor
    coefficients: Tensor


def overlaps(first: Tensor, second: Tensor, vectors: Tensor, highest_degree: int) -> Tensor:
    """∫ φ(r) φ'(r − R) d³r of normalised functions, float64, [n_pairs, J, (L + 1)², J', (L + 1)²].

    Differentiable in exponents and vectors.

    Args:
        first: Exponents of the functions about 0 in bohr⁻², [n_pairs, J].
        second: Of those about R, [n_pairs, J'].
        vectors: R in bohr, [n_pairs, 3].
        highest_degree: L of both.
    """
    products = hermite_products(first, second, vectors, highest_degree, 0)
    integrals = (pi / products.exponents) ** 1.5
    return products.coefficients[..., 0] * integrals[:, :, None, :, None]


def hermite_products(
    first: Tensor, second: Tensor, vectors: Tensor, highest_degree: int, highest_power: int
) -> HermiteProducts:
    """All products of functions about 0 and about R, as far as these derivatives of Gaussians.

    Args:
        first: Exponents of the functions about 0 in bohr⁻², [n_pairs, J].
        second: Of those about R, [n_pairs, J'].
        vectors: R in bohr, [n_pairs, 3].
        highest_degree: L of both.
        highest_power: Highest t + u + v that is kept: 0 for integrals, 2L for everything.
    """
    alpha, beta = (one.double() for one in (first[:, :, None], second[:, None]))
    total = alpha + beta
    between = vectors.double()[:, None, None]
    centres = (beta / total)[..., None] * between
    along_axes = _along_axes(total, centres, centres - between, highest_degree)
    monomials, matrix = _solid_harmonics_as_monomials(highest_degree)
    powers = hermite_powers(highest_power)
    coefficients = torch.ones((), dtype=torch.float64)
    for axis in range(3):
        a, b, t = monomials[:, axis, None, None], monomials[:, axis, None], powers[:, axis]
        coefficients = coefficients * along_axes[:, :, :, axis, a, b, t]
    coefficients = coefficients * torch.exp(-alpha * beta / total * between.square().sum(3))[..., None, None, None]
    matrix = matrix.to(vectors.device)
    degree = degrees(highest_degree).to(vectors.device)
    norms_first, norms_second = (radial_norm(one.double()[..., None], degree) for one in (first, second))
    solid = torch.einsum("pjiabt,ma,nb->pjmint", coefficients, matrix, matrix)
    normalised = solid * norms_first[:, :, :, None, None, None] * norms_second[:, None, None, :, :, None]
    return HermiteProducts(total, centres, normalised)


@lru_cache(maxsize=16)
def hermite_powers(highest_power: int) -> Tensor:
    """(t, u, v) of each Hermite Gaussian up to this sum of them, the lowest sums first, [n_hermite, 3]."""
    return torch.cat([_powers_of(total) for total in range(highest_power + 1)])


def _powers_of(total: int) -> Tensor:
    """Exponents (a, b, c) of each monomial of one degree, [n, 3]."""
    return torch.tensor([(total - n, n - c, c) for n in range(total + 1) for c in range(n + 1)])


def _along_axes(total: Tensor, from_first: Tensor, from_second: Tensor, highest_degree: int) -> Tensor:
    r"""E of (x − A)^a (x − B)^b along each axis, [n_pairs, J, J', 3, L + 1, L + 1, 2L + 1 (t)].

    .. math:: E_t^{a+1,b} = \tfrac{1}{2p} E_{t-1}^{ab} + (P - A)\, E_t^{ab} + (t + 1)\, E_{t+1}^{ab}

    and alike for b + 1, with P − B.

    Args:
        total: p, [n_pairs, J, J'].
        from_first: P − A, [n_pairs, J, J', 3].
        from_second: P − B, [n_pairs, J, J', 3].
        highest_degree: L.
    """
    n_orders = 2 * highest_degree + 1
    half = (0.5 / total)[..., None, None]
    order = torch.arange(1, n_orders, dtype=total.dtype, device=total.device)

    def raised(one: Tensor, distance: Tensor) -> Tensor:
        below = torch.nn.functional.pad(half * one[..., :-1], (1, 0))
        above = torch.nn.functional.pad(order * one[..., 1:], (0, 1))
        return below + distance[..., None] * one + above

    start = torch.nn.functional.pad(torch.ones_like(from_first)[..., None], (0, n_orders - 1))
    rows = []
    for a in range(highest_degree + 1):
        start = raised(start, from_first) if a else start
        row = [start]
        for _ in range(highest_degree):
            row.append(raised(row[-1], from_second))
        rows.append(torch.stack(row, dim=-2))
    return torch.stack(rows, dim=-3)


@lru_cache(maxsize=16)
def _solid_harmonics_as_monomials(highest_degree: int) -> tuple[Tensor, Tensor]:
    """Exponents of x, y, z of monomials, [n_monomials, 3], and their factors in each r^l Y_lm, found by fitting."""
    monomials = hermite_powers(highest_degree)
    # Twice as many points as monomials determine every polynomial; one degree after another is exact to rounding.
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(2 * len(monomials), 3, dtype=torch.float64, generator=generator)
    harmonics, degree = solid_harmonics(points, highest_degree), degrees(highest_degree)
    matrix = torch.zeros(n_harmonics(highest_degree), len(monomials), dtype=torch.float64)
    for one in range(highest_degree + 1):
        rows, columns = degree == one, monomials.sum(1) == one
        values = (points[:, None] ** monomials[columns]).prod(2)
        fitted = torch.linalg.lstsq(values, harmonics[:, rows]).solution.T
        matrix[rows.nonzero(), columns.nonzero().T] = fitted
    return monomials, matrix
