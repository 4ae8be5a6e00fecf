"""The decoder for GPUs: on a machine with one as it is, without by Triton's interpreter (`tests/conftest.py`)."""

import numpy as np
import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed: it is there for Linux on x86-64 only")

import triton

from models.basis.gaussian import Orbitals
from models.decoder import tiled, tiles
from models.decoder.choice import on_grid, real_space_decoder
from models.decoder.orbital import RealSpaceDecoder
from models.decoder.tiled import TiledDecoder, side_by_side
from models.decoder.together import Placed
from tests.models.decoder.brute_force import CELLS, SHEARED, TINY, Example, fractional_grid
from tests.models.decoder.test_orbital import assert_close

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

CAN_INTERPRET = triton.knobs.runtime.interpret and tuple(map(int, triton.__version__.split(".")[:2])) >= (3, 9)

pytestmark = pytest.mark.skipif(
    DEVICE == "cpu" and not CAN_INTERPRET,
    reason="no GPU, and Triton's interpreter was not asked for or is older than 3.9: that of 3.6 fails with NumPy 2.4",
)

SHAPE = (3, 4, 5)
SHARP = (3.0, 4.0, 11.0)
"""They reach 1.4 Å: the interpreter takes milliseconds for each image of each tile."""


def example_in(cell: np.ndarray, is_periodic: bool = True, highest_degree: int = 2) -> Example:
    return Example(cell, is_periodic, highest_degree, SHARP)


def on_device(orbitals: Orbitals) -> Orbitals:
    return Orbitals(orbitals.exponents.to(DEVICE), orbitals.coefficients.to(DEVICE))


def decoder(example: Example, dtype: torch.dtype = torch.float32) -> TiledDecoder:
    return TiledDecoder(example.cell, example.is_periodic, example.positions, on_device(example.orbitals()), dtype)


def on_processor(example: Example, dtype: torch.dtype = torch.float32) -> RealSpaceDecoder:
    return RealSpaceDecoder(example.cell, example.is_periodic, example.positions, example.orbitals(), dtype)


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
@pytest.mark.parametrize("is_periodic", [True, False], ids=["crystal", "molecule"])
def test_the_grid_equals_a_plain_lattice_sum(cell, is_periodic):
    example = example_in(cell, is_periodic)
    found = decoder(example).on_grid(SHAPE)
    assert (found.dtype, found.device.type) == (torch.float64, DEVICE)
    assert_close(found.cpu(), example.values(fractional_grid(SHAPE) @ cell).reshape(SHAPE), 3e-6)


@pytest.mark.parametrize("highest_degree", [0, 4, 6])
def test_every_degree_equals_a_plain_lattice_sum(highest_degree):
    example = example_in(SHEARED, highest_degree=highest_degree)
    expected = example.values(fractional_grid(SHAPE) @ SHEARED).reshape(SHAPE)
    assert_close(decoder(example).on_grid(SHAPE).cpu(), expected, 5e-6)


@pytest.mark.parametrize("is_periodic", [True, False], ids=["crystal", "molecule"])
def test_points_anywhere_equal_a_plain_lattice_sum(is_periodic):
    example = example_in(SHEARED, is_periodic)
    points = np.random.default_rng(3).uniform(-1, 2, (70, 3)) @ SHEARED
    assert_close(decoder(example).at_points(points).cpu(), example.values(points), 3e-6)


def test_at_a_centre_it_is_what_it_is_beside_it():
    example = example_in(SHEARED, is_periodic=False)
    points = example.positions[1] + np.array([[0.0, 0, 0], [1e-9, 0, 0], [0, 1e-4, 0]])
    assert_close(decoder(example).at_points(points).cpu(), example.values(points), 3e-6)


def test_values_are_those_of_processors():
    """On a grid of several tiles, where the last ones are not full, to rounding of float64."""
    example, shape = example_in(SHEARED, highest_degree=1), (5, 9, 6)
    found = decoder(example, torch.float64).on_grid(shape).cpu()
    assert_close(found, on_processor(example, torch.float64).on_grid(shape), 1e-13)


def test_planes_are_parts_of_the_grid():
    tiled_decoder = decoder(example_in(SHEARED, highest_degree=1))
    planes = [tiled_decoder.on_planes(SHAPE, first, last) for first, last in ((0, 1), (1, 1), (1, 3))]
    assert_close(torch.cat(planes).cpu(), tiled_decoder.on_grid(SHAPE).cpu(), 1e-7)


def test_chunks_change_no_bit(monkeypatch):
    whole = decoder(example_in(SHEARED, highest_degree=1)).on_grid((5, 9, 10))
    monkeypatch.setattr(tiles, "MOST_POINTS", 1)
    assert torch.equal(decoder(example_in(SHEARED, highest_degree=1)).on_grid((5, 9, 10)), whole)


def gradients(decoder_class, example: Example, where: str, dtype: torch.dtype) -> list[torch.Tensor]:
    """Those of exponents and coefficients."""
    start = example.orbitals() if decoder_class is RealSpaceDecoder else on_device(example.orbitals())
    inputs = [one.requires_grad_(True) for one in (start.exponents, start.coefficients)]
    made = decoder_class(example.cell, example.is_periodic, example.positions, Orbitals(*inputs), dtype)
    points = np.random.default_rng(5).uniform(-1, 1, (40, 3)) @ example.cell
    values = made.on_planes(SHAPE, 1, 2) if where == "planes" else made.at_points(points)
    values.square().sum().backward()
    return [one.grad.cpu() for one in inputs]


@pytest.mark.parametrize(
    ("cell", "highest_degree", "where", "dtype", "tolerance"),
    [
        (SHEARED, 4, "planes", torch.float64, 1e-11),
        (SHEARED, 2, "points", torch.float32, 2e-5),
        (TINY, 1, "planes", torch.float64, 1e-11),
    ],
    ids=["planes", "points in float32", "smaller than the radius"],
)
def test_gradients_are_those_of_processors(cell, highest_degree, where, dtype, tolerance):
    example = example_in(cell, highest_degree=highest_degree)
    found, expected = (gradients(one, example, where, dtype) for one in (TiledDecoder, RealSpaceDecoder))
    for gradient, same in zip(found, expected, strict=True):
        assert_close(gradient, same, tolerance)


def test_a_gradient_is_the_same_every_time_and_in_portions(monkeypatch):
    example = example_in(SHEARED, False, 1)
    once, again = (gradients(TiledDecoder, example, "points", torch.float32) for _ in range(2))
    monkeypatch.setattr(tiled, "MOST_PAIRS", tiles.POINTS_OF_TILE)
    in_portions = gradients(TiledDecoder, example, "points", torch.float32)
    for one, same, close in zip(once, again, in_portions, strict=True):
        assert torch.equal(one, same)
        assert_close(close, one, 2e-5)


def test_gradients_are_those_of_finite_differences():
    example = example_in(SHEARED, False, 1)
    start = on_device(example.orbitals())
    # The most diffuse exponent sets the radius, which carries no gradient.
    fixed, sharp = start.exponents[:, :1], start.exponents[:, 1:].clone()
    points = np.random.default_rng(5).uniform(0, 1, (12, 3)) @ SHEARED

    def loss(moving, coefficients):
        orbitals = Orbitals(torch.cat([fixed, moving], 1), coefficients)
        made = TiledDecoder(SHEARED, False, example.positions, orbitals, torch.float64)
        return made.at_points(points).sum()

    inputs = (sharp.requires_grad_(True), start.coefficients.clone().requires_grad_(True))
    assert torch.autograd.gradcheck(loss, inputs, eps=1e-5, rtol=1e-5, atol=1e-7, fast_mode=True)


def three_structures() -> tuple[list[Placed], Orbitals]:
    """A crystal, a molecule in it, and one without centres; points of each, and functions of all centres."""
    examples = [example_in(SHEARED, True, 1), example_in(TINY, False, 1)]
    rng = np.random.default_rng(8)
    placed = [
        Placed(one.cell, one.is_periodic, one.positions, rng.uniform(-1, 1, (n, 3)) @ one.cell)
        for one, n in zip(examples, (30, 50), strict=True)
    ]
    placed.insert(1, Placed(SHEARED, False, np.zeros((0, 3)), np.zeros((2, 3))))
    functions = [on_device(one.orbitals()) for one in examples]
    exponents, coefficients = (
        torch.cat([getattr(f, name) for f in functions]) for name in ("exponents", "coefficients")
    )
    return placed, Orbitals(exponents.requires_grad_(True), coefficients.requires_grad_(True))


def test_several_structures_at_once_are_each_by_itself_with_their_gradients():
    placed, orbitals = three_structures()
    found = side_by_side(placed, orbitals, torch.float64)
    split = (part.split([len(one.positions) for one in placed]) for part in (orbitals.exponents, orbitals.coefficients))
    expected = torch.cat(
        [
            TiledDecoder(one.cell, one.is_periodic, one.positions, Orbitals(*functions), torch.float64).at_points(
                one.points
            )
            for one, *functions in zip(placed, *split, strict=True)
        ]
    )
    assert_close(found.detach().cpu(), expected.detach().cpu(), 1e-12)
    functions = orbitals.exponents, orbitals.coefficients
    gradients = (torch.autograd.grad(one.square().sum(), functions) for one in (found, expected))
    for gradient, same in zip(*gradients, strict=True):
        assert_close(gradient.cpu(), same.cpu(), 1e-11)


def test_no_centres_give_no_density():
    coefficients = torch.zeros(0, 2, 25, device=DEVICE, requires_grad=True)
    empty = TiledDecoder(SHEARED, True, np.zeros((0, 3)), Orbitals(torch.ones(0, 2, device=DEVICE), coefficients))
    values = empty.on_grid((2, 3, 4))
    values.sum().backward()
    np.testing.assert_array_equal(values.detach().cpu(), np.zeros((2, 3, 4)))
    assert coefficients.grad.shape == (0, 2, 25)
    np.testing.assert_array_equal(empty.at_points(np.zeros((2, 3))).detach().cpu(), np.zeros(2))


def test_no_points_have_no_values():
    assert decoder(example_in(SHEARED)).at_points(np.zeros((0, 3))).shape == (0,)


def test_far_from_all_centres_there_is_no_density_and_no_gradient():
    coefficients = torch.ones(1, 1, 4, device=DEVICE, requires_grad=True)
    orbitals = Orbitals(torch.ones(1, 1, device=DEVICE), coefficients)
    far = TiledDecoder(5 * np.eye(3), False, np.zeros((1, 3)), orbitals).at_points(np.full((2, 3), 50.0))
    far.sum().backward()
    assert not far.any()
    assert not coefficients.grad.any()


@pytest.mark.skipif(DEVICE == "cpu", reason="there is no GPU")
def test_orbitals_on_a_gpu_are_decoded_there():
    example = example_in(SHEARED)
    made = real_space_decoder(SHEARED, True, example.positions, on_device(example.orbitals()))
    assert isinstance(made, TiledDecoder)
    found = on_grid(SHEARED, True, example.positions, on_device(example.orbitals()), SHAPE)
    assert_close(found.cpu(), on_processor(example).on_grid(SHAPE), 3e-6)


def test_input_that_does_not_fit_is_refused():
    example = example_in(SHEARED)
    with pytest.raises(ValueError, match="expected 3 finite positions in Å"):
        TiledDecoder(SHEARED, True, np.zeros((2, 3)), on_device(example.orbitals()))
    with pytest.raises(ValueError, match="expected planes from 0 to 3"):
        decoder(example).on_planes(SHAPE, 2, 4)
    with pytest.raises(ValueError, match=r"found points of shape \(3,\)"):
        decoder(example).at_points(np.zeros(3))
    with pytest.raises(ValueError, match="found orbitals up to l = 7; expected l ≤ 6"):
        TiledDecoder(SHEARED, True, np.zeros((1, 3)), on_device(Orbitals(torch.ones(1, 1), torch.zeros(1, 1, 64))))


def test_tiles_of_points_are_compact():
    """64 of 4,096 points in a cube fill a 64th of it: their boxes may be four times as large."""
    points = torch.rand(4096, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    low, high = (getattr(tiles.PointTiles(points).part(0, 64).points, way)(2) for way in ("amin", "amax"))
    assert float((high - low).prod(1).mean()) < 4 / 64
