"""Laws that every density model obeys; a test class inherits them, names its model and, for a network, its tolerance.

class TestMine(DensityModelContract):
    tolerance = 1e-5

    @pytest.fixture
    def model(self):
        return Mine()
"""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from models.interface import DensityModel, FloatArray, GridShape
from rhocast.model_info import Property
from rhocast.structure import Structure

ROTATION = np.array([[2.0, -1.0, 2.0], [2.0, 2.0, -1.0], [-1.0, 2.0, 2.0]]) / 3
"""A turn by 60° about [1, 1, 1]."""

SHAPE = (9, 10, 12)


def distorted_crystal(symbols: tuple[str, ...] = ("Mg", "Si", "O", "O")) -> Structure:
    """Four atoms in a triclinic cell without any symmetry; one of them lies outside the cell."""
    cell = np.array([[3.1, 0.2, -0.3], [-1.2, 3.9, 0.4], [0.5, -0.7, 4.6]])
    fractional = np.array([[0.02, 0.05, -0.03], [0.55, 0.48, 0.51], [0.46, 1.07, 0.44], [0.97, 0.52, 0.06]])
    return Structure.from_symbols(symbols, fractional @ cell, cell)


def bent_molecule(symbols: tuple[str, ...] = ("O", "H", "H"), edge: float = 13.0) -> Structure:
    """Three atoms, bent and lopsided, in the middle of a cubic box with this edge in Å."""
    positions = edge / 2 + np.array([[0.0, 0.1, 0.05], [0.95, 0.1, 0.0], [-0.3, 0.9, 0.2]])
    return Structure.from_symbols(symbols, positions, edge * np.eye(3), is_periodic=False)


def grid_points(cell: FloatArray, shape: GridShape) -> FloatArray:
    """Cartesian positions of the points of a grid in Å, [n_points, 3], third index fastest."""
    return np.array([np.array(index) / shape @ cell for index in np.ndindex(shape)])


class DensityModelContract:
    """Laws of a density.

    Attributes:
        tolerance: Largest difference, relative to the largest density, by which a law may be broken by rounding.
        integral_tolerance: Largest relative difference between a sum over grid points, at the recommended spacing, and
            the number of electrons.
        fragment_distance: Distance in Å at which two fragments must not know of each other.
        crystal_symbols, molecule_symbols: Elements of the crystal and of the molecule.
    """

    tolerance = 1e-10
    integral_tolerance = 1e-3
    fragment_distance = 40.0
    crystal_symbols = ("Mg", "Si", "O", "O")
    molecule_symbols = ("O", "H", "H")

    @pytest.fixture
    def model(self) -> DensityModel:
        raise NotImplementedError

    @pytest.fixture(params=["crystal", "molecule"])
    def structure(self, request) -> Structure:
        return self.crystal() if request.param == "crystal" else self.molecule(edge=5.0)

    def crystal(self) -> Structure:
        return distorted_crystal(self.crystal_symbols)

    def molecule(self, edge: float = 13.0) -> Structure:
        return bent_molecule(self.molecule_symbols, edge)

    def on_grid(self, model: DensityModel, structure: Structure, shape: GridShape = SHAPE) -> FloatArray:
        return model.fields([structure])[0].on_grid(shape)

    def assert_equal(self, found: FloatArray, expected: FloatArray) -> None:
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=0, atol=self.tolerance * np.abs(expected).max())

    def test_it_is_a_density_model_that_says_what_it_counts(self, model):
        assert isinstance(model, DensityModel)
        assert Property.DENSITY in model.info.provides
        assert set(model.info.valence_electrons) == set(model.info.elements)
        assert model.info.density_kind
        assert model.info.recommended_spacing is not None

    def test_values_are_numbers_on_every_point_of_the_grid(self, model, structure):
        density = self.on_grid(model, structure)
        assert density.shape == SHAPE
        assert density.dtype == np.float64
        assert np.isfinite(density).all()
        assert np.ptp(density) > 0.01

    def test_the_structure_is_left_as_it_was(self, model, structure):
        before = [array.copy() for array in (structure.numbers, structure.positions, structure.cell)]
        self.on_grid(model, structure)
        for array, copy in zip((structure.numbers, structure.positions, structure.cell), before, strict=True):
            np.testing.assert_array_equal(array, copy)

    def test_planes_of_a_grid_are_those_of_the_whole(self, model, structure):
        field = model.fields([structure])[0]
        slabs = [field.on_planes(SHAPE, first, last) for first, last in ((0, 4), (4, 5), (5, 5), (5, SHAPE[0]))]
        np.testing.assert_array_equal(np.concatenate(slabs), field.on_grid(SHAPE))

    def test_turning_the_structure_turns_the_density(self, model, structure):
        turned = replace(structure, positions=structure.positions @ ROTATION.T, cell=structure.cell @ ROTATION.T)
        self.assert_equal(self.on_grid(model, turned), self.on_grid(model, structure))

    def test_inverting_the_structure_inverts_the_density(self, model, structure):
        inverted = replace(structure, positions=-structure.positions, cell=-structure.cell)
        self.assert_equal(self.on_grid(model, inverted), self.on_grid(model, structure))

    def test_exchanging_cell_vectors_exchanges_the_axes_of_the_grid(self, model, structure):
        left_handed = replace(structure, cell=structure.cell[[1, 0, 2]])
        assert np.sign(np.linalg.det(left_handed.cell)) == -np.sign(np.linalg.det(structure.cell))
        n0, n1, n2 = SHAPE
        found = self.on_grid(model, left_handed, (n1, n0, n2))
        self.assert_equal(found.transpose(1, 0, 2), self.on_grid(model, structure))

    def test_moving_atoms_by_lattice_vectors_changes_nothing(self, model):
        crystal = self.crystal()
        images = np.array([[1, 0, -2], [0, 3, 1], [-1, -1, 0], [0, 0, 0]])
        moved = replace(crystal, positions=crystal.positions + images @ crystal.cell)
        self.assert_equal(self.on_grid(model, moved), self.on_grid(model, crystal))

    def test_moving_the_crystal_by_grid_steps_rolls_the_grid(self, model):
        crystal, steps = self.crystal(), (1, -2, 3)
        moved = replace(crystal, positions=crystal.positions + np.array(steps) / SHAPE @ crystal.cell)
        rolled = np.roll(self.on_grid(model, crystal), steps, axis=(0, 1, 2))
        self.assert_equal(self.on_grid(model, moved), rolled)

    def test_the_density_repeats_with_the_lattice(self, model):
        crystal = self.crystal()
        points = np.array([[0.1, 0.2, 0.3], [2.0, 1.0, -1.0], [0.0, 0.0, 0.0]])
        field = model.fields([crystal])[0]
        self.assert_equal(field.at_points(points + np.array([2, -1, 3]) @ crystal.cell), field.at_points(points))

    def test_the_order_of_atoms_does_not_matter(self, model, structure):
        order = np.roll(np.arange(structure.n_atoms), 1)
        self.assert_equal(self.on_grid(model, structure.reordered(order)), self.on_grid(model, structure))

    @pytest.mark.parametrize("axis", range(3))
    def test_a_doubled_cell_holds_the_density_twice(self, model, axis):
        crystal, repeats = self.crystal(), np.ones(3, dtype=int)
        repeats[axis] = 2
        doubled = Structure(
            np.tile(crystal.numbers, 2),
            np.concatenate([crystal.positions, crystal.positions + crystal.cell[axis]]),
            crystal.cell * repeats[:, None],
        )
        found = self.on_grid(model, doubled, tuple(int(n) for n in SHAPE * repeats))
        self.assert_equal(found, np.tile(self.on_grid(model, crystal), repeats))

    def test_the_choice_of_cell_does_not_matter(self, model):
        crystal = self.crystal()
        sheared = replace(crystal, cell=np.array([[1, 0, 0], [2, 1, 0], [-1, 1, 1]]) @ crystal.cell)
        expected = model.fields([crystal])[0].at_points(grid_points(sheared.cell, SHAPE))
        self.assert_equal(self.on_grid(model, sheared), expected.reshape(SHAPE))

    def test_far_fragments_add(self, model):
        near = self.molecule(edge=6.0)
        far = replace(near, positions=near.positions @ ROTATION.T + np.array([self.fragment_distance, 3.0, 0.0]))
        both = replace(
            near,
            numbers=np.concatenate([near.numbers, far.numbers]),
            positions=np.concatenate([near.positions, far.positions]),
        )
        sums = self.on_grid(model, near) + self.on_grid(model, far)
        self.assert_equal(self.on_grid(model, both), sums)

    def test_the_box_of_a_molecule_does_not_matter(self, model):
        small, points = self.molecule(edge=5.0), np.array([[2.4, 2.6, 2.5], [1.0, 3.0, 2.0], [-3.0, 0.0, 9.0]])
        large = replace(small, cell=np.array([[20.0, 0, 0], [3, 17, 0], [0, 2, 12]]))
        field = model.fields([small])[0]
        self.assert_equal(model.fields([large])[0].at_points(points), field.at_points(points))
        self.assert_equal(self.on_grid(model, large).ravel(), field.at_points(grid_points(large.cell, SHAPE)))

    def test_a_batch_is_its_members(self, model):
        structures = [self.crystal(), self.molecule(edge=5.0), distorted_crystal(self.crystal_symbols[::-1])]
        for field, structure in zip(model.fields(structures), structures, strict=True):
            self.assert_equal(field.on_grid(SHAPE), self.on_grid(model, structure))
            assert field.n_electrons == model.fields([structure])[0].n_electrons

    def test_an_empty_batch_is_empty(self, model):
        assert model.fields([]) == []

    def test_the_grid_holds_the_values_at_its_points(self, model, structure):
        field = model.fields([structure])[0]
        found = field.at_points(grid_points(structure.cell, SHAPE)).reshape(SHAPE)
        self.assert_equal(found, field.on_grid(SHAPE))

    def test_a_coarse_grid_is_part_of_a_fine_one(self, model, structure):
        fine = self.on_grid(model, structure, (10, 12, 14))
        self.assert_equal(self.on_grid(model, structure, (5, 6, 7)), fine[::2, ::2, ::2])

    @pytest.mark.parametrize("is_molecule", [False, True], ids=["crystal", "molecule"])
    def test_it_integrates_to_the_number_of_electrons(self, model, is_molecule):
        structure = self.molecule() if is_molecule else self.crystal()
        field = model.fields([structure])[0]
        valence = model.info.valence_electrons
        assert field.n_electrons == pytest.approx(sum(valence[symbol] for symbol in structure.symbols), abs=1e-9)
        lengths = np.linalg.norm(structure.cell, axis=1)
        shape = tuple(int(n) for n in np.ceil(lengths / model.info.recommended_spacing))
        integral = field.on_grid(shape).mean() * structure.volume
        assert integral == pytest.approx(field.n_electrons, rel=self.integral_tolerance)

    def test_shifts_between_grid_points_keep_the_electrons(self, model):
        crystal = self.crystal()
        shape = tuple(int(n) for n in np.ceil(np.linalg.norm(crystal.cell, axis=1) / model.info.recommended_spacing))
        for shift in itertools.product([0.0, 0.5], repeat=3):
            moved = replace(crystal, positions=crystal.positions + np.array(shift) / shape @ crystal.cell)
            field = model.fields([moved])[0]
            assert field.n_electrons == model.fields([crystal])[0].n_electrons
            integral = field.on_grid(shape).mean() * crystal.volume
            assert integral == pytest.approx(field.n_electrons, rel=self.integral_tolerance)
