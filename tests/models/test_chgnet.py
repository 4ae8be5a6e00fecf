import gc
import io
import warnings

import chgnet.graph.converter
import chgnet.model.model
import numpy as np
import pytest
import torch
from chgnet.model.model import CHGNet
from pymatgen.core import Lattice
from pymatgen.core import Structure as PymatgenStructure

from models.interface import OutOfMemory, Potential
from models.potential.chgnet import CHECKPOINT, INFO, Chgnet
from models.weights import weights_path
from rhocast.elements import SYMBOLS
from rhocast.errors import UnsupportedByModel, UnusableWeights
from rhocast.model_info import Property
from rhocast.structure import Structure
from tests.models.potential_contract import EVERYTHING, PotentialContract, bent_molecule, distorted_rock_salt

ENERGY = frozenset({Property.ENERGY})


def simple_cubic(symbol: str, spacing: float) -> Structure:
    """One atom in a cubic cell of this edge in Å."""
    return Structure.from_symbols([symbol], [[0.3, 0.1, 0.2]], spacing * np.eye(3))


@pytest.fixture(scope="module")
def potential() -> Chgnet:
    return Chgnet()


@pytest.fixture(scope="module")
def library() -> CHGNet:
    return CHGNet.load(use_device="cpu", verbose=False)


class TestChgnet(PotentialContract):
    @pytest.fixture
    def model(self, potential):
        return potential

    @pytest.fixture
    def precise_model(self, monkeypatch):
        """The same network in float64, for a float32 energy is too coarse to be differenced."""
        monkeypatch.setattr(chgnet.graph.converter, "TORCH_DTYPE", torch.float64)
        monkeypatch.setattr(chgnet.model.model, "TORCH_DTYPE", torch.float64)
        model = Chgnet()
        model._network.double()
        model._network.composition_model.float()  # it casts its input to float32, and is linear in whole numbers
        return model


def test_it_is_a_potential(potential):
    assert isinstance(potential, Potential)
    assert INFO.elements[0] == "H"
    assert INFO.elements[-1] == "Pu"
    assert len(INFO.elements) == 94


@pytest.mark.parametrize(
    "structure",
    [
        distorted_rock_salt(),
        distorted_rock_salt("Fe", "O", 2.15),
        distorted_rock_salt("Ar", "Ne", 3.2),
        simple_cubic("Po", 3.35),
        Structure.from_symbols(
            ["Si", "Si"], [[0, 0, 0], [1.4, 1.3, 1.35]], [[0, 2.7, 2.7], [2.7, 0, 2.7], [2.7, 2.7, 0]]
        ),
    ],
    ids=lambda structure: structure.formula,
)
def test_it_says_what_the_library_says(potential, library, structure):
    found = potential.predict([structure], EVERYTHING)[0]
    right_handed = np.linalg.det(structure.cell) > 0
    # Wrapped as `Chgnet` does: unwrapped, float32 rounds the fractions otherwise, and straight angles amplify that.
    lattice, fractional = Lattice(structure.cell), structure.fractional_positions
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = library.predict_structure(
            PymatgenStructure(lattice, structure.symbols, fractional, to_unit_cell=True)
        )
    n_atoms = structure.n_atoms
    assert found.energy / n_atoms == pytest.approx(float(expected["e"]), abs=1e-5)
    np.testing.assert_allclose(found.forces, expected["f"], rtol=0, atol=2e-5)
    np.testing.assert_allclose(found.magmoms, expected["m"], rtol=0, atol=1e-5)
    sign = 1 if right_handed else -1
    np.testing.assert_allclose(160.21766208 * found.stress, sign * expected["s"], rtol=0, atol=1e-3)


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
    cells = [simple_cubic(symbol, 3.4) for symbol in INFO.elements]
    answers = potential.predict(cells, ENERGY)
    assert all(np.isfinite(answer.energy) for answer in answers)


@pytest.mark.parametrize("number", [95, 103])
def test_elements_beyond_plutonium_are_refused_by_name(potential, number):
    structure = Structure(np.array([11, number]), np.array([[0.0, 0, 0], [2, 2, 2]]), 4 * np.eye(3))
    with pytest.raises(UnsupportedByModel, match=f"found {SYMBOLS[number]}; expected elements from H to Pu"):
        potential.predict([structure], ENERGY)


def test_the_stress_of_a_molecule_is_refused(potential):
    with pytest.raises(UnsupportedByModel, match="found a request for the stress of a molecule; expected a crystal"):
        potential.predict([bent_molecule(("O", "H", "H"), 0.97)], EVERYTHING)


def test_a_density_is_refused(potential):
    with pytest.raises(UnsupportedByModel, match="found a request for density; expected some of energy, forces"):
        potential.predict([distorted_rock_salt()], frozenset({Property.DENSITY}))


@pytest.mark.parametrize(
    ("structure", "sentence"),
    [
        (
            simple_cubic("Ar", 7.5),
            r"found the Ar atom at \(0.300, 0.100, 0.200\) Å isolated: its nearest neighbour is 7.50 Å away",
        ),
        (
            simple_cubic("Ar", 31.0),
            r"found the Ar atom at \(0.300, 0.100, 0.200\) Å isolated: its nearest neighbour is 31.00 Å away",
        ),
        (
            Structure.from_symbols(["O", "H", "Kr"], [[0, 0, 0], [1, 0, 0], [0, 9, 0]], 9 * np.eye(3), False),
            r"found the Kr atom at \([\d., -]+\) Å isolated: its nearest neighbour is 9.00 Å away; expected",
        ),
        (
            Structure.from_symbols(["Kr"], [[0, 0, 0]], 9 * np.eye(3), False),
            r"found the Kr atom at \([\d., -]+\) Å isolated: it is alone",
        ),
    ],
    ids=["thin gas", "thinner gas", "molecule", "single atom"],
)
def test_an_atom_without_neighbours_is_refused_with_its_place_and_distance(potential, structure, sentence):
    with pytest.raises(UnsupportedByModel, match=sentence):
        potential.predict([distorted_rock_salt(), structure], ENERGY)


def test_a_structure_can_be_checked_before_its_batch(potential):
    potential.check(distorted_rock_salt(), EVERYTHING)
    with pytest.raises(UnsupportedByModel, match="isolated"):
        potential.check(simple_cubic("Ar", 7.5), ENERGY)


def test_tampered_weights_are_refused(tmp_path):
    copy = tmp_path / "chgnet.pth.tar"
    contents = bytearray(weights_path("chgnet", CHECKPOINT).read_bytes())
    contents[len(contents) // 2] ^= 1
    copy.write_bytes(contents)
    with pytest.raises(UnusableWeights, match=r"found chgnet.pth.tar with sha256 .*; expected d14ab7c0"):
        Chgnet(weights=copy)


def test_loading_and_predicting_print_nothing(capfd):
    Chgnet().predict([distorted_rock_salt()], EVERYTHING)
    assert capfd.readouterr() == ("", "")


def test_garbage_collection_goes_on_as_before(potential, monkeypatch):
    before = gc.get_threshold()
    potential.predict([distorted_rock_salt()], ENERGY)
    assert gc.get_threshold() == before

    def failing(*_args):
        raise ValueError("broken graph")

    monkeypatch.setattr(chgnet.graph.converter, "make_graph", failing)
    with pytest.raises(ValueError, match="broken graph"):
        potential.predict([distorted_rock_salt()], ENERGY)
    assert gc.get_threshold() == before


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
    potential, emptied = Chgnet(), []
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


def test_the_checkpoint_holds_no_code():
    assert (
        torch.serialization.get_unsafe_globals_in_checkpoint(
            io.BytesIO(weights_path("chgnet", CHECKPOINT).read_bytes())
        )
        == []
    )
