import pytest

from training.config import FASTCHGNET, BadConfig, architecture_of
from training.potential_config import PotentialConfig

CONFIG = """
architecture = "fastchgnet"
name = "toy"
labels = ["teacher"]
start = "chgnet"
is_trunk_frozen = true
{}
[about]
description = "a test"
level_of_theory = "none"
domains = ["crystal"]
licence = "none"
energy_reference = "none"

[weights]
stress = 0.5

[schedule]
n_epochs = 2
batch_size = 4
learning_rate = 0.003
{}
"""


def config_file(tmp_path, line="", schedule=""):
    file = tmp_path / "toy.toml"
    file.write_text(CONFIG.format(line, schedule))
    return file


def test_a_configuration_survives_its_table(tmp_path):
    config = PotentialConfig.read(config_file(tmp_path, "is_antisymmetric = false\nn_training = 12"))
    assert not config.is_antisymmetric
    assert config.about["name"] == "toy"
    assert PotentialConfig.from_dict(config.as_dict()) == config


def test_weights_that_are_not_named_are_those_of_chgnet(tmp_path):
    weights = PotentialConfig.read(config_file(tmp_path)).weights
    assert (weights.energy, weights.forces, weights.stress, weights.magmoms) == (1.0, 1.0, 0.5, 0.1)


def test_the_architecture_is_read_first(tmp_path):
    assert architecture_of(config_file(tmp_path)) == FASTCHGNET
    assert PotentialConfig.read(config_file(tmp_path)).architecture == FASTCHGNET
    with pytest.raises(BadConfig, match="nowhere"):
        architecture_of(tmp_path / "nowhere.toml")


@pytest.mark.parametrize(
    ("line", "schedule", "match"),
    [
        ("colour = 1", "", "found colour; expected about, architecture"),
        ("n_watched = 0", "", "found 0 structures to watch; expected one at least"),
        ("labels = 3", "", "toy.toml"),
        ("", "n_finishing = 5", "found n_finishing 5; expected none"),
    ],
)
def test_a_configuration_of_nonsense_is_refused(tmp_path, line, schedule, match):
    with pytest.raises(BadConfig, match=match):
        PotentialConfig.read(config_file(tmp_path, line, schedule))
