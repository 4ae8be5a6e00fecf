import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from models import catalog as catalogue
from models.catalog import BUILDERS, CatalogEntry, actual_hashes, catalog, load_model
from models.interface import DensityModel, Potential
from models.weights import sha256_of
from rhocast.errors import UnknownModel, UnusableWeights

ROOT = Path(catalogue.__file__).parents[1]
ENTRIES = catalog()
KINDS = {"density": DensityModel, "potential": Potential}


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT, check=False)


def test_names_are_sorted_and_each_has_a_builder():
    assert list(ENTRIES) == sorted(ENTRIES)
    assert {entry.architecture for entry in ENTRIES.values()} == BUILDERS.keys()


@pytest.mark.parametrize("name", ENTRIES)
def test_the_catalogue_has_the_hash_of_the_weights(name):
    assert sha256_of(ENTRIES[name].path) == ENTRIES[name].sha256


@pytest.mark.parametrize("name", ENTRIES)
def test_every_model_has_a_card_that_begins_with_its_name(name):
    assert (ROOT / ENTRIES[name].card).read_text(encoding="utf-8").startswith(f"# {name}\n")


@pytest.mark.parametrize("name", ENTRIES)
def test_a_model_loads_under_its_name_as_the_kind_it_says(name):
    entry, model = ENTRIES[name], load_model(name)
    assert isinstance(model, KINDS[entry.kind])
    assert model.info.name == name
    assert model.info.licence == entry.licence
    assert model.info.weights_sha256 == entry.sha256


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(UnknownModel, match=r"found no model .gpt.; expected one of chgnet, .*promolecule"):
        load_model("gpt")


def test_weights_that_are_not_the_catalogues_are_refused():
    entries = {"chgnet": replace(ENTRIES["chgnet"], sha256=64 * "0")}
    with pytest.raises(UnusableWeights, match=r"found chgnet_0.3.0.* with sha256 d14ab7c0.*; expected 0000"):
        load_model("chgnet", entries=entries)


def test_a_model_that_has_loaded_other_weights_is_refused():
    other = {"package": "models.potential", "weights": "__init__.py"}
    entry = replace(ENTRIES["promolecule"], **other)
    entry = replace(entry, sha256=sha256_of(entry.path))
    with pytest.raises(
        UnusableWeights, match=r"found promolecule with weights of sha256 f19cce30.*; expected \w{64} as in"
    ):
        load_model("promolecule", entries={"promolecule": entry})


def test_an_unknown_key_in_the_catalogue_is_refused(tmp_path):
    file = tmp_path / "catalog.toml"
    file.write_text('[m]\nkind = "density"\ncolour = "red"\n')
    with pytest.raises(TypeError, match="colour"):
        catalog(file)


def test_the_true_hashes_are_shown_beside_the_catalogues():
    known = ENTRIES["chgnet"]
    absent = CatalogEntry("density", "orbital", "models.potential", "gone.pt", "abc", "card.md", "MIT")
    lines = actual_hashes({"right": known, "wrong": replace(known, sha256="abc"), "absent": absent})
    assert lines[0] == f"{'right':<20} {known.sha256}  as in the catalogue"
    assert lines[1] == f"{'wrong':<20} {known.sha256}  the catalogue has abc"
    assert lines[2] == f"{'absent':<20} no file  the catalogue has abc"


def test_the_module_run_as_a_program_shows_every_model():
    answer = run_python("-m", "models.catalog")
    assert answer.returncode == 0, answer.stderr
    assert [line.split()[0] for line in answer.stdout.splitlines()] == list(ENTRIES)


def test_the_promolecule_needs_no_network_library():
    program = (
        "import sys; from models.catalog import load_model; load_model('promolecule'); print('torch' in sys.modules)"
    )
    answer = run_python("-c", program)
    assert answer.stdout == "False\n", answer.stderr
