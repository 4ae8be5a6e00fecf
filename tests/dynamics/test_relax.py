"""Relaxations against ASE's, and the laws of what relaxes: batches, order, rotation, symmetry."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE
from ase.stress import full_3x3_to_voigt_6_stress

from dynamics.relax import Descent, Goal, Relaxation, advance, chunks, relaxations
from models.catalog import load_model
from models.interface import OutOfMemory, Potential, PotentialPrediction
from rhocast.errors import InvalidField, InvalidStructure, PredictionFailed, UnsupportedByModel
from rhocast.model_info import Property
from rhocast.structure import Structure
from tests.dynamics.argon import Argon, as_atoms, cluster, crystal
from tests.models.potential_contract import ROTATION, distorted_rock_salt, transformed

FREE = Goal(fmax=1e-3, steps=400, relax_cell=True)
LOOSE = Goal(fmax=0.01, steps=400, relax_cell=True)
HELD = Goal(fmax=1e-3, steps=400, relax_cell=False)


def relaxed(potential: Potential, structure: Structure, goal: Goal) -> Relaxation:
    ((_, found),) = relaxations(potential, [structure], goal, max_atoms=100)
    return found


def path(potential: Potential, start: Structure, goal: Goal) -> list[Structure]:
    """The structures that a descent passes through."""
    descent = Descent(start, goal)
    passed = [descent.structure]
    while descent.end is None:
        advance(potential, [descent])
        passed.append(descent.structure)
    return passed[:-1] if passed[-1] is passed[-2] else passed


def path_of_ase(atoms: Any, goal: Goal) -> list[tuple[np.ndarray, np.ndarray]]:
    """Positions and cells that ASE's FIRE passes through."""
    passed: list[tuple[np.ndarray, np.ndarray]] = []
    optimizer = FIRE(FrechetCellFilter(atoms) if goal.relax_cell else atoms, logfile=None)
    optimizer.attach(lambda: passed.append((atoms.positions.copy(), atoms.cell.array.copy())))
    optimizer.run(fmax=goal.fmax, steps=goal.steps)
    return passed


@pytest.mark.parametrize(
    ("start", "goal"),
    [(crystal(), FREE), (crystal(1, strain=0.08), FREE), (crystal(), HELD), (cluster(), HELD), (cluster(5), HELD)],
    ids=["crystal", "strained crystal", "held cell", "cluster", "larger cluster"],
)
def test_the_path_is_that_of_ase(start: Structure, goal: Goal) -> None:
    mine = path(Argon(), start, goal)
    ases = path_of_ase(as_atoms(start), goal)
    assert len(mine) == len(ases) > 20
    for structure, (positions, cell) in zip(mine, ases, strict=True):
        np.testing.assert_allclose(structure.positions, positions, atol=1e-7)
        np.testing.assert_allclose(structure.cell, cell, atol=1e-7)


def test_what_is_relaxed_is_a_minimum_of_lower_energy() -> None:
    argon = Argon()
    found = relaxed(argon, crystal(), FREE)
    assert found.is_converged
    assert found.energy < found.energy_before - 0.01
    assert np.linalg.norm(found.forces, axis=1).max() < FREE.fmax
    assert found.stress is not None
    assert np.abs(found.stress).max() * found.structure.volume / 4 < FREE.fmax
    again = argon.of(found.structure, frozenset(argon.info.provides))
    assert again.energy == found.energy
    assert argon.of(crystal(), frozenset(argon.info.provides)).energy == found.energy_before


def test_a_relaxed_structure_takes_no_step() -> None:
    once = relaxed(Argon(), crystal(), FREE)
    again = relaxed(Argon(), once.structure, Goal(fmax=2e-3, steps=400, relax_cell=True))
    assert again.n_steps == 0
    assert again.is_converged
    assert again.structure is once.structure


def test_a_batch_is_its_members_whatever_the_room_and_the_order() -> None:
    structures = [crystal(seed, strain=0.01 * (seed + 1)) for seed in range(5)]
    alone = [relaxed(Argon(), one, LOOSE) for one in structures]
    assert len({found.n_steps for found in alone}) > 1  # else nobody would leave before another
    for max_atoms in (1, 8, 100):
        argon = Argon()
        together = dict(relaxations(argon, iter(structures), LOOSE, max_atoms))
        assert sorted(together) == list(range(5))
        assert max(argon.calls) == max(1, min(5, max_atoms // 4))
        for place, found in enumerate(alone):
            assert together[place].n_steps == found.n_steps
            assert together[place].energy == found.energy
            assert (together[place].structure.positions == found.structure.positions).all()


def test_the_next_structure_enters_as_one_leaves() -> None:
    argon = Argon()
    taken: list[int] = []

    def one_by_one():
        for seed in range(4):
            taken.append(seed)
            yield crystal(seed)

    ends = relaxations(argon, one_by_one(), LOOSE, max_atoms=8)
    next(ends)
    assert taken == [0, 1, 2]  # two in hand, one that waits
    assert len(list(ends)) == 3


def test_the_order_of_atoms_is_kept() -> None:
    order = np.array([2, 0, 3, 1])
    found = relaxed(Argon(), crystal(), LOOSE)
    turned = relaxed(Argon(), crystal().reordered(order), LOOSE)
    np.testing.assert_allclose(turned.structure.positions, found.structure.positions[order], atol=1e-6)


@pytest.mark.parametrize("matrix", [ROTATION, -np.eye(3)], ids=["rotation", "inversion"])
def test_turning_the_structure_turns_its_path(matrix: np.ndarray) -> None:
    # Rows of the forces on the cell are no lengths that turn with it: another step may be the first that is converged.
    goal = Goal(fmax=1e-9, steps=50, relax_cell=True)
    found = relaxed(Argon(), crystal(), goal)
    turned = relaxed(Argon(), transformed(crystal(), matrix), goal)
    np.testing.assert_allclose(turned.structure.cell, found.structure.cell @ matrix.T, atol=1e-10)
    np.testing.assert_allclose(turned.structure.positions, found.structure.positions @ matrix.T, atol=1e-10)
    assert turned.energy == pytest.approx(found.energy, abs=1e-12)


def test_a_symmetric_crystal_stays_symmetric() -> None:
    atoms = bulk("Ar", "fcc", a=5.6, cubic=True)
    start = Structure.from_symbols(["Ar"] * 4, atoms.positions, atoms.cell.array)
    found = relaxed(Argon(), start, FREE)
    a = found.structure.cell[0, 0]
    assert a < 5.4
    np.testing.assert_allclose(found.structure.cell, a * np.eye(3), atol=1e-9)
    np.testing.assert_allclose(found.structure.fractional_positions, start.fractional_positions, atol=1e-9)


def test_a_cell_that_is_held_is_held_and_its_stress_not_asked_for() -> None:
    found = relaxed(Argon(), crystal(), HELD)
    assert (found.structure.cell == crystal().cell).all()
    assert found.stress is None
    assert found.is_converged


def test_the_last_structure_is_given_if_it_does_not_converge() -> None:
    found = relaxed(Argon(), crystal(), Goal(fmax=1e-9, steps=7, relax_cell=True))
    assert (found.n_steps, found.is_converged) == (7, False)
    still = relaxed(Argon(), crystal(), Goal(fmax=1e-9, steps=0, relax_cell=True))
    assert (still.n_steps, still.energy) == (0, still.energy_before)


def test_chgnet_relaxes_as_with_ases_optimizer() -> None:
    chgnet, goal, start = load_model("chgnet", "cpu"), Goal(fmax=0.03, steps=60, relax_cell=True), distorted_rock_salt()
    assert isinstance(chgnet, Potential)

    class Chgnet(Calculator):
        implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012  (ASE's)

        def calculate(self, atoms: Any = None, properties: Any = (), system_changes: Any = ()) -> None:
            super().calculate(atoms, properties, system_changes)
            now = Structure(start.numbers, self.atoms.positions, self.atoms.cell.array)
            (said,) = chgnet.predict([now], Descent(start, goal).wanted)
            stress = full_3x3_to_voigt_6_stress(said.stress)
            self.results = {"energy": said.energy, "forces": said.forces, "stress": stress}

    atoms = Atoms(start.symbols, start.positions, cell=start.cell, pbc=True, calculator=Chgnet())
    ases = path_of_ase(atoms, goal)
    found = relaxed(chgnet, start, goal)
    assert found.is_converged
    assert found.energy < found.energy_before - 0.05
    assert found.n_steps > 10
    assert found.n_steps == len(ases) - 1
    np.testing.assert_allclose(found.structure.positions, ases[-1][0], atol=1e-4)
    np.testing.assert_allclose(found.structure.cell, ases[-1][1], atol=1e-4)


class Broken(Argon):
    """Breaks when its patience is over: by numbers that are none, by an error, or by another exception."""

    def __init__(self, how: Any, after: int) -> None:
        super().__init__()
        self._how = how
        self._after = after

    def of(self, structure: Structure, want: frozenset[Property]) -> PotentialPrediction:
        whole = super().of(structure, want)
        if len(self.calls) <= self._after or structure.n_atoms == 4:
            return whole
        if isinstance(self._how, Exception):
            raise self._how
        return PotentialPrediction(whole.energy, whole.forces * np.nan, whole.stress)


def doubled() -> Structure:
    one = crystal(2)
    positions = np.vstack([one.positions, one.positions + one.cell[0]])
    return Structure.from_symbols(["Ar"] * 8, positions, one.cell * [[2], [1], [1]])


def test_forces_that_are_no_numbers_end_it_with_the_step_and_the_last_good_state() -> None:
    with pytest.raises(PredictionFailed, match=r"at step 3 of a relaxation.*that of step 2 .* steps=2 gives it"):
        relaxed(Broken("nan", after=3), doubled(), FREE)
    with pytest.raises(PredictionFailed, match=r"at step 0 .* the structure that was sent"):
        relaxed(Broken("nan", after=0), doubled(), FREE)
    last_good = relaxed(Argon(), doubled(), Goal(1e-3, steps=2, relax_cell=True))
    assert last_good.n_steps == 2


def test_a_structure_that_fails_takes_no_neighbour_with_it() -> None:
    error = UnsupportedByModel("found an atom without neighbours")
    descents = [Descent(one, LOOSE) for one in (crystal(0), doubled(), crystal(1))]
    broken = Broken(error, after=4)
    while left := [one for one in descents if one.end is None]:
        advance(broken, left)
    good, bad, fine = (one.end for one in descents)
    assert isinstance(good, Relaxation)
    assert isinstance(fine, Relaxation)
    assert good.energy == relaxed(Argon(), crystal(0), LOOSE).energy
    assert isinstance(bad, UnsupportedByModel)
    assert "at step 4 of a relaxation; that of step 3" in bad.detail
    with pytest.raises(ZeroDivisionError, match="as it was"):
        relaxed(Broken(ZeroDivisionError("as it was"), after=2), doubled(), LOOSE)


def test_an_error_before_the_first_step_is_left_as_it_is() -> None:
    with pytest.raises(UnsupportedByModel, match=r"^found no such element$"):
        relaxed(Broken(UnsupportedByModel("found no such element"), after=0), doubled(), FREE)


def test_a_batch_that_does_not_fit_becomes_smaller() -> None:
    structures = [crystal(seed) for seed in range(4)]
    argon = Argon(capacity=8)
    found = dict(relaxations(argon, structures, LOOSE, max_atoms=100))
    assert max(argon.calls) == 2
    assert [found[place].energy for place in range(4)] == [relaxed(Argon(), one, LOOSE).energy for one in structures]
    with pytest.raises(OutOfMemory, match="too much"):
        relaxed(Argon(capacity=3), crystal(), LOOSE)


def test_nothing_to_relax_gives_nothing() -> None:
    nothing: Sequence[Structure] = []
    assert list(relaxations(Argon(), nothing, FREE, max_atoms=10)) == []
    assert list(chunks([], float, 1.0)) == []


def test_goals_that_cannot_be_met_are_refused() -> None:
    for fmax in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(InvalidField, match="expected a positive number"):
            Goal(fmax=fmax, steps=1, relax_cell=False)
    with pytest.raises(InvalidField, match="found -1 steps"):
        Goal(fmax=1.0, steps=-1, relax_cell=False)
    with pytest.raises(InvalidStructure, match="molecule"):
        Descent(cluster(), FREE)
