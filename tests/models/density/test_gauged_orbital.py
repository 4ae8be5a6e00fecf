"""Laws of the expected error, for the weights that ship; and checkpoints with a gauge or without."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from models.catalog import catalog, load_model
from models.checkpoint import Checkpoint
from models.density.orbital.model import OrbitalDensity
from models.interface import ExpandedField, ExpectedError, GaugedField
from models.uncertainty import GAUGE
from models.weights import sha256_of
from rhocast.errors import UnusableWeights
from rhocast.structure import Structure
from tests.models.contract import ROTATION
from tests.models.density.test_orbital import ABOUT, network
from training.dataset import Sample, covered, samples

SETS = {"orbital-organics-small": "organics", "orbital-crystals-small": "crystals"}


@cache
def orbital(name: str) -> OrbitalDensity:
    model = load_model(name)
    assert isinstance(model, OrbitalDensity)
    return model


@cache
def held_out(name: str) -> list[Sample]:
    return covered(samples([SETS[name]], "test"), orbital(name).network.config.trunk.elements)


@pytest.fixture(params=SETS)
def name(request) -> str:
    return request.param


@pytest.fixture
def model(name) -> OrbitalDensity:
    return orbital(name)


@cache
def familiar(name: str) -> Structure:
    """A held-out structure of several atoms with nothing unfamiliar."""
    several = [one.structure for one in held_out(name) if one.structure.n_atoms > 3]
    return next(one for one in several if expected(orbital(name), one)[0].value is not None)


@pytest.fixture
def structure(name) -> Structure:
    return familiar(name)


def expected(model: OrbitalDensity, *structures: Structure) -> list[ExpectedError]:
    found = [field.expected_error() for field in model.fields(structures) if isinstance(field, GaugedField)]
    assert all(found)
    assert len(found) == len(structures)
    return [one for one in found if one]


def assert_same(found: ExpectedError, other: ExpectedError) -> None:
    assert other.value is not None
    assert found.value == pytest.approx(other.value, rel=1e-3)
    assert found.upper == pytest.approx(other.upper, rel=1e-3)
    np.testing.assert_allclose(found.per_atom, other.per_atom, rtol=2e-3)
    np.testing.assert_array_equal(found.unfamiliar, other.unfamiliar)


def test_a_structure_like_those_it_learned_from_has_an_error_and_a_bound(model, structure):
    (found,) = expected(model, structure)
    n_electrons = model.fields([structure])[0].n_electrons
    assert found.value == pytest.approx(found.per_atom.sum() / n_electrons)
    assert 1e-3 < found.value < found.upper < 0.2
    assert found.per_atom.shape == found.unfamiliar.shape == (structure.n_atoms,)
    assert found.per_atom.dtype == np.float64
    assert np.ptp(found.per_atom) > 0


def test_it_goes_with_the_atoms_whatever_their_order(model, structure):
    order = np.random.default_rng(0).permutation(structure.n_atoms)
    (found,), (here,) = expected(model, structure.reordered(order)), expected(model, structure)
    there = replace(here, per_atom=here.per_atom[order], unfamiliar=here.unfamiliar[order])
    assert_same(found, there)


def test_turning_and_inverting_the_structure_changes_nothing(model, structure):
    for turn in (ROTATION, -np.eye(3)):
        turned = replace(structure, positions=structure.positions @ turn.T, cell=structure.cell @ turn.T)
        assert_same(expected(model, turned)[0], expected(model, structure)[0])


def test_a_batch_is_its_members(model, name):
    structures = [one.structure for one in held_out(name)[:5]]
    for found, structure in zip(expected(model, *structures), structures, strict=True):
        (alone,) = expected(model, structure)
        assert (found.value is None) == (alone.value is None)
        np.testing.assert_allclose(found.per_atom, alone.per_atom, rtol=2e-3)
        np.testing.assert_array_equal(found.unfamiliar, alone.unfamiliar)


def test_a_doubled_crystal_has_the_same_nmae_and_twice_the_atoms():
    model = orbital("orbital-crystals-small")
    crystal = familiar("orbital-crystals-small")
    doubled = Structure(
        np.tile(crystal.numbers, 2),
        np.concatenate([crystal.positions, crystal.positions + crystal.cell[0]]),
        crystal.cell * np.array([[2], [1], [1]]),
    )
    (found,), (one,) = expected(model, doubled), expected(model, crystal)
    assert found.value == pytest.approx(one.value, rel=1e-3)
    np.testing.assert_allclose(found.per_atom, np.tile(one.per_atom, 2), rtol=2e-3)


def test_far_molecules_add_their_electrons_in_error():
    model = orbital("orbital-organics-small")
    near, other = (one.structure for one in held_out("orbital-organics-small")[:2])
    both = replace(
        near,
        numbers=np.concatenate([near.numbers, other.numbers]),
        positions=np.concatenate([near.positions, other.positions + 50.0]),
    )
    (found,), parts = expected(model, both), expected(model, near, other)
    np.testing.assert_allclose(found.per_atom, np.concatenate([part.per_atom for part in parts]), rtol=2e-3)


def stretched(structure: Structure, factor: float) -> Structure:
    return replace(structure, positions=structure.positions * factor, cell=structure.cell * factor)


@pytest.mark.parametrize("factor", [0.7, 1.25, 2.0])
def test_compressed_and_stretched_structures_are_unfamiliar(model, name, factor):
    found = expected(model, *(stretched(one.structure, factor) for one in held_out(name)))
    assert sum(one.unfamiliar.any() for one in found) >= 0.95 * len(found)
    assert all((one.value is None) == one.unfamiliar.any() for one in found)


def test_most_held_out_structures_are_familiar(model, name):
    found = expected(model, *(one.structure for one in held_out(name)))
    assert sum(one.unfamiliar.any() for one in found) <= 0.15 * len(found)


@pytest.mark.parametrize("distance", [0.5, 6.0], ids=["too near", "alone"])
def test_two_atoms_nearly_on_each_other_or_far_from_all_are_unfamiliar(model, distance):
    symbols = ["O", "C"] if "C" in model.info.elements else ["O", "Mg"]
    box = 20 * np.eye(3)
    pair = Structure.from_symbols(symbols, [[8.0, 8, 8], [8.0 + distance, 8, 8]], box, is_periodic=False)
    (found,) = expected(model, pair)
    assert found.unfamiliar.all()
    assert (found.value, found.upper) == (None, None)
    assert np.isfinite(found.per_atom).all()


def test_only_the_atoms_that_were_brought_together_are_unfamiliar():
    model = orbital("orbital-organics-small")
    molecule = max((one.structure for one in held_out("orbital-organics-small")), key=lambda one: one.n_atoms)
    distances = np.linalg.norm(molecule.positions - molecule.positions[0], axis=1)
    nearest, far = np.argsort(distances)[1], distances > 4.6  # beyond the trunk's edges, so that one message came less
    positions = molecule.positions.copy()
    positions[nearest] = positions[0] + 0.5 * (positions[nearest] - positions[0]) / distances[nearest]
    (found,) = expected(model, replace(molecule, positions=positions))
    assert found.unfamiliar[[0, nearest]].all()
    assert far.any()
    assert not found.unfamiliar[far].all()


def test_the_catalogue_s_orbital_models_are_calibrated(model, name):
    assert model.info.no_uncertainty_because is None
    assert model.gauge.calibration.coverage == 0.9


@pytest.mark.parametrize("spoiled", [{}, {"slope": 0.1}], ids=["no figure", "one figure"])
def test_a_broken_gauge_is_refused(tmp_path, spoiled):
    entry = catalog()["orbital-organics-small"]
    shipped = Checkpoint.read(entry.path, entry.sha256)
    made = tmp_path / "x.safetensors"
    sha256 = Checkpoint({**shipped.config, GAUGE: spoiled}, shipped.weights).write(made)
    with pytest.raises(UnusableWeights, match="no orbital model: found a calibration that lacks something"):
        OrbitalDensity.read(made, sha256)


def test_a_checkpoint_without_a_gauge_still_answers_and_says_why(tmp_path):
    made = network()
    file = tmp_path / "x.safetensors"
    Checkpoint({"model": made.config.as_dict(), "about": ABOUT}, made.state_dict()).write(file)
    model = OrbitalDensity.read(file, sha256_of(file))
    structure = Structure.from_symbols(["O", "H"], [[4.0, 4, 4], [5.0, 4, 4]], 9 * np.eye(3), is_periodic=False)
    (field,) = model.fields([structure])
    assert isinstance(field, GaugedField)
    assert isinstance(field, ExpandedField)
    assert field.expected_error() is None
    assert model.info.no_uncertainty_because.startswith("it is not calibrated yet")


def test_the_density_is_the_same_with_a_gauge_and_without(model, structure):
    plain = OrbitalDensity(model.network, ABOUT, "0")
    points = np.random.default_rng(0).uniform(0, 4, (20, 3))
    with torch.no_grad():
        found, other = (one.fields([structure])[0].at_points(points) for one in (model, plain))
    np.testing.assert_array_equal(found, other)
