"""Calibration on data whose distribution is known, and of a checkpoint from end to end."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.mixture import GaussianMixture

from models.density.orbital.model import OrbitalDensity
from models.density.promolecule import Promolecule
from models.uncertainty import AtomTraits, Learned
from rhocast.structure import Structure
from tests.models.contract import bent_molecule, distorted_crystal
from tests.models.density.test_orbital import ABOUT, network
from tests.training.analytic_samples import grid_points, sample_of
from training.calibration import (
    COVERAGE,
    Seen,
    conformal_quantile,
    fit_gauge,
    fit_mixture,
    learned_from,
    strangest_left_out,
)
from training.cases import Case, hirshfeld_shares
from training.metrics import nmae

OFFSETS = np.array([-4.0, -3.0])
SLOPE = 0.3


def traits(rng: np.random.Generator, n_atoms: int) -> AtomTraits:
    species = rng.integers(0, 2, n_atoms)
    features = rng.normal(species[:, None] * 3.0, 1.0, (n_atoms, 4))
    crowding = np.clip(rng.normal(0, 0.1, (n_atoms, 2)), -0.2, 0.2)
    return AtomTraits(*(torch.from_numpy(one) for one in (species, features, crowding)))


@cache
def surroundings() -> Learned:
    rng = np.random.default_rng(0)
    return learned_from([traits(rng, 20) for _ in range(30)], [str(index) for index in range(30)], 2)


def case(learned: Learned, rng: np.random.Generator, group: str, noise: float = 0.3, slope: float = SLOPE) -> Case:
    """A structure whose atoms err as the formula says, times a factor of its own and one of each atom."""
    atoms = traits(rng, 12)
    likelihoods = learned.mixture.negative_log_likelihoods(atoms.features).numpy()
    chance = noise * (rng.normal() + 0.5 * rng.normal(size=12))
    errors = np.exp(OFFSETS[atoms.species.numpy()] + slope * likelihoods + chance)
    return Case(atoms, errors, 40.0, group)


def cases(learned: Learned, n: int, seed: int = 1, **chosen) -> list[Case]:
    rng = np.random.default_rng(seed)
    return [case(learned, rng, f"group {index}", **chosen) for index in range(n)]


@pytest.mark.parametrize("structure", [bent_molecule(), distorted_crystal()], ids=["molecule", "crystal"])
def test_shares_add_up_to_one_everywhere(structure):
    points = np.random.default_rng(0).uniform(-20, 20, (500, 3))
    shares = hirshfeld_shares(structure, points, Promolecule())
    assert shares.shape == (structure.n_atoms, 500)
    assert shares.min() >= 0
    np.testing.assert_allclose(shares.sum(0), 1, rtol=1e-12)


def test_shares_are_those_of_the_free_atoms():
    pair = Structure.from_symbols(["H", "H"], [[4.0, 5, 5], [6.0, 5, 5]], 10 * np.eye(3), is_periodic=False)
    points = np.array([[4.0, 5, 5], [5.0, 6.3, 4.2], [6.0, 5, 5], [50.0, 0, 0]])
    first, second = hirshfeld_shares(pair, points, Promolecule())
    np.testing.assert_allclose(first, second[[2, 1, 0, 3]], rtol=1e-9)
    np.testing.assert_allclose(first[[1, 3]], 0.5)
    assert first[0] > 0.8


def test_shares_of_the_error_add_up_to_the_structure_s():
    structure, shape = distorted_crystal(), (8, 9, 10)
    points = grid_points(structure.cell, shape)
    (floor,) = Promolecule().fields([structure])
    sample = sample_of(structure, shape, floor.at_points(points), floor.n_electrons)
    of = network()
    found = Case.of(of, sample, Promolecule())
    (field,) = OrbitalDensity(of, ABOUT, "0").fields([structure])
    expected = nmae(sample, field.at_points(points)).value
    assert expected > 1e-3
    assert found.errors.shape == (structure.n_atoms,)
    assert found.errors.min() > 0
    assert found.nmae == pytest.approx(expected, rel=1e-9)


def test_the_mixture_of_well_known_directions_is_scikit_learn_s():
    """With the best basis known, likelihoods are those of a mixture on whitened features, which has no projection."""
    rng = np.random.default_rng(0)
    features = np.concatenate([rng.normal(0, 1, (400, 3)), rng.normal(5, 1, (400, 3))])
    found = fit_mixture(features, [str(index // 10) for index in range(800)])
    kept = (features - found.centre.numpy()) @ found.directions.numpy()
    np.testing.assert_allclose(np.cov(kept.T, bias=True), np.eye(3), atol=1e-9)
    assert len(found.means) == 2
    expected = GaussianMixture(2, reg_covar=0.01, random_state=0, max_iter=500).fit(kept)
    likelihoods = found.negative_log_likelihoods(torch.from_numpy(features)).numpy()
    np.testing.assert_allclose(likelihoods, -expected.score_samples(kept), rtol=1e-9)


def test_the_mixture_keeps_as_many_directions_as_there_are_atoms_for():
    features = np.random.default_rng(0).normal(size=(199, 8))
    found = fit_mixture(features, [str(index) for index in range(199)])
    assert found.directions.shape == (8, 3)


@pytest.mark.parametrize("n_atoms", [1, 2, 40])
def test_equal_atoms_and_few_of_them_have_a_mixture_too(n_atoms):
    features = np.repeat([[1.0, -2.0, 0.5]], n_atoms, axis=0)
    found = fit_mixture(features, [str(index % 5) for index in range(n_atoms)])
    at_home, far = found.negative_log_likelihoods(torch.tensor([[1.0, -2.0, 0.5], [1.1, -2.0, 0.5]]))
    assert torch.isfinite(at_home)
    assert far >= at_home


def test_copies_of_atoms_are_no_further_witnesses():
    """Twenty different atoms, each thirty times in a structure of its own group, are not twenty components."""
    different = np.random.default_rng(0).normal(size=(20, 2))
    found = fit_mixture(np.repeat(different, 30, axis=0), [str(index // 30) for index in range(600)])
    assert len(found.means) <= 3


def test_bounds_of_crowding_are_those_of_each_element():
    rng = np.random.default_rng(0)
    atoms = traits(rng, 50)
    learned = learned_from([atoms.chosen(torch.arange(20)), atoms.chosen(torch.arange(20, 50))], ["a", "b"], 3)
    for element in range(2):
        of_element = atoms.crowding[atoms.species == element]
        torch.testing.assert_close(learned.lowest[element], of_element.amin(0))
        torch.testing.assert_close(learned.highest[element], of_element.amax(0))
    assert learned.lowest[2].tolist() == [torch.inf] * 2
    assert learned.highest[2].tolist() == [-torch.inf] * 2
    assert not learned.excesses(atoms).any()


@pytest.mark.parametrize(("n", "expected"), [(0, None), (8, None), (9, 8.0), (10, 9.0), (19, 17.0), (99, 89.0)])
def test_the_conformal_quantile_is_corrected_for_few_scores(n, expected):
    scores = np.random.default_rng(0).permutation(n).astype(float).tolist()
    assert conformal_quantile(scores, 0.9) == expected


def test_the_relation_that_made_the_errors_is_found():
    learned = surroundings()
    gauge = fit_gauge(learned, cases(learned, 300, noise=0.05))
    assert gauge.calibration.slope == pytest.approx(SLOPE, abs=0.02)
    assert float(gauge.offsets[1] - gauge.offsets[0]) == pytest.approx(1.0, abs=0.1)
    assert gauge.calibration.n_structures == 300


def test_the_expected_error_is_the_mean_one():
    learned = surroundings()
    known = cases(learned, 60, noise=0.8)
    gauge = fit_gauge(learned, known)
    values = [float(gauge.errors(one.traits)[0].sum()) / one.n_electrons for one in known]
    assert np.mean(values) == pytest.approx(np.mean([one.nmae for one in known]), rel=1e-9)


def test_the_bound_covers_what_it_says():
    """Over many calibrations on 25 structures, the bound holds for nine in ten further ones, and not for nearly all."""
    learned, is_below = surroundings(), []
    for seed in range(12):
        gauge = fit_gauge(learned, cases(learned, 25, seed=2 * seed))
        for one in cases(learned, 60, seed=2 * seed + 1):
            found = gauge.expected_error(one.traits, one.n_electrons)
            if found.upper is not None:
                is_below.append(one.nmae <= found.upper)
    assert len(is_below) > 0.85 * 12 * 60
    assert COVERAGE - 0.05 < np.mean(is_below) < 0.98


def test_few_held_out_structures_are_strange_among_their_like():
    learned, found = surroundings(), []
    for seed in range(6):
        gauge = fit_gauge(learned, cases(learned, 40, seed=2 * seed))
        found += [bool(gauge.errors(one.traits)[1].any()) for one in cases(learned, 40, seed=2 * seed + 1)]
    assert np.mean(found) < 0.12


def test_what_was_learned_from_says_how_strange_its_like_may_be():
    """With one validation structure alone, many of its like would be strange."""
    rng = np.random.default_rng(0)
    there, groups = [traits(rng, 20) for _ in range(30)], [str(index // 3) for index in range(30)]
    learned = learned_from(there, groups, 2)
    left_out = strangest_left_out(there, groups, 2)
    assert len(left_out) == 30
    others = cases(learned, 40, seed=5)

    def unfamiliar(*known: Case, left_out: list[tuple[float, ...]]) -> float:
        gauge = fit_gauge(learned, known, left_out)
        return float(np.mean([bool(gauge.errors(one.traits)[1].any()) for one in others]))

    singles = cases(learned, 8)
    assert np.mean([unfamiliar(one, left_out=[]) for one in singles]) > 0.25
    assert np.mean([unfamiliar(one, left_out=left_out) for one in singles]) < 0.12
    far = replace(others[0].traits, features=others[0].traits.features + 20)
    assert bool(fit_gauge(learned, singles[:1], left_out).errors(far)[1].all())


def test_a_group_is_strange_to_all_others_and_not_to_itself():
    rng = np.random.default_rng(0)
    there = [traits(rng, 20) for _ in range(8)]
    apart = [replace(one, features=one.features + 20) for one in (traits(rng, 20) for _ in range(2))]
    groups = [*map(str, range(8)), "apart", "apart"]
    found = {worst[0] for worst in strangest_left_out([*there, *apart], groups, 2)}
    assert sum(one > 50 for one in found) == 2
    assert strangest_left_out(apart, ["apart", "apart"], 2) == []


def test_structures_of_a_group_are_left_out_together():
    """A copy in the same group does not say how well a structure is known; in a group of its own it would."""
    learned = surroundings()
    known = cases(learned, 12)
    assert fit_gauge(learned, [replace(one, group="same") for one in known]).calibration.factor is None
    assert fit_gauge(learned, known).calibration.factor == pytest.approx(ratios(learned, known)[-1])
    apart = [replace(one, group=f"{one.group} {copy}") for copy in range(2) for one in known]
    assert fit_gauge(learned, apart).calibration.factor < fit_gauge(learned, [*known, *known]).calibration.factor


def ratios(learned: Learned, known: list[Case]) -> list[float]:
    """What each structure has of what all others expect, rising."""
    return sorted(one.nmae / said for one, said in zip(known, said_by_others(learned, known), strict=True))


def said_by_others(learned: Learned, known: list[Case]) -> list[float]:
    """NMAE of each structure that all others expect."""
    found = []
    for left_out in known:
        others = fit_gauge(learned, [one for one in known if one is not left_out])
        errors, _ = others.errors(left_out.traits)
        found.append(float(errors.sum()) / left_out.n_electrons)
    return found


def test_a_gauge_tells_how_well_it_ranks_what_it_has_not_seen():
    learned = surroundings()
    true, blurred = (cases(learned, 40, noise=noise) for noise in (0.05, 2.0))
    expected = spearmanr(said_by_others(learned, blurred), [one.nmae for one in blurred])[0]
    found = fit_gauge(learned, blurred).calibration.rank
    assert found == pytest.approx(expected, abs=1e-6)
    assert fit_gauge(learned, true).calibration.rank > max(0.8, found)
    assert fit_gauge(learned, true[:9]).calibration.rank is None


def test_unfamiliar_is_never_taken_for_better_known():
    learned = surroundings()
    gauge = fit_gauge(learned, cases(learned, 40, noise=0.05, slope=-0.3))
    assert gauge.calibration.slope == 0


def test_one_structure_is_enough_for_a_value_and_not_for_a_bound():
    learned = surroundings()
    (alone,) = cases(learned, 1)
    gauge = fit_gauge(learned, [alone])
    found = gauge.expected_error(alone.traits, alone.n_electrons)
    assert found.value == pytest.approx(alone.nmae, rel=1e-9)
    assert found.upper is None


def test_an_element_without_a_held_out_atom_has_the_common_offset():
    learned = surroundings()
    known = [
        replace(one, traits=one.traits.chosen(there), errors=one.errors[there.numpy()])
        for one in cases(learned, 60, noise=0.05)
        if len(there := torch.nonzero(one.traits.species == 0).squeeze(1))
    ]
    gauge = fit_gauge(learned, known)
    assert float(gauge.offsets[1]) == pytest.approx(float(gauge.offsets[0]), abs=0.01)


def crossed(n: int, seed: int, **chosen) -> list[Seen]:
    """Structures as seen by something that has learned from others like the rest."""
    rng = np.random.default_rng(seed)
    other = learned_from([traits(rng, 20) for _ in range(30)], [str(index) for index in range(30)], 2)
    return [
        Seen.of(other, replace(one, group=f"crossed {index}"))
        for index, one in enumerate(cases(other, n, seed=seed + 1, **chosen))
    ]


def test_networks_that_left_structures_out_tell_what_few_held_out_ones_do_not():
    learned = surroundings()
    few = cases(learned, 2, noise=0.8)
    left_out = strangest_left_out([one.traits for one in cases(learned, 40)], [*map(str, range(40))], 2)
    gauge = fit_gauge(learned, few, left_out, crossed(200, seed=9, noise=0.05))
    assert gauge.calibration.slope == pytest.approx(SLOPE, abs=0.04)
    assert float(gauge.offsets[1] - gauge.offsets[0]) == pytest.approx(1.0, abs=0.1)
    assert 180 < gauge.calibration.n_structures <= 202
    assert fit_gauge(learned, few, left_out).calibration.factor is None
    assert gauge.calibration.factor < 1.5


def test_what_was_strange_where_it_was_left_out_is_no_witness_and_makes_nothing_familiar():
    learned = surroundings()
    known, apart = cases(learned, 20), crossed(30, seed=9)
    strange = [replace(one, worst=(one.worst[0] + 50, *one.worst[1:])) for one in apart]
    alone, together = fit_gauge(learned, known), fit_gauge(learned, known, crossed=strange)
    assert alone.calibration == together.calibration
    assert torch.equal(alone.offsets, together.offsets)
    assert fit_gauge(learned, known, crossed=apart).calibration.familiar == alone.calibration.familiar


def test_a_group_that_is_both_held_out_and_left_out_is_left_out_of_both():
    """A copy under another name would vouch for the structure."""
    learned = surroundings()
    first, *others = cases(learned, 10)
    known = [replace(first, errors=10 * first.errors), *others]
    same = [Seen.of(learned, one) for one in known]
    renamed = [replace(one, case=replace(one.case, group=f"copy of {one.case.group}")) for one in same]
    factors = [fit_gauge(learned, known, crossed=some).calibration.factor for some in (same, renamed)]
    assert factors[0] > 1.2 * factors[1]
