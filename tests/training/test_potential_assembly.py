import json
from dataclasses import replace

import pytest
import torch

from models.potential.fastchgnet.model import FastChgnet
from models.weights import sha256_of
from reference.shards import write_shard
from rhocast.errors import UnusableWeights
from tests.training import potential_task
from tests.training.test_command import run
from tests.training.test_dataset import record
from tests.training.test_potential_config import config_file
from training.dataset import NoData
from training.labels import read_labels, write_labels
from training.potential_assembly import checkpoint_of, first_network, labelled
from training.potential_assembly import potential_task as assembled
from training.potential_config import PotentialConfig


@pytest.fixture
def teacher(tmp_path):
    """Labels of three salts to learn from, and two held out."""
    file = tmp_path / "teacher.npz"
    there = [one for one in potential_task.examples() if one.energy is not None]
    write_labels(file, [*there[:2], *(replace(one, split="validation") for one in there[2:])])
    return file


@pytest.fixture
def config(tmp_path):
    return PotentialConfig.read(config_file(tmp_path))


def test_a_training_starts_from_a_chgnet_with_heads_of_its_seed(config):
    network = first_network(config)
    expected = potential_task.network().chgnet.state_dict()
    for name, tensor in network.chgnet.state_dict().items():
        assert torch.equal(tensor, expected[name])
    other = first_network(replace(config, schedule=replace(config.schedule, seed=5)))
    assert not torch.equal(network.heads.forces.out.weight, other.heads.forces.out.weight)


def test_a_training_goes_on_from_another_one(config, teacher, tmp_path):
    task = assembled(config, tmp_path, teacher)
    weights = tmp_path / "weights.safetensors"
    checkpoint = checkpoint_of(task.network, config, task)
    checkpoint.write(weights)
    assert checkpoint.config["about"]["elements"] == ["O", "Na", "Mg", "Cl"]
    later = first_network(replace(config, start=str(weights)))
    for name, tensor in task.network.state_dict().items():
        assert torch.equal(later.state_dict()[name], tensor)


def test_a_start_that_is_not_there_is_missed(config):
    with pytest.raises(UnusableWeights, match="found no 'gpt' to start from; expected a CHGNet of the catalogue"):
        first_network(replace(config, start="gpt"))


def test_labels_are_a_teachers_or_those_of_reference_data(config, teacher, tmp_path):
    assert len(labelled(config, "train", tmp_path, teacher)) == 2
    (tmp_path / "crystals").mkdir()
    write_shard(tmp_path / "crystals" / "a.h5", [record("a"), record("b", "test")])
    (of_dft,) = labelled(replace(config, labels=("crystals",)), "train", tmp_path, teacher)
    assert of_dft.source == "crystals"
    assert of_dft.energy is None
    with pytest.raises(NoData, match="found no shard of the set 'water'"):
        labelled(replace(config, labels=("water",)), "train", tmp_path, teacher)


def test_a_part_of_the_labels_can_be_chosen(config, teacher, tmp_path):
    task = assembled(replace(config, n_training=1, n_watched=1), tmp_path, teacher)
    assert (task.n_examples, task.n_held_out) == (1, 1)


def test_heads_are_taught_trained_and_answer(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "crystals").mkdir(parents=True)
    write_shard(tmp_path / "data" / "crystals" / "a.h5", [record("a")])
    said = run("teach", "--n", 12, "--mixtures", 4, "--sets", "crystals", "--data", "data")
    assert said.startswith("trainings/teacher.npz written: ")
    there = read_labels(tmp_path / "trainings" / "teacher.npz", "train")
    assert {one.source for one in there} == {"teacher-crystals", "teacher-mixtures", "crystals"}
    write_labels(tmp_path / "trainings" / "teacher.npz", [*there, replace(there[0], split="validation")])
    first, *epochs, _, _ = run("train", config_file(tmp_path), "--data", "data").splitlines()
    assert first.endswith(f"{len(there)} structures, 1 held out")
    assert all(json.loads(line)["validation_forces"] > 0 for line in epochs)
    weights = tmp_path / "trainings" / "toy" / "weights.safetensors"
    model = FastChgnet.read(weights, sha256_of(weights))
    assert model.info.is_conservative is False
    assert set(model.info.elements) == {symbol for one in there for symbol in one.structure.symbols}


def test_a_model_of_densities_is_no_teacher(tmp_path):
    with pytest.raises(AssertionError, match="found promolecule, a model of densities; expected a potential"):
        run("teach", "--teacher", "promolecule", "--out", tmp_path / "teacher.npz")
