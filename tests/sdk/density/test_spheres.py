"""Points in spheres against a plain search over all images."""

import itertools

import numpy as np
import pytest

from rhocast.density.spheres import Sphere, pairs_with_points, parts_on_grid
from rhocast.structure import Structure
from tests.sdk.density.conftest import SHEARED_LEFT_HANDED

CELLS = {"larger than the sphere": 3 * SHEARED_LEFT_HANDED, "smaller than the sphere": 0.35 * SHEARED_LEFT_HANDED}
SPHERE = Sphere(np.array([0.2, -7.0, 3.0]), 3.1)


def searched(structure, points):
    """Sorted (index of point, vector) of all pairs."""
    reach = range(-12, 13) if structure.is_periodic else range(1)
    shifts = np.array(list(itertools.product(reach, repeat=3))) @ structure.cell
    away = points[:, None] - SPHERE.centre + shifts
    which, shift = np.nonzero(np.linalg.norm(away, axis=2) < SPHERE.radius)
    return in_order(which, away[which, shift])


def in_order(which, vectors):
    rows = np.column_stack([which, vectors.round(9) + 0.0])
    return rows[np.lexsort(rows.T[::-1])]


@pytest.mark.parametrize("is_periodic", [True, False])
@pytest.mark.parametrize("name", CELLS)
def test_each_pair_of_a_point_and_an_image_is_met_once(name, is_periodic, monkeypatch):
    monkeypatch.setattr("rhocast.density.spheres._PAIRS_AT_ONCE", 1000)
    structure = Structure.from_symbols(["H"], [[0, 0, 0]], CELLS[name], is_periodic)
    points = np.random.default_rng(0).uniform(-4, 6, (60, 3)) + SPHERE.centre
    points[:3] += 20 * structure.cell if is_periodic else 20
    pieces = list(pairs_with_points(structure, points, SPHERE))
    found = in_order(*(np.concatenate(one) for one in zip(*pieces, strict=True)))
    if is_periodic:
        points = points - np.rint((points - SPHERE.centre) @ np.linalg.inv(structure.cell)) @ structure.cell
    np.testing.assert_allclose(found, searched(structure, points), atol=2e-8)


@pytest.mark.parametrize("is_periodic", [True, False])
@pytest.mark.parametrize("name", CELLS)
def test_the_parts_on_a_grid_hold_the_pairs_of_its_points(name, is_periodic, monkeypatch):
    monkeypatch.setattr("rhocast.density.spheres._PAIRS_AT_ONCE", 500)
    structure = Structure.from_symbols(["H"], [[0, 0, 0]], CELLS[name], is_periodic)
    shape = (5, 6, 4)
    points = np.array([np.array(index) / shape for index in np.ndindex(shape)]) @ structure.cell
    sphere = Sphere(structure.cell.sum(axis=0) * 0.4 + 0.03, 3.1)
    sums = np.zeros(shape)
    for part in parts_on_grid(structure, shape, sphere):
        np.testing.assert_allclose(np.square(part.vectors).sum(axis=1), part.squared, atol=1e-9)
        sums[part.block] += part.with_zeros(part.vectors @ [1.0, 10.0, 100.0] + 7)
    expected = np.zeros(len(points))
    for which, vectors in pairs_with_points(structure, points, sphere):
        np.add.at(expected, which, vectors @ [1.0, 10.0, 100.0] + 7)
    np.testing.assert_allclose(sums.ravel(), expected, atol=1e-8)


def test_points_far_from_everything_are_in_no_sphere():
    structure = Structure.from_symbols(["H"], [[0, 0, 0]], np.eye(3), is_periodic=False)
    assert not list(pairs_with_points(structure, np.full((2, 3), 50.0), SPHERE))
