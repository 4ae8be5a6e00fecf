"""Solid harmonics against scipy's complex ones and against explicit polynomials."""

import numpy as np
import pytest
from scipy.special import sph_harm_y

from rhocast.density.harmonics import HIGHEST_DEGREE, degree_of, degrees, solid_harmonics
from rhocast.errors import InvalidField


def vectors(n=200):
    return np.random.default_rng(0).standard_normal((n, 3))


def test_they_are_scipys_with_the_polar_axis_along_y():
    points = vectors()
    x, y, z = points.T
    radius = np.linalg.norm(points, axis=1)
    polar, azimuth = np.arccos(y / radius), np.arctan2(x, z)
    found = solid_harmonics(points, HIGHEST_DEGREE)
    for degree in range(HIGHEST_DEGREE + 1):
        for m in range(-degree, degree + 1):
            harmonic = (-1) ** m * sph_harm_y(degree, abs(m), polar, azimuth)
            part = (harmonic.real if m >= 0 else harmonic.imag) * (np.sqrt(2) if m else 1)
            expected = radius**degree * np.sqrt(4 * np.pi / (2 * degree + 1)) * part
            np.testing.assert_allclose(found[degree * (degree + 1) + m], expected, atol=1e-10)


def test_the_first_three_degrees_are_these_polynomials():
    points = vectors()
    x, y, z = points.T
    root = np.sqrt(3)
    expected = [
        np.ones_like(x),
        *(x, y, z),
        *(root * x * z, root * x * y, y**2 - (x**2 + z**2) / 2, root * y * z, root / 2 * (z**2 - x**2)),
    ]
    np.testing.assert_allclose(solid_harmonics(points, 2), expected, atol=1e-13)


def test_the_squares_of_a_degree_add_up_to_one_on_the_sphere():
    points = vectors()
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    squares, degree = solid_harmonics(points, HIGHEST_DEGREE) ** 2, degrees(HIGHEST_DEGREE)
    for one in range(HIGHEST_DEGREE + 1):
        np.testing.assert_allclose(squares[degree == one].sum(axis=0), 1, atol=1e-12)


def test_nothing_is_special_at_the_centre():
    np.testing.assert_array_equal(solid_harmonics(np.zeros((1, 3)), 3)[:, 0], [1] + 15 * [0])


@pytest.mark.parametrize("highest_degree", range(HIGHEST_DEGREE + 1))
def test_their_number_tells_the_highest_degree(highest_degree):
    assert degree_of((highest_degree + 1) ** 2) == highest_degree
    assert len(degrees(highest_degree)) == (highest_degree + 1) ** 2


@pytest.mark.parametrize("number", [0, 2, 8, 64])
def test_a_number_that_no_highest_degree_has_is_refused(number):
    with pytest.raises(InvalidField, match=rf"found {number} harmonics; expected \(L \+ 1\)² of them with L ≤ 6"):
        degree_of(number)
