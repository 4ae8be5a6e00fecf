"""The command line on a set of one analytic crystal."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import training
from models.checkpoint import Checkpoint
from models.density.deep_density.model import DeepDensity
from models.density.orbital.model import OrbitalDensity
from models.density.orbital.network import OrbitalNetwork
from models.uncertainty import GAUGE
from models.weights import sha256_of
from reference.shards import write_shard
from tests.training.test_dataset import record
from training.__main__ import application
from training.assembly import deep_density_task
from training.config import FASTCHGNET, OF_ORBITALS, BadConfig, TrainingConfig, architecture_of
from training.dataset import NoData, samples
from training.loop import STATE
from training.metrics import nmae
from training.potential_config import PotentialConfig

CONFIG = """
name = "toy"
sets = ["crystals"]
n_points = 200
{}
[about]
description = "a test"
level_of_theory = "none"
domains = ["crystal"]

[schedule]
n_epochs = 2
batch_size = 2
learning_rate = 0.01

[model.trunk]
elements = ["O"]
cutoff = 3.0
n_layers = 1
n_channels = 4
l_max = 2
n_hidden = 8

[model.atoms]
highest_degree = 2
n_radial = 3
smallest_exponent = 0.1
largest_exponent = 2.0
"""


@pytest.fixture
def data(tmp_path):
    (tmp_path / "data" / "crystals").mkdir(parents=True)
    records = [record("a"), record("b"), record("c", "validation")]
    write_shard(tmp_path / "data" / "crystals" / "a.h5", records)
    return tmp_path / "data"


def config_file(tmp_path, line=""):
    file = tmp_path / "toy.toml"
    file.write_text(CONFIG.format(line))
    return file


def run(*arguments):
    threads = torch.get_num_threads()
    try:
        found = CliRunner().invoke(application, [str(argument) for argument in arguments], catch_exceptions=False)
    finally:
        torch.set_num_threads(threads)
    assert found.exit_code == 0, found.output
    return found.output


DEEP_DENSITY = (
    CONFIG[: CONFIG.index("[schedule]")].replace("{}", 'architecture = "deep-density"')
    + """
[schedule]
n_epochs = 2
batch_size = 2
learning_rate = 0.01
n_finishing = 10

[model]
elements = ["O"]

[model.environment]
cutoff = 3.0
highest_degree = 1
n_channels = 4
n_contracted = 2
n_radial = 4
n_hidden = 8

[model.background]
cutoff = 3.0
n_radial = 6

[model.clusters]
cutoff = 2.5
n_radial = 4
n_hidden = 8
decay_length = 0.5
"""
)


def deep_density_file(tmp_path):
    file = tmp_path / "deep.toml"
    file.write_text(DEEP_DENSITY)
    return file


def test_the_floor_is_a_table_with_a_row_for_each_set(tmp_path, data):
    _, _, row = run("floor", config_file(tmp_path), "--data", data).splitlines()
    name, n_structures, functions, *figures = (cell.strip() for cell in row.strip("|").split("|"))
    assert (name, n_structures, functions) == ("crystals", "1", "27 to 27")
    assert len(figures) == 4
    assert all(0 < float(figure.removesuffix(" %")) < 20 for figure in figures)


def test_training_reports_both_errors_and_keeps_weights(tmp_path, data):
    file = config_file(tmp_path, "coulomb_weight = 0.5\nelement_likeness = 0.9\nelement_noise = 0.1")
    *epochs, _, _ = run("train", file, "--data", data, "--out", tmp_path / "out").splitlines()[1:]
    for figures in map(json.loads, epochs):
        assert figures["validation_nmae"] > 0
        assert figures["validation_coulomb"] > 0
    folder = tmp_path / "out" / "toy"
    assert (folder / "weights.safetensors").exists()
    config = torch.load(folder / STATE, weights_only=True)["config"]
    assert [config[name] for name in OF_ORBITALS] == [0.5, 0.9, 0.1]


def test_a_deep_density_is_trained_finished_and_kept(tmp_path, data):
    lines = run("train", deep_density_file(tmp_path), "--data", data, "--out", tmp_path / "out").splitlines()
    assert any("finishing" in line for line in lines)
    weights = tmp_path / "out" / "toy" / "weights.safetensors"
    model = DeepDensity.read(weights, sha256_of(weights))
    (sample,) = samples(["crystals"], "validation", data)
    (field,) = model.fields([sample.structure])
    assert nmae(sample, field.at_points(sample.points)).value < 0.4
    assert model.info.no_uncertainty_because is None
    assert field.expected_error().value > 0


def test_weights_learn_how_far_to_trust_them_and_stay_as_they_are(tmp_path, data):
    file, out = config_file(tmp_path), tmp_path / "out"
    run("train", file, "--data", data, "--out", out)
    weights = out / "toy" / "weights.safetensors"
    trained = weights.read_bytes()
    made = Checkpoint.read(weights, sha256_of(weights))
    bare = Checkpoint({name: made.config[name] for name in ("model", "about")}, made.outside(GAUGE))
    assert OrbitalDensity.read(weights, bare.write(weights)).gauge is None
    figures, written = run("calibrate", file, weights, "--data", data).splitlines()
    assert json.loads(figures)["n_structures"] == 1
    assert written == f"{weights} written, sha256 {sha256_of(weights)}"
    assert weights.read_bytes() == trained
    again = Checkpoint.read(weights, sha256_of(weights))
    for name, tensor in bare.weights.items():
        assert torch.equal(again.weights[name], tensor), name
    model = OrbitalDensity.read(weights, sha256_of(weights))
    assert model.info.no_uncertainty_because is None
    (sample,) = samples(["crystals"], "validation", data)
    found = model.fields([sample.structure])[0].expected_error()
    assert found.value > 0
    assert found.upper is None


def test_weights_are_not_calibrated_on_structures_that_they_do_not_cover(tmp_path, data):
    model = TrainingConfig.read(config_file(tmp_path)).model
    other = replace(model, trunk=replace(model.trunk, elements=(3,)))
    weights = tmp_path / "lithium.safetensors"
    Checkpoint({"model": other.as_dict(), "about": {}}, OrbitalNetwork(other).state_dict()).write(weights)
    with pytest.raises(NoData, match="found no validation structure of crystals to calibrate on"):
        run("calibrate", config_file(tmp_path), weights, "--data", data)


@pytest.mark.parametrize("name", OF_ORBITALS)
def test_zero_is_the_default_and_leaves_no_trace(tmp_path, name):
    with_none, with_zero = (TrainingConfig.read(config_file(tmp_path, line)) for line in ("", f"{name} = 0.0"))
    assert with_none == with_zero
    assert name not in with_none.as_dict()


def test_a_configuration_survives_its_table(tmp_path):
    config = TrainingConfig.read(config_file(tmp_path, "coulomb_weight = 0.5\nelement_noise = 0.1"))
    assert (config.coulomb_weight, config.element_likeness, config.element_noise) == (0.5, 0.0, 0.1)
    assert TrainingConfig.from_dict(config.as_dict()) == config


def test_a_configuration_of_a_deep_density_survives_its_table(tmp_path):
    config = TrainingConfig.read(deep_density_file(tmp_path))
    assert config.deep_density == config.model
    assert TrainingConfig.from_dict(config.as_dict()) == config


def test_what_needs_orbitals_refuses_a_deep_density_and_the_other_way_round(tmp_path):
    with pytest.raises(BadConfig, match="found toy, a deep-density model; expected an orbital model"):
        run("floor", deep_density_file(tmp_path))
    with pytest.raises(BadConfig, match="found toy, an orbital model; expected a Deep Density"):
        deep_density_task(TrainingConfig.read(config_file(tmp_path)))


@pytest.mark.parametrize("name", OF_ORBITALS)
def test_a_deep_density_is_not_learned_as_orbitals_are(tmp_path, name):
    file = deep_density_file(tmp_path)
    file.write_text(f"{name} = 1.0\n" + file.read_text())
    with pytest.raises(BadConfig, match=f"found {name} for deep-density.*only orbitals learn by it"):
        TrainingConfig.read(file)


def test_a_schedule_that_says_no_more_than_it_once_could_leaves_no_trace(tmp_path):
    table = TrainingConfig.read(config_file(tmp_path)).as_dict()["schedule"]
    assert "falling" not in table
    assert "n_finishing" not in table


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("coulomb_weight = -1.0", "coulomb_weight -1.0; expected zero"),
        ("element_likeness = 1.5", "element_likeness 1.5; expected one at most"),
        ("element_noise = -0.1", "element_noise -0.1; expected zero"),
        ("colour = 1", "colour"),
        ('architecture = "brick"', "one of orbital, deep-density"),
    ],
)
def test_a_configuration_of_nonsense_is_refused(tmp_path, line, match):
    with pytest.raises(BadConfig, match=match):
        TrainingConfig.read(config_file(tmp_path, line))


@pytest.mark.parametrize("file", sorted(Path(training.__file__).parent.glob("*.toml")), ids=lambda file: file.stem)
def test_a_configuration_that_ships_is_named_by_its_file(file):
    kind = PotentialConfig if architecture_of(file) == FASTCHGNET else TrainingConfig
    assert kind.read(file).name == file.stem
