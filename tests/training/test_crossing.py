"""Networks that have not learned from a part of the data each, and what they say of it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.checkpoint import Checkpoint
from models.uncertainty import GAUGE
from models.weights import sha256_of
from reference.shards import write_shard
from tests.training.test_command import config_file, run
from tests.training.test_dataset import record
from training.assembly import learned_samples
from training.config import BadConfig, TrainingConfig
from training.crossing import crossed
from training.dataset import NoData

GROUPS = {"a": "one", "b": "two", "c": "two", "d": "three", "e": "four"}


def grouped(name: str, group: str, number: int = 8):
    made = record(name)
    arrays = made.arrays | {"numbers": np.array([number]), "positions": np.array([[1.0, 2, 3 + len(group) / 10]])}
    return replace(made, arrays=arrays, attributes=made.attributes | {"group": group})


@pytest.fixture
def data(tmp_path):
    (tmp_path / "data" / "crystals").mkdir(parents=True)
    records = [grouped(*one) for one in GROUPS.items()] + [grouped("s", "sulphur", 16), record("v", "validation")]
    write_shard(tmp_path / "data" / "crystals" / "a.h5", records)
    return tmp_path / "data"


def configured(tmp_path, n_crossed: int) -> TrainingConfig:
    file = config_file(tmp_path, f"n_crossed = {n_crossed}")
    file.write_text(file.read_text().replace('["O"]', '["O", "S"]'))
    return TrainingConfig.read(file)


def test_each_structure_is_seen_once_by_a_network_that_has_not_learned_from_its_group(tmp_path, data):
    learned: dict[str, list[str]] = {}

    def learn(task, part):
        learned[part] = [example.sample.name for example in task.examples]
        return task.network

    found = list(crossed(configured(tmp_path, 3), learn, data))
    assert list(learned) == [f"without-{number}-of-3" for number in (1, 2, 3)]
    assert sorted(name for names in learned.values() for name in names) == sorted([*GROUPS, "s"] * 2)
    for names in learned.values():
        assert ("b" in names) == ("c" in names)
    # Sulphur is in one structure alone: a network without it has never met it.
    assert sorted(one.case.group for one in found) == sorted(GROUPS.values())
    assert all(torch.isfinite(one.likelihoods).all() and one.case.nmae > 0 for one in found)


def test_without_parts_nothing_is_learned(tmp_path, data):
    def learn(_task, _part):
        raise AssertionError

    assert list(crossed(configured(tmp_path, 0), learn, data)) == []


def test_fewer_groups_than_parts_are_refused(tmp_path, data):
    with pytest.raises(NoData, match="found 5 groups to learn from; expected 9 or more, to divide"):
        list(crossed(configured(tmp_path, 9), lambda task, part: task.network, data))


@pytest.mark.parametrize("n", [-1, 1])
def test_one_part_is_none(tmp_path, n):
    with pytest.raises(BadConfig, match=f"found n_crossed {n}; expected 0, or 2 parts and more"):
        configured(tmp_path, n)


def test_crossing_changes_no_weight_and_what_the_model_learns_from(tmp_path, data):
    config = configured(tmp_path, 3)
    assert len(learned_samples(config, config.orbitals.trunk.elements, data)) == 6
    whole, without = tmp_path / "whole", tmp_path / "without"
    file = tmp_path / "toy.toml"
    run("train", file, "--data", data, "--out", whole)
    file.write_text(file.read_text().replace("n_crossed = 3", ""))
    run("train", file, "--data", data, "--out", without)
    files = [folder / "toy" / "weights.safetensors" for folder in (whole, without)]
    one, other = (Checkpoint.read(path, sha256_of(path)) for path in files)
    assert all(torch.equal(tensor, other.weights[name]) for name, tensor in one.outside(GAUGE).items())
    assert [made.config[GAUGE]["n_structures"] for made in (one, other)] == [6, 1]
    assert [made.config[GAUGE]["n_crossed"] for made in (one, other)] == [5, 0]
    assert sorted(path.name for path in whole.iterdir()) == ["toy"] + [f"toy-without-{n}-of-3" for n in (1, 2, 3)]
