import numpy as np
import pytest
import torch
from e3nn import o3
from scipy.special import sph_harm_y

from models.basis.harmonics import degree_of, degrees, leading_factors, n_harmonics, solid_harmonics

VECTORS = torch.from_numpy(np.random.default_rng(0).standard_normal((40, 3)))


def test_they_are_e3nns():
    expected = o3.spherical_harmonics(list(range(7)), VECTORS, normalize=False, normalization="norm")
    torch.testing.assert_close(solid_harmonics(VECTORS, 6), expected, rtol=0, atol=1e-11)


def test_they_are_scipys_with_y_as_the_polar_axis():
    x, y, z = VECTORS.numpy().T
    radius = np.linalg.norm(VECTORS, axis=1)
    polar, azimuth = np.arccos(y / radius), np.arctan2(x, z)
    found = solid_harmonics(VECTORS, 4).numpy()
    for degree in range(5):
        for m in range(-degree, degree + 1):
            complex_one = (-1) ** m * sph_harm_y(degree, abs(m), polar, azimuth) * np.sqrt(4 * np.pi / (2 * degree + 1))
            part = complex_one.real if m >= 0 else complex_one.imag
            expected = radius**degree * part * (np.sqrt(2) if m else 1)
            np.testing.assert_allclose(found[:, degree**2 + degree + m], expected, rtol=0, atol=1e-12)


def test_leading_factors_are_all_that_is_left_where_the_square_is_zero():
    """Along a complex vector with x² + y² + z² = 0 a harmonic is factor · y^(l − |m|) Re | Im (z + ix)^|m|."""
    x, z = 0.3, 0.8
    y = 1j * np.hypot(x, z)
    found = solid_harmonics(torch.tensor([x, y, z], dtype=torch.complex128), 6)
    for degree in range(7):
        for m in range(-degree, degree + 1):
            power = (z + 1j * x) ** abs(m)
            leading = y ** (degree - abs(m)) * (power.real if m >= 0 else power.imag)
            at = degree**2 + degree + m
            assert complex(found[at]) == pytest.approx(float(leading_factors(6)[at]) * leading, rel=1e-12)


def test_p_x_points_along_x():
    torch.testing.assert_close(solid_harmonics(VECTORS, 1)[:, 1:], VECTORS)


def test_their_squares_sum_to_one_on_the_sphere():
    directions = VECTORS / VECTORS.norm(dim=1, keepdim=True)
    squares = solid_harmonics(directions, 5).square()
    for degree in range(6):
        total = squares[:, degrees(5) == degree].sum(1)
        torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-12)


def test_a_vector_of_no_length_has_only_the_first():
    found = solid_harmonics(torch.zeros(3), 3)
    torch.testing.assert_close(found, torch.eye(16)[0])


def test_gradients_are_those_of_finite_differences():
    vectors = VECTORS[:3].clone().requires_grad_(True)
    assert torch.autograd.gradcheck(lambda v: solid_harmonics(v, 4), vectors)


@pytest.mark.parametrize("highest_degree", range(7))
def test_the_highest_degree_follows_from_the_number(highest_degree):
    assert degree_of(n_harmonics(highest_degree)) == highest_degree
    assert degrees(highest_degree).max() == highest_degree


@pytest.mark.parametrize("n_functions", [0, 2, 15, 24])
def test_a_number_that_no_degree_has_is_refused(n_functions):
    with pytest.raises(ValueError, match=rf"found {n_functions} harmonics; expected \(L \+ 1\)²"):
        degree_of(n_functions)
