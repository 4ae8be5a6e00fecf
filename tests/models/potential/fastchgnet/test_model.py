"""The weights that ship: the laws that hold for direct forces, and that those that do not are told."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from models.catalog import catalog, load_model
from models.checkpoint import Checkpoint
from models.potential.chgnet.graph import bond_graph
from models.potential.fastchgnet.config import FastConfig
from models.potential.fastchgnet.model import FastChgnet
from models.potential.fastchgnet.network import FastNetwork
from rhocast.errors import UnsupportedByModel, UnusableWeights
from rhocast.model_info import Property
from rhocast.structure import Structure
from tests.models.potential_contract import EVERYTHING, PotentialContract, distorted_rock_salt

ENTRY = catalog()["fastchgnet"]
LARGEST_BYTES = 2_500_000


@pytest.fixture(scope="module")
def fast() -> FastChgnet:
    model = load_model("fastchgnet")
    assert isinstance(model, FastChgnet)
    return model


class TestFastChgnet(PotentialContract):
    @pytest.fixture
    def model(self, fast):
        return fast

    def test_stress_is_the_derivative_of_the_energy_by_strain(self):
        pytest.skip("this potential says that its stress is no derivative")


def test_it_says_that_its_forces_are_no_derivatives(fast):
    assert fast.info.is_conservative is False
    assert "never for dynamics at constant energy or for phonons" in fast.info.labels["forces"]


def test_its_forces_are_indeed_no_derivatives(fast):
    """Work along a closed way: around a square in the plane of two atoms' coordinates it would be zero."""
    crystal, step = distorted_rock_salt(), 0.2
    corners = [(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)]
    ways = [np.linspace(a, b, 9) for a, b in pairwise(corners)]
    work = 0.0
    for way in ways:
        moved = []
        for x, y in way:
            positions = crystal.positions.copy()
            positions[0, 0] += step * x
            positions[2, 1] += step * y
            moved.append(Structure(crystal.numbers, positions, crystal.cell))
        answers = fast.predict(moved, frozenset({Property.FORCES}))
        along = [
            step * (one.forces[0, 0] * (way[-1] - way[0])[0] + one.forces[2, 1] * (way[-1] - way[0])[1])
            for one in answers
        ]
        work += np.trapezoid(along, dx=1 / 8)
    assert abs(work) > 1e-5


def test_energies_and_moments_are_those_of_its_chgnet(fast):
    crystal = distorted_rock_salt("Fe", "O", 2.15)
    (answer,) = fast.predict([crystal], EVERYTHING)
    with torch.no_grad():
        energies, magmoms = fast.network(bond_graph([crystal], 6.0, 3.0))
    assert answer.energy == pytest.approx(float(energies.sum()), abs=1e-6)
    np.testing.assert_allclose(answer.magmoms, magmoms, atol=1e-6)


def test_nothing_is_kept_for_a_way_back(fast):
    assert not any(one.requires_grad for one in fast.network.parameters())
    (answer,) = fast.predict([distorted_rock_salt()], frozenset({Property.ENERGY}))
    assert answer.forces is None


def test_an_isolated_atom_feels_nothing_and_is_named(fast):
    argon_like = Structure.from_symbols(["Mg"], [[0.0, 0, 0]], 20 * np.eye(3), is_periodic=False)
    (answer,) = fast.predict([argon_like], frozenset({Property.FORCES}))
    assert np.array_equal(answer.forces, np.zeros((1, 3)))
    assert answer.isolated == (0,)


def test_an_element_that_it_has_not_learned_is_refused(fast):
    assert "Xe" not in fast.info.elements
    with pytest.raises(UnsupportedByModel, match=r"found Xe; expected the .* elements that fastchgnet"):
        fast.predict([distorted_rock_salt("Xe", "O", 2.2)], frozenset({Property.ENERGY}))


def test_the_weights_are_small():
    assert ENTRY.path.stat().st_size <= LARGEST_BYTES


def test_sided_heads_are_built_and_read_too(fast, tmp_path):
    network = FastNetwork(FastConfig(fast.network.config, is_antisymmetric=False))
    network.chgnet.load_state_dict(fast.network.state_dict())
    about = Checkpoint.read(ENTRY.path, ENTRY.sha256).config["about"]
    file = tmp_path / "sided.safetensors"
    sha256 = Checkpoint({"model": network.config.as_dict(), "about": about}, network.state_dict()).write(file)
    model = FastChgnet.read(file, sha256)
    (answer,) = model.predict([distorted_rock_salt()], frozenset({Property.FORCES}))
    assert np.abs(answer.forces.sum(axis=0)).max() > 1e-3


@pytest.mark.parametrize(
    "config", [{"about": {}}, {"model": {"is_antisymmetric": True}}, {"model": {"trunk": {"colour": 1}}}]
)
def test_a_file_that_holds_something_else_is_refused(config, tmp_path):
    file = Path(tmp_path, "other.safetensors")
    sha256 = Checkpoint(config, {"a": torch.zeros(1)}).write(file)
    with pytest.raises(UnusableWeights, match=r"found other\.safetensors, which holds no FastCHGNet"):
        FastChgnet.read(file, sha256)
