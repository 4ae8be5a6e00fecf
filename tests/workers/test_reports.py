"""What a worker tells of a task while it runs."""

import redis
import structlog

from jobs.ledger import Ledger
from rhocast.schemas import Progress
from tests.jobs.builders import job, order, ticket
from workers import reports
from workers.reports import ProgressReport


def running(ledger: Ledger) -> str:
    """Key of a task that a worker has."""
    ledger.submit(job(order()), [order()])
    message = ledger.client.hget(f"{ledger.settings.namespace}:task:k1", "message").decode()
    ledger.claim([ticket("k1", message)], "worker", is_shared=False)
    return "k1"


def told(ledger: Ledger) -> Progress | None:
    return ledger.tasks(["k1"])["k1"].progress


def test_the_first_report_is_told_at_once_and_the_next_after_a_while(ledger, monkeypatch):
    report = ProgressReport(ledger, running(ledger), "worker")
    report(1, 9)
    report(2, 9)
    assert told(ledger) == Progress(done=1, total=9)
    now = reports.time.monotonic()
    monkeypatch.setattr(reports.time, "monotonic", lambda: now + reports._EVERY_SECONDS)
    report(3, 9)
    assert told(ledger) == Progress(done=3, total=9)


def test_a_store_that_is_down_costs_a_report_and_not_the_task(ledger, monkeypatch):
    def down(*_: object) -> None:
        raise redis.ConnectionError("down")

    key = running(ledger)
    monkeypatch.setattr(ledger, "progress", down)
    with structlog.testing.capture_logs() as lines:
        ProgressReport(ledger, key, "worker")(1, 9)
    assert lines == [{"event": "progress_untold", "log_level": "warning", "task": "k1", "error": "down"}]
    assert told(ledger) is None
