import shutil
from collections import namedtuple

import pytest

from rhocast import doctor
from rhocast.errors import ApplicationMissing

READY = {"status": "ok", "version": "1", "checks": {"store": "ok", "workers": "ok", "model chgnet": "ok"}}


@pytest.fixture
def healthy(server, model_record):
    """A service that has all it needs."""
    server.answer({"status": "ok", "version": "1"})
    server.answer(READY)
    models = [model_record(), model_record("chgnet", 2, ("energy", "forces"))]
    server.answer({"models": models})
    return server


def told(url: str) -> dict[str, tuple[str, bool | None]]:
    return {finding.name: (finding.found, finding.is_good) for finding in doctor.findings(url)}


def test_a_healthy_service_lacks_nothing(healthy):
    found = told(healthy.url)
    assert all(is_good is not False for _, is_good in found.values())
    assert found["service"] == (f"1 at {healthy.url}", True)
    assert found["model promolecule"] == ("density; 1 live worker", True)
    assert found["model chgnet"] == ("energy, forces; 2 live workers", True)
    assert "numpy" in found["packages"][0]


def test_without_a_server_that_is_the_finding(monkeypatch):
    monkeypatch.setenv("RHOCAST_URL", "http://127.0.0.1:1")
    found = told("")
    assert found["service"][1] is False
    assert "found no server that answers at http://127.0.0.1:1" in found["service"][0]


def test_a_service_that_is_not_ready_says_why(server, model_record):
    server.answer({"status": "ok", "version": "1"})
    checks = {"store": "ok", "workers": "no worker has started"}
    server.answer({"status": "not ready", "version": "1", "checks": checks}, 503)
    server.answer({"models": [model_record(n_workers=0)]})
    found = told(server.url)
    assert found["store"] == ("ok", True)
    assert found["workers"] == ("no worker has started", False)
    assert found["model promolecule"] == ("density; 0 live workers", False)
    assert found["density"] == ("no live worker answers it", False)
    assert found["forces"] == ("no live worker answers it", False)


def test_a_service_without_an_expander_is_ready_and_the_doctor_says_what_is_missing(server, model_record):
    server.answer({"status": "ok", "version": "1"})
    server.answer(READY | {"checks": READY["checks"] | {"expander": "no live expander: batches wait"}})
    server.answer({"models": [model_record(), model_record("chgnet", 2, ("energy", "forces"))]})
    assert told(server.url)["expander"] == ("no live expander: batches wait", False)


def test_a_full_disk_is_a_fault(healthy, monkeypatch):
    usage = namedtuple("usage", "total used free")(10, 9, 1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    text, is_good = told(healthy.url)["disk"]
    assert "0.0 GB free" in text
    assert "free some" in text
    assert is_good is False


def test_a_client_alone_is_no_fault(healthy, monkeypatch):
    def missing(*_):
        raise ApplicationMissing("found none")

    monkeypatch.setattr(doctor, "find_application", missing)
    assert told(healthy.url)["application"] == (
        "not installed: this is the client alone, `serve` and `worker` will not run",
        None,
    )


def test_packages_that_the_application_lacks_are_named(healthy, monkeypatch):
    monkeypatch.setattr(doctor, "missing_packages", lambda module: ["torch"] if module == "workers" else [])
    assert "but without torch" in told(healthy.url)["application"][0]
