"""Laws of a density that is known by its coefficients."""

from dataclasses import replace

import numpy as np
import pytest

from rhocast.density import Density, DensityExpansion, GaussianProducts, Gaussians
from rhocast.density.harmonics import degree_of, solid_harmonics
from rhocast.errors import InvalidField, InvalidGrid, UnsupportedByModel
from rhocast.structure import Structure
from tests.sdk.density.expansions import (
    crystal,
    gaussian_products,
    gaussians,
    molecule,
    neutral_molecule,
    with_products,
)

TURN = np.array([[2.0, -1.0, 2.0], [2.0, 2.0, -1.0], [-1.0, 2.0, 2.0]]) / 3
FINE = (60, 64, 66)


def grid_points(structure, shape):
    return np.array([np.array(index) / shape for index in np.ndindex(shape)]) @ structure.cell


def some_points(n=200):
    return np.random.default_rng(5).uniform(-3, 9, (n, 3))


def turned(functions, turn):
    """The same functions about turned axes; Y(T r) = D Y(r), so that D c belongs to them."""
    vectors = np.random.default_rng(0).standard_normal((200, 3))
    highest_degree = degree_of(functions.coefficients.shape[2])
    before, after = (solid_harmonics(one, highest_degree) for one in (vectors, vectors @ turn.T))
    matrix = np.linalg.lstsq(before.T, after.T, rcond=None)[0].T
    return Gaussians(functions.exponents, functions.coefficients @ matrix.T)


def moved(expansion, turn, shift):
    """The same density, turned and then shifted; the cell goes along."""
    structure = replace(
        expansion.structure,
        positions=expansion.structure.positions @ turn.T + shift,
        cell=expansion.structure.cell @ turn.T,
    )
    products = expansion.products
    if products is not None:
        fields = [[turned(one, turn).coefficients for one in pair] for pair in products.fields]
        products = GaussianProducts(products.exponents, np.array(fields))
    return replace(
        expansion,
        structure=structure,
        on_atoms=turned(expansion.on_atoms, turn),
        on_bonds=turned(expansion.on_bonds, turn),
        bond_positions=expansion.bond_positions @ turn.T + shift,
        products=products,
    )


MADE = {
    "crystal": crystal,
    "molecule": molecule,
    "crystal with products": lambda: with_products(crystal()),
    "molecule with products": lambda: with_products(molecule()),
}


@pytest.fixture(params=MADE)
def expansion(request) -> DensityExpansion:
    return MADE[request.param]()


class TestValues:
    def test_a_grid_holds_the_values_at_its_points(self, expansion):
        found = expansion.on_grid((5, 6, 4))
        expected = expansion.at_points(grid_points(expansion.structure, (5, 6, 4)))
        np.testing.assert_allclose(found.values.ravel(), expected, atol=1e-12)
        assert isinstance(found, Density)
        assert found.comment == "random coefficients"
        assert found.structure is expansion.structure

    @pytest.mark.parametrize("turn", [TURN, -np.eye(3)], ids=["rotation", "inversion"])
    def test_turning_and_moving_all_of_it_changes_nothing(self, expansion, turn):
        shift = np.array([0.3, -1.2, 7.0])
        points = some_points()
        found = moved(expansion, turn, shift).at_points(points @ turn.T + shift)
        np.testing.assert_allclose(found, expansion.at_points(points), atol=1e-12)

    def test_a_crystal_repeats_and_moving_centres_by_lattice_vectors_changes_nothing(self):
        found, images = with_products(crystal()), np.array([[1, 0, -2], [0, 3, 1]])
        cell, points = found.structure.cell, some_points()
        np.testing.assert_allclose(found.at_points(points + [2, -1, 3] @ cell), found.at_points(points), atol=1e-12)
        other = replace(
            found,
            structure=replace(found.structure, positions=found.structure.positions + images @ cell),
            bond_positions=found.bond_positions - images @ cell,
        )
        np.testing.assert_allclose(other.on_grid((6, 7, 5)).values, found.on_grid((6, 7, 5)).values, atol=1e-12)
        assert other.n_electrons == pytest.approx(found.n_electrons, abs=1e-12)

    @pytest.mark.parametrize("axis", range(3))
    def test_a_doubled_cell_holds_the_density_twice(self, axis):
        found = with_products(crystal())
        repeats = np.where(np.arange(3) == axis, 2, 1)
        shift = found.structure.cell[axis]

        def twice(functions):
            return Gaussians(np.tile(functions.exponents, (2, 1)), np.tile(functions.coefficients, (2, 1, 1)))

        doubled = DensityExpansion(
            Structure(
                np.tile(found.structure.numbers, 2),
                np.concatenate([found.structure.positions, found.structure.positions + shift]),
                found.structure.cell * repeats[:, None],
            ),
            found.free_atoms,
            twice(found.on_atoms),
            twice(found.on_bonds),
            np.concatenate([found.bond_positions, found.bond_positions + shift]),
            products=GaussianProducts(
                np.tile(found.products.exponents, (2, 1)), np.tile(found.products.coefficients, (1, 1, 2, 1, 1))
            ),
        )
        expected = np.tile(found.on_grid((4, 6, 5)).values, repeats)
        shape = tuple((np.array([4, 6, 5]) * repeats).tolist())
        np.testing.assert_allclose(doubled.on_grid(shape).values, expected, atol=1e-12)
        assert doubled.n_electrons == pytest.approx(2 * found.n_electrons, rel=1e-12)

    def test_the_box_of_a_molecule_does_not_matter(self):
        found = molecule()
        boxed = replace(found, structure=replace(found.structure, cell=np.diag([3.0, 4, 5])))
        np.testing.assert_array_equal(boxed.at_points(some_points()), found.at_points(some_points()))

    def test_the_order_of_atoms_does_not_matter(self):
        found, order = with_products(molecule()), np.array([2, 0, 1])
        other = found.reordered(order)
        assert other.structure.symbols == ["H", "O", "H"]
        np.testing.assert_allclose(other.at_points(some_points()), found.at_points(some_points()), atol=1e-12)
        np.testing.assert_allclose(other.dipole, found.dipole, atol=1e-12)

    def test_without_functions_it_is_the_free_atoms(self):
        found = molecule()
        alone = DensityExpansion(found.structure, found.free_atoms)
        near_hydrogen = (found.structure.positions[1] + np.array([0, 0.5, 0]))[None]
        distances = np.linalg.norm(near_hydrogen - found.structure.positions, axis=1)
        expected = sum(
            found.free_atoms.densities[symbol](np.array([distance]))
            for symbol, distance in zip(found.structure.symbols, distances, strict=True)
        )
        np.testing.assert_allclose(alone.at_points(near_hydrogen), expected, rtol=1e-12)
        assert alone.n_electrons == 8
        assert alone.reordered(np.array([1, 0, 2])).n_electrons == 8
        np.testing.assert_array_equal(alone.dipole, np.zeros(3))
        np.testing.assert_array_equal(alone.quadrupole(), np.zeros((3, 3)))


class TestMoments:
    def test_the_electron_count_is_the_integral(self, expansion):
        found = expansion.on_grid(FINE if not expansion.structure.is_periodic else (32, 42, 40))
        assert found.n_electrons == pytest.approx(expansion.n_electrons, abs=2e-5)
        assert abs(expansion.n_electrons - expansion.free_atoms.valence_of(expansion.structure).sum()) > 0.1

    @pytest.mark.parametrize(
        "found",
        [molecule(), neutral_molecule(), *(with_products(molecule(), degree) for degree in range(3))],
        ids=["charged", "neutral", "products of s", "products up to p", "products up to d"],
    )
    def test_dipole_and_quadrupole_are_the_grids(self, found):
        """Ions and electrons about the centre of the ions, on a grid."""
        structure, density = found.structure, found.on_grid(FINE)
        valence = found.free_atoms.valence_of(structure)
        origin = valence @ structure.positions / valence.sum()
        points = grid_points(structure, FINE) - origin
        ions = structure.positions - origin
        electrons = density.values.ravel() * structure.volume / density.values.size
        np.testing.assert_allclose(found.dipole, valence @ ions - electrons @ points, atol=2e-5)
        second = (valence[:, None] * ions).T @ ions - (electrons[:, None] * points).T @ points
        expected = 0.5 * (3 * second - np.trace(second) * np.eye(3))
        np.testing.assert_allclose(found.quadrupole(), expected, atol=2e-4)
        assert np.abs(expected).min() > 1e-3

    def test_they_turn_and_move_with_the_molecule(self):
        for found in (molecule(), neutral_molecule(), with_products(molecule())):
            other = moved(found, TURN, np.array([1.0, 2.0, -3.0]))
            np.testing.assert_allclose(other.dipole, TURN @ found.dipole, atol=1e-12)
            np.testing.assert_allclose(other.quadrupole(), TURN @ found.quadrupole() @ TURN.T, atol=1e-11)

    def test_the_quadrupole_of_a_dipole_depends_on_the_origin_as_it_must(self):
        found, shift = neutral_molecule(), np.array([0.4, -1.0, 2.0])
        first = np.outer(found.dipole, shift)
        expected = -1.5 * (first + first.T) + np.trace(first) * np.eye(3)
        origin = np.array([3.0, 3.0, 3.0])
        np.testing.assert_allclose(found.quadrupole(origin + shift) - found.quadrupole(origin), expected, atol=1e-12)
        assert np.trace(found.quadrupole()) == pytest.approx(0, abs=1e-12)

    def test_functions_without_higher_degrees_have_no_moments_of_their_own(self):
        found = molecule()
        alone = replace(found, on_atoms=gaussians(3, (1.0,), 0), on_bonds=None, bond_positions=np.empty((0, 3)))
        charges = alone.on_atoms.multipoles[:, 0]
        origin = np.array([6, 1, 1]) @ found.structure.positions / 8
        np.testing.assert_allclose(alone.dipole, -charges @ (found.structure.positions - origin), atol=1e-12)
        assert alone.quadrupole().shape == (3, 3)

    def test_those_of_a_crystal_are_undefined(self):
        with pytest.raises(InvalidField, match="found a crystal; expected a molecule: the dipole of a cell"):
            _ = crystal().dipole
        with pytest.raises(InvalidField, match="the quadrupole of a cell that repeats is undefined"):
            crystal().quadrupole()


class TestRefusals:
    @pytest.mark.parametrize("origin", [[1.0, 2.0], [0.0, 0.0, np.nan]])
    def test_an_origin_that_is_no_point(self, origin):
        with pytest.raises(InvalidField, match="expected three coordinates in Å"):
            molecule().quadrupole(origin)

    @pytest.mark.parametrize("points", [[0.0, 0, 0], np.zeros((2, 2)), [[0.0, np.inf, 0]]])
    def test_points_that_are_none(self, points):
        with pytest.raises(InvalidField, match=r"found points of shape .* expected finite positions in Å"):
            molecule().at_points(points)

    @pytest.mark.parametrize("shape", [(0, 2, 3), (4, -2, 3)])
    def test_a_shape_without_points(self, shape):
        with pytest.raises(InvalidGrid, match="expected three positive numbers of points"):
            crystal().on_grid(shape)

    def test_centres_that_do_not_fit_the_structure(self):
        found = molecule()
        with pytest.raises(InvalidField, match="found functions on 2 of 3 atoms and on 2 bonds"):
            replace(found, on_atoms=gaussians(2, (1.0,), 1))
        with pytest.raises(InvalidField, match=r"on 2 bonds at positions of shape .3, 3.; expected all atoms"):
            replace(found, bond_positions=np.zeros((3, 3)))
        with pytest.raises(InvalidField, match=r"on 0 bonds at positions of shape .2, 3."):
            replace(found, on_bonds=None)

    def test_products_that_do_not_fit_the_structure(self):
        with pytest.raises(InvalidField, match="found products of functions on 2 of 3 atoms; expected all atoms"):
            replace(molecule(), products=gaussian_products(2))

    def test_positions_that_are_no_numbers(self):
        with pytest.raises(InvalidField, match="found positions or a cell that are NaN or infinite"):
            replace(molecule(), bond_positions=np.full((2, 3), np.nan))

    def test_an_element_without_a_free_atom(self):
        iron = Structure.from_symbols(["Fe"], [[0, 0, 0]], np.eye(3))
        with pytest.raises(UnsupportedByModel, match="found Fe; expected elements of this table"):
            DensityExpansion(iron, molecule().free_atoms)
