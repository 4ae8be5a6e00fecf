"""The web process: it refuses where nobody could get in, logs in one form, and serves."""

import json
import os
import runpy
import signal
import subprocess
import sys

import httpx2
import pytest

from app import web
from app.web import main
from jobs.connection import connect
from jobs.keys import Keys
from tests.end_to_end.processes import ROOT, free_port, wait_until


@pytest.fixture
def served(monkeypatch, settings):
    """What would be served, in place of serving it."""
    monkeypatch.setenv("RHOCAST_REDIS_URL", settings.redis_url)
    monkeypatch.setenv("RHOCAST_NAMESPACE", settings.namespace)
    monkeypatch.setenv("RHOCAST_DATA", str(settings.data))
    calls = []
    monkeypatch.setattr(web.uvicorn, "run", lambda app, **options: calls.append(options))
    monkeypatch.setattr(web.logs, "configure", lambda: None)
    return calls


def test_beyond_this_machine_nothing_is_served_without_a_key(served, settings, ledger):
    with pytest.raises(SystemExit, match=r"found no good API key, .* listen on 0\.0\.0\.0 .*rhocast keys create NAME"):
        main(["--host", "0.0.0.0"])
    assert served == []
    Keys(ledger.client, settings).create("alice")
    main(["--host", "0.0.0.0", "--port", "8123", "--grace", "3"])
    [options] = served
    assert (options["host"], options["port"], options["timeout_graceful_shutdown"]) == ("0.0.0.0", 8123, 3)
    assert (options["access_log"], options["log_config"]) == (False, None)


def test_it_is_served_to_everybody_if_one_says_so(served, monkeypatch):
    monkeypatch.setenv("RHOCAST_AUTH", "none")
    main(["--host", "0.0.0.0"])
    assert len(served) == 1


def test_on_this_machine_no_key_is_needed(served):
    main([])
    assert served[0]["host"] == "127.0.0.1"


def test_a_store_that_is_not_up_yet_is_waited_for(served, monkeypatch):
    monkeypatch.setenv("RHOCAST_REDIS_URL", "redis://127.0.0.1:1/0")
    main(["--host", "0.0.0.0"])  # what comes without a key is refused in any case
    assert len(served) == 1


@pytest.mark.filterwarnings("ignore:'app.web' found in sys.modules")
def test_it_is_a_program(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["web", "--help"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_module("app.web", run_name="__main__")


@pytest.mark.processes
def test_a_real_process_writes_one_line_a_request_and_ends_streams_of_revoked_keys(settings, tmp_path):
    port = free_port()
    environment = {
        **os.environ,
        "RHOCAST_REDIS_URL": settings.redis_url,
        "RHOCAST_NAMESPACE": settings.namespace,
        "RHOCAST_DATA": str(settings.data),
        "RHOCAST_AUTH": "keys",
    }
    with connect(settings.redis_url) as store:
        from jobs.directory import Directory
        from models.density.promolecule import Promolecule
        from tests.app.samples import rock_salt

        Directory(store, settings).advertise("nobody", [Promolecule().info])
        keys = Keys(store, settings)
        key, plain = keys.create("alice")
        log = tmp_path / "log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "app.web", "--port", str(port)],
                cwd=ROOT,
                env=environment,
                stdout=out,
                stderr=out,
            )
        try:
            base = f"http://127.0.0.1:{port}"
            with httpx2.Client(base_url=base, headers={"Authorization": f"Bearer {plain}"}, timeout=30) as client:
                wait_until(lambda: answers(client), 60, "it answers")
                body = {"structure": rock_salt(), "grid": {"shape": [12, 12, 12]}}
                job = client.post("/v1/predictions", json=body, headers={"X-Request-ID": "r-42"}).json()["id"]
                with client.stream("GET", f"/v1/jobs/{job}/events") as events:
                    chunks = events.iter_bytes()
                    assert b"queued" in next(chunks)
                    keys.revoke(key.id)
                    assert b"".join(chunks) == b""
                assert client.get("/v1/jobs").status_code == 401
        finally:
            process.terminate()
            assert process.wait(30) == -signal.SIGTERM  # uvicorn stops in order, then ends as it was told
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    [request] = [line for line in lines if line["event"] == "request" and line["request_id"] == "r-42"]
    assert (request["route"], request["status"], request["key"]) == ("/v1/predictions", 202, "alice")
    stream = next(line for line in lines if line.get("route") == "/v1/jobs/{job_id}/events")
    assert stream["ms"] < 5000
    assert plain not in log.read_text()


def answers(client: httpx2.Client) -> bool:
    try:
        return client.get("/healthz").status_code == 200
    except httpx2.TransportError:
        return False
