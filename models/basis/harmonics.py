"""Real solid harmonics, e3nn's order and 'norm' normalisation: l = 1 is (x, y, z), and Σ_m Y_lm² = 1 on the sphere."""

from math import factorial, isqrt, sqrt

import torch
from torch import Tensor


def n_harmonics(highest_degree: int) -> int:
    """Number of harmonics of the degrees 0 to `highest_degree`."""
    return (highest_degree + 1) ** 2


def degree_of(n_functions: int) -> int:
    """The highest degree among this number of harmonics.

    Raises:
        ValueError: If no highest degree has this number.
    """
    highest_degree = isqrt(n_functions) - 1
    if highest_degree < 0 or n_harmonics(highest_degree) != n_functions:
        raise ValueError(
            f"found {n_functions} harmonics; expected (L + 1)² of them: 1, 4, 9, 16, 25 …; "
            "give every m of every degree up to L, with zeros for those that are not used"
        )
    return highest_degree


def degrees(highest_degree: int) -> Tensor:
    """Degree l of each harmonic, [(L + 1)²]."""
    per_degree = torch.arange(highest_degree + 1)
    return torch.repeat_interleave(per_degree, 2 * per_degree + 1)


def solid_harmonics(vectors: Tensor, highest_degree: int) -> Tensor:
    r"""Homogeneous polynomials r^l Y_lm(r̂), [..., (L + 1)²].

    .. math:: r^l Y_{l,\pm m} = \sqrt{\frac{2 (l-m)!}{(l+m)!}}\; \Pi_l^m(\zeta, r)\;
        \mathrm{Re | Im}\, (\xi + i \eta)^m, \qquad
        (l-m)\, \Pi_l^m = (2l-1)\, \zeta\, \Pi_{l-1}^m - (l+m-1)\, r^2\, \Pi_{l-2}^m

    with (ξ, η, ζ) = (z, x, y): e3nn's polar axis is y (Helgaker, Jørgensen, Olsen, *Molecular Electronic-Structure
    Theory*, 6.4; without the Condon–Shortley phase).

    Args:
        vectors: Cartesian vectors in any unit, [..., 3].
        highest_degree: L.
    """
    eta, zeta, xi = vectors.unbind(-1)
    r_squared = vectors.square().sum(-1)
    rows: list[list[Tensor]] = [[] for _ in range(highest_degree + 1)]
    cosine, sine = torch.ones_like(xi), torch.zeros_like(xi)
    for m in range(highest_degree + 1):
        polar = _polar_parts(m, highest_degree, zeta, r_squared)
        for degree, part in enumerate(polar, start=m):
            if m == 0:
                rows[degree] = [part]
                continue
            norm = _norm(degree, m)
            rows[degree] = [norm * part * sine, *rows[degree], norm * part * cosine]
        cosine, sine = xi * cosine - eta * sine, xi * sine + eta * cosine
    return torch.stack([harmonic for row in rows for harmonic in row], dim=-1)


def leading_factors(highest_degree: int) -> Tensor:
    """What is left of each harmonic over ζ^(l − |m|) Re | Im (ξ + iη)^|m| where r² is zero, float64, [(L + 1)²].

    That is √(2 (l − |m|)!/(l + |m|)!), 1 where m = 0, times (2l − 1)!!/(l − |m|)!. Over it, Π_l^m begins with
    ζ^(l − m), and its recurrence needs one factor alone.
    """
    orders = [(degree, abs(m)) for degree in range(highest_degree + 1) for m in range(-degree, degree + 1)]
    factors = [
        (_norm(degree, m) if m else 1.0) * _double_factorial(degree) / factorial(degree - m) for degree, m in orders
    ]
    return torch.tensor(factors, dtype=torch.float64)


def _double_factorial(n: int) -> int:
    """(2n − 1)!!"""
    return factorial(2 * n) // (2**n * factorial(n))


def _norm(degree: int, m: int) -> float:
    return sqrt(2 * factorial(degree - m) / factorial(degree + m))


def _polar_parts(m: int, highest_degree: int, zeta: Tensor, r_squared: Tensor) -> list[Tensor]:
    """Π_l^m for l from m to the highest degree."""
    parts = [torch.full_like(zeta, float(_double_factorial(m)))]
    for degree in range(m + 1, highest_degree + 1):
        part = (2 * degree - 1) * zeta * parts[-1]
        if len(parts) > 1:
            part = part - (degree + m - 1) * r_squared * parts[-2]
        parts.append(part / (degree - m))
    return parts
