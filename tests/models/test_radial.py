import math

import numpy as np
import pytest
import torch

from models.radial import SHELL_WIDTH, BesselBasis, gaussian_shells, polynomial_envelope

CUTOFF = 4.5


def derivatives(function, lengths, n: int) -> list[torch.Tensor]:
    """A function's values and its first n derivatives, by automatic differentiation."""
    lengths = lengths.clone().requires_grad_()
    found = [function(lengths)]
    for _ in range(n):
        found.append(torch.autograd.grad(found[-1].sum(), lengths, create_graph=True)[0])
    return [one.detach() for one in found]


def test_the_envelope_is_the_published_polynomial():
    lengths = torch.linspace(0.0, CUTOFF, 400, dtype=torch.float64)
    x = lengths / CUTOFF
    expected = 1 - 28 * x**6 + 48 * x**7 - 21 * x**8
    torch.testing.assert_close(polynomial_envelope(lengths, CUTOFF), expected, rtol=0, atol=1e-12)


def test_the_envelope_is_twice_differentiable_at_the_cutoff_and_flat_at_zero():
    near = torch.tensor([CUTOFF - 1e-6, CUTOFF, CUTOFF + 1e-6], dtype=torch.float64)
    for values in derivatives(lambda r: polynomial_envelope(r, CUTOFF), near, 2):
        np.testing.assert_allclose(values, 0, atol=1e-4)
    value, *others = derivatives(lambda r: polynomial_envelope(r, CUTOFF), torch.zeros(1, dtype=torch.float64), 3)
    assert value == 1
    assert all(abs(one) < 1e-10 for one in others)


def test_the_envelope_never_rises_and_is_never_negative_in_single_precision():
    lengths = torch.linspace(0.0, 1.2 * CUTOFF, 20001)
    envelope = polynomial_envelope(lengths, CUTOFF)
    assert (envelope[lengths >= CUTOFF] == 0).all()
    assert (envelope[lengths < CUTOFF - 1e-3] > 0).all()
    assert envelope.diff().max() < 3e-7


def test_bessel_functions_are_orthogonal_with_mean_square_one_in_the_ball():
    nodes, weights = np.polynomial.legendre.leggauss(80)
    lengths, weights = CUTOFF * (nodes + 1) / 2, weights * CUTOFF / 2
    basis = BesselBasis(8, CUTOFF).double()(torch.from_numpy(lengths)).numpy()
    overlaps = np.einsum("rm,rn,r->mn", basis, basis, weights * lengths**2) * 3 / CUTOFF**3
    np.testing.assert_allclose(overlaps, np.eye(8), atol=1e-10)


def test_bessel_functions_solve_their_equation_and_vanish_at_the_cutoff():
    lengths = torch.linspace(0.3, 4.4, 50, dtype=torch.float64)
    for order in range(8):
        value, slope, curvature = derivatives(lambda r, n=order: BesselBasis(8, CUTOFF).double()(r)[:, n], lengths, 2)
        wave_number = (order + 1) * math.pi / CUTOFF
        torch.testing.assert_close(curvature + 2 / lengths * slope, -(wave_number**2) * value, rtol=1e-8, atol=1e-8)
    ends = BesselBasis(8, CUTOFF)(torch.tensor([CUTOFF, 1e-9, 0.0]))
    torch.testing.assert_close(ends[0], torch.zeros(8), rtol=0, atol=1e-5)
    torch.testing.assert_close(ends[1], ends[2])


@pytest.mark.parametrize("length", [1e-3, 0.1, 1.0, CUTOFF, 2 * CUTOFF])
def test_derivatives_are_finite_to_the_third_order(length):
    lengths = torch.tensor([length], dtype=torch.float64)
    for function in (lambda r: polynomial_envelope(r, CUTOFF), lambda r: BesselBasis(8, CUTOFF).double()(r).sum(1)):
        assert all(one.isfinite().all() for one in derivatives(function, lengths, 3))


@pytest.mark.parametrize("n_radial", [2, 9, 40])
def test_gaussian_shells_are_sums_of_a_shell_and_its_mirror_image(n_radial):
    lengths, spacing = torch.linspace(0, 4, 101, dtype=torch.float64), 4 / n_radial
    found = gaussian_shells(lengths, 4.0, n_radial)
    norm = (n_radial / (SHELL_WIDTH * math.sqrt(math.pi / 2))) ** 0.5
    for k in range(n_radial):
        both = sum(torch.exp(-(((lengths + sign * k * spacing) / (SHELL_WIDTH * spacing)) ** 2)) for sign in (-1, 1))
        torch.testing.assert_close(found[:, k], norm * both, rtol=1e-12, atol=1e-15)
