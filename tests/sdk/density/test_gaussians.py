"""Gaussian-type functions against quadrature."""

import numpy as np
import pytest

from rhocast.density import Gaussians
from rhocast.density.cube import BOHR
from rhocast.density.gaussians import reach
from rhocast.density.harmonics import degrees, solid_harmonics
from rhocast.errors import InvalidField
from tests.sdk.density.expansions import gaussians


def ball(spacing=0.12, radius=5.0):
    """Points of a cubic grid in Å, and the volume that each stands for."""
    axis = np.arange(-radius, radius + spacing / 2, spacing)
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3), spacing**3


@pytest.mark.parametrize("degree", range(7))
def test_a_primitive_is_normalised_in_bohr(degree):
    """∫ (N r^l e^(−α r²))² r² dr = 1: for 'norm' harmonics the integral over space of its square is 4π/(2l + 1)."""
    coefficients = np.zeros((1, 1, 49))
    coefficients[0, 0, degree * (degree + 1)] = 1
    points, volume = ball()
    values = Gaussians(np.array([[0.7]]), coefficients).about(0, points)
    found = (values**2).sum() * volume * BOHR**3
    assert found == pytest.approx(4 * np.pi / (2 * degree + 1), rel=1e-6)


def test_multipoles_are_moments_in_electrons_and_angstrom():
    functions = gaussians(2, (0.5, 1.2), 4)
    points, volume = ball(0.15)
    harmonics = solid_harmonics(points, 4)
    for centre, expected in enumerate(functions.multipoles):
        np.testing.assert_allclose(harmonics @ functions.about(centre, points) * volume, expected, atol=1e-5)


def test_a_function_ends_where_little_of_it_is_left():
    for degree in range(7):
        x = np.linspace(max(degree / 2, 1e-9), reach(degree), 1000)
        values = x ** (degree / 2) * np.exp(-x)
        assert values[-1] <= 1.000001e-6 * values.max()
    assert reach(0) == 16
    assert gaussians(3, (0.3, 2.0), 0).radii == pytest.approx(
        BOHR * np.sqrt(16 / gaussians(3, (0.3, 2.0), 0).exponents[:, 0])
    )


def test_values_do_not_depend_on_how_many_are_asked_for():
    functions, points = gaussians(1, (0.5, 1.2), 3), np.random.default_rng(0).standard_normal((40_000, 3))
    np.testing.assert_allclose(functions.about(0, points)[-5:], functions.about(0, points[-5:]), rtol=1e-12)
    assert len(functions.about(0, np.empty((0, 3)))) == 0


def test_degrees_of_functions():
    assert gaussians(1, (1.0,), 5).highest_degree == 5
    assert degrees(2).tolist() == [0, 1, 1, 1, 2, 2, 2, 2, 2]


@pytest.mark.parametrize(
    ("exponents", "coefficients", "message"),
    [
        (np.ones(2), np.ones((1, 2, 4)), "found exponents of shape .2,."),
        (np.ones((1, 2)), np.ones((1, 2)), "coefficients of shape .1, 2."),
        (np.ones((1, 2)), np.ones((1, 3, 4)), "coefficients of shape .1, 3, 4."),
        (np.ones((0, 2)), np.ones((0, 2, 4)), "expected a centre and a function at least"),
        (np.ones((1, 2)), np.ones((1, 2, 5)), "found 5 harmonics"),
        (np.ones((1, 1)), np.full((1, 1, 1), np.nan), "coefficients from nan to nan"),
        (np.full((1, 1), np.nan), np.ones((1, 1, 1)), "found exponents from nan to nan"),
        (np.array([[1.0, 0.0]]), np.ones((1, 2, 1)), "found exponents from 0 to 1 bohr⁻²"),
        (np.array([[1.0, 1e7]]), np.ones((1, 2, 1)), r"expected exponents from 0.001 to 1e\+06 bohr⁻²"),
    ],
)
def test_numbers_that_make_no_functions_are_refused(exponents, coefficients, message):
    with pytest.raises(InvalidField, match=message):
        Gaussians(exponents, coefficients)
