"""The process that expands batches: it is a program, and it ends when it is told to."""

import os
import runpy
import signal
import sys
import threading

import pytest

from app.batches import process
from app.batches.process import run
from tests.app.batches.conftest import batch_when, sent_lines
from tests.app.samples import rock_salt


@pytest.fixture
def handlers():
    """Signal handlers are put back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


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
