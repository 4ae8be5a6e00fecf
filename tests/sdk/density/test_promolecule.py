"""Difference to the free atoms, and the expected error that is spread over them."""

from dataclasses import replace

import numpy as np
import pytest

from rhocast.density import Density, FreeAtoms, difference_to_promolecule, expected_error, promolecule
from rhocast.errors import InvalidField, InvalidGrid, UnsupportedByModel
from rhocast.structure import Structure
from tests.sdk.density.conftest import gaussian, lattice_sum

WIDTHS = {"Na": 1.1, "Cl": 0.9, "O": 0.8, "H": 0.7}
VALENCE = {"Na": 7, "Cl": 7, "O": 6, "H": 1}
SHAPE = (20, 30, 26)


@pytest.fixture
def free_atoms(atom_arrays) -> FreeAtoms:
    return FreeAtoms.from_arrays(atom_arrays)


def atoms_of(structure: Structure, shape, charges=None) -> np.ndarray:
    """Σ of the free atoms' Gaussians, image by image."""
    electrons = [VALENCE[symbol] for symbol in structure.symbols] if charges is None else charges
    widths = [WIDTHS[symbol] for symbol in structure.symbols]
    return lattice_sum(structure, shape, [gaussian(*one) for one in zip(electrons, widths, strict=True)])


def random_density(structure: Structure, electrons: float, shape=SHAPE) -> Density:
    values = np.random.default_rng(0).random(shape)
    return Density(structure, values * electrons / (values.mean() * structure.volume), comment="random")


class TestPromolecule:
    @pytest.mark.parametrize("name", ["sheared", "water"])
    def test_it_is_the_sum_of_the_atoms_image_by_image(self, request, free_atoms, name):
        structure = request.getfixturevalue(name)
        shape = (44, 46, 48) if name == "water" else SHAPE
        found = promolecule(structure, shape, free_atoms)
        np.testing.assert_allclose(found.values, atoms_of(structure, shape), atol=1e-5)

    @pytest.mark.parametrize("shape", [(4, 5, 6), (9, 7, 8)])
    def test_its_sum_is_its_electrons_on_a_coarse_grid_too(self, free_atoms, sheared, shape):
        assert promolecule(sheared, shape, free_atoms).n_electrons == pytest.approx(14, abs=1e-12)


class TestDifference:
    def test_free_atoms_do_not_differ(self, free_atoms, sheared):
        found = difference_to_promolecule(Density(sheared, atoms_of(sheared, SHAPE)), free_atoms)
        np.testing.assert_allclose(found.values, 0, atol=1e-5)

    def test_it_sums_to_no_electrons_and_with_the_promolecule_to_the_density(self, free_atoms, sheared):
        density = random_density(sheared, 14)
        found = difference_to_promolecule(density, free_atoms)
        assert found.n_electrons == pytest.approx(0, abs=1e-11)
        total = found.values + promolecule(sheared, SHAPE, free_atoms).values
        np.testing.assert_allclose(total, density.values, atol=1e-12)
        assert found.comment == "difference to the promolecule; random"

    def test_that_of_an_ion_sums_to_minus_its_charge(self, free_atoms, sheared):
        found = difference_to_promolecule(random_density(sheared, 13), free_atoms, charge=1.0)
        assert found.n_electrons == pytest.approx(-1, abs=1e-11)

    def test_spin_is_left_out(self, free_atoms, sheared):
        density = random_density(sheared, 14)
        spin = replace(density, magnetization=density.values)
        assert difference_to_promolecule(spin, free_atoms).magnetization is None

    def test_the_order_of_atoms_does_not_matter(self, free_atoms, sheared):
        density = random_density(sheared, 14)
        swapped = replace(density, structure=sheared.reordered(np.array([1, 0])))
        one, other = (difference_to_promolecule(each, free_atoms).values for each in (density, swapped))
        np.testing.assert_allclose(one, other, atol=1e-12)

    def test_a_density_of_other_valences_is_refused(self, free_atoms, sheared):
        with pytest.raises(InvalidField, match=r"found 8 electrons; expected 14, of Na 7, Cl 7 and the charge 0"):
            difference_to_promolecule(random_density(sheared, 8), free_atoms)

    def test_an_element_without_a_free_atom_is_refused(self, free_atoms, sheared):
        foreign = replace(sheared, numbers=np.array([11, 18]))
        with pytest.raises(UnsupportedByModel, match="found Ar; expected elements of this table"):
            difference_to_promolecule(random_density(foreign, 14), free_atoms)

    def test_a_grid_far_from_every_atom_is_refused(self, free_atoms):
        lonely = Structure.from_symbols(["H"], [[15.0, 15, 15]], np.diag([30.0, 30, 30]), is_periodic=False)
        with pytest.raises(InvalidGrid, match=r"found no point of a grid of 1 x 1 x 1 near an atom; expected a finer"):
            promolecule(lonely, (1, 1, 1), free_atoms)


class TestExpectedError:
    @pytest.mark.parametrize("errors", [[0.1, 0.4], [0.0, 0.25], [3.0, 0.0]])
    def test_it_integrates_to_the_errors_of_the_atoms(self, free_atoms, sheared, errors):
        assert expected_error(sheared, (7, 9, 8), free_atoms, errors).n_electrons == pytest.approx(sum(errors))

    def test_each_atom_has_its_own_in_the_shape_of_its_free_density(self, free_atoms, sheared):
        found = expected_error(sheared, SHAPE, free_atoms, [0.1, 0.4])
        np.testing.assert_allclose(found.values, atoms_of(sheared, SHAPE, [0.1, 0.4]), atol=1e-6)
        assert found.comment == "expected error of a density"

    def test_where_none_is_expected_it_is_zero(self, free_atoms, water):
        assert not expected_error(water, (9, 9, 9), free_atoms, [0.0, 0.0, 0.0]).values.any()

    @pytest.mark.parametrize("errors", [[0.1], [0.1, -0.2], [0.1, float("nan")], [0.1, float("inf")], [[0.1, 0.2]]])
    def test_errors_that_are_none_are_refused(self, free_atoms, sheared, errors):
        with pytest.raises(InvalidField, match=r"errors of 2 atoms, or some below zero .* expected one for each atom"):
            expected_error(sheared, SHAPE, free_atoms, errors)
