"""Products of fields against plain sums over images with scipy's harmonics."""

import numpy as np
import pytest
import torch

from models.basis import products as module
from models.basis.products import OrbitalProducts, Pairs
from models.graph import batched_graph
from models.neighbours import neighbours_of
from reference.soft_density import wave_vector_indices, wave_vectors
from rhocast.structure import Structure
from tests.models.decoder.brute_force import BOHR, CELLS, SHEARED, TINY, Example, fractional_grid
from tests.models.structures import sheared_cell_of_one_atom

EXPONENTS = (0.6, 1.4)
CUTOFF = 5.5
"""Å; farther centres share less than 10⁻¹² electrons."""


def fields_in(cell: np.ndarray, is_periodic: bool, highest_degree: int) -> list[list[Example]]:
    """ψ and χ of two products about three centres, with random coefficients."""
    fields = [[Example(cell, is_periodic, highest_degree, EXPONENTS) for _ in range(2)] for _ in range(2)]
    for seed, field in enumerate(field for pair in fields for field in pair):
        field.coefficients = np.random.default_rng(seed).standard_normal(field.coefficients.shape)
        if not is_periodic:
            field.positions = np.array([[4.4, 5.0, 5.1], [5.0, 5.2, 6.0], [4.0, 4.6, 5.5]])
    return fields


def products_of(fields: list[list[Example]]) -> OrbitalProducts:
    first, second = (torch.from_numpy(np.stack([pair[place].coefficients for pair in fields])) for place in range(2))
    return OrbitalProducts(torch.tensor(EXPONENTS, dtype=torch.float64).repeat(3, 1), first, second)


def pairs_of(field: Example) -> Pairs:
    structure = Structure.from_symbols(["H"] * 3, field.positions, field.cell, is_periodic=field.is_periodic)
    return Pairs.of(batched_graph([structure], [neighbours_of(structure, CUTOFF)], (1,)))


def on_grid(fields: list[list[Example]], shape: tuple[int, int, int]) -> np.ndarray:
    """e/Å³ at the points of a grid, in its shape."""
    points = fractional_grid(shape) @ fields[0][0].cell
    return BOHR**3 * sum(psi.values(points) * chi.values(points) for psi, chi in fields).reshape(shape)


@pytest.mark.parametrize("highest_degree", [0, 1, 2])
@pytest.mark.parametrize("name", CELLS)
def test_charges_of_pairs_add_to_the_integral_over_the_cell(name, highest_degree):
    fields = fields_in(CELLS[name], True, highest_degree)
    shape = (8, 8, 8) if CELLS[name] is TINY else (16, 16, 16)
    expected = on_grid(fields, shape).mean() * abs(np.linalg.det(CELLS[name]))
    found = products_of(fields).charges(pairs_of(fields[0][0]))
    assert float(found.sum()) == pytest.approx(expected, rel=1e-6)
    assert abs(expected) > 1e-2


@pytest.mark.parametrize("is_periodic", [True, False], ids=["crystal", "molecule"])
def test_waves_are_sums_over_a_fine_grid_and_begin_with_the_charge(is_periodic):
    cell = SHEARED if is_periodic else np.diag([9.0, 10.0, 11.0])
    fields, shape = fields_in(cell, is_periodic, 2), (20, 20, 20) if is_periodic else (40, 44, 48)
    indices = wave_vector_indices(cell)[::7]
    grid = on_grid(fields, shape)
    expected = np.fft.fftn(grid)[tuple((indices % shape).T)] * abs(np.linalg.det(cell)) / grid.size
    vectors, pairs = torch.from_numpy(wave_vectors(cell, indices)), pairs_of(fields[0][0])
    positions = torch.from_numpy(fields[0][0].positions)
    found = products_of(fields).electrons_in_waves(positions, pairs, vectors)
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    torch.testing.assert_close(found[0].real, products_of(fields).charges(pairs).sum(), rtol=1e-12, atol=0)


def test_their_gradients_are_theirs():
    fields = fields_in(SHEARED, True, 1)
    products, pairs = products_of(fields), pairs_of(fields[0][0])
    positions = torch.from_numpy(fields[0][0].positions)
    waves = torch.tensor([[0.5, -1.0, 2.0]], dtype=torch.float64)

    def found(logarithms, first, second):
        made = OrbitalProducts(logarithms.exp(), first, second)
        return made.charges(pairs), made.electrons_in_waves(positions, pairs, waves)

    inputs = (products.exponents.log(), products.first, products.second)
    inputs = tuple(one.clone().requires_grad_() for one in inputs)
    assert torch.autograd.gradcheck(found, inputs, fast_mode=True)


def test_pairs_are_worked_off_in_pieces(monkeypatch):
    fields = fields_in(SHEARED, True, 1)
    products, pairs = products_of(fields), pairs_of(fields[0][0])
    positions, waves = torch.from_numpy(fields[0][0].positions), torch.ones(2, 3, dtype=torch.float64)
    whole = products.charges(pairs), products.electrons_in_waves(positions, pairs, waves)
    monkeypatch.setattr(module, "NUMBERS_PER_PIECE", 1000)
    pieces = products.charges(pairs), products.electrons_in_waves(positions, pairs, waves)
    for found, expected in zip(pieces, whole, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_pairs_come_once_and_an_atom_meets_itself_at_half_weight():
    structure = sheared_cell_of_one_atom()
    other = Structure.from_symbols(["Si", "Si"], [[0, 0, 0], [1.0, 0, 0]], 9 * np.eye(3), is_periodic=False)
    neighbours = [neighbours_of(one, 4.0) for one in (structure, other)]
    pairs = Pairs.of(batched_graph([structure, other], neighbours, (14,)))
    n_images = len(neighbours[0].sender) // 2
    of_crystal, of_molecule = pairs.within(torch.tensor([0])), pairs.within(torch.tensor([1, 2]))
    assert of_crystal.weights.tolist() == [1.0] * n_images + [0.5]
    both = torch.cat([of_crystal.vectors[:-1], -of_crystal.vectors[:-1]])
    assert len(torch.unique(both.round(decimals=9), dim=0)) == 2 * n_images
    assert of_molecule.sender.tolist() == [1, 0, 1]
    assert of_molecule.receiver.tolist() == [0, 0, 1]
    torch.testing.assert_close(of_molecule.vectors[0], torch.tensor([-1.0, 0, 0], dtype=torch.float64))


def test_fields_of_other_functions_are_refused():
    exponents = torch.ones(3, 2)
    with pytest.raises(ValueError, match=r"shapes \(1, 3, 2, 4\) and \(1, 3, 2, 1\); expected two fields of the same"):
        OrbitalProducts(exponents, torch.ones(1, 3, 2, 4), torch.ones(1, 3, 2, 1))
    with pytest.raises(ValueError, match="found an exponent of -1 bohr⁻²"):
        OrbitalProducts(-exponents, torch.ones(1, 3, 2, 4), torch.ones(1, 3, 2, 4))
