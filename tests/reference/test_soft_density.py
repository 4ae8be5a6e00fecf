"""Laws of the compensation charges, by quadrature, and of the Fourier coefficients."""

import numpy as np
import pytest
from scipy.special import sph_harm_y

from reference.soft_density import (
    BOHR,
    density_from_coefficients,
    fourier_coefficients,
    soft_compensation,
    solid_harmonics,
    wave_vector_indices,
    wave_vectors,
)

CELL = np.array([[6.0, 0, 0], [0.4, 6.5, 0], [-0.3, 0.5, 7.0]])
SHAPE = (48, 50, 54)


def grid_points(cell, shape):
    fractions = np.stack(np.meshgrid(*(np.arange(n) / n for n in shape), indexing="ij"), -1)
    return fractions @ cell


def arms_from(centre):
    """From an atom to the nearest image of each point, Å; [n0, n1, n2, 3]."""
    arms = grid_points(CELL, SHAPE) - centre
    return arms - np.rint(arms @ np.linalg.inv(CELL)) @ CELL


@pytest.mark.parametrize("component", range(9))
def test_the_charge_has_the_asked_multipole_and_no_other(component):
    multipoles = np.zeros((1, 9))
    multipoles[0, component] = 0.7
    centre = np.array([1.1, 5.0, 3.3])
    density = soft_compensation(SHAPE, CELL, centre[None], multipoles, np.array([0.45]))
    arms = np.moveaxis(arms_from(centre), -1, 0) / BOHR
    voxel = abs(np.linalg.det(CELL)) / density.size
    found = [float((density * harmonic).sum() * voxel) for harmonic in solid_harmonics(arms)]
    np.testing.assert_allclose(found, multipoles[0], atol=1e-6)


def test_the_charges_integrate_to_their_monopoles():
    rng = np.random.default_rng(1)
    multipoles = rng.normal(size=(3, 9))
    density = soft_compensation(SHAPE, CELL, rng.random((3, 3)) @ CELL, multipoles, np.array([0.3, 0.45, 0.64]))
    charge = density.mean() * abs(np.linalg.det(CELL))
    assert charge == pytest.approx(multipoles[:, 0].sum() * np.sqrt(4 * np.pi), abs=1e-9)


def test_a_monopole_is_the_gaussian_of_its_width():
    centre, width = np.array([2.0, 3.0, 3.0]), 0.45
    density = soft_compensation(SHAPE, CELL, centre[None], np.eye(1, 9) / np.sqrt(4 * np.pi), np.array([width]))
    r2 = (arms_from(centre) ** 2).sum(-1)
    np.testing.assert_allclose(density, np.exp(-r2 / width**2) / (np.pi**1.5 * width**3), atol=1e-5)


@pytest.mark.parametrize(
    ("component", "degree", "order"),
    [(0, 0, 0), (1, 1, -1), (2, 1, 0), (3, 1, 1), (4, 2, -2), (5, 2, -1), (6, 2, 0), (7, 2, 1), (8, 2, 2)],
)
def test_the_harmonics_are_those_of_the_textbook_in_order_of_m(component, degree, order):
    vectors = np.random.default_rng(0).normal(size=(3, 40))
    r = np.linalg.norm(vectors, axis=0)
    complex_one = sph_harm_y(degree, abs(order), np.arccos(vectors[2] / r), np.arctan2(vectors[1], vectors[0]))
    part = complex_one.imag if order < 0 else complex_one.real
    expected = part * (np.sqrt(2) * (-1) ** order if order else 1) * r**degree
    np.testing.assert_allclose(solid_harmonics(vectors)[component], expected, atol=1e-12)


def test_the_waves_are_all_inside_the_sphere_and_one_of_each_pair():
    indices = wave_vector_indices(CELL)
    found = {tuple(row) for row in indices.tolist()}
    every = np.stack(np.meshgrid(*3 * [np.arange(-6, 7)], indexing="ij"), -1).reshape(-1, 3)
    inside = {tuple(row) for row in every[np.linalg.norm(wave_vectors(CELL, every), axis=1) <= 3].tolist()}
    opposite = {tuple(-n for n in row) for row in found}
    assert found | opposite == inside
    assert found & opposite == {(0, 0, 0)}
    assert tuple(indices[0]) == (0, 0, 0)


def test_a_density_of_long_waves_is_its_coefficients():
    indices = wave_vector_indices(CELL)
    rng = np.random.default_rng(2)
    coefficients = rng.normal(size=len(indices)) + 1j * rng.normal(size=len(indices))
    coefficients[0] = 12
    density = density_from_coefficients(coefficients, CELL, indices, SHAPE)
    phases = wave_vectors(CELL, indices) @ grid_points(CELL, SHAPE)[3, 5, 7]
    twice = np.where(np.arange(len(indices)) > 0, 2, 1)
    direct = (twice * coefficients * np.exp(1j * phases)).real.sum() / abs(np.linalg.det(CELL))
    assert density[3, 5, 7] == pytest.approx(direct, abs=1e-12)
    np.testing.assert_allclose(fourier_coefficients(density, CELL, indices), coefficients, atol=1e-12)
    assert density.mean() * abs(np.linalg.det(CELL)) == pytest.approx(12)


def test_a_gaussian_has_the_coefficients_of_its_transform():
    centre, width = np.array([1.0, 2.0, 3.0]), 0.45
    density = soft_compensation(SHAPE, CELL, centre[None], np.eye(1, 9) / np.sqrt(4 * np.pi), np.array([width]))
    indices = wave_vector_indices(CELL)
    g = wave_vectors(CELL, indices)
    expected = np.exp(-((g**2).sum(1)) * width**2 / 4 - 1j * g @ centre)
    np.testing.assert_allclose(fourier_coefficients(density, CELL, indices), expected, atol=1e-12)


def test_a_grid_that_is_too_coarse_is_refused():
    with pytest.raises(ValueError, match="resolves waves"):
        fourier_coefficients(np.ones((4, 4, 4)), CELL, wave_vector_indices(CELL))
