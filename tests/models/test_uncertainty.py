"""The mixture against scikit-learn, the gauge against its formula; laws with networks: density/test_gauged_orbital."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture

from models.uncertainty import AtomTraits, Calibration, Gauge, Learned, Mixture

N_FEATURES = 5


def tensor(values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def fitted() -> tuple[GaussianMixture, np.ndarray]:
    rng = np.random.default_rng(0)
    samples = np.concatenate([rng.normal(0, 1, (200, 3)), rng.normal(4, [0.2, 1, 3], (100, 3))])
    return GaussianMixture(3, random_state=0).fit(samples), samples


def mixture() -> Mixture:
    """Three components in the first three of five features, stretched and moved."""
    found, _ = fitted()
    directions = np.zeros((N_FEATURES, 3))
    directions[:3] = np.diag([2.0, 0.5, 1.0])
    arrays = (np.arange(N_FEATURES), directions, found.means_, found.precisions_cholesky_, np.log(found.weights_))
    return Mixture(*(tensor(one) for one in arrays))


def gauge(**changed) -> Gauge:
    learned = Learned(mixture(), tensor([[-2.0, 0.0], [-1.0, 0.5]]), tensor([[0.0, 1.0], [1.0, 1.0]]))
    calibration = Calibration(slope=0.2, familiar=9.0, factor=1.5, coverage=0.9, n_structures=20)
    return Gauge(learned, tensor([-3.0, -2.0]), tensor([0.5, 0.1]), replace(calibration, **changed))


def traits(n_atoms: int = 4, seed: int = 0) -> AtomTraits:
    """Atoms near the first component, with crowding as learned."""
    rng = np.random.default_rng(seed)
    features = np.arange(N_FEATURES) + rng.normal(0, 0.2, (n_atoms, N_FEATURES))
    species = torch.arange(n_atoms) % 2
    return AtomTraits(species, tensor(features), tensor([[-0.5, 0.7]] * n_atoms))


def test_the_mixture_is_that_of_scikit_learn():
    found, samples = fitted()
    kept = np.concatenate([samples, [[30.0, -20.0, 5.0]]])
    features = np.arange(N_FEATURES) + np.column_stack([kept / [2.0, 0.5, 1.0], np.ones((len(kept), 2))])
    likelihoods = mixture().negative_log_likelihoods(tensor(features)).numpy()
    np.testing.assert_allclose(likelihoods, -found.score_samples(kept), rtol=1e-12, atol=1e-12)
    assert np.ptp(likelihoods) > 50


def test_features_outside_the_kept_directions_do_not_count():
    features = traits().features
    moved = features + tensor([0.0, 0, 0, 7, -3])
    found = mixture().negative_log_likelihoods(features)
    torch.testing.assert_close(mixture().negative_log_likelihoods(moved), found)
    assert not torch.allclose(mixture().negative_log_likelihoods(features + 0.1), found)


def test_the_error_of_an_atom_is_the_formula():
    atoms = traits()
    likelihoods = mixture().negative_log_likelihoods(atoms.features).numpy()
    assert likelihoods.max() < 9
    expected = np.exp(np.array([-3, -2, -3, -2]) + 0.2 * likelihoods)
    found = gauge().expected_error(atoms, n_electrons=8.0)
    np.testing.assert_allclose(found.per_atom, expected)
    assert found.value == pytest.approx(expected.sum() / 8)
    assert found.upper == pytest.approx(1.5 * expected.sum() / 8)
    assert found.coverage == 0.9
    assert not found.unfamiliar.any()


def test_without_a_factor_there_is_a_value_and_no_bound():
    found = gauge(factor=None).expected_error(traits(), 8.0)
    assert found.value is not None
    assert found.upper is None


def alien(what: str) -> AtomTraits:
    """Atoms of which the third is unfamiliar in one way."""
    features, crowding = traits().features.clone(), traits().crowding.clone()
    if what == "features":
        features[2] += 20
    elif what == "no number":
        features[2] = torch.nan
    elif what == "many neighbours":
        crowding[2, 0] = 0.6
    elif what == "a near neighbour":
        crowding[2, 1] = -0.2
    elif what == "far neighbours":
        crowding[2, 1] = 1.2
    return replace(traits(), features=features, crowding=crowding)


@pytest.mark.parametrize("what", ["features", "no number", "many neighbours", "a near neighbour", "far neighbours"])
def test_one_unfamiliar_atom_is_said_and_leaves_the_structure_without_a_value(what):
    found = gauge().expected_error(alien(what), 8.0)
    assert found.unfamiliar.tolist() == [False, False, True, False]
    assert (found.value, found.upper) == (None, None)
    np.testing.assert_array_equal(found.per_atom[[0, 1, 3]], gauge().expected_error(traits(), 8.0).per_atom[[0, 1, 3]])


def test_crowding_within_the_margins_is_familiar():
    atoms = traits()
    atoms.crowding[:, 0] = tensor([0.45, 1.45, -2.45, -1.45])
    assert not gauge().errors(atoms)[1].any()


def test_nothing_is_drawn_from_likelihoods_that_were_not_calibrated():
    far = replace(traits(), features=traits().features + 50)
    beyond = replace(traits(), features=traits().features + 500)
    torch.testing.assert_close(gauge().errors(far)[0], gauge().errors(beyond)[0])


def test_an_element_that_there_was_not_is_unfamiliar():
    learned = gauge().learned
    lowest, highest = learned.lowest.clone(), learned.highest.clone()
    lowest[1], highest[1] = torch.inf, -torch.inf
    made = replace(gauge(), learned=replace(learned, lowest=lowest, highest=highest))
    assert made.errors(traits())[1].tolist() == [False, True, False, True]


def test_chosen_atoms_are_those_alone():
    atoms, places = traits(), torch.tensor([3, 1])
    found, unfamiliar = gauge().errors(atoms.chosen(places))
    torch.testing.assert_close(found, gauge().errors(atoms)[0][places])
    assert len(unfamiliar) == 2


def test_a_gauge_survives_its_record():
    made = gauge()
    again = Gauge.of(made.tensors(), asdict(made.calibration))
    assert again.calibration == made.calibration
    atoms = alien("features")
    for one, other in zip(again.errors(atoms), made.errors(atoms), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("change", ["a tensor less", "a tensor more", "a figure less", "a figure more"])
def test_a_record_that_is_not_one_is_refused(change):
    tensors, figures = gauge().tensors(), asdict(gauge().calibration)
    if change == "a tensor less":
        del tensors["margins"]
    elif change == "a tensor more":
        tensors["colour"] = tensor([1.0])
    elif change == "a figure less":
        del figures["slope"]
    else:
        figures["colour"] = 1.0
    with pytest.raises(ValueError, match="found a calibration that lacks something or has too much"):
        Gauge.of(tensors, figures)
