"""Products of fields against sums over a fine grid, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from rhocast.density import DensityExpansion, GaussianProducts
from rhocast.errors import InvalidField
from rhocast.structure import Structure
from tests.sdk.density.expansions import free_atoms, gaussian_products

CRYSTAL = np.array([[4.1, 0.2, -0.3], [-1.2, 3.9, 0.4], [0.5, -0.7, 4.6]])
SMALLER_THAN_ANY_PAIR = np.array([[1.7, 0.1, 0.0], [0.0, 1.6, 0.2], [-0.3, 0.0, 1.9]])


def structure_in(cell: np.ndarray) -> Structure:
    atoms = 0.5 * cell.sum(axis=0) + np.array([[0.0, 0.1, 0.05], [0.95, 0.1, 0.0], [-0.3, 0.9, 0.2]])
    return Structure.from_symbols(["O", "H", "H"], atoms, cell)


@pytest.mark.parametrize("highest_degree", [0, 1, 2])
@pytest.mark.parametrize(
    ("cell", "shape"), [(CRYSTAL, (24, 24, 28)), (SMALLER_THAN_ANY_PAIR, (10, 10, 12))], ids=["crystal", "tiny cell"]
)
def test_charges_are_the_integral_over_a_fine_grid(cell, shape, highest_degree):
    structure, products = structure_in(cell), gaussian_products(3, highest_degree)
    atoms = DensityExpansion(structure, free_atoms())
    added = replace(atoms, products=products).on_grid(shape).values - atoms.on_grid(shape).values
    expected = added.mean() * structure.volume
    assert products.moments(structure).charges.sum() == pytest.approx(expected, rel=2e-6)
    assert abs(expected) > 1e-2


def test_atoms_may_be_reordered():
    structure, products, order = structure_in(CRYSTAL), gaussian_products(3), np.array([2, 0, 1])
    found = products.reordered(order).moments(structure.reordered(order))
    for one, expected in zip(found, products.moments(structure), strict=True):
        np.testing.assert_allclose(one, expected[order], atol=1e-12)


def test_many_pairs_are_integrated_piece_by_piece(monkeypatch):
    structure, products = structure_in(SMALLER_THAN_ANY_PAIR), gaussian_products(3)
    expected = products.moments(structure).second
    monkeypatch.setattr("rhocast.density.gaussian_products._NODES_AT_ONCE", 100)
    np.testing.assert_allclose(products.moments(structure).second, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("shape", [(3, 2, 4), (2, 1, 3, 2, 4), (0, 2, 3, 2, 4)])
def test_coefficients_that_are_no_pairs_of_fields_are_refused(shape):
    with pytest.raises(InvalidField, match=r"found coefficients of products of shape .* a product at least: give None"):
        GaussianProducts(np.ones((3, 2)), np.ones(shape))


def test_fields_that_cannot_be_are_refused():
    with pytest.raises(InvalidField, match="found exponents from -1 to -1"):
        GaussianProducts(-np.ones((3, 2)), np.ones((1, 2, 3, 2, 4)))
