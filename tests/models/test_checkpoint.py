import hashlib
import json

import pytest
import torch
from safetensors.torch import save

from models.checkpoint import Checkpoint
from models.network import Trunk, TrunkConfig
from rhocast.errors import UnusableWeights

CONFIG = TrunkConfig((1, 8), cutoff=3.5, n_layers=1, n_channels=4, l_max=2)


def checkpoint_of(trunk: Trunk) -> Checkpoint:
    return Checkpoint({"trunk": trunk.config.as_dict(), "energies": {"H": -13.6}}, trunk.state_dict())


def test_what_was_written_builds_the_same_network(tmp_path):
    trunk = Trunk(CONFIG, seed=3)
    sha256 = checkpoint_of(trunk).write(tmp_path / "small.safetensors")
    found = Checkpoint.read(tmp_path / "small.safetensors", sha256)
    assert found.config["energies"] == {"H": -13.6}
    again = Trunk(TrunkConfig.from_dict(found.config["trunk"]), seed=4)
    again.load_state_dict(dict(found.weights))
    assert again.config == trunk.config
    for name, weight in trunk.state_dict().items():
        assert torch.equal(again.state_dict()[name], weight), name


def test_equal_checkpoints_make_equal_files(tmp_path):
    hashes = {checkpoint_of(Trunk(CONFIG, seed=3)).write(tmp_path / name) for name in ("a", "b")}
    assert hashes == {hashlib.sha256((tmp_path / "a").read_bytes()).hexdigest()}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_checkpoint_holds_parameters_and_nothing_that_follows_from_the_configuration():
    trunk = Trunk(CONFIG)
    assert set(trunk.state_dict()) == {name for name, _ in trunk.named_parameters()}


def test_a_checkpoint_with_another_hash_is_refused(tmp_path):
    checkpoint_of(Trunk(CONFIG)).write(tmp_path / "small.safetensors")
    with pytest.raises(UnusableWeights, match=r"found small.safetensors with sha256 \w{64}; expected 0000"):
        Checkpoint.read(tmp_path / "small.safetensors", 64 * "0")


@pytest.mark.parametrize(
    "contents",
    [
        b"no tensors",
        save({"weight": torch.zeros(2)}),
        save({"weight": torch.zeros(2)}, {"config": "{not JSON"}),
        save({"weight": torch.zeros(2)}, {"other": json.dumps({})}),
    ],
    ids=["not safetensors", "no metadata", "not JSON", "no configuration"],
)
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, contents):
    file = tmp_path / "small.safetensors"
    file.write_bytes(contents)
    with pytest.raises(UnusableWeights, match=r"found small\.safetensors without weights and configuration"):
        Checkpoint.read(file, hashlib.sha256(contents).hexdigest())


def test_a_part_and_the_rest_are_the_whole():
    weights = {"a.one": torch.zeros(1), "a.two": torch.ones(1), "ab": torch.ones(2), "b.a.one": torch.zeros(2)}
    checkpoint = Checkpoint({}, weights)
    assert list(checkpoint.inside("a")) == ["one", "two"]
    assert checkpoint.inside("a")["two"] is weights["a.two"]
    assert list(checkpoint.outside("a")) == ["ab", "b.a.one"]
