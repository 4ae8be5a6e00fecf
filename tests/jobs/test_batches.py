"""Batches on a real store: accepted whole, counted by their jobs, cancelled, forgotten in time."""

import itertools
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from jobs.batches import QUEUE, SOURCE, Batches, BatchRecord, BatchView
from jobs.ledger import End, Ledger
from jobs.records import BatchItem, Failure, TaskStatus, job_status
from rhocast.batch_schemas import BatchStatus
from rhocast.errors import BatchNotFound, Conflict, IdempotencyConflict
from rhocast.schemas import JobStatus, Priority, Problem
from tests.jobs.builders import job, order, ticket

PROBLEM = Problem(title="Bad Request", status=400, code="InvalidFile", detail="found nothing")


@pytest.fixture
def batches(ledger: Ledger) -> Batches:
    return Batches(ledger)


def record(batch_id: str = "b1", n_items: int = 3, owner: str = "") -> BatchRecord:
    return BatchRecord(id=batch_id, created_at=datetime.now(UTC), n_items=n_items, owner=owner)


@pytest.fixture
def submit(ledger: Ledger) -> Callable[..., str]:
    """Makes the job of an item, with a task of its own unless keys are given."""

    def submit(index: int, *keys: str, batch_id: str = "b1") -> str:
        item = BatchItem(batch=batch_id, index=index)
        orders = [order(key, f"m{number}") for number, key in enumerate(keys or (f"k{index}",))]
        one = job(*orders, priority=Priority.BULK).model_copy(update={"id": item.job_id})
        return ledger.submit(one, orders, item=item)

    return submit


def expanded(ledger: Ledger, batch_id: str = "b1", error: Failure | None = None) -> None:
    """Ends the expansion of a batch."""
    ledger.finish([End(batch_id, 0.1, result={}, error=error)])


def ended(ledger: Ledger, key: str, error: Failure | None = None) -> None:
    ledger.finish([End(key, 0.1, result={}, error=error)])


def test_a_batch_goes_from_validating_over_running_to_succeeded(ledger, batches, submit):
    assert batches.create(record()) == "b1"
    assert (batches.view("b1").status, batches.view("b1").counts.queued) == (BatchStatus.VALIDATING, 3)
    submit(0)
    submit(1)
    batches.refuse(BatchItem(batch="b1", index=2), PROBLEM)
    assert batches.view("b1").status == BatchStatus.VALIDATING
    expanded(ledger)
    assert batches.view("b1").status == BatchStatus.RUNNING
    message = ledger.client.hget(f"{ledger.settings.namespace}:task:k0", "message").decode()
    ledger.claim([ticket("k0", message)], "worker", is_shared=False)
    counts = batches.view("b1").counts
    assert (counts.running, counts.queued, counts.invalid, counts.total, counts.ended) == (1, 1, 1, 3, 1)
    assert batches.view("b1").finished_at is None
    ended(ledger, "k0")
    ended(ledger, "k1", Failure(code="PredictionFailed", detail="no"))
    view = batches.view("b1")
    assert (view.status, view.states) == (BatchStatus.SUCCEEDED, "sfi")
    last = ledger.tasks(["k1"])["k1"].finished_at
    assert abs((view.finished_at - last).total_seconds()) < 1e-3


def test_the_expansion_is_a_task_with_a_message(ledger, batches):
    batches.create(record())
    message = ledger.client.hget(f"{ledger.settings.namespace}:task:b1", "message").decode()
    assert ledger.transport.holds(message, QUEUE)
    (claim,) = ledger.claim([ticket("b1", message, SOURCE)], "expander", is_shared=False)
    assert (claim.outcome, claim.input) == ("claimed", None)


def test_an_expansion_that_lost_its_message_gets_a_new_one(ledger, batches):
    batches.create(record())
    name = f"{ledger.transport.namespace}:{QUEUE}"
    ledger.client.delete(name, f"{name}.msgs")
    assert ledger.reconcile(older_than=0) == 1
    assert ledger.transport.depth(QUEUE) == 1


def test_an_expansion_that_gets_on_is_not_given_up_however_often_it_dies(ledger, batches, submit):
    batches.create(record(n_items=9))
    for index in range(9):
        message = ledger.client.hget(f"{ledger.settings.namespace}:task:b1", "message").decode()
        assert ledger.claim([ticket("b1", message, SOURCE)], "x", is_shared=False)[0].outcome == "claimed"
        submit(index)
    for expected in ("claimed",) * 3 + ("exhausted",):
        assert ledger.claim([ticket("b1", message, SOURCE)], "x", is_shared=False)[0].outcome == expected
    view = batches.view("b1")
    assert view.status == BatchStatus.FAILED
    assert view.failure is not None
    assert view.failure.code == "WorkerLost"


def test_an_item_gets_one_job_however_often_it_is_submitted(ledger, batches, submit):
    batches.create(record())
    first = submit(0, "k0")
    assert submit(0, "other") == first == "b1-0"
    assert ledger.view(first).record.tasks == {"m0": "k0"}
    assert ledger.tasks(["other"]) == {}


def test_an_item_with_a_job_is_not_refused_any_more(batches, submit):
    batches.create(record())
    submit(0)
    batches.refuse(BatchItem(batch="b1", index=0), PROBLEM)
    assert batches.view("b1").states == "q.."
    assert batches.refusals("b1", [0]) == {}


def test_an_item_that_was_refused_gets_no_job(ledger, batches, submit):
    batches.create(record())
    batches.refuse(BatchItem(batch="b1", index=1), PROBLEM)
    submit(1)
    assert ledger.views(["b1-1"]) == []
    assert batches.refusals("b1", [0, 1, 2]) == {1: PROBLEM}
    assert batches.refusals("b1", []) == {}


ANY_STATE = [*TaskStatus, None]
LETTERS = {
    JobStatus.QUEUED: "q",
    JobStatus.RUNNING: "r",
    JobStatus.SUCCEEDED: "s",
    JobStatus.FAILED: "f",
    JobStatus.EXPIRED: "f",
    JobStatus.CANCELLED: "c",
}


def test_the_store_and_the_ledger_agree_on_the_state_of_every_job(ledger, batches, submit):
    cases = [*itertools.product(ANY_STATE, repeat=2), *((state,) for state in ANY_STATE)]
    batches.create(record(n_items=2 * len(cases)))
    expected = ""
    for index, states in enumerate(cases * 2):
        keys = [f"{index}-{number}" for number in range(len(states))]
        job_id = submit(index, *keys)
        is_cancelled = index >= len(cases)
        if is_cancelled:
            ledger.client.hset(f"{ledger.settings.namespace}:job:{job_id}", "cancelled", "1.5")
        for key, state in zip(keys, states, strict=True):
            name = f"{ledger.settings.namespace}:task:{key}"
            if state is None:
                ledger.client.delete(name)
            else:
                ledger.client.hset(name, "status", state)
        expected += LETTERS[job_status(states, is_cancelled=is_cancelled)]
    assert batches.view("b1").states == expected


def test_a_batch_of_thousands_is_counted_in_pieces(ledger, batches, submit):
    batches.create(record(n_items=2500))
    for index in range(0, 2500, 100):
        submit(index, "one")
    ended(ledger, "one")
    counts = batches.view("b1").counts
    assert (counts.total, counts.succeeded, counts.queued) == (2500, 25, 2475)
    assert batches.states("b1", 99, 101) == ".s."


def test_an_end_once_seen_stays_though_somebody_asks_for_the_same_again(ledger, batches, submit):
    batches.create(record(n_items=1))
    submit(0)
    ended(ledger, "k0", Failure(code="PredictionFailed", detail="no"))
    assert batches.view("b1").states == "f"
    ledger.submit(job(order("k0", "m0")), [order("k0", "m0")])
    assert batches.view("b1").states == "f"


def test_a_key_gives_the_first_batch_and_refuses_another(batches):
    assert batches.create(record("b1"), "key", "body") == "b1"
    assert batches.create(record("b2"), "key", "body") == "b1"
    with pytest.raises(IdempotencyConflict, match="found another request under the Idempotency-Key 'key'"):
        batches.create(record("b3"), "key", "other")
    with pytest.raises(BatchNotFound, match="found no batch 'b3'; expected one of yours that is still kept"):
        batches.view("b3")


class TestCancelling:
    def test_what_waits_is_cancelled_and_what_has_ended_stays(self, ledger, batches, submit):
        batches.create(record(n_items=4))
        submit(0)
        submit(1)
        ended(ledger, "k0")
        batches.refuse(BatchItem(batch="b1", index=2), PROBLEM)
        batches.cancel("b1")
        view = batches.view("b1")
        assert (view.status, view.states) == (BatchStatus.CANCELLED, "scic")
        assert view.finished_at == view.cancelled_at is not None
        assert ledger.view("b1-1").status == JobStatus.CANCELLED
        assert ledger.tasks(["k1"]) == {}
        submit(3)
        assert ledger.views(["b1-3"]) == []

    def test_twice_or_after_the_end_or_of_nothing_is_refused(self, ledger, batches, submit):
        batches.create(record(n_items=1))
        batches.cancel("b1")
        with pytest.raises(Conflict, match="found batch 'b1' already cancelled; expected one that waits or runs"):
            batches.cancel("b1")
        batches.create(record("b2", n_items=1))
        submit(0, batch_id="b2")
        ended(ledger, "k0")
        expanded(ledger, "b2")
        with pytest.raises(Conflict, match="found batch 'b2' already succeeded"):
            batches.cancel("b2")
        with pytest.raises(BatchNotFound, match="found no batch 'b9'"):
            batches.cancel("b9")

    def test_what_died_in_the_middle_is_finished_by_another_call(self, ledger, batches, submit, monkeypatch):
        batches.create(record(n_items=2))
        submit(0)
        with monkeypatch.context() as patch:
            patch.setattr(ledger, "cancel_all", lambda _: (_ for _ in ()).throw(RuntimeError("killed")))
            with pytest.raises(RuntimeError, match="killed"):
                batches.cancel("b1")
        first = batches.view("b1")
        assert (first.status, first.states) == (BatchStatus.CANCELLED, "qc")
        batches.cancel("b1")
        assert batches.view("b1").states == "cc"
        assert batches.view("b1").cancelled_at == first.cancelled_at


def test_batches_are_listed_newest_first_and_by_owner(ledger, batches):
    for index, owner in enumerate(["anna", "ben", "anna"]):
        batches.create(record(f"b{index}", owner=owner))
    assert [view.record.id for view in batches.page(10)] == ["b2", "b1", "b0"]
    assert [view.record.id for view in batches.page(10, owner="anna")] == ["b2", "b0"]
    assert [view.record.id for view in batches.page(2)] == ["b2", "b1"]
    before = batches.view("b1").record.created_at.timestamp()
    assert [view.record.id for view in batches.page(10, before)] == ["b0"]
    ledger.client.delete(f"{ledger.settings.namespace}:batch:b1")
    assert [view.record.id for view in batches.page(10)] == ["b2", "b0"]


def test_everything_of_a_batch_has_a_lifetime(ledger, batches, submit):
    batches.create(record(owner="anna"), "key", "body")
    submit(0)
    batches.refuse(BatchItem(batch="b1", index=1), PROBLEM)
    expanded(ledger)
    batches.cancel("b1")
    batches.view("b1")
    for key in ("batch:b1", "batch:b1:states", "batch:b1:errors", "batches", "batches:anna", "task:b1"):
        assert 0 < ledger.client.ttl(f"{ledger.settings.namespace}:{key}") <= 7 * 86_400, key


def test_a_batch_is_done_when_its_expansion_is_no_longer_kept():
    view = BatchView(record=record(n_items=1), states="s", expansion=None)
    assert view.status == BatchStatus.SUCCEEDED
    assert view.failure is None
    assert view.finished_at == view.record.created_at
