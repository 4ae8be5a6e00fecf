"""Products of two functions against sums over fine grids, with e3nn's harmonics and scipy's norms."""

import numpy as np
import pytest
import torch
from e3nn import o3
from scipy.special import gamma

from models.basis.harmonics import degrees
from models.basis.overlaps import hermite_powers, hermite_products, overlaps
from tests.models.structures import TRANSFORMATIONS, wigner_matrix

FIRST = torch.tensor([[0.45, 1.6], [0.8, 0.5], [0.7, 1.1]], dtype=torch.float64)
SECOND = torch.tensor([[0.5, 0.9, 2.1], [1.0, 0.6, 0.7], [1.5, 0.7, 1.0]], dtype=torch.float64)
VECTORS = torch.tensor([[0.7, -0.9, 1.1], [0.0, 0.0, 0.0], [2.5, 1.0, -3.0]], dtype=torch.float64)


def grid() -> torch.Tensor:
    """Points of a cube of 20 bohr about the origin, [n_points, 3]; every product is smooth on them."""
    axis = torch.linspace(-10, 10, 81, dtype=torch.float64)
    return torch.cartesian_prod(axis, axis, axis)


def functions(exponent: float, vectors: torch.Tensor, highest_degree: int) -> torch.Tensor:
    """Normalised functions at points, [n_points, (L + 1)²]."""
    harmonics = o3.spherical_harmonics(list(range(highest_degree + 1)), vectors, normalize=False, normalization="norm")
    order = np.repeat(np.arange(highest_degree + 1), 2 * np.arange(highest_degree + 1) + 1) + 1.5
    norms = torch.from_numpy(np.sqrt(2 * (2 * exponent) ** order / gamma(order)))
    return harmonics * norms * torch.exp(-exponent * vectors.square().sum(1, keepdim=True))


@pytest.mark.parametrize("highest_degree", [0, 1, 2, 3])
def test_overlaps_are_sums_over_a_fine_grid(highest_degree):
    found, points = overlaps(FIRST, SECOND, VECTORS, highest_degree), grid()
    for pair, vector in enumerate(VECTORS):
        mine = [functions(float(one), points, highest_degree) for one in FIRST[pair]]
        theirs = [functions(float(one), points - vector, highest_degree) for one in SECOND[pair]]
        for j, first in enumerate(mine):
            for i, second in enumerate(theirs):
                expected = first.T @ second * 0.25**3
                torch.testing.assert_close(found[pair, j, :, i], expected, atol=1e-10, rtol=0)


def test_functions_of_one_centre_are_orthogonal():
    found = overlaps(FIRST[:, :1], FIRST[:, :1], torch.zeros(3, 3), 3)[:, 0, :, 0]
    expected = torch.diag(4 * torch.pi / (2 * degrees(3).double() + 1)).expand_as(found)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_they_turn_with_the_pair(name):
    matrix = TRANSFORMATIONS[name]
    wigner = wigner_matrix(matrix, 3)
    turned = overlaps(FIRST, SECOND, VECTORS @ torch.from_numpy(matrix).T, 3)
    expected = torch.einsum("am,pjmin,bn->pjaib", wigner, overlaps(FIRST, SECOND, VECTORS, 3), wigner)
    torch.testing.assert_close(turned, expected, atol=1e-12, rtol=0)


def test_exchanging_the_centres_exchanges_the_functions():
    found = overlaps(SECOND, FIRST, -VECTORS, 2)
    torch.testing.assert_close(found, overlaps(FIRST, SECOND, VECTORS, 2).permute(0, 3, 4, 1, 2), atol=1e-13, rtol=0)


def test_hermite_gaussians_are_the_product_at_every_point():
    """Σ E ∂^t ∂^u ∂^v exp(−p (r − P)²), derivatives by autograd, is φ φ'."""
    products = hermite_products(FIRST[:1, :1], SECOND[:1, :1], VECTORS[:1], 1, 2)
    points = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    exponent, centre = products.exponents[0, 0, 0], products.centres[0, 0, 0]
    found = torch.zeros(5, 4, 4, dtype=torch.float64)
    for powers, coefficients in zip(hermite_powers(2), products.coefficients[0, 0, :, 0].unbind(-1), strict=True):
        moved = centre.expand(5, 3).clone().requires_grad_()
        values = torch.exp(-exponent * (points - moved).square().sum(1))
        for axis in torch.repeat_interleave(torch.arange(3), powers):
            values = torch.autograd.grad(values.sum(), moved, create_graph=True)[0][:, axis]
        found += values.detach()[:, None, None] * coefficients
    first, second = functions(0.45, points, 1), functions(0.5, points - VECTORS[0], 1)
    torch.testing.assert_close(found, first[:, :, None] * second[:, None], atol=1e-13, rtol=0)


def test_their_gradient_is_theirs():
    inputs = tuple(one[:2].clone().requires_grad_() for one in (FIRST, SECOND, VECTORS))
    assert torch.autograd.gradcheck(lambda *three: overlaps(*three, 2), inputs)
