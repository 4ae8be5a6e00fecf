"""`POST /v1/relaxations`: what is asked, what is refused, what comes back."""

import io
from typing import Any

import ase.io
import numpy as np
import pytest
from starlette.testclient import TestClient

from jobs.ledger import Ledger
from models.catalog import load_model
from rhocast.model_info import Property
from rhocast.structure import Structure
from tests.app.samples import NACL_POSCAR, WATER_XYZ, crooked_salt, permuted, plain, rock_salt, rotation
from tests.dynamics.argon import INFO as ARGON


def relaxed(client: TestClient, structure: Any, **more: Any) -> dict[str, Any]:
    """The job of a relaxation that has succeeded."""
    reply = client.post("/v1/relaxations", json={"structure": structure, **more}, headers={"Prefer": "wait=60"})
    assert reply.status_code == 200, reply.text
    job = reply.json()
    assert job["status"] == "succeeded", job["error"]
    return job


def refused(client: TestClient, structure: Any, **more: Any) -> dict[str, Any]:
    reply = client.post("/v1/relaxations", json={"structure": structure, **more})
    assert reply.headers["content-type"] == "application/problem+json"
    return reply.json()


def structure_of(found: dict[str, Any]) -> Structure:
    return Structure.from_symbols(found["symbols"], found["positions"], found["cell"], found["is_periodic"])


def test_a_crystal_relaxes_with_its_cell(client: TestClient) -> None:
    job = relaxed(client, crooked_salt(), fmax=0.1)
    answer, there = job["result"]["relaxation"], job["result"]["potential"]
    assert job["relaxation"] == {"fmax": 0.1, "steps": 500, "relax_cell": True}
    assert job["want"] == ["energy", "forces", "stress"]
    assert answer["is_converged"]
    assert 0 < answer["n_steps"] < 500
    assert there["energy"] < answer["energy_before"] - 0.1
    assert np.linalg.norm(there["forces"], axis=1).max() < 0.1
    assert there["provenance"]["model"] == "chgnet"
    found, sent = structure_of(answer["structure"]), structure_of(job["result"]["structure"])
    assert found.symbols == sent.symbols
    assert not np.allclose(found.cell, sent.cell)
    # Atoms go on from where they were sent, outside the cell as they are.
    moved = found.fractional_positions - sent.fractional_positions
    assert np.abs(moved).max() < 0.2
    assert np.abs(sent.fractional_positions).max() > 1.5


def test_what_is_answered_is_what_a_prediction_says_of_it(client: TestClient) -> None:
    job = relaxed(client, crooked_salt(), fmax=0.1)
    found, there = job["result"]["relaxation"]["structure"], job["result"]["potential"]
    again = client.post(
        "/v1/predictions",
        json={
            "structure": plain(found["symbols"], found["positions"], found["cell"]),
            "want": ["energy", "forces", "stress"],
        },
        headers={"Prefer": "wait=60"},
    ).json()["result"]["potential"]
    assert again["energy"] == pytest.approx(there["energy"], abs=1e-4)
    np.testing.assert_allclose(again["forces"], there["forces"], atol=1e-4)
    np.testing.assert_allclose(again["stress"], there["stress"], atol=1e-5)
    before = client.post(
        "/v1/predictions", json={"structure": crooked_salt(), "want": ["energy"]}, headers={"Prefer": "wait=60"}
    ).json()
    energy = before["result"]["potential"]["energy"]
    assert energy == pytest.approx(job["result"]["relaxation"]["energy_before"], abs=1e-4)


def test_the_order_of_the_atoms_sent_is_that_of_the_answer(client: TestClient) -> None:
    order = [3, 1, 0, 2, 7, 6, 5, 4]
    job, turned = (relaxed(client, one, fmax=0.1) for one in (crooked_salt(), permuted(crooked_salt(), order)))
    assert turned["was_cached"]
    np.testing.assert_allclose(
        np.array(job["result"]["relaxation"]["structure"]["positions"])[order],
        turned["result"]["relaxation"]["structure"]["positions"],
        atol=1e-7,
    )
    np.testing.assert_allclose(
        np.array(job["result"]["potential"]["forces"])[order], turned["result"]["potential"]["forces"]
    )


def test_a_held_cell_stays_and_has_no_stress(client: TestClient) -> None:
    job = relaxed(client, crooked_salt(), fmax=0.2, relax_cell=False)
    assert job["result"]["relaxation"]["structure"]["cell"] == crooked_salt()["cell"]
    assert job["result"]["potential"]["stress"] is None
    assert job["want"] == ["energy", "forces"]


def test_a_relaxation_that_is_not_converged_gives_the_last_structure_and_says_so(client: TestClient) -> None:
    job = relaxed(client, crooked_salt(), fmax=0.001, steps=3)
    assert not job["result"]["relaxation"]["is_converged"]
    assert job["result"]["relaxation"]["n_steps"] == 3
    assert job["warnings"] == ["not relaxed: forces are still above fmax after 3 steps; go on from this structure"]
    comment = client.get(job["result"]["relaxation"]["artifacts"]["poscar"]).text.splitlines()[0]
    assert "NOT relaxed with chgnet" in comment


def test_a_file_relaxes_as_its_structure_does(client: TestClient) -> None:
    form = {"fmax": "0.2", "steps": "50", "relax_cell": "false", "model": "chgnet", "priority": "bulk"}
    reply = client.post(
        "/v1/relaxations", files={"file": ("POSCAR", NACL_POSCAR)}, data=form, headers={"Prefer": "wait=60"}
    )
    job = reply.json()
    assert job["relaxation"] == {"fmax": 0.2, "steps": 50, "relax_cell": False}
    assert job["priority"] == "bulk"
    assert relaxed(client, rock_salt(), fmax=0.2, steps=50, relax_cell=False)["was_cached"]


def test_an_unknown_field_of_a_form_is_refused(client: TestClient) -> None:
    reply = client.post("/v1/relaxations", files={"file": ("POSCAR", NACL_POSCAR)}, data={"want": "density"})
    assert reply.status_code == 422
    assert "found the field 'want'; expected file, model" in reply.json()["detail"]


def test_a_molecule_relaxes_without_a_cell(client: TestClient) -> None:
    job = relaxed(client, {"text": WATER_XYZ}, fmax=0.2)
    assert job["relaxation"]["relax_cell"] is False
    assert job["result"]["relaxation"]["structure"]["is_periodic"] is False
    assert any("do not trust" in line for line in job["warnings"])  # chgnet was made for crystals
    reply = client.get(job["links"]["structure"], params={"format": "cif"})
    assert (reply.status_code, reply.json()["code"]) == (422, "InvalidStructure")
    atoms = read_back(client.get(job["links"]["structure"], params={"format": "extxyz"}).text, "extxyz")
    assert not atoms.pbc.any()


def test_each_setting_has_a_computation_of_its_own(client: TestClient) -> None:
    first = relaxed(client, crooked_salt(seed=81), fmax=0.2, steps=2)
    assert relaxed(client, crooked_salt(seed=81), fmax=0.2, steps=2)["was_cached"]
    assert not relaxed(client, crooked_salt(seed=81), fmax=0.2, steps=3)["was_cached"]
    assert not relaxed(client, crooked_salt(seed=81), fmax=0.2, steps=2, relax_cell=False)["was_cached"]
    energy = client.post(
        "/v1/predictions",
        json={"structure": crooked_salt(seed=81), "want": ["energy", "forces", "stress"]},
        headers={"Prefer": "wait=60"},
    ).json()
    assert not energy["was_cached"]
    assert energy["result"]["relaxation"] is None
    assert energy["relaxation"] is None
    assert energy["result"]["potential"]["energy"] > first["result"]["potential"]["energy"]


def test_a_repeated_request_gives_the_same_job(client: TestClient) -> None:
    def sent(steps: int) -> Any:
        body = {"structure": rock_salt(), "steps": steps, "fmax": 0.3}
        return client.post("/v1/relaxations", json=body, headers={"Idempotency-Key": "relax-once"})

    first, again, other = sent(4), sent(4), sent(5)
    assert first.json()["id"] == again.json()["id"]
    assert first.headers["Location"] == f"/v1/jobs/{first.json()['id']}"
    assert other.json()["code"] == "IdempotencyConflict"


def read_back(text: str, format: str) -> Any:
    """A structure file as ASE reads it."""
    return ase.io.read(io.StringIO(text), format={"poscar": "vasp"}.get(format, format))


def handedness(atoms: Any) -> float:
    """A number that changes its sign if the atoms are seen in a mirror: a triple product of bonds in Å³."""
    bonds = np.array([atoms.get_distance(0, other, mic=True, vector=True) for other in (1, 3, 5)])
    return float(np.linalg.det(bonds))


@pytest.mark.parametrize("format", ["cif", "poscar", "extxyz"])
@pytest.mark.parametrize("hand", [1, -1], ids=["right-handed", "left-handed"])
def test_the_relaxed_structure_is_a_file_that_others_read(client: TestClient, format: str, hand: int) -> None:
    matrix = hand * rotation()
    sent = crooked_salt()
    turned = plain(sent["symbols"], np.array(sent["positions"]) @ matrix, np.array(sent["cell"]) @ matrix)
    job = relaxed(client, turned, fmax=0.2)
    found = structure_of(job["result"]["relaxation"]["structure"])
    reply = client.get(job["result"]["relaxation"]["artifacts"][format])
    ending = {"cif": "cif", "poscar": "vasp", "extxyz": "extxyz"}[format]
    assert reply.headers["content-disposition"] == f'attachment; filename="relaxed.{ending}"'
    atoms = read_back(reply.text, format)
    assert atoms.get_chemical_symbols() == found.symbols
    mine = found.to_ase()
    np.testing.assert_allclose(atoms.get_all_distances(mic=True), mine.get_all_distances(mic=True), atol=1e-6)
    assert handedness(atoms) == pytest.approx(handedness(mine), abs=1e-5)
    if format != "cif":  # which knows lengths and angles alone
        np.testing.assert_allclose(atoms.positions, mine.positions, atol=1e-7)
    if format == "extxyz":
        assert atoms.get_potential_energy() == pytest.approx(job["result"]["potential"]["energy"])
        np.testing.assert_allclose(atoms.get_forces(), job["result"]["potential"]["forces"], atol=1e-9)


@pytest.mark.parametrize(
    ("more", "code", "sentence"),
    [
        ({"fmax": 0}, "InvalidField", "fmax"),
        ({"fmax": -0.1}, "InvalidField", "fmax"),
        ({"fmax": "much"}, "InvalidField", "fmax"),
        ({"steps": 5001}, "InvalidField", "steps"),
        ({"steps": -1}, "InvalidField", "steps"),
        ({"steps": 2.5}, "InvalidField", "steps"),
        ({"relax_cell": "perhaps"}, "InvalidField", "relax_cell"),
        ({"want": ["density"]}, "InvalidField", "want"),
        ({"model": ["promolecule"]}, "UnknownModel", "found no model for energy and forces and stress"),
        ({"model": ["nobody"]}, "UnknownModel", "found no model 'nobody'"),
    ],
)
@pytest.mark.usefixtures("nothing_queued")
def test_what_cannot_be_relaxed_is_refused(client: TestClient, more: dict[str, Any], code: str, sentence: str) -> None:
    problem = refused(client, rock_salt(), **more)
    assert problem["status"] == 422
    assert problem["code"] == code
    assert sentence in problem["detail"] + " ".join(problem.get("errors", []))


@pytest.mark.usefixtures("nothing_queued")
def test_the_cell_of_a_molecule_is_refused(client: TestClient) -> None:
    problem = refused(client, {"text": WATER_XYZ}, relax_cell=True)
    assert (problem["status"], problem["code"]) == (422, "InvalidStructure")
    assert "relax_cell = true for a molecule; expected a structure with a cell" in problem["detail"]


def test_a_job_that_is_no_relaxation_has_no_relaxed_structure(client: TestClient) -> None:
    job = client.post(
        "/v1/predictions", json={"structure": rock_salt(), "want": ["energy"]}, headers={"Prefer": "wait=60"}
    ).json()
    assert "structure" not in job["links"]
    reply = client.get(f"/v1/jobs/{job['id']}/structure")
    assert (reply.status_code, reply.json()["code"]) == (404, "ArtifactNotFound")
    assert "is no relaxation" in reply.json()["detail"]
    assert client.get("/v1/jobs/nobody/structure").status_code == 404
    assert client.get(f"/v1/jobs/{job['id']}/structure", params={"format": "pdb"}).status_code == 422


def test_forces_that_are_no_derivative_are_flagged_and_a_relaxation_is_charged_by_its_steps(app_of: Any) -> None:
    from dataclasses import replace

    from jobs.connection import connect
    from jobs.directory import Directory

    client = app_of()
    services = client.app.state.services
    with connect(services.settings.redis_url) as store:
        direct = replace(ARGON, name="direct", is_conservative=False)
        Directory(store, services.settings).advertise("nobody", [direct])
    argon = plain(["Ar"], [[0, 0, 0]], 5 * np.eye(3))
    reply = client.post("/v1/relaxations", json={"structure": argon, "model": ["direct"]})
    assert reply.status_code == 202
    job = reply.json()
    assert "the forces of direct are not the derivative of its energy" in job["warnings"][-1]
    ledger: Ledger = services.ledger
    assert ledger.transport.depth("direct.relaxations.interactive") == 1
    assert ledger.transport.depth("direct.interactive") == 0
    unfinished = client.get(f"/v1/jobs/{job['id']}/structure")
    assert (unfinished.status_code, unfinished.json()["code"]) == (409, "JobNotFinished")
    client.delete(f"/v1/jobs/{job['id']}")
    cancelled = client.get(f"/v1/jobs/{job['id']}/structure")
    assert (cancelled.status_code, cancelled.json()["code"]) == (409, "JobCancelled")


def test_the_default_potential_relaxes() -> None:
    assert {Property.ENERGY, Property.FORCES, Property.STRESS} <= set(load_model("chgnet", "cpu").info.provides)
