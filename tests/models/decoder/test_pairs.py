"""Lists of pairs, against a plain loop over images."""

import itertools

import numpy as np
import pytest

from models.decoder.frame import Frame
from models.decoder.pairs import pairs_at_points, pairs_on_plane

CELL = np.array([[3.1, 0.2, -0.3], [-1.2, 3.9, 0.4], [0.5, -0.7, 4.6]])
LEFT_HANDED = CELL[[1, 0, 2]]
FRACTIONAL = np.array([[0.1, 0.2, 0.3], [0.9, 0.95, 0.0], [0.4, 0.4, 0.5]])
SHAPE = (4, 5, 6)
RADIUS = 3.0


def sorted_rows(centres, points, vectors) -> np.ndarray:
    rows = np.column_stack([centres, points, np.round(vectors, 9)]) + 0.0
    return rows[np.lexsort(rows.T[::-1])]


def plain(cell, is_periodic, points) -> np.ndarray:
    images = np.array(list(itertools.product(range(-5, 6), repeat=3))) if is_periodic else np.zeros((1, 3))
    vectors = points[None, :, None] - (FRACTIONAL[:, None] @ cell)[:, :, None] - (images @ cell)[None, None]
    centres, indices, image = np.nonzero(np.linalg.norm(vectors, axis=3) < RADIUS)
    return sorted_rows(centres, indices, vectors[centres, indices, image])


def listed(pairs) -> np.ndarray:
    return sorted_rows(np.repeat(np.arange(len(pairs.counts)), pairs.counts), pairs.points, pairs.vectors)


@pytest.mark.parametrize("is_periodic", [False, True], ids=["molecule", "crystal"])
@pytest.mark.parametrize("cell", [CELL, LEFT_HANDED], ids=["right-handed", "left-handed"])
def test_every_pair_is_listed_once(cell, is_periodic):
    frame = Frame.of_cell(cell, SHAPE, is_periodic)
    points = np.vstack([np.random.default_rng(0).normal(size=(7, 3)) * 3, FRACTIONAL @ cell])
    np.testing.assert_allclose(
        listed(pairs_at_points(frame, FRACTIONAL, RADIUS, points)), plain(cell, is_periodic, points), atol=1e-8
    )
    for plane in range(SHAPE[0]):
        there = [[plane / SHAPE[0], j / SHAPE[1], k / SHAPE[2]] for j, k in np.ndindex(SHAPE[1:])] @ cell
        found = pairs_on_plane(frame, FRACTIONAL, RADIUS, plane)
        assert len(found.points)
        np.testing.assert_allclose(listed(found), plain(cell, is_periodic, there), atol=1e-8)


def test_runs_of_points_hold_the_pairs_of_all():
    found = pairs_on_plane(Frame.of_cell(CELL, SHAPE, True), FRACTIONAL, RADIUS, 1)
    runs = [found.of_points(first, last) for first, last in ((0, 7), (7, 8), (8, 30))]
    moved = [run._replace(points=run.points + first) for run, first in zip(runs, (0, 7, 8), strict=True)]
    rows = np.concatenate([listed(run) for run in moved])
    np.testing.assert_array_equal(rows[np.lexsort(rows.T[::-1])], listed(found))
    assert [run.counts.sum() for run in runs] == [len(run.points) for run in runs]


def test_a_place_without_centres_has_no_pairs():
    found = pairs_at_points(Frame.of_cell(CELL, SHAPE, False), FRACTIONAL, RADIUS, np.full((2, 3), 50.0))
    assert found.counts.tolist() == [0, 0, 0]
    assert found.vectors.shape == (0, 3)
