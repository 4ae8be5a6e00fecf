import hashlib
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from models.catalog import catalog
from models.potential.chgnet.checkpoint import network_of
from models.potential.chgnet.info import INFOS
from models.potential.chgnet.model import Chgnet
from rhocast.elements import SYMBOLS
from rhocast.errors import UnusableWeights

ENTRIES = {name: entry for name, entry in catalog().items() if entry.architecture == "chgnet"}

PROGRAM = """
import sys
import numpy as np
from models.catalog import load_model
from rhocast.model_info import Property
from rhocast.structure import Structure
salt = Structure.from_symbols(["Na", "Cl"], [[0, 0, 0], [2.8, 0, 0]], 5.6 * np.eye(3))
load_model("chgnet").predict([salt], frozenset({Property.FORCES}))
print(sorted(name for name in sys.modules if name.partition(".")[0] in ("chgnet", "pymatgen")))
"""


@pytest.mark.parametrize("info", INFOS, ids=lambda info: info.name)
def test_every_weight_but_those_of_the_third_update_of_angles_is_used(info):
    file = ENTRIES[info.name].path
    stored = torch.load(file, map_location="cpu", weights_only=True)["model"]["state_dict"]
    n_stored = sum(tensor.numel() for name, tensor in stored.items() if not name.startswith("angle_layers.2."))
    network = network_of(file, info.weights_sha256)
    assert sum(tensor.numel() for tensor in network.state_dict().values()) == n_stored
    assert not any(weight.requires_grad for weight in network.parameters())


@pytest.mark.parametrize("info", INFOS, ids=lambda info: info.name)
def test_its_elements_are_those_whose_embedding_has_ever_had_a_gradient(info):
    moments = torch.load(ENTRIES[info.name].path, map_location="cpu", weights_only=True)["optimizer"]["state"]
    (embedding,) = (one["exp_avg_sq"] for one in moments.values() if one["exp_avg_sq"].shape == (94, 64))
    assert info.elements == tuple(SYMBOLS[number + 1] for number in range(94) if embedding[number].any())


@pytest.mark.parametrize("name", ENTRIES)
def test_the_checkpoint_holds_no_code(name):
    assert torch.serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(ENTRIES[name].path.read_bytes())) == []


def test_tampered_weights_are_refused(tmp_path):
    copy = tmp_path / "chgnet.pth.tar"
    contents = bytearray(ENTRIES["chgnet"].path.read_bytes())
    contents[len(contents) // 2] ^= 1
    copy.write_bytes(contents)
    with pytest.raises(UnusableWeights, match=r"found chgnet.pth.tar with sha256 .*; expected d14ab7c0"):
        Chgnet.read(copy, ENTRIES["chgnet"].sha256)


@pytest.mark.parametrize("kind", ["text", "other tensors", "half a network"])
def test_a_file_that_is_no_chgnet_is_refused(tmp_path, kind):
    file = tmp_path / "weights.pth.tar"
    if kind == "text":
        file.write_text("no tensors")
    elif kind == "other tensors":
        torch.save({"weights": torch.zeros(3)}, file)
    else:
        stored = torch.load(ENTRIES["chgnet"].path, map_location="cpu", weights_only=True)
        stored["model"]["state_dict"].pop("site_wise.bias")
        torch.save({"model": stored["model"]}, file)
    with pytest.raises(UnusableWeights, match=r"found weights.pth.tar, which holds no CHGNet"):
        network_of(file, hashlib.sha256(file.read_bytes()).hexdigest())


def test_weights_of_an_unknown_training_are_refused():
    with pytest.raises(UnusableWeights, match=r"found that weights of sha256 0+ are meant; expected those of chgnet, "):
        Chgnet.read(ENTRIES["chgnet"].path, 64 * "0")


def test_answering_imports_neither_the_package_nor_pymatgen():
    root = Path(__file__).parents[4]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, cwd=root, check=True
    )
    assert done.stdout.strip() == "[]"
