from dataclasses import replace

import numpy as np
import pytest

from models.density.orbital.model import orbital_fields
from models.density.promolecule import Promolecule
from tests.models.contract import bent_molecule, distorted_crystal
from tests.training.analytic_samples import sample_of
from tests.training.test_coulomb import sample_like, strong_network
from training.moments import MomentRule, repeated

PROMOLECULE = Promolecule()
MOLECULE, SHAPE = bent_molecule(edge=11.0), (66, 66, 66)
IONS = (6.0, 1.0, 1.0)


def field_of(seed, structure=MOLECULE):
    (field,) = orbital_fields(strong_network(seed), PROMOLECULE, [structure])
    return field


def drawn(sample, n_points, seed=0):
    """The sample with as many points of its grid, drawn with a chance that grows with the density."""
    size = np.abs(sample.density)
    share = 0.5 / len(size) + 0.5 * size / size.sum()
    chance = np.minimum(1, n_points * share)
    chosen = np.flatnonzero(np.random.default_rng(seed).random(len(chance)) < chance)
    return replace(
        sample,
        point_indices=chosen,
        density=sample.density[chosen],
        weights=sample.weights[chosen] / chance[chosen],
    )


@pytest.fixture(scope="module")
def reference():
    return replace(sample_like(strong_network(0), repeated(MOLECULE), SHAPE), structure=MOLECULE)


def error_against(sample, field):
    return MomentRule(sample, IONS).error(field)


def exact_difference():
    """Of the moments of networks 1 and 0, in closed form."""
    predicted, reference = field_of(1).expansion(), field_of(0).expansion()
    return predicted.dipole - reference.dipole, predicted.quadrupole() - reference.quadrupole()


def test_of_a_whole_grid_it_is_the_difference_of_the_closed_forms(reference):
    found, (dipole, quadrupole) = error_against(reference, field_of(1, repeated(MOLECULE))), exact_difference()
    assert np.linalg.norm(dipole) > 0.05
    np.testing.assert_allclose(found.dipole, dipole, rtol=0, atol=1e-4)
    np.testing.assert_allclose(found.quadrupole, quadrupole, rtol=0, atol=1e-3)
    assert found.dipole_length == pytest.approx(np.linalg.norm(found.dipole))
    assert found.quadrupole_size == pytest.approx(np.sqrt((found.quadrupole**2).sum()))
    assert found.dipole_sampling == 0


def test_of_some_points_and_waves_it_is_the_same_within_what_it_says_of_itself(reference):
    dipole, quadrupole = exact_difference()
    for seed in range(3):
        found = error_against(drawn(reference, 8_000, seed), field_of(1, repeated(MOLECULE)))
        assert 0 < found.dipole_sampling < 0.02 * np.linalg.norm(dipole)
        assert np.linalg.norm(found.dipole - dipole) < 4 * found.dipole_sampling + 1e-4
        np.testing.assert_allclose(found.quadrupole, quadrupole, rtol=0, atol=0.05 * np.linalg.norm(quadrupole))


def test_points_alone_would_say_much_less(reference):
    sample = drawn(reference, 8_000)
    field = field_of(1, repeated(MOLECULE))
    at_points = sample.weights * (field.at_points(sample.points) - sample.density)
    spread = np.linalg.norm(at_points[:, None] * (sample.points - sample.structure.positions[0]))
    assert error_against(sample, field).dipole_sampling < 0.2 * spread


def test_the_reference_itself_has_no_error(reference):
    found = error_against(drawn(reference, 8_000), field_of(0, repeated(MOLECULE)))
    assert found.dipole_length < 1e-4
    assert found.quadrupole_size < 1e-4


def test_the_error_of_the_promolecule_is_the_moment_of_the_reference_itself(reference):
    (promolecule,) = PROMOLECULE.fields([repeated(MOLECULE)])
    found = error_against(reference, promolecule)
    np.testing.assert_allclose(found.dipole, -field_of(0).expansion().dipole, rtol=0, atol=1e-4)


def test_a_crystal_is_refused_for_its_moments_are_undefined():
    structure = distorted_crystal()
    crystal = sample_of(structure, (8, 8, 8), np.ones(512), 20)
    with pytest.raises(ValueError, match="found the crystal analytic; expected a molecule"):
        MomentRule(crystal, np.ones(4))
