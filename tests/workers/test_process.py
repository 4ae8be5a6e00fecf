"""The life of a worker process, in this process: it advertises, works, does its chores, drains."""

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator

import pytest
import redis

from jobs.directory import Directory
from jobs.ledger import Ledger
from jobs.settings import Settings
from jobs.transport import Transport
from rhocast.schemas import JobStatus, Priority
from tests.end_to_end.processes import ROOT, free_port, wait_until
from tests.jobs.builders import job, order
from tests.workers.fakes import SHA, CountingPotential, Uniform
from workers.process import WorkerProcess, _Chore, run, warm_up


@pytest.fixture
def worker(settings: Settings) -> Iterator[WorkerProcess]:
    made = WorkerProcess(settings, [CountingPotential("m"), Uniform()])
    made.start()
    yield made
    made.stop()


def submitted(ledger: Ledger, key: str = "k1") -> str:
    asked = order(key)
    asked = asked.model_copy(update={"input": asked.input.model_copy(update={"weights_sha256": SHA})})
    return ledger.submit(job(asked), [asked])


def is_done(ledger: Ledger, job_id: str) -> Callable[[], bool]:
    return lambda: ledger.view(job_id).status == JobStatus.SUCCEEDED


def test_a_worker_advertises_itself_until_it_stops(ledger: Ledger, settings: Settings) -> None:
    directory = Directory(ledger.client, settings)
    worker = WorkerProcess(settings, [CountingPotential("m"), Uniform()])
    worker.start()
    worker.tick()
    assert {name: entry.n_workers for name, entry in directory.entries().items()} == {"m": 1, "uniform": 1}
    worker.stop()
    assert {name: entry.n_workers for name, entry in directory.entries().items()} == {"m": 0, "uniform": 0}


@pytest.mark.usefixtures("worker")
def test_a_submitted_task_is_done(ledger: Ledger) -> None:
    wait_until(is_done(ledger, submitted(ledger)), 10, "it is done")


def test_a_task_whose_message_was_lost_is_found_and_done(ledger: Ledger, settings: Settings) -> None:
    job_id = submitted(ledger)
    ledger.transport.broker.flush(Transport.queue_name("m", Priority.INTERACTIVE))
    restless = settings.model_copy(update={"reconcile_seconds": 0.01})
    worker = WorkerProcess(restless, [CountingPotential("m")])
    worker.start()
    time.sleep(0.05)
    worker.tick()
    wait_until(is_done(ledger, job_id), 10, "it is done")
    worker.stop()


def test_warming_up_runs_a_model_once() -> None:
    potential = CountingPotential()
    warm_up(potential)
    assert potential.batches == [1]
    warm_up(Uniform())


def test_a_chore_that_fails_is_tried_again_at_its_next_turn() -> None:
    turns: list[int] = []

    def chore() -> None:
        turns.append(len(turns))
        if len(turns) == 1:
            raise redis.ConnectionError("gone")

    fast = _Chore(0.01, chore)
    fast.run_if_due()
    fast.run_if_due()
    assert turns == [0]
    time.sleep(0.02)
    fast.run_if_due()
    assert turns == [0, 1]


def test_a_process_told_to_stop_stops(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped:
        def wait(self, seconds: float) -> bool:
            return next(answers)

    answers = iter([False, True])
    monkeypatch.setattr("workers.process.Termination", Stopped)
    run(settings, [CountingPotential("m")])


def test_a_process_answers_for_its_numbers_while_it_runs(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    told: list[str] = []

    class Once:
        def wait(self, seconds: float) -> bool:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
                told.append(answer.read().decode())
            return True

    monkeypatch.setattr("workers.process.Termination", Once)
    run(settings.model_copy(update={"worker_metrics_port": port}), [CountingPotential("m")])
    assert "rhocast_batch_fill" in told[0]


@pytest.mark.processes
def test_the_command_serves_the_models_of_the_settings(ledger: Ledger, settings: Settings) -> None:
    environment = {
        **os.environ,
        "RHOCAST_REDIS_URL": settings.redis_url,
        "RHOCAST_NAMESPACE": settings.namespace,
        "RHOCAST_DATA": str(settings.data),
        "RHOCAST_MODELS": "promolecule",
    }
    directory = Directory(ledger.client, settings)
    with subprocess.Popen(
        [sys.executable, "-m", "workers"], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL
    ) as one:
        wait_until(lambda: "promolecule" in directory.entries(), 60, "it advertises")
        one.terminate()
        assert one.wait(30) == 0
    assert directory.entries()["promolecule"].n_workers == 0
