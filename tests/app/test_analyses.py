"""What is learned from densities that are known: functions of every kind on atoms and between them."""

from dataclasses import replace

import numpy as np
import pytest

from app.analyses import Line, charges_recipe, comparison_recipe, line_recipe, moments_recipe, profile_recipe
from app.kept_files import make
from jobs.artifacts import ArtifactStore
from rhocast.analysis_schemas import (
    ChargesAnswer,
    ComparisonAnswer,
    LineAnswer,
    MomentsAnswer,
    ProfileAnswer,
    VacuumAnswer,
)
from rhocast.density import macroscopic_average, planar_average, vacuum_level
from tests.app.kept_densities import kept
from tests.sdk.density.expansions import crystal, molecule, neutral


@pytest.fixture
def artifacts(tmp_path) -> ArtifactStore:
    return ArtifactStore(tmp_path, 0)


@pytest.fixture
def answer(artifacts):
    """Maker of answers."""

    def made(schema, recipe):
        return schema.model_validate_json(make(artifacts, recipe).path.read_bytes())

    return made


def test_the_potential_of_a_molecule_has_a_vacuum_and_that_of_a_crystal_none(artifacts, answer):
    stored = kept(artifacts, neutral(molecule()), (30, 32, 34))
    found = answer(ProfileAnswer, profile_recipe(stored, "potential", "a", [1.0]))
    assert found.vacuum == VacuumAnswer(**vars(vacuum_level(stored.potential(), 0)))
    assert found.vacuum.gap > 6
    assert "zero at infinity" in found.about
    expected = macroscopic_average(planar_average(stored.potential(), 0), 1.0)
    np.testing.assert_allclose(found.averaged, expected.values, atol=1e-12)
    crowded = kept(artifacts, neutral(crystal()), (20, 24, 22))
    none = answer(ProfileAnswer, profile_recipe(crowded, "potential", "a", []))
    assert (none.vacuum, none.averaged) == (None, None)
    assert none.no_vacuum_because.startswith("found at most")
    assert np.mean(none.values) == pytest.approx(0, abs=1e-10)


def test_lines_in_cell_vectors_and_in_angstrom_are_one(artifacts, answer):
    stored = kept(artifacts, crystal())
    end = tuple((np.array([0.5, 0, 0.5]) @ stored.structure.cell).tolist())
    lines = Line((0.0, 0.0, 0.0), (0.5, 0.0, 0.5), True, 5), Line((0.0, 0.0, 0.0), end, False, 5)
    one, other = (answer(LineAnswer, line_recipe(stored, "density", line)) for line in lines)
    np.testing.assert_allclose(one.values, other.values, atol=1e-12)
    density = stored.density().values
    np.testing.assert_allclose([one.values[0], one.values[-1]], [density[0, 0, 0], density[4, 0, 5]], rtol=1e-9)


def test_a_molecule_that_is_another_has_another_dipole(artifacts, answer):
    stored, other = (
        neutral(molecule()),
        replace(neutral(molecule()), on_bonds=None, bond_positions=np.empty((0, 3))),
    )
    a = kept(artifacts, stored, (60, 62, 64))
    difference = answer(ComparisonAnswer, comparison_recipe(a, a))
    assert (difference.nmae, difference.largest_difference, difference.dipole_change) == (0, 0, (0, 0, 0))
    folder = ArtifactStore(artifacts.folder / "other", 0)
    b = kept(folder, neutral(other), (60, 62, 64))
    found = answer(ComparisonAnswer, comparison_recipe(a, b))
    expected = stored.dipole - neutral(other).dipole
    np.testing.assert_allclose(found.dipole_change, expected, atol=0.05)
    np.testing.assert_allclose(found.dipole_change_in_debye, 4.803204713 * np.array(found.dipole_change), rtol=1e-8)


def test_a_crystal_has_no_moments(artifacts, answer):
    found = answer(MomentsAnswer, moments_recipe(kept(artifacts, neutral(crystal()))))
    assert (found.n_electrons, found.dipole) == (pytest.approx(14), None)


def test_charges_go_with_the_atoms_as_these_were_sent(artifacts, answer):
    sent, order = neutral(molecule()), [2, 0, 1]
    one, other = (
        answer(ChargesAnswer, charges_recipe(kept(artifacts, each, (40, 42, 44))))
        for each in (sent, sent.reordered(np.array(order)))
    )
    assert other.symbols == [one.symbols[k] for k in order]
    np.testing.assert_allclose(other.charges, [one.charges[k] for k in order], atol=1e-6)
    assert np.ptp(one.charges) > 0.1
    assert sum(one.charges) + one.n_unassigned == pytest.approx(0, abs=0.01)


def test_a_molecule_has_the_moments_of_its_coefficients(artifacts, answer):
    sent = neutral(molecule())
    found = answer(MomentsAnswer, moments_recipe(kept(artifacts, sent)))
    assert found.n_electrons == pytest.approx(8)
    np.testing.assert_allclose(found.dipole, sent.dipole, atol=1e-6)
    np.testing.assert_allclose(found.dipole_in_debye, sent.dipole * 4.803204713, rtol=1e-6)
    np.testing.assert_allclose(found.quadrupole, sent.quadrupole(found.origin), atol=1e-5)
    np.testing.assert_allclose(found.origin, np.average(sent.structure.positions, axis=0, weights=[6, 1, 1]))
    assert np.linalg.norm(found.dipole) > 0.05


def test_the_profile_of_an_expected_error_integrates_to_that_of_the_atoms(artifacts, answer):
    stored = kept(artifacts, crystal(), per_atom=[0.25, 0.5])
    found = answer(ProfileAnswer, profile_recipe(stored, "error", "b", []))
    assert np.mean(found.values) * found.height * found.area == pytest.approx(0.75)


def test_an_answer_is_named_by_all_that_decides_it(artifacts):
    one, other = (kept(artifacts, each) for each in (crystal(), crystal().reordered(np.array([1, 0]))))
    start, end, further = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (1.0, 1.0, 2.0)
    lines = [Line(start, end, False, 9), Line(start, end, True, 9), Line(start, end, False, 8)]
    recipes = [
        *(line_recipe(one, "density", line) for line in (*lines, Line(start, further, False, 9))),
        line_recipe(one, "difference", lines[0]),
        *(profile_recipe(one, "density", axis, windows) for axis in "abc" for windows in ([], [1.0], [1.0, 1.0])),
        charges_recipe(one),
        charges_recipe(other),
        moments_recipe(one),
        comparison_recipe(one, other),
        comparison_recipe(other, one),
    ]
    assert len({recipe.key for recipe in recipes}) == len(recipes)
