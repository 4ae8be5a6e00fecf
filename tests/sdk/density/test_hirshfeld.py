"""Hirshfeld charges."""

from dataclasses import replace

import numpy as np
import pytest

from rhocast.density import Density, FreeAtoms, hirshfeld_charges
from rhocast.errors import InvalidField
from rhocast.structure import Structure

WIDTHS = {"Na": 1.1, "Cl": 0.9, "O": 0.8, "H": 0.7}
SHAPE = (44, 46, 48)


@pytest.fixture
def free_atoms(atom_arrays) -> FreeAtoms:
    return FreeAtoms.from_arrays(atom_arrays)


def charges_of(gaussian_density, structure, shape, electrons, free_atoms):
    widths = [WIDTHS[symbol] for symbol in structure.symbols]
    return hirshfeld_charges(gaussian_density(structure, shape, electrons, widths), free_atoms)


def test_free_atoms_have_no_charge(gaussian_density, free_atoms, sheared):
    found = charges_of(gaussian_density, sheared, (20, 30, 26), [7, 7], free_atoms)
    np.testing.assert_allclose(found.charges, 0, atol=1e-6)
    assert found.n_unassigned == 0


def test_charges_are_the_plain_integral(gaussian_density, free_atoms, sheared):
    """Σ_grid of ρ·ρ_a/Σρ_b with each atom's density summed image by image."""
    shape = (16, 24, 20)
    density = gaussian_density(sheared, shape, [6.3, 7.7], [1.1, 0.9])
    shares = [gaussian_density(sheared, shape, electrons, [1.1, 0.9]).values for electrons in ([7, 0], [0, 7])]
    weights = shares / np.sum(shares, axis=0)
    expected = 7 - (weights * density.values).sum(axis=(1, 2, 3)) * sheared.volume / density.values.size
    np.testing.assert_allclose(hirshfeld_charges(density, free_atoms).charges, expected, atol=1e-6)
    assert expected[0] > 0.1


def test_charges_of_a_neutral_cell_add_up_to_zero(free_atoms, sheared):
    values = np.random.default_rng(0).random((12, 18, 14))
    density = Density(sheared, values * 14 / (values.mean() * sheared.volume))
    assert hirshfeld_charges(density, free_atoms).charges.sum() == pytest.approx(0, abs=1e-12)


def test_those_of_an_ion_add_up_to_its_charge(gaussian_density, free_atoms, water):
    density = gaussian_density(water, SHAPE, [5.2, 0.9, 0.9], [0.8, 0.7, 0.7])
    found = hirshfeld_charges(density, free_atoms, charge=1.0)
    assert found.charges.sum() == pytest.approx(1, abs=1e-9)


def test_a_turned_and_shifted_molecule_has_the_same_charges(gaussian_density, free_atoms, water):
    turn, _ = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))
    middle = water.cell.sum(axis=0) / 2
    turned = replace(water, positions=(water.positions - middle) @ turn + middle + [0.13, -0.21, 0.08])
    before, after = (
        charges_of(gaussian_density, each, SHAPE, [6.4, 0.8, 0.8], free_atoms).charges for each in (water, turned)
    )
    np.testing.assert_allclose(after, before, atol=1e-5)


def test_a_supercell_has_the_charges_of_its_cell(gaussian_density, free_atoms, sheared):
    density = gaussian_density(sheared, (12, 18, 14), [6.3, 7.7], [1.1, 0.9])
    positions = np.vstack([sheared.positions, sheared.positions + sheared.cell[1]])
    doubled = Structure(np.tile(sheared.numbers, 2), positions, sheared.cell * [[1], [2], [1]])
    found = hirshfeld_charges(Density(doubled, np.concatenate([density.values] * 2, axis=1)), free_atoms)
    expected = hirshfeld_charges(density, free_atoms).charges
    np.testing.assert_allclose(found.charges, np.tile(expected, 2), atol=1e-10)


def test_the_order_of_atoms_does_not_matter(gaussian_density, free_atoms, sheared):
    density = gaussian_density(sheared, (12, 18, 14), [6.3, 7.7], [1.1, 0.9])
    swapped = replace(density, structure=sheared.reordered(np.array([1, 0])))
    expected = hirshfeld_charges(density, free_atoms).charges[::-1]
    np.testing.assert_allclose(hirshfeld_charges(swapped, free_atoms).charges, expected, atol=1e-14)


def test_electrons_that_no_atom_reaches_are_told(free_atoms):
    lonely = Structure.from_symbols(["H"], [[1.0, 1, 1]], np.diag([20.0, 20, 20]))
    values = np.zeros((20, 20, 20))
    values[1, 1, 1], values[15, 15, 15] = 0.9, 0.1
    found = hirshfeld_charges(Density(lonely, values), free_atoms)
    assert found.n_unassigned == pytest.approx(0.1)
    np.testing.assert_allclose(found.charges, [0.1])


def test_a_density_of_other_valences_is_refused(gaussian_density, free_atoms, sheared):
    with pytest.raises(
        InvalidField,
        match=r"found 8 electrons; expected 14, of Na 7, Cl 7 and the charge 0: give the valence electrons",
    ):
        charges_of(gaussian_density, sheared, (20, 30, 26), [1, 7], free_atoms)
