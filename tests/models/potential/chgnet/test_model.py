import numpy as np
import pytest
import torch

from models.catalog import load_model
from models.interface import OutOfMemory, Potential
from models.potential.chgnet.info import INFOS
from models.potential.chgnet.model import Chgnet
from rhocast.elements import SYMBOLS
from rhocast.errors import UnsupportedByModel
from rhocast.model_info import Property
from rhocast.structure import Structure
from tests.models.potential_contract import EVERYTHING, PotentialContract, bent_molecule, distorted_rock_salt

ENERGY = frozenset({Property.ENERGY})
NAMES = [info.name for info in INFOS]


def simple_cubic(symbol: str, spacing: float) -> Structure:
    """One atom in a cubic cell of this edge in Å."""
    return Structure.from_symbols([symbol], [[0.3, 0.1, 0.2]], spacing * np.eye(3))


@pytest.fixture(scope="module")
def models() -> dict[str, Chgnet]:
    return {name: load_model(name) for name in NAMES}


@pytest.fixture(scope="module")
def potential(models) -> Chgnet:
    return models["chgnet"]


class TestChgnet(PotentialContract):
    @pytest.fixture(params=NAMES)
    def model(self, request, models):
        return models[request.param]

    @pytest.fixture(params=NAMES)
    def precise_model(self, request):
        """The same network in float64, for a float32 energy is too coarse to be differenced."""
        model = load_model(request.param)
        model.network.double()
        return model


def test_it_is_a_potential(potential):
    assert isinstance(potential, Potential)


def test_a_squeezed_crystal_has_negative_stress(potential):
    squeezed, stretched = distorted_rock_salt(bond=2.5), distorted_rock_salt(bond=3.1)
    pressed, pulled = potential.predict([squeezed, stretched], frozenset({Property.STRESS}))
    assert np.trace(pressed.stress) < 0 < np.trace(pulled.stress)


def test_iron_oxide_is_magnetic_and_rock_salt_is_not(potential):
    iron, salt = potential.predict(
        [distorted_rock_salt("Fe", "O", 2.15), distorted_rock_salt()], frozenset({Property.MAGMOMS})
    )
    assert iron.magmoms.max() > 2
    assert salt.magmoms.max() < 0.1


def test_a_cell_of_one_atom_has_no_force(potential):
    answer = potential.predict([simple_cubic("Cu", 2.4)], EVERYTHING)[0]
    assert answer.forces.shape == (1, 3)
    assert answer.magmoms.shape == (1,)
    np.testing.assert_allclose(answer.forces, 0, atol=1e-4)


def test_a_molecule_does_not_feel_its_box(potential):
    water = bent_molecule(("O", "H", "H"), 0.97)
    boxed = Structure(water.numbers, water.positions, np.eye(3) * [14.0, 15.0, 40.0])
    free, periodic = potential.predict([water, boxed], frozenset({Property.FORCES}))
    assert free.energy == pytest.approx(periodic.energy, abs=1e-5)
    np.testing.assert_allclose(free.forces, periodic.forces, atol=1e-4)


def test_every_element_of_the_list_is_answered_without_a_warning(potential):
    cells = [simple_cubic(symbol, 3.4) for symbol in potential.info.elements]
    answers = potential.predict(cells, ENERGY)
    assert all(np.isfinite(answer.energy) for answer in answers)


@pytest.mark.parametrize("number", [84, 95, 103])
def test_elements_that_it_has_not_learned_from_are_refused_by_name(potential, number):
    structure = Structure(np.array([11, number]), np.array([[0.0, 0, 0], [2, 2, 2]]), 4 * np.eye(3))
    with pytest.raises(UnsupportedByModel, match=f"found {SYMBOLS[number]}; expected the 89 elements that chgnet"):
        potential.predict([structure], ENERGY)


def test_the_stress_of_a_molecule_is_refused(potential):
    with pytest.raises(UnsupportedByModel, match="found a request for the stress of a molecule; expected a crystal"):
        potential.predict([bent_molecule(("O", "H", "H"), 0.97)], EVERYTHING)


def test_a_density_is_refused(potential):
    with pytest.raises(UnsupportedByModel, match="found a request for density; expected some of energy, forces"):
        potential.predict([distorted_rock_salt()], frozenset({Property.DENSITY}))


@pytest.mark.parametrize("is_periodic", [True, False], ids=["crystal", "molecule"])
@pytest.mark.parametrize("name", NAMES)
def test_a_lone_atom_has_an_energy_no_force_and_no_stress(models, name, is_periodic):
    atom = Structure.from_symbols(["Ar"], [[0.3, 0.1, 0.2]], 31 * np.eye(3), is_periodic)
    answer = models[name].predict([atom], EVERYTHING if is_periodic else EVERYTHING - {Property.STRESS})[0]
    assert np.isfinite(answer.energy)
    assert answer.isolated == (0,)
    np.testing.assert_array_equal(answer.forces, np.zeros((1, 3)))
    assert answer.stress is None or not answer.stress.any()


def test_an_isolated_atom_is_named_and_changes_nothing_for_the_others(potential):
    water = bent_molecule(("O", "H", "H"), 0.97)
    krypton = Structure.from_symbols(["Kr"], [[0.0, 9.0, 0.0]], 20 * np.eye(3), is_periodic=False)
    numbers = np.insert(water.numbers, 1, 36)
    both = Structure(numbers, np.insert(water.positions, 1, [0.0, 9.0, 0.0], axis=0), water.cell, is_periodic=False)
    together, alone, atom = potential.predict([both, water, krypton], ENERGY | {Property.FORCES})
    assert (together.isolated, alone.isolated, atom.isolated) == ((1,), (), (0,))
    assert together.energy == pytest.approx(alone.energy + atom.energy, abs=1e-5)
    np.testing.assert_allclose(np.delete(together.forces, 1, axis=0), alone.forces, atol=1e-5)
    np.testing.assert_array_equal(together.forces[1], 0)


def test_energies_of_atoms_add_up_to_that_of_the_cell(potential):
    answer = potential.predict([distorted_rock_salt()], ENERGY)[0]
    assert answer.energies.shape == (4,)
    assert answer.energies.sum() == pytest.approx(answer.energy, rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_a_structure_without_angles_is_the_same_beside_one_with_angles(models, name):
    """The package's 0.2.0 gives it other bonds there."""
    gas = Structure.from_symbols(["Ar", "Ne"], [[0, 0, 0], [2.1, 2.2, 2.0]], 4.2 * np.eye(3))
    alone = models[name].predict([gas], EVERYTHING)[0]
    beside = models[name].predict([distorted_rock_salt(), gas], EVERYTHING)[1]
    assert beside.energy == pytest.approx(alone.energy, abs=1e-5)
    np.testing.assert_allclose(beside.forces, alone.forces, atol=1e-5)


def test_loading_and_predicting_print_nothing(capfd):
    load_model("chgnet").predict([distorted_rock_salt()], EVERYTHING)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        MemoryError("Unable to allocate 3 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: 9 TB"),
    ],
    ids=["gpu", "numpy", "torch on cpu"],
)
def test_running_out_of_memory_is_told_as_such(potential, monkeypatch, error):
    def full(*_args, **_kwargs):
        raise error

    monkeypatch.setattr(potential._network, "forward", full)
    with pytest.raises(OutOfMemory, match=r"found 2 structures with 8 atoms .* fits the memory of cpu") as caught:
        potential.predict([distorted_rock_salt(), distorted_rock_salt()], ENERGY)
    assert caught.value.__context__ is None  # the batch's tensors are free while the worker tries again


def test_a_full_gpu_gives_its_cache_back(monkeypatch):
    potential, emptied = load_model("chgnet"), []
    monkeypatch.setattr(potential, "_device", torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(True))
    monkeypatch.setattr(potential, "_predictions", lambda *_: torch.empty(2**60))
    with pytest.raises(OutOfMemory, match="fits the memory of cuda"):
        potential.predict([distorted_rock_salt()], ENERGY)
    assert emptied == [True]


def test_other_errors_stay_what_they_are(potential, monkeypatch):
    def broken(*_args, **_kwargs):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(potential._network, "forward", broken)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        potential.predict([distorted_rock_salt()], ENERGY)
