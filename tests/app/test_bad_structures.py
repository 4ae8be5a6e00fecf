"""Structures that can be read and cannot be answered for."""

import copy
import json
import sys

import numpy as np
import pytest

from app.structures.parsing import parsed
from rhocast.errors import InvalidField, InvalidFile, InvalidRequest, InvalidStructure, TooLarge, UnsupportedByModel
from tests.app.conversation import finished, is_answered, posted, refused, uploaded
from tests.app.samples import (
    NACL_CIF,
    NACL_EXTXYZ,
    NACL_POSCAR,
    WATER_XYZ,
    decorated_record,
    molecule_record,
    permuted,
    plain,
    pymatgen_record,
    rock_salt,
)

NOT_A_NUMBER = ["coordinate", "not a number", "finite"]
UNKNOWN = ["chemical symbols such as 'Si'"]

UNPHYSICAL_TEXT = {
    "POSCAR with nan": (NACL_POSCAR.replace("0.5 0.5 0.5", "nan 0.5 0.5"), InvalidStructure, ["atom 1", *NOT_A_NUMBER]),
    "POSCAR with inf": (NACL_POSCAR.replace("0.5 0.5 0.5", "inf 0.5 0.5"), InvalidStructure, ["atom 1", *NOT_A_NUMBER]),
    "CIF with nan": (NACL_CIF.replace("Cl 0.5", "Cl nan"), InvalidFile, ["cif", "NaN", "check it"]),
    "xyz with nan": (WATER_XYZ.replace("0.9572", "nan"), InvalidStructure, ["atom 1", *NOT_A_NUMBER]),
    "POSCAR with an overlap": (
        NACL_POSCAR.replace("0.5 0.5 0.5", "0.99 0 0"),
        InvalidStructure,
        ["atoms 0 and 1", "Na, Cl", "0.056 Å apart", "at least 0.5 Å", "duplicate"],
    ),
    "POSCAR with Xx": (NACL_POSCAR.replace("Na Cl", "Xx Cl"), InvalidStructure, ["'Xx'", *UNKNOWN]),
    "xyz with Xx": (WATER_XYZ.replace("O ", "Xx "), InvalidFile, ["Xx"]),
    "CIF half occupied": (
        NACL_CIF.replace("0.5 1.0", "0.5 0.5"),
        InvalidStructure,
        ["occupancy 0.5", "fully occupied", "ordered model"],
    ),
    "POSCAR of 0.3 Å": (
        NACL_POSCAR.replace("5.64", "0.3"),
        InvalidStructure,
        ["0.3, 0.3, 0.3 Å", "between 1 and 500 Å", "check the unit"],
    ),
    "POSCAR of a kilometre": (NACL_POSCAR.replace("5.64", "1e13"), InvalidStructure, ["1e+13", "between 1 and 500"]),
    "POSCAR of no volume": (
        NACL_POSCAR.replace("0.0 5.64 0.0\n", "5.64 0.0 0.0\n"),
        InvalidStructure,
        ["cell of 0 Å³ for 2 atoms", "vectors that span space", "check the cell"],
    ),
    "extxyz of no volume": (
        NACL_EXTXYZ.replace("0 5.64 0 0 0 5.64", "0 5.64 0 0 0 0"),
        InvalidStructure,
        ["span no space", "three independent", "Lattice"],
    ),
    "charged extxyz": (
        NACL_EXTXYZ.replace("pbc=", "charge=1 pbc="),
        InvalidStructure,
        ["charge of +1 e", "neutral cell", "no model"],
    ),
    "charged xyz": (WATER_XYZ.replace("water", "total_charge=-1"), InvalidStructure, ["charge of -1 e"]),
    "extxyz of charge nan": (NACL_EXTXYZ.replace("pbc=", "charge=nan pbc="), InvalidStructure, ["charge of +nan e"]),
}


@pytest.mark.usefixtures("nothing_queued")
@pytest.mark.parametrize("name", UNPHYSICAL_TEXT)
def test_a_file_of_atoms_that_cannot_be_is_refused(client, name):
    content, error, words = UNPHYSICAL_TEXT[name]
    refused(uploaded(client, content), error, "expected", *words)


def salt(**changed):
    return rock_salt() | changed


def half_occupied():
    record = pymatgen_record()
    record["sites"][0]["species"][0]["occu"] = 0.5
    return record


UNPHYSICAL_OBJECTS = {
    "plain with an overlap": (salt(positions=[[0, 0, 0], [0, 0, 5.6]]), InvalidStructure, ["0.040 Å apart"]),
    "plain with a duplicate": (salt(positions=[[0, 0, 0]] * 2), InvalidStructure, ["0.000 Å apart"]),
    "plain with its image on another": (salt(positions=[[0, 0, 0], [5.64, 5.64, 0]]), InvalidStructure, ["0.000 Å"]),
    "plain with Xx": (salt(symbols=["Xx", "Cl"]), InvalidStructure, ["'Xx'", *UNKNOWN]),
    "plain with X": (salt(symbols=["X", "Cl"]), InvalidStructure, ["'X'", *UNKNOWN]),
    "plain of no volume": (salt(cell=[[5, 0, 0], [0, 5, 0], [5, 5, 0]]), InvalidStructure, ["span space"]),
    "plain of 0.3 Å": (salt(cell=(0.3 * np.eye(3)).tolist()), InvalidStructure, ["0.3, 0.3, 0.3 Å"]),
    "plain of too dense a cell": (salt(cell=(1.5 * np.eye(3)).tolist()), InvalidStructure, ["at least 2 Å³ an atom"]),
    "plain with one position": (salt(positions=[[0, 0, 0]]), InvalidStructure, ["2 symbols and 1 positions", "both"]),
    "plain with a far atom": (
        salt(positions=[[0, 0, 0], [1e20, 0, 0]]),
        InvalidStructure,
        ["1e+20 Å", "at most 100000 Å", "wrap"],
    ),
    "plain molecule with a far atom": (plain(["H", "H"], [[0, 0, 0], [0, 0, 1e4]]), InvalidStructure, ["500 Å"]),
    "plain with an infinite position": (salt(positions=[[0, 0, 0], [1e308 * 10, 0, 0]]), InvalidRequest, ["Infinity"]),
    "plain with NaN": (salt(positions=[[0, 0, 0], [float("nan"), 0, 0]]), InvalidRequest, ["NaN", "not JSON"]),
    "charged plain": (salt(charge=1), InvalidStructure, ["charge of +1 e", "neutral cell"]),
    "charged pymatgen": (pymatgen_record(charge=2), InvalidStructure, ["charge of +2 e", "neutral cell"]),
    "charged pymatgen with labels": (decorated_record(charge=1), InvalidStructure, ["charge of +1 e"]),
    "half occupied pymatgen": (half_occupied(), InvalidStructure, ["partly occupied site (Na:0.5)", "ordered model"]),
    "pymatgen without atoms": (pymatgen_record(sites=[]), InvalidFile, ["pymatgen", "cannot be read"]),
    "pymatgen molecule without atoms": (molecule_record() | {"sites": []}, InvalidFile, ["pymatgen"]),
    "pymatgen without a lattice": (pymatgen_record(lattice=None), InvalidFile, ["pymatgen", "cannot be read"]),
    "pymatgen with no species": (pymatgen_record(sites=[{"abc": [0, 0, 0]}]), InvalidFile, ["species"]),
    "pymatgen of another class": (
        pymatgen_record() | {"@class": "Lattice"},
        InvalidField,
        ["'Structure' or 'Molecule'", "'Lattice'"],
    ),
    "too many plain atoms": (plain(["H"] * 10_001, [[0, 0, 0]] * 10_001), TooLarge, ["10001 atoms", "at most 10000"]),
    "too many pymatgen atoms": (
        pymatgen_record(sites=[pymatgen_record()["sites"][0]] * 10_001),
        TooLarge,
        ["10001 atoms", "at most 10000", "smaller cell"],
    ),
    "no atoms": (salt(symbols=[], positions=[]), InvalidField, ["symbols", "at least 1 item"]),
}


@pytest.mark.usefixtures("nothing_queued")
@pytest.mark.parametrize("name", UNPHYSICAL_OBJECTS)
def test_an_object_of_atoms_that_cannot_be_is_refused(client, name):
    structure, error, words = UNPHYSICAL_OBJECTS[name]
    refused(posted(client, structure), error, "expected", *words)


@pytest.mark.usefixtures("nothing_queued")
def test_a_number_too_large_for_a_double_is_refused(client):
    text = '{"structure": {"symbols": ["Na"], "positions": [[1e999, 0, 0]], "cell": [[5,0,0],[0,5,0],[0,0,5]]}}'
    answer = client.post("/v1/predictions", content=text, headers={"Content-Type": "application/json"})
    refused(answer, InvalidStructure, *NOT_A_NUMBER)


def test_properties_of_a_pymatgen_record_import_nothing(tmp_path, monkeypatch):
    """pymatgen hands site properties to monty, which imports the module that they name."""
    (tmp_path / "intruder.py").write_text(f"open({str(tmp_path / 'was_here')!r}, 'w').close()")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    record = copy.deepcopy(pymatgen_record())
    record["sites"][0]["properties"] = {"a": {"@module": "intruder", "@class": "Intruder"}}
    record["properties"] = {"b": {"@module": "intruder", "@class": "Intruder"}}
    assert parsed("pymatgen", json.dumps(record), 10, 5.0).formula == "NaCl"
    assert not (tmp_path / "was_here").exists()


@pytest.mark.usefixtures("nothing_queued")
def test_an_element_that_no_model_covers_is_refused(client):
    answer = posted(client, salt(symbols=["Tc", "Cl"]))
    refused(answer, UnsupportedByModel, "found Tc", "expected elements that promolecule covers", "another model")


@pytest.mark.usefixtures("nothing_queued")
def test_the_stress_of_a_molecule_is_refused(client):
    water = plain(["O", "H", "H"], [[0, 0, 0], [0.9572, 0, 0], [-0.24, 0.927, 0]])
    refused(posted(client, water, want=["stress"]), UnsupportedByModel, "molecule", "stress", "expected", "send a cell")


@pytest.mark.usefixtures("nothing_queued")
def test_more_atoms_than_the_model_takes_are_refused(client):
    sites = 3.0 * np.stack(np.meshgrid(*[np.arange(13)] * 3), axis=-1).reshape(-1, 3)
    crystal = plain(["Ar"] * len(sites), sites, 39.0 * np.eye(3))
    refused(posted(client, crystal, want=["energy"]), TooLarge, "2197 atoms", "at most 2000 for chgnet", "smaller cell")


def test_an_isolated_atom_has_an_answer_with_a_warning(client):
    apart = plain(["Ar", "Si", "Si"], [[0, 0, 0], [8, 8, 8], [8, 8, 10.3]], 16 * np.eye(3))
    job = finished(client, apart, want=["energy", "forces"])
    potential = job["result"]["potential"]
    assert potential["forces"][0] == [0, 0, 0]
    assert sum(potential["energies"]) == pytest.approx(potential["energy"])
    (warning,) = (line for line in job["warnings"] if "neighbour" in line)
    assert warning.startswith("1 of 3 atoms have no neighbour within 6 Å (places 0, counted from 0): chgnet feels no")


def test_a_left_handed_cell_is_answered_like_its_right_handed_twin(client):
    cell = np.array([[5.6, 0.2, 0], [0, 5.7, 0.1], [0.3, 0, 5.8]])
    structure = plain(["Na", "Cl"], [[0, 0, 0], [2.8, 2.9, 2.6]], cell)
    mirrored = structure | {"cell": cell[[1, 0, 2]].tolist()}
    want = ["density", "energy", "forces", "stress"]
    right, left = (finished(client, one, want=want)["result"] for one in (structure, mirrored))
    assert left["density"]["n_electrons"] == right["density"]["n_electrons"] == 14
    assert left["density"]["integral"] == pytest.approx(14, abs=1e-9)
    assert left["potential"]["energy"] == pytest.approx(right["potential"]["energy"], rel=1e-5)
    np.testing.assert_allclose(left["potential"]["forces"], right["potential"]["forces"], atol=1e-4)
    np.testing.assert_allclose(left["potential"]["stress"], right["potential"]["stress"], atol=1e-5)


def test_oxidation_labels_are_not_a_charge(client):
    labelled = NACL_CIF.replace("Na1 Na ", "Na1 Na1+ ").replace("Cl1 Cl ", "Cl1 Cl1- ")
    for answer in (uploaded(client, labelled), posted(client, decorated_record())):
        assert answer.status_code in (200, 202), answer.text
        assert answer.json()["formula"] == "NaCl"
    unbalanced = decorated_record()
    unbalanced["sites"][1]["species"][0]["oxidation_state"] = 0
    assert posted(client, unbalanced | {"charge": 1}).status_code in (200, 202)


def test_deuterium_is_hydrogen(client):
    record = molecule_record()
    record["sites"][1]["species"][0]["element"] = "D"
    answer = posted(client, record)
    assert answer.json()["formula"] == "OH2"


def test_order_of_atoms_in_a_refusal_is_the_senders(client):
    close = plain(["O", "Na", "Cl"], [[3, 3, 3], [0, 0, 0], [0.2, 0, 0]], 6 * np.eye(3))
    refused(posted(client, close), InvalidStructure, "atoms 1 and 2 (Na, Cl")
    refused(posted(client, permuted(close, [1, 0, 2])), InvalidStructure, "atoms 0 and 2 (Na, Cl")


def test_a_good_request_is_answered_after_all_these(client):
    assert is_answered(client)
