"""How far to trust a density, over HTTP with the model for organic molecules that ships."""

import numpy as np
import pytest
from starlette.testclient import TestClient

from jobs.settings import Settings
from models.catalog import load_model
from tests.app.conversation import finished
from tests.conftest import LiveService

SYMBOLS = ["C", "O", "H", "H", "H", "H"]
METHANOL = np.array(
    [
        [-0.047, 0.664, 0.0],
        [-0.047, -0.758, 0.0],
        [-1.093, 0.969, 0.0],
        [0.437, 1.071, 0.891],
        [0.437, 1.071, -0.891],
        [0.876, -1.047, 0.0],
    ]
)
MODEL = "orbital-organics-small"


@pytest.fixture(scope="module")
def client(store, tmp_path_factory) -> TestClient:
    settings = Settings(
        redis_url=store.url,
        data=tmp_path_factory.mktemp("uncertain"),
        namespace="uncertain",
        device="cpu",
        min_free_bytes=0,
        auth="none",
    )
    with LiveService(settings, [load_model(name) for name in ("promolecule", MODEL)]) as service:
        yield service.client


def methanol(order=range(6), moved=(), by: float = 0.0):
    positions = METHANOL.copy()
    positions[list(moved)] += [0.0, by, 0.0]
    order = list(order)
    return {"symbols": [SYMBOLS[index] for index in order], "positions": positions[order].tolist()}


def density(client, structure, model: str = MODEL):
    job = finished(client, structure, model=[model], grid={"spacing": 0.5})
    return job, job["result"]["density"]


def test_a_familiar_molecule_has_an_error_a_bound_and_a_share_of_each_atom(client):
    job, found = density(client, methanol())
    uncertainty = found["uncertainty"]
    assert 0.001 < uncertainty["value"] < uncertainty["upper"] < 0.05
    assert uncertainty["coverage"] == 0.9
    assert sum(uncertainty["per_atom"]) == pytest.approx(uncertainty["value"] * found["n_electrons"], rel=1e-3)
    assert uncertainty["unfamiliar_atoms"] == []
    assert uncertainty["reason"] is None
    assert not any("surroundings" in line for line in job["warnings"])


@pytest.mark.parametrize("order", [range(5, -1, -1), [3, 0, 5, 2, 1, 4]], ids=["backwards", "mixed"])
def test_shares_come_in_the_order_of_the_atoms_sent(client, order):
    forwards, other = (density(client, structure)[1]["uncertainty"] for structure in (methanol(), methanol(order)))
    shares = np.array(forwards["per_atom"])
    assert len(set(shares)) >= 3
    np.testing.assert_array_equal(other["per_atom"], shares[list(order)])
    assert other["value"] == forwards["value"]


@pytest.mark.parametrize("order", [range(6), range(5, -1, -1)], ids=["forwards", "backwards"])
def test_an_unfamiliar_atom_is_said_by_its_place_and_the_structure_has_no_value(client, order):
    torn = methanol(order, moved=[2], by=2.5)
    job, found = density(client, torn)
    uncertainty, place = found["uncertainty"], list(order).index(2)
    assert place in uncertainty["unfamiliar_atoms"]
    assert uncertainty["unfamiliar_atoms"] == sorted(uncertainty["unfamiliar_atoms"])
    assert list(order).index(1) not in uncertainty["unfamiliar_atoms"]
    assert (uncertainty["value"], uncertainty["upper"]) == (None, None)
    assert "of 6 atoms are unlike any that the model learned from" in uncertainty["reason"]
    (line,) = (line for line in job["warnings"] if "surroundings" in line)
    assert f"of 6 atoms are unlike any that {MODEL} learned from" in line
    assert f"places {', '.join(map(str, uncertainty['unfamiliar_atoms']))}, counted from 0" in line
    assert line.endswith("compare with model promolecule, or run DFT")


def test_a_model_without_a_calibration_says_why(client):
    _, found = density(client, methanol(), "promolecule")
    models = {entry["info"]["name"]: entry["info"] for entry in client.get("/v1/models").json()["models"]}
    assert found["uncertainty"]["value"] is None
    assert found["uncertainty"]["per_atom"] is None
    assert found["uncertainty"]["coverage"] is None
    assert found["uncertainty"]["reason"] == models["promolecule"]["no_uncertainty_because"]
    assert models[MODEL]["no_uncertainty_because"] is None
