import numba
import numpy as np
import pytest
import torch

from models.basis.gaussian import Orbitals
from models.basis.harmonics import degrees
from models.decoder.orbital import RealSpaceDecoder
from tests.models.decoder.brute_force import CELLS, LEFT_HANDED, SHEARED, TINY, Example, fractional_grid

SHAPE = (5, 6, 7)
ROTATION = np.array([[2.0, -1.0, 2.0], [2.0, 2.0, -1.0], [-1.0, 2.0, 2.0]]) / 3


def decoder(example: Example, dtype: torch.dtype = torch.float32) -> RealSpaceDecoder:
    return RealSpaceDecoder(example.cell, example.is_periodic, example.positions, example.orbitals(), dtype)


def assert_close(found, expected, tolerance: float) -> None:
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
@pytest.mark.parametrize("is_periodic", [True, False], ids=["crystal", "molecule"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.float64, 1e-6)], ids=["f32", "f64"])
def test_the_grid_equals_a_plain_lattice_sum(cell, is_periodic, dtype, tolerance):
    example = Example(cell, is_periodic, highest_degree=4)
    found = decoder(example, dtype).on_grid(SHAPE)
    assert found.dtype == torch.float64
    assert_close(found, example.values(fractional_grid(SHAPE) @ cell).reshape(SHAPE), tolerance)


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
@pytest.mark.parametrize("is_periodic", [True, False], ids=["crystal", "molecule"])
def test_points_anywhere_equal_a_plain_lattice_sum(cell, is_periodic):
    example = Example(cell, is_periodic, highest_degree=4)
    points = np.random.default_rng(3).uniform(-1, 2, (70, 3)) @ cell
    assert_close(decoder(example).at_points(points), example.values(points), 2e-6)


@pytest.mark.parametrize("highest_degree", [0, 2, 6])
def test_every_degree_equals_a_plain_lattice_sum(highest_degree):
    example = Example(SHEARED, True, highest_degree)
    points = fractional_grid(SHAPE) @ SHEARED
    assert_close(decoder(example).on_grid(SHAPE).ravel(), example.values(points), 5e-6)


def test_at_a_centre_it_is_what_it_is_beside_it():
    example = Example(SHEARED, False, highest_degree=4)
    points = example.positions[1] + np.array([[0.0, 0, 0], [1e-9, 0, 0], [0, 1e-4, 0]])
    assert_close(decoder(example).at_points(points), example.values(points), 2e-6)


def test_p_x_points_along_x():
    coefficients = torch.tensor([[[0.0, 1.0, 0.0, 0.0]]])
    p_x = RealSpaceDecoder(5 * np.eye(3), False, np.zeros((1, 3)), Orbitals(torch.ones(1, 1), coefficients))
    found = p_x.at_points(np.array([[0.7, 0, 0], [-0.7, 0, 0], [0, 0.7, 0], [0, 0, 0.7]])).numpy()
    assert found[0] > 0.1
    assert found[1] == pytest.approx(-found[0], rel=1e-5)
    assert np.abs(found[2:]).max() < 1e-6 * found[0]


@pytest.mark.parametrize("degree", range(5))
@pytest.mark.parametrize(
    "matrix", [ROTATION, -np.eye(3), np.diag([1.0, -1.0, 1.0])], ids=["turn", "inversion", "mirror"]
)
def test_coefficients_turn_with_the_density(degree, matrix):
    """The Wigner matrix of each l is made by scipy from a fit, so that it shares nothing with the decoder."""
    example = Example(SHEARED, True, highest_degree=4)
    example.coefficients[:, :, degrees(4).numpy() != degree] = 0
    turned = Example(SHEARED @ matrix.T, True, highest_degree=4)
    turned.positions = example.positions @ matrix.T
    turned.coefficients = np.zeros_like(example.coefficients)
    lm = slice(degree**2, (degree + 1) ** 2)
    turned.coefficients[:, :, lm] = example.coefficients[:, :, lm] @ _wigner(degree, matrix).T
    assert_close(decoder(turned).on_grid(SHAPE), decoder(example).on_grid(SHAPE), 1e-5)


def _wigner(degree: int, matrix: np.ndarray) -> np.ndarray:
    """D with Y(Mr) = D Y(r) for the harmonics of one degree."""
    points = np.random.default_rng(1).standard_normal((50, 3))
    one_lm = np.zeros((3, 1, (degree + 1) ** 2))
    columns = []
    for turned in (points, points @ matrix.T):
        values = []
        for m in range(2 * degree + 1):
            example = Example(SHEARED, False, degree, exponents=(0.1,))
            example.coefficients = one_lm.copy()
            example.coefficients[0, 0, degree**2 + m] = 1
            values.append(example.values(turned + example.positions[0]))
        columns.append(np.array(values).T)
    return np.linalg.lstsq(columns[0], columns[1], rcond=None)[0].T


def test_exchanging_cell_vectors_exchanges_the_axes():
    example, exchanged = Example(SHEARED, True, 4), Example(LEFT_HANDED, True, 4)
    exchanged.positions = example.positions
    assert_close(decoder(exchanged).on_grid((5, 7, 6)).permute(0, 2, 1), decoder(example).on_grid(SHAPE), 2e-6)


def test_moving_a_centre_by_lattice_vectors_changes_nothing():
    example, moved = Example(SHEARED, True, 4), Example(SHEARED, True, 4)
    moved.positions = example.positions + np.array([[1, 0, -2], [0, 3, 1], [-1, -1, 0]]) @ SHEARED
    assert_close(decoder(moved).on_grid(SHAPE), decoder(example).on_grid(SHAPE), 1e-6)


def test_a_doubled_cell_holds_the_density_twice():
    example = Example(SHEARED, True, 4)
    doubled = np.diag([1, 1, 2]) @ SHEARED
    twice = example.orbitals()
    twice = Orbitals(twice.exponents.repeat(2, 1), twice.coefficients.repeat(2, 1, 1))
    positions = np.concatenate([example.positions, example.positions + SHEARED[2]])
    found = RealSpaceDecoder(doubled, True, positions, twice).on_grid((5, 6, 14))
    assert_close(found, decoder(example).on_grid(SHAPE).repeat(1, 1, 2), 1e-6)


def test_far_fragments_add():
    example = Example(8 * np.eye(3), False, 4)
    orbitals = example.orbitals()
    apart = example.positions + np.array([[0.0, 0, 0], [60, 0, 0], [60, 0, 0]])
    both = RealSpaceDecoder(8 * np.eye(3), False, apart, orbitals)
    alone = [
        RealSpaceDecoder(
            8 * np.eye(3), False, apart[part], Orbitals(orbitals.exponents[part], orbitals.coefficients[part])
        )
        for part in (slice(0, 1), slice(1, 3))
    ]
    points = np.concatenate([example.positions, apart]) + 0.3
    assert_close(both.at_points(points), sum(one.at_points(points) for one in alone), 1e-12)


def test_tiles_are_parts_of_the_grid():
    tiled = decoder(Example(SHEARED, True, 4))
    tiles = [tiled.on_planes(SHAPE, first, last) for first, last in ((0, 2), (2, 3), (3, 5))]
    np.testing.assert_array_equal(torch.cat(tiles), tiled.on_grid(SHAPE))


def test_the_number_of_threads_changes_no_bit():
    example, before = Example(SHEARED, True, 4), numba.get_num_threads()
    found = []
    try:
        for n_threads in (1, before):
            numba.set_num_threads(n_threads)
            coefficients = example.orbitals().coefficients.requires_grad_(True)
            threaded = RealSpaceDecoder(
                SHEARED, True, example.positions, Orbitals(example.orbitals().exponents, coefficients)
            )
            grid, points = threaded.on_grid(SHAPE), threaded.at_points(fractional_grid(SHAPE) @ SHEARED)
            (grid.square().sum() + points.sum()).backward()
            found.append((grid.detach().numpy(), points.detach().numpy(), coefficients.grad.numpy()))
    finally:
        numba.set_num_threads(before)
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("cell", [SHEARED, TINY], ids=["sheared", "smaller than the radius"])
@pytest.mark.parametrize("is_periodic", [True, False], ids=["crystal", "molecule"])
@pytest.mark.parametrize("where", ["grid", "points"])
def test_gradients_are_those_of_finite_differences(cell, is_periodic, where):
    example = Example(cell, is_periodic, 4)
    start = example.orbitals()
    # The most diffuse exponent sets the radius, which carries no gradient.
    exponents, coefficients = start.exponents[:, 1:].clone(), start.coefficients.clone()
    points = np.random.default_rng(5).uniform(-1, 1, (40, 3)) @ cell
    weights = torch.from_numpy(np.random.default_rng(6).standard_normal(210))

    def loss(sharp, factors):
        orbitals = Orbitals(torch.cat([start.exponents[:, :1], sharp], 1), factors)
        made = RealSpaceDecoder(cell, is_periodic, example.positions, orbitals, torch.float64)
        values = made.on_planes(SHAPE, 0, 5).flatten() if where == "grid" else made.at_points(points)
        return (values * weights[: len(values)]).sum()

    inputs = (exponents.requires_grad_(True), coefficients.requires_grad_(True))
    assert torch.autograd.gradcheck(loss, inputs, eps=1e-5, rtol=1e-5, atol=1e-7, fast_mode=True)


def test_gradients_in_float32_are_those_in_float64():
    example = Example(SHEARED, True, 4)
    gradients = []
    for dtype in (torch.float32, torch.float64):
        coefficients = example.orbitals().coefficients.requires_grad_(True)
        made = RealSpaceDecoder(
            SHEARED, True, example.positions, Orbitals(example.orbitals().exponents, coefficients), dtype
        )
        made.on_grid((20, 20, 20)).square().sum().backward()
        gradients.append(coefficients.grad)
    assert_close(gradients[0], gradients[1], 2e-6)


def test_no_centres_make_a_grid_of_zeros():
    empty = RealSpaceDecoder(SHEARED, True, np.zeros((0, 3)), Orbitals(torch.ones(0, 2), torch.zeros(0, 2, 25)))
    np.testing.assert_array_equal(empty.on_grid((2, 3, 4)), np.zeros((2, 3, 4)))
    np.testing.assert_array_equal(empty.at_points(np.zeros((2, 3))), np.zeros(2))


def test_no_points_have_no_values():
    assert decoder(Example(SHEARED, True, 4)).at_points(np.zeros((0, 3))).shape == (0,)


@pytest.mark.parametrize("positions", [np.zeros((2, 3)), np.zeros((3, 2)), np.full((3, 3), np.nan)])
def test_positions_that_do_not_fit_are_refused(positions):
    with pytest.raises(ValueError, match="expected 3 finite positions in Å"):
        RealSpaceDecoder(SHEARED, True, positions, Example(SHEARED, True, 4).orbitals())


@pytest.mark.parametrize(("first", "last"), [(-1, 2), (3, 2), (0, 6)])
def test_planes_outside_the_grid_are_refused(first, last):
    with pytest.raises(ValueError, match="expected planes from 0 to 5"):
        decoder(Example(SHEARED, True, 4)).on_planes(SHAPE, first, last)


def test_points_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"found points of shape \(3,\)"):
        decoder(Example(SHEARED, True, 4)).at_points(np.zeros(3))


def test_a_degree_that_the_kernels_lack_is_refused():
    with pytest.raises(ValueError, match="found orbitals up to l = 7; expected l ≤ 6"):
        RealSpaceDecoder(SHEARED, True, np.zeros((1, 3)), Orbitals(torch.ones(1, 1), torch.zeros(1, 1, 64)))
