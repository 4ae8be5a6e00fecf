import hashlib

import pytest

from models.weights import sha256_of, verified_bytes, weights_path
from rhocast.errors import UnusableWeights


@pytest.fixture
def weights(tmp_path):
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"numbers")
    return file


def test_weights_are_found_inside_their_package():
    assert weights_path("models.potential.chgnet", "model.py").is_file()


@pytest.mark.parametrize("package", ["no_such_package", "models.weights"])
def test_weights_in_no_package_are_refused(package):
    with pytest.raises(UnusableWeights, match=f"found no package '{package}'; expected it to carry the weights w.pt"):
        weights_path(package, "w.pt")


def test_weights_with_the_right_hash_are_read(weights):
    sha256 = hashlib.sha256(b"numbers").hexdigest()
    assert sha256_of(weights) == sha256
    assert verified_bytes(weights, sha256) == b"numbers"


def test_weights_with_another_hash_are_refused(weights):
    with pytest.raises(UnusableWeights, match=r"found model.safetensors with sha256 \w{64}; expected 0000"):
        verified_bytes(weights, 64 * "0")


def test_missing_weights_are_refused(tmp_path):
    with pytest.raises(UnusableWeights, match=r"found no file .*gone.pt; expected weights with sha256 0000"):
        verified_bytes(tmp_path / "gone.pt", 64 * "0")
