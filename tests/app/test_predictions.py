"""What the service answers."""

import io
import json

import numpy as np
import pytest

from rhocast.density import Density
from rhocast.errors import InvalidField
from tests.app.conversation import finished, job_when, posted, refused, uploaded
from tests.app.samples import (
    NACL_CIF,
    NACL_EXTXYZ,
    NACL_POSCAR,
    WATER_XYZ,
    crooked_salt,
    decorated_record,
    molecule_record,
    optimade_entry,
    permuted,
    plain,
    pymatgen_record,
    rock_salt,
    rotation,
)

EVERYTHING = ["density", "energy", "forces", "stress", "magmoms"]
FILES = {
    "CIF": (NACL_CIF, "NaCl"),
    "POSCAR": (NACL_POSCAR, "NaCl"),
    "POSCAR with a number for a comment": (NACL_POSCAR.replace("NaCl", "42", 1), "NaCl"),
    "POSCAR with a byte order mark": ("\ufeff" + NACL_POSCAR, "NaCl"),
    "POSCAR with Windows line ends": (NACL_POSCAR.replace("\n", "\r\n"), "NaCl"),
    "CIF with accents": (NACL_CIF + "_publ_author_name 'Müller, Å.'\n", "NaCl"),
    "CIF with a header block": ("data_global\n_journal_year 2026\n" + NACL_CIF, "NaCl"),
    "extxyz": (NACL_EXTXYZ, "NaCl"),
    "xyz": (WATER_XYZ, "OH2"),
}
OBJECTS = {
    "plain arrays": (rock_salt(), "NaCl"),
    "plain molecule": (plain(["O", "H", "H"], [[0, 0, 0], [0.9572, 0, 0], [-0.24, 0.927, 0]]), "OH2"),
    "pymatgen Structure": (pymatgen_record(), "NaCl"),
    "pymatgen Structure with labels": (decorated_record(), "NaCl"),
    "pymatgen Molecule": (molecule_record(), "OH2"),
    "OPTIMADE entry": (optimade_entry(), "NaCl"),
    "text of an OPTIMADE answer": ({"text": json.dumps({"data": [optimade_entry()]})}, "NaCl"),
    "text": ({"text": NACL_CIF}, "NaCl"),
    "text with its format": ({"text": NACL_POSCAR, "format": "poscar"}, "NaCl"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_answered(client, name):
    content, formula = FILES[name]
    answer = uploaded(client, content, wait=60)
    assert answer.status_code == 200, answer.text
    job = answer.json()
    assert (job["status"], job["formula"]) == ("succeeded", formula)
    assert job["result"]["structure"]["is_periodic"] == (formula == "NaCl")


@pytest.mark.parametrize("name", OBJECTS)
def test_an_object_is_answered(client, name):
    structure, formula = OBJECTS[name]
    assert finished(client, structure)["formula"] == formula


def test_every_form_of_one_structure_is_one_task(client):
    finished(client, rock_salt())
    for structure in (pymatgen_record(), decorated_record(), {"text": NACL_POSCAR}, {"text": NACL_CIF}):
        assert finished(client, structure)["was_cached"]


def test_a_form_has_all_the_fields_of_json(client):
    fields = {"want": "energy, forces", "model": "chgnet", "format": "poscar", "priority": "bulk", "vacuum": "6"}
    job = uploaded(client, NACL_POSCAR, wait=60, **fields).json()
    assert job["want"] == ["energy", "forces"]
    assert job["models"] == {"energy": "chgnet", "forces": "chgnet"}
    assert job["priority"] == "bulk"
    by_encut = uploaded(client, NACL_POSCAR, wait=60, encut="30").json()
    assert by_encut["result"]["density"]["grid_chosen_by"] == "fine FFT grid of ENCUT 30 eV (VASP, PREC=Accurate)"
    by_spacing = uploaded(client, NACL_POSCAR, wait=60, spacing="0.5").json()
    assert by_spacing["result"]["density"]["grid_chosen_by"] == "spacing of at most 0.5 Å as asked"


def test_without_patience_the_answer_is_a_place_to_look(client):
    answer = posted(client, rock_salt(5.91))
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}" == job["links"]["self"]
    assert answer.headers["retry-after"] == "1"
    assert "preference-applied" not in answer.headers
    assert job["status"] in ("queued", "running")
    assert job["result"] is None
    assert job["finished_at"] is None
    assert job_when(client, job["id"], "succeeded")["result"]["density"]["n_electrons"] == 14


def test_with_patience_the_answer_is_the_result(client):
    answer = posted(client, rock_salt(5.92), wait=30)
    assert answer.status_code == 200
    assert answer.headers["preference-applied"] == "wait=30"
    assert answer.headers["location"] == answer.json()["links"]["self"]
    assert answer.json()["result"]["density"]["n_electrons"] == 14


def test_patience_ends_when_it_was_said_to(app_of):
    client = app_of()
    answer = posted(client, rock_salt(), wait=0.2)
    assert answer.status_code == 202
    assert answer.headers["preference-applied"] == "wait=0.2"


def test_shorthands_want_what_their_names_say(client):
    density = posted(client, rock_salt(), wait=60, path="/v1/density").json()
    assert density["want"] == ["density"]
    energy = posted(client, rock_salt(), wait=60, path="/v1/energy").json()
    assert energy["want"] == ["energy", "forces"]
    assert energy["result"]["density"] is None
    assert len(energy["result"]["potential"]["forces"]) == 2


def test_a_shorthand_takes_a_choice_of_what_it_offers_and_refuses_the_rest(client):
    stress = posted(client, rock_salt(), wait=60, path="/v1/energy", want=["energy", "stress"]).json()
    assert stress["want"] == ["energy", "stress"]
    refused(
        posted(client, rock_salt(), path="/v1/density", want=["density", "energy"]),
        InvalidField,
        "energy is wanted; expected density at this address; post to /v1/predictions",
    )


def test_every_answer_says_where_it_comes_from(client):
    job = finished(client, rock_salt(), want=EVERYTHING)
    models = {entry["info"]["name"]: entry for entry in client.get("/v1/models").json()["models"]}
    density, potential = job["result"]["density"], job["result"]["potential"]
    for answer, name in ((density, "promolecule"), (potential, "chgnet")):
        source, info = answer["provenance"], models[name]["info"]
        assert source["model"] == name
        assert source["weights_sha256"] == info["weights_sha256"]
        assert len(source["weights_sha256"]) == 64
        assert source["level_of_theory"] == info["level_of_theory"]
        assert source["code_version"].startswith("0.")
        assert answer["uncertainty"]["value"] is None
        assert answer["uncertainty"]["reason"] == info["no_uncertainty_because"]
        assert models[name]["n_workers"] == 1
    assert density["provenance"]["density_kind"].startswith("valence")
    assert density["provenance"]["valence_electrons"] == {"Na": 7, "Cl": 7}
    assert density["shape"] == [12, 12, 12]
    assert density["grid_chosen_by"] == "shape as asked"
    assert density["spacing"] == pytest.approx([0.47] * 3)
    assert potential["provenance"]["energy_reference"].startswith("total energy with the corrections")
    assert potential["provenance"]["is_conservative"] is True
    assert potential["energy_per_atom"] == potential["energy"] / 2
    assert models["chgnet"]["is_default_for"] == ["energy", "forces", "stress", "magmoms"]
    assert job["compute_seconds"] > 0


def test_a_model_outside_its_domain_is_flagged(client):
    water = plain(["O", "H", "H"], [[0, 0, 0], [0.9572, 0, 0], [-0.24, 0.927, 0]])
    (warning,) = finished(client, water, want=["energy"])["warnings"]
    assert warning == "chgnet was made for crystals, not for a molecule: do not trust its numbers here"
    assert finished(client, rock_salt(), want=["energy"])["warnings"] == []


def test_magnetic_elements_are_flagged_where_a_model_knows_no_spin(client):
    iron = plain(["Fe"], [[0, 0, 0]], 2.87 * (np.ones((3, 3)) / 2 - np.eye(3)))
    job = finished(client, iron, want=["density", "energy"], grid={"shape": [24, 24, 24]})
    assert job["warnings"] == ["Fe may be magnetic; promolecule knows no spin"]


def test_a_coarse_grid_is_flagged_with_a_spacing_that_would_do(client):
    coarse = finished(client, rock_salt(), grid={"shape": [12, 12, 12]})
    assert "before it was scaled to the electron count: a spacing of 0.18 Å would do" in coarse["warnings"][0]
    assert finished(client, rock_salt(), grid={"spacing": 0.18})["warnings"] == []


def test_a_molecule_is_boxed_with_the_vacuum_asked_for(client):
    atoms = [[100, 0, 0], [100.9572, 0, 0], [99.76, 0.927, 0]]
    job = finished(client, plain(["O", "H", "H"], atoms), vacuum=4.0, grid={"spacing": 0.5})
    structure = job["result"]["structure"]
    positions, cell = np.array(structure["positions"]), np.array(structure["cell"])
    assert not structure["is_periodic"]
    np.testing.assert_allclose(cell, np.diag(np.ptp(atoms, axis=0) + 8))
    np.testing.assert_allclose(positions.min(axis=0), 4)
    np.testing.assert_allclose(positions - positions[0], np.array(atoms) - atoms[0], atol=1e-9)


def test_answers_come_in_the_order_of_the_atoms_that_were_sent(client):
    structure = crooked_salt(seed=1)
    order = [5, 2, 7, 0, 3, 6, 1, 4]
    shuffled = permuted(structure, order)
    first = finished(client, structure, want=EVERYTHING)
    second = finished(client, shuffled, want=EVERYTHING)
    assert second["was_cached"]
    for name in ("forces", "magmoms"):
        sent = np.array(first["result"]["potential"][name])
        np.testing.assert_array_equal(np.array(second["result"]["potential"][name]), sent[order])
    assert len(np.unique(first["result"]["potential"]["forces"], axis=0)) == 8
    for job, asked in ((first, structure), (second, shuffled)):
        answered = job["result"]["structure"]
        assert answered["symbols"] == asked["symbols"]
        np.testing.assert_allclose(answered["positions"], asked["positions"], atol=1e-12)


@pytest.mark.parametrize("density_format", ["chgcar", "cube", "npz"])
def test_density_files_keep_the_order_and_the_positions_that_were_sent(client, tmp_path, density_format):
    structure = crooked_salt(seed=1)
    shuffled = permuted(structure, [5, 2, 7, 0, 3, 6, 1, 4])
    values = []
    for asked in (structure, shuffled):
        job = finished(client, asked)
        path = tmp_path / "density"
        path.write_bytes(client.get(f"{job['links']['density']}?format={density_format}").content)
        density = Density.read(path, format=density_format)
        assert density.structure.symbols == asked["symbols"]
        np.testing.assert_allclose(density.structure.positions, asked["positions"], atol=2e-6)
        assert density.n_electrons == pytest.approx(56, abs=1e-6)
        values.append(density.values)
    np.testing.assert_array_equal(*values)


def test_pymatgen_reads_a_chgcar_that_integrates_to_the_electrons(client, tmp_path):
    from pymatgen.io.vasp import Chgcar

    job = finished(client, crooked_salt(seed=1))
    path = tmp_path / "CHGCAR"
    path.write_bytes(client.get(job["links"]["density"]).content)
    chgcar = Chgcar.from_file(str(path))
    assert chgcar.data["total"].sum() / chgcar.ngridpts == pytest.approx(56, abs=1e-6 * 56)
    assert job["result"]["density"]["integral"] == pytest.approx(56, abs=1e-9)


def test_turning_the_crystal_turns_the_forces_and_leaves_the_energy(client):
    structure = crooked_salt(seed=2)
    turn = rotation(seed=3)
    turned = structure | {name: (np.array(structure[name]) @ turn).tolist() for name in ("positions", "cell")}
    want = ["energy", "forces", "stress"]
    here, there = (finished(client, one, want=want)["result"]["potential"] for one in (structure, turned))
    assert there["energy"] == pytest.approx(here["energy"], abs=2e-5)
    np.testing.assert_allclose(there["forces"], np.array(here["forces"]) @ turn, atol=2e-4)
    np.testing.assert_allclose(there["stress"], turn.T @ np.array(here["stress"]) @ turn, atol=2e-5)
    assert np.abs(here["forces"]).max() > 0.05


def test_npz_is_read_by_numpy_alone(client):
    job = finished(client, rock_salt())
    content = client.get(f"{job['links']['density']}?format=npz").content
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        assert any(array.shape == (12, 12, 12) for array in arrays.values())


def test_wanting_twice_is_wanting_once(client):
    assert finished(client, rock_salt(), want=["energy", "energy"])["want"] == ["energy"]


def test_a_named_model_answers(client):
    job = finished(client, rock_salt(), want=["density", "energy"], model=["chgnet", "promolecule"])
    assert job["models"] == {"density": "promolecule", "energy": "chgnet"}


def test_the_answer_is_json_without_special_numbers(client):
    text = json.dumps(finished(client, rock_salt(), want=EVERYTHING), allow_nan=False)
    assert "NaN" not in text


def test_an_atom_moved_by_a_cell_vector_is_the_same_atom(client):
    structure = crooked_salt(seed=1)
    finished(client, structure)
    positions = np.array(structure["positions"])
    positions[3] += np.array([1, -2, 3]) @ np.array(structure["cell"])
    assert finished(client, structure | {"positions": positions.tolist()})["was_cached"]
