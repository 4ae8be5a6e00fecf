"""The process that expands batches: it is a program, and it ends when it is told to."""

import os
import runpy
import signal
import sys
import threading

import pytest
import redis
import structlog

from app.batches import process
from app.batches.process import ExpanderProcess, run
from tests.app.batches.conftest import batch_when, sent_lines
from tests.app.samples import rock_salt


@pytest.fixture
def handlers():
    """Signal handlers are put back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_batch_that_nobody_takes_apart_says_so_until_somebody_does(idle, handlers):
    client = idle
    answer = sent_lines(client, [{"custom_id": "a", "structure": rock_salt(6.1)}])
    assert answer.status_code == 202
    (warning,) = answer.json()["warnings"]
    assert "found no live process that makes jobs of batches" in warning
    assert "`python -m app.batches`" in warning
    batch_id = answer.json()["id"]
    assert client.get("/v1/batches").json()["batches"][0]["warnings"] == [warning]
    directory = client.app.state.services.directory
    directory.advertise_expander("e1")
    assert client.get(f"/v1/batches/{batch_id}").json()["warnings"] == []
    directory.withdraw_expander("e1")
    assert client.delete(f"/v1/batches/{batch_id}").json()["warnings"] == []


def test_it_says_that_it_lives_until_it_stops(idle, monkeypatch):
    services = idle.app.state.services
    expander = ExpanderProcess(services.settings)
    expander.start()
    expander.tick()
    assert services.directory.n_expanders() == 1
    services.directory.withdraw_expander(expander.name)
    expander.tick()  # not due
    assert services.directory.n_expanders() == 0
    monkeypatch.setattr(process, "HEARTBEAT_SECONDS", 0.0)
    expander._next_heartbeat = 0.0
    expander.tick()
    assert services.directory.n_expanders() == 1
    expander.stop()
    assert services.directory.n_expanders() == 0


def test_a_heartbeat_that_the_store_does_not_take_is_told_and_tried_again(idle, monkeypatch):
    expander = ExpanderProcess(idle.app.state.services.settings)

    def down(_: str) -> None:
        raise redis.ConnectionError("down")

    monkeypatch.setattr(expander._services.directory, "advertise_expander", down)
    with structlog.testing.capture_logs() as lines:
        expander.tick()
    assert [(line["event"], line["error"]) for line in lines] == [("heartbeat_failed", "down")]
    assert expander._next_heartbeat > 0
    expander.start()
    expander.stop()


def test_it_expands_until_it_is_told_to_stop(idle, handlers):
    client = idle
    batch_id = sent_lines(client, [{"custom_id": "a", "structure": rock_salt()}]).json()["id"]
    seen = []

    def watch() -> None:
        try:
            seen.append(batch_when(client, batch_id, "running")["counts"]["queued"])
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    watcher = threading.Thread(target=watch)
    watcher.start()
    run(client.app.state.services.settings)
    watcher.join()
    assert seen == [1]


def test_it_is_a_program(monkeypatch):
    ran = []
    monkeypatch.setattr(process, "run", ran.append)
    monkeypatch.setattr("jobs.logs.configure", lambda: None)
    monkeypatch.setattr(sys, "argv", ["batches"])
    runpy.run_module("app.batches", run_name="__main__")
    assert len(ran) == 1
