import numpy as np
import pytest
import torch

from models.basis.gaussian import Orbitals
from models.decoder import reciprocal
from models.decoder.orbital import RealSpaceDecoder
from models.decoder.reciprocal import ReciprocalDecoder, Wavevectors
from tests.models.decoder.brute_force import CELLS, SHEARED, TINY, Example, fractional_grid

SHAPE = (5, 6, 7)


def decoder(example: Example, dtype: torch.dtype = torch.float32) -> ReciprocalDecoder:
    return ReciprocalDecoder(example.cell, example.positions, example.orbitals(), dtype)


def assert_close(found, expected, tolerance: float) -> None:
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
def test_the_grid_equals_a_plain_lattice_sum(cell, dtype):
    example = Example(cell, True, highest_degree=4)
    found = decoder(example, dtype).on_grid(SHAPE)
    assert found.dtype == torch.float64
    assert_close(found, example.values(fractional_grid(SHAPE) @ cell).reshape(SHAPE), 5e-6)


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (4, 2, 3), (2, 1, 6), (24, 25, 26)], ids=str)
def test_both_decoders_agree_on_coarse_and_fine_grids(cell, shape):
    example = Example(cell, True, highest_degree=4)
    largest = np.abs(example.values(fractional_grid((3, 3, 3)) @ cell)).max()
    real_space = RealSpaceDecoder(cell, True, example.positions, example.orbitals()).on_grid(shape)
    difference = (decoder(example).on_grid(shape) - real_space).abs().max()
    assert difference < 1e-5 * max(largest, float(real_space.abs().max()))


@pytest.mark.parametrize("highest_degree", [0, 2, 6])
def test_every_degree_equals_a_plain_lattice_sum(highest_degree):
    example = Example(SHEARED, True, highest_degree)
    assert_close(decoder(example).on_grid(SHAPE).ravel(), example.values(fractional_grid(SHAPE) @ SHEARED), 1e-5)


def test_a_coarse_grid_is_part_of_a_fine_one():
    made = decoder(Example(SHEARED, True, 4))
    assert_close(made.on_grid(SHAPE), made.on_grid((10, 12, 14))[::2, ::2, ::2], 1e-12)


def test_the_sum_over_a_fine_grid_is_the_charge():
    example = Example(SHEARED, True, 4)
    charge = float(example.orbitals().multipoles()[:, 0].sum())
    integral = float(decoder(example).on_grid((48, 48, 48)).mean()) * abs(np.linalg.det(SHEARED))
    assert integral == pytest.approx(charge, rel=1e-5)


def test_p_x_points_along_x():
    coefficients = torch.tensor([[[0.0, 1.0, 0.0, 0.0]]])
    made = ReciprocalDecoder(6 * np.eye(3), np.zeros((1, 3)), Orbitals(torch.full((1, 1), 0.6), coefficients))
    found = made.on_grid((8, 8, 8)).numpy()
    assert found[1, 0, 0] > 0.01
    assert found[-1, 0, 0] == pytest.approx(-found[1, 0, 0], rel=1e-4)
    assert max(abs(found[0, 1, 0]), abs(found[0, 0, 1])) < 1e-5 * found[1, 0, 0]


def test_moving_a_centre_by_lattice_vectors_changes_nothing():
    example, moved = Example(SHEARED, True, 4), Example(SHEARED, True, 4)
    moved.positions = example.positions + np.array([[1, 0, -2], [0, 3, 1], [-1, -1, 0]]) @ SHEARED
    assert_close(decoder(moved).on_grid(SHAPE), decoder(example).on_grid(SHAPE), 1e-6)


def test_gradients_are_those_of_finite_differences():
    example = Example(TINY, True, 3)
    start = example.orbitals()
    # The sharpest exponent sets the limit of the wavevectors, which carries no gradient.
    exponents, coefficients = start.exponents[:, :3].clone(), start.coefficients.clone()
    weights = torch.from_numpy(np.random.default_rng(6).standard_normal((2, 3, 4)))

    def loss(diffuse, factors):
        orbitals = Orbitals(torch.cat([diffuse, start.exponents[:, 3:]], 1), factors)
        return (ReciprocalDecoder(TINY, example.positions, orbitals, torch.float64).on_grid((2, 3, 4)) * weights).sum()

    inputs = (exponents.requires_grad_(True), coefficients.requires_grad_(True))
    assert torch.autograd.gradcheck(loss, inputs, eps=1e-5, rtol=1e-5, atol=1e-7, fast_mode=True)


def test_gradients_are_those_of_the_real_space_decoder():
    example = Example(SHEARED, True, 4)
    gradients = []
    for made in (ReciprocalDecoder, lambda *rest: RealSpaceDecoder(rest[0], True, *rest[1:])):
        coefficients = example.orbitals().coefficients.requires_grad_(True)
        orbitals = Orbitals(example.orbitals().exponents, coefficients)
        made(SHEARED, example.positions, orbitals).on_grid((9, 8, 7)).square().sum().backward()
        gradients.append(coefficients.grad)
    assert_close(gradients[0], gradients[1], 2e-5)


def test_the_size_of_pieces_changes_nothing(monkeypatch):
    made = decoder(Example(TINY, True, 4))
    expected = made.on_grid(SHAPE)
    monkeypatch.setattr(reciprocal, "NUMBERS_PER_PIECE", 10_000)
    assert_close(made.on_grid(SHAPE), expected, 1e-6)


def test_of_each_wavevector_and_its_opposite_there_is_one():
    waves = Wavevectors.within(SHEARED, 9.0)
    found = {tuple(index) for index in waves.indices.tolist()}
    assert waves.indices[0].tolist() == [0, 0, 0]
    assert len(found) == len(waves.indices)
    every = np.array([index for index in np.ndindex(21, 21, 21)]) - 10
    vectors = every @ (2 * np.pi * np.linalg.inv(SHEARED).T)
    inside = {tuple(index) for index in every[np.linalg.norm(vectors, axis=1) <= 9.0].tolist()}
    assert found | {(-i, -j, -k) for i, j, k in found} == inside
    assert len(inside) == 2 * len(found) - 1


def test_no_centres_make_a_grid_of_zeros():
    empty = ReciprocalDecoder(SHEARED, np.zeros((0, 3)), Orbitals(torch.ones(0, 2), torch.zeros(0, 2, 25)))
    np.testing.assert_array_equal(empty.on_grid((2, 3, 4)), np.zeros((2, 3, 4)))


def test_positions_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="expected 3 finite positions in Å"):
        ReciprocalDecoder(SHEARED, np.zeros((2, 3)), Example(SHEARED, True, 4).orbitals())
