"""Laws that every potential obeys; a test class inherits them and names its model.

class TestMine(PotentialContract):
    @pytest.fixture
    def model(self):
        return Mine()
"""

import numpy as np
import pytest

from models.interface import Potential, PotentialPrediction
from rhocast.model_info import Property
from rhocast.structure import Structure

EVERYTHING = frozenset({Property.ENERGY, Property.FORCES, Property.STRESS, Property.MAGMOMS})

INVERSION = -np.eye(3)
ROTATION = np.array([[2.0, -1.0, 2.0], [2.0, 2.0, -1.0], [-1.0, 2.0, 2.0]]) / 3
"""A turn by 60° about [1, 1, 1]."""


def distorted_rock_salt(first: str = "Na", second: str = "Cl", bond: float = 2.82) -> Structure:
    """Four atoms of rock salt in a strained triclinic cell, each moved by some 0.1 Å: nothing is zero by symmetry."""
    rng = np.random.default_rng(7)
    cell = bond * np.array([[1.0, 1, 0], [-1, 1, 0], [0, 0, 2]]) @ (np.eye(3) + rng.uniform(-0.05, 0.05, (3, 3)))
    fractional = np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0, 0, 0.5]])
    positions = fractional @ cell + rng.uniform(-0.12, 0.12, (4, 3))
    return Structure.from_symbols([first, first, second, second], positions, cell)


def bent_molecule(symbols: tuple[str, str, str], bond: float, offset: float = 0.0) -> Structure:
    """A molecule of three atoms, bent and lopsided, with bonds of about `bond` Å, shifted along x by `offset` Å."""
    positions = bond * np.array([[0.0, 0, 0], [1.0, 0.1, 0], [-0.3, 0.95, 0.2]]) + np.array([offset, 0, 0])
    return Structure.from_symbols(symbols, positions, 20 * np.eye(3), is_periodic=False)


def in_cell(structure: Structure, new_cell: np.ndarray) -> Structure:
    """The same atoms with another cell."""
    return Structure(structure.numbers, structure.positions, new_cell, structure.is_periodic)


def transformed(structure: Structure, matrix: np.ndarray) -> Structure:
    """Every vector x of the structure replaced by matrix @ x."""
    return Structure(
        structure.numbers, structure.positions @ matrix.T, structure.cell @ matrix.T, structure.is_periodic
    )


class PotentialContract:
    """What holds for any potential, up to the rounding of its arithmetic.

    Attributes:
        energy_tolerance: eV/atom.
        force_tolerance: eV/Å.
        stress_tolerance: eV/Å³.
        magmom_tolerance: Bohr magnetons.
        step: Step of finite differences, Å or strain.
        derivative_tolerance: Error allowed to them, eV/Å, and as a stress times the volume of an atom, eV.
    """

    energy_tolerance = 1e-5
    force_tolerance = 1e-4
    stress_tolerance = 1e-5
    magmom_tolerance = 1e-4
    step = 1e-4
    derivative_tolerance = 1e-5

    @pytest.fixture
    def model(self) -> Potential:
        raise NotImplementedError

    @pytest.fixture
    def precise_model(self, model: Potential) -> Potential:
        """The model in arithmetic whose energies can be differenced; override it for a float32 network."""
        return model

    @pytest.fixture
    def crystal(self) -> Structure:
        return distorted_rock_salt()

    @pytest.fixture
    def other_crystal(self) -> Structure:
        return distorted_rock_salt("Mg", "O", 2.1)

    @pytest.fixture
    def far_fragments(self) -> tuple[Structure, Structure] | None:
        """Two molecules out of each other's reach, or None where the model takes no molecules."""
        return bent_molecule(("O", "H", "H"), 0.97), bent_molecule(("S", "H", "H"), 1.35, offset=20.0)

    def answer(self, model: Potential, structure: Structure) -> PotentialPrediction:
        """All that the model provides, of one structure."""
        return model.predict([structure], EVERYTHING & frozenset(model.info.provides))[0]

    def assert_same(self, found: PotentialPrediction, expected: PotentialPrediction) -> None:
        n_atoms = 1 if expected.forces is None else len(expected.forces)
        assert found.energy / n_atoms == pytest.approx(expected.energy / n_atoms, abs=self.energy_tolerance)
        for name, tolerance in (
            ("forces", self.force_tolerance),
            ("stress", self.stress_tolerance),
            ("magmoms", self.magmom_tolerance),
        ):
            values, wanted = getattr(found, name), getattr(expected, name)
            assert (values is None) == (wanted is None), name
            if wanted is not None:
                np.testing.assert_allclose(values, wanted, rtol=0, atol=tolerance, err_msg=name)

    def test_nothing_in_the_crystal_of_these_tests_is_zero(self, model, crystal):
        answer = self.answer(model, crystal)
        assert np.abs(answer.forces).max() > 100 * self.force_tolerance
        assert answer.stress is None or np.abs(answer.stress).max() > 100 * self.stress_tolerance

    @pytest.mark.parametrize("matrix", [ROTATION, INVERSION, -ROTATION], ids=["turn", "inversion", "both"])
    def test_turning_the_crystal_turns_forces_and_stress(self, model, crystal, matrix):
        answer = self.answer(model, crystal)
        expected = PotentialPrediction(
            answer.energy,
            answer.forces @ matrix.T,
            None if answer.stress is None else matrix @ answer.stress @ matrix.T,
            answer.magmoms,
        )
        self.assert_same(self.answer(model, transformed(crystal, matrix)), expected)

    def test_order_of_atoms_does_not_matter(self, model, crystal):
        order = np.array([2, 0, 3, 1])
        answer = self.answer(model, crystal)
        magmoms = None if answer.magmoms is None else answer.magmoms[order]
        expected = PotentialPrediction(answer.energy, answer.forces[order], answer.stress, magmoms)
        self.assert_same(self.answer(model, crystal.reordered(order)), expected)

    def test_moving_single_atoms_by_lattice_vectors_changes_nothing(self, model, crystal):
        shifts = np.array([[0, 0, 0], [1, 0, -2], [-1, 3, 0], [50, -40, 60]])
        moved = Structure(crystal.numbers, crystal.positions + shifts @ crystal.cell, crystal.cell)
        self.assert_same(self.answer(model, moved), self.answer(model, crystal))

    def test_moving_all_atoms_together_changes_nothing(self, model, crystal):
        moved = Structure(crystal.numbers, crystal.positions + np.array([1.3, -0.7, 2.9]), crystal.cell)
        self.assert_same(self.answer(model, moved), self.answer(model, crystal))

    def test_a_doubled_cell_has_twice_the_energy_and_repeats_the_forces(self, model, crystal):
        positions = np.vstack([crystal.positions, crystal.positions + crystal.cell[0]])
        doubled = Structure(np.tile(crystal.numbers, 2), positions, crystal.cell * [[2], [1], [1]])
        answer = self.answer(model, crystal)
        magmoms = None if answer.magmoms is None else np.tile(answer.magmoms, 2)
        expected = PotentialPrediction(2 * answer.energy, np.tile(answer.forces, (2, 1)), answer.stress, magmoms)
        self.assert_same(self.answer(model, doubled), expected)

    @pytest.mark.parametrize(
        "change",
        [
            [[1, 0, 0], [0, 1, 0], [1, -1, 1]],
            [[1, 2, 0], [0, 1, 0], [0, 1, 1]],
            [[0, 1, 0], [1, 0, 0], [0, 0, 1]],
            [[-1, 0, 0], [0, -1, 0], [0, 0, -1]],
        ],
        ids=["sheared", "long", "left-handed", "reversed"],
    )
    def test_another_cell_of_the_same_lattice_changes_nothing(self, model, crystal, change):
        self.assert_same(
            self.answer(model, in_cell(crystal, np.array(change) @ crystal.cell)), self.answer(model, crystal)
        )

    def test_far_fragments_add(self, model, far_fragments):
        if far_fragments is None:
            pytest.skip("this potential takes no molecules")
        first, second = far_fragments
        numbers = np.concatenate([first.numbers, second.numbers])
        both = Structure(numbers, np.vstack([first.positions, second.positions]), first.cell, is_periodic=False)
        want = frozenset({Property.ENERGY, Property.FORCES})
        alone = model.predict([first, second], want)
        forces = np.vstack([answer.forces for answer in alone])
        expected = PotentialPrediction(sum(answer.energy for answer in alone), forces)
        self.assert_same(model.predict([both], want)[0], expected)

    def test_a_batch_is_its_members(self, model, crystal, other_crystal):
        structures = [crystal, other_crystal, crystal]
        together = model.predict(structures, EVERYTHING & frozenset(model.info.provides))
        assert len(together) == len(structures)
        for structure, answer in zip(structures, together, strict=True):
            self.assert_same(answer, self.answer(model, structure))

    def test_an_empty_batch_has_no_answers(self, model):
        assert model.predict([], frozenset({Property.ENERGY})) == []

    def test_only_what_is_wanted_is_answered(self, model, crystal):
        full = self.answer(model, crystal)
        for wanted in sorted(EVERYTHING & frozenset(model.info.provides)):
            answer = model.predict([crystal], frozenset({wanted}))[0]
            others = [name for name in ("forces", "stress", "magmoms") if name != wanted]
            assert all(getattr(answer, name) is None for name in others)
            kept = {name: None for name in others} | ({wanted: getattr(full, wanted)} if wanted != "energy" else {})
            self.assert_same(answer, PotentialPrediction(full.energy, **kept))

    def test_the_structure_is_left_as_it_was(self, model, crystal):
        numbers, positions, cell = crystal.numbers.copy(), crystal.positions.copy(), crystal.cell.copy()
        self.answer(model, crystal)
        assert np.array_equal(crystal.numbers, numbers)
        assert np.array_equal(crystal.positions, positions)
        assert np.array_equal(crystal.cell, cell)

    def test_forces_sum_to_zero(self, model, crystal):
        total = self.answer(model, crystal).forces.sum(axis=0)
        np.testing.assert_allclose(total, 0, atol=self.force_tolerance)

    def test_forces_are_minus_the_derivative_of_the_energy(self, precise_model, crystal):
        if not precise_model.info.is_conservative:
            pytest.skip("this potential says that its forces are no derivative")
        forces = self.answer(precise_model, crystal).forces
        displaced = []
        for atom, axis in np.ndindex(crystal.n_atoms, 3):
            for sign in (1, -1):
                positions = crystal.positions.copy()
                positions[atom, axis] += sign * self.step
                displaced.append(Structure(crystal.numbers, positions, crystal.cell))
        answers = precise_model.predict(displaced, frozenset({Property.ENERGY}))
        energies = np.array([answer.energy for answer in answers]).reshape(crystal.n_atoms, 3, 2)
        differences = (energies[..., 1] - energies[..., 0]) / (2 * self.step)
        np.testing.assert_allclose(forces, differences, rtol=0, atol=self.derivative_tolerance)

    @pytest.mark.parametrize("handedness", ["right-handed", "left-handed"])
    def test_stress_is_the_derivative_of_the_energy_by_strain(self, precise_model, crystal, handedness):
        if Property.STRESS not in precise_model.info.provides:
            pytest.skip("this potential gives no stress")
        if (np.linalg.det(crystal.cell) > 0) != (handedness == "right-handed"):
            crystal = in_cell(crystal, crystal.cell[[1, 0, 2]])
        strained = []
        for row, column in np.ndindex(3, 3):
            for sign in (1, -1):
                strain = np.zeros((3, 3))
                strain[row, column] += sign * self.step / 2
                strain[column, row] += sign * self.step / 2
                strained.append(transformed(crystal, np.eye(3) + strain))
        answers = precise_model.predict(strained, frozenset({Property.ENERGY}))
        energies = np.array([answer.energy for answer in answers]).reshape(3, 3, 2)
        differences = (energies[..., 0] - energies[..., 1]) / (2 * self.step) / crystal.volume
        tolerance = self.derivative_tolerance * crystal.n_atoms / crystal.volume
        stress = self.answer(precise_model, crystal).stress
        np.testing.assert_allclose(stress, differences, rtol=0, atol=tolerance)
        assert np.array_equal(stress, stress.T)
