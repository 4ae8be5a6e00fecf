import itertools

import numba
import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from models.decoder.real_space import Centres, Frame, RadialCubics, sum_at_points, sum_on_planes

SPACING = 0.05
SHEARED = np.array([[2.0, 0.0, 0.0], [1.7, 1.9, 0.0], [-1.6, 1.5, 2.2]])
LEFT_HANDED = SHEARED[[0, 2, 1]]
TINY = 0.4 * np.eye(3)
FRACTIONAL = np.array([[0.1, 0.2, 0.3], [0.9, 0.95, 0.0], [2.3, -1.4, 0.5]])


def spline_to(cutoff: float, width: float) -> CubicSpline:
    """A function that falls from one to zero at its cutoff; both lengths in Å."""
    knots = SPACING * np.arange(round(cutoff / SPACING) + 1)
    return CubicSpline(knots, np.exp(-((knots / width) ** 2)) * (1 - (knots / cutoff) ** 2) ** 3, bc_type="clamped")


SPLINES = [spline_to(3.0, 1.2), spline_to(1.25, 0.4)]


@pytest.fixture(scope="module")
def functions() -> RadialCubics:
    return RadialCubics.of_splines(SPLINES, SPACING)


@pytest.fixture(scope="module")
def centres() -> Centres:
    return Centres(FRACTIONAL, np.array([0, 1, 0]))


def plain_sum(cell: np.ndarray, is_periodic: bool, fractional_points: np.ndarray) -> np.ndarray:
    """The sum by a plain loop over images, [n_points]."""
    reach = range(-14, 15) if is_periodic else range(1)
    images = np.array(list(itertools.product(reach, repeat=3)))
    total = np.zeros(len(fractional_points))
    for atom, which in zip(FRACTIONAL, (0, 1, 0), strict=True):
        separation = fractional_points[:, None] - atom - images
        distance = np.linalg.norm(separation @ cell, axis=2)
        spline = SPLINES[which]
        values = np.zeros(distance.shape)
        near = distance < spline.x[-1]
        values[near] = spline(distance[near])
        total += values.sum(axis=1)
    return total


def fractional_grid(shape: tuple[int, int, int]) -> np.ndarray:
    return np.array([np.array(index) / shape for index in np.ndindex(shape)])


CELLS = {"sheared": SHEARED, "left-handed": LEFT_HANDED, "smaller than the cutoff": TINY}


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
@pytest.mark.parametrize("is_periodic", [True, False])
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 4, 2)])
def test_the_grid_equals_a_plain_loop_over_images(functions, centres, cell, is_periodic, shape):
    found = sum_on_planes(Frame.of_cell(cell, shape, is_periodic), functions, centres, (0, shape[0]))
    expected = plain_sum(cell, is_periodic, fractional_grid(shape)).reshape(shape)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
@pytest.mark.parametrize("is_periodic", [True, False])
def test_points_anywhere_equal_a_plain_loop_over_images(functions, centres, cell, is_periodic):
    points = np.random.default_rng(3).uniform(-2, 2, (7, 3))
    found = sum_at_points(Frame.of_cell(cell, (5, 6, 7), is_periodic), functions, centres, points @ cell)
    np.testing.assert_allclose(found, plain_sum(cell, is_periodic, points), rtol=1e-11, atol=1e-13)


def test_a_function_is_its_spline_from_the_nucleus_to_the_cutoff(functions):
    frame = Frame.of_cell(9 * np.eye(3), (1, 1, 1), is_periodic=False)
    radius = np.linspace(0, 3.2, 801)
    points = np.stack([radius, np.zeros(801), np.zeros(801)], axis=1)
    found = sum_at_points(frame, functions, Centres(np.zeros((1, 3)), np.array([0])), points)
    np.testing.assert_allclose(found, np.where(radius < 3.0, SPLINES[0](radius), 0.0), rtol=0, atol=1e-14)


def test_an_atom_outside_the_box_reaches_into_it_once(functions):
    frame = Frame.of_cell(2 * np.eye(3), (4, 4, 4), is_periodic=False)
    found = sum_on_planes(frame, functions, Centres(np.array([[-0.5, 0.0, 0.0]]), np.array([0])), (0, 4))
    np.testing.assert_allclose(found[:, 0, 0], SPLINES[0]([1.0, 1.5, 2.0, 2.5]), rtol=1e-12)


def test_no_atoms_make_a_grid_of_zeros(functions):
    frame = Frame.of_cell(SHEARED, (2, 3, 4), is_periodic=True)
    found = sum_on_planes(frame, functions, Centres(np.zeros((0, 3)), np.zeros(0, dtype=np.int64)), (0, 2))
    np.testing.assert_array_equal(found, np.zeros((2, 3, 4)))


def test_no_points_have_no_values(functions, centres):
    frame = Frame.of_cell(SHEARED, (2, 3, 4), is_periodic=True)
    assert sum_at_points(frame, functions, centres, np.zeros((0, 3))).shape == (0,)


def test_points_may_be_a_view_with_strides(functions, centres):
    frame = Frame.of_cell(SHEARED, (1, 1, 1), is_periodic=True)
    points = np.random.default_rng(5).uniform(0, 2, (3, 8)).T
    found = sum_at_points(frame, functions, centres, points[::2])
    np.testing.assert_array_equal(found, sum_at_points(frame, functions, centres, points[::2].copy()))


def test_the_number_of_threads_changes_no_bit(functions, centres):
    frame, before = Frame.of_cell(SHEARED, (11, 9, 10), is_periodic=True), numba.get_num_threads()
    grids = []
    try:
        for n_threads in (1, before):
            numba.set_num_threads(n_threads)
            grids.append(sum_on_planes(frame, functions, centres, (0, 11)))
    finally:
        numba.set_num_threads(before)
    np.testing.assert_array_equal(*grids)


def test_a_frame_knows_its_cell():
    np.testing.assert_allclose(Frame.of_cell(SHEARED, (3, 5, 7), is_periodic=True).cell, SHEARED, rtol=1e-15)
