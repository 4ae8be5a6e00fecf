"""The life of jobs and tasks, on a real store."""

import time

import pytest

from jobs.ledger import End, Ledger
from jobs.records import Failure, JobRecord, TaskStatus
from jobs.transport import Transport
from rhocast.errors import Conflict, IdempotencyConflict, JobCancelled, JobNotFinished, JobNotFound
from rhocast.schemas import JobStatus, Priority, RelaxationSettings
from tests.jobs.builders import job, order, ticket


def message_of(ledger: Ledger, key: str) -> str:
    found = ledger.client.hget(f"{ledger.settings.namespace}:task:{key}", "message")
    assert isinstance(found, bytes)
    return found.decode()


def claim(ledger: Ledger, key: str, *, is_shared: bool = False):
    return ledger.claim([ticket(key, message_of(ledger, key))], "worker", is_shared)[0]


def test_a_job_goes_from_queued_over_running_to_succeeded(ledger: Ledger) -> None:
    job_id = ledger.submit(job(order()), [order()])
    assert ledger.view(job_id).status == JobStatus.QUEUED
    assert claim(ledger, "k1").outcome == "claimed"
    assert ledger.view(job_id).status == JobStatus.RUNNING
    ledger.finish([End("k1", 0.5, result={"energy": -1.0})])
    view = ledger.view(job_id)
    assert view.status == JobStatus.SUCCEEDED
    assert view.tasks["m"] is not None
    assert view.tasks["m"].result == {"energy": -1.0}
    assert view.finished_at is not None


def test_identical_requests_share_one_message_and_one_result(ledger: Ledger) -> None:
    jobs = [ledger.submit(job(order()), [order()]) for _ in range(20)]
    assert ledger.transport.depth(Transport.queue_name("m", Priority.INTERACTIVE)) == 1
    claim(ledger, "k1")
    ledger.finish([End("k1", 0.1, result={"energy": 1.0})])
    assert {ledger.view(job_id).status for job_id in jobs} == {JobStatus.SUCCEEDED}
    late = ledger.view(ledger.submit(job(order()), [order()]))
    assert late.was_cached
    assert late.status == JobStatus.SUCCEEDED
    assert ledger.transport.depth(Transport.queue_name("m", Priority.INTERACTIVE)) == 1


def test_the_first_end_of_a_task_is_the_one_that_counts(ledger: Ledger) -> None:
    job_id = ledger.submit(job(order()), [order()])
    claim(ledger, "k1")
    ledger.finish([End("k1", 0.1, result={"energy": 1.0})])
    ledger.finish([End("k1", 0.1, result={"energy": 2.0}), End("k1", 0.1, error=Failure(code="X", detail="late"))])
    task = ledger.view(job_id).tasks["m"]
    assert task is not None
    assert task.result == {"energy": 1.0}
    assert task.error is None
    assert ledger.client.hget(f"{ledger.settings.namespace}:task:k1", "completions") == b"1"


def test_a_failed_task_fails_its_jobs_and_is_tried_again_when_asked_again(ledger: Ledger) -> None:
    job_id = ledger.submit(job(order()), [order()])
    claim(ledger, "k1")
    ledger.finish([End("k1", 0.1, error=Failure(code="PredictionFailed", detail="no"))])
    assert ledger.view(job_id).status == JobStatus.FAILED
    assert ledger.view(job_id).failure == Failure(code="PredictionFailed", detail="no")
    again = ledger.submit(job(order()), [order()])
    assert ledger.view(again).status == JobStatus.QUEUED


def test_a_job_of_two_models_ends_with_the_later_one(ledger: Ledger) -> None:
    orders = [order("k1", "m"), order("k2", "n")]
    job_id = ledger.submit(job(*orders), orders)
    claim(ledger, "k1")
    ledger.finish([End("k1", 0.1, result={})])
    assert ledger.view(job_id).status == JobStatus.QUEUED
    claim(ledger, "k2")
    assert ledger.view(job_id).status == JobStatus.RUNNING
    ledger.finish([End("k2", 0.1, result={})])
    assert ledger.view(job_id).status == JobStatus.SUCCEEDED


def test_an_idempotency_key_gives_the_first_job_and_refuses_another_body(ledger: Ledger) -> None:
    first = ledger.submit(job(order()), [order()], "key", "body")
    assert ledger.submit(job(order("k2")), [order("k2")], "key", "body") == first
    with pytest.raises(IdempotencyConflict, match="found another request under the Idempotency-Key 'key'"):
        ledger.submit(job(order("k2")), [order("k2")], "key", "other")
    assert ledger.tasks(["k2"]) == {}


class TestCancelling:
    def test_a_queued_task_that_nobody_else_waits_for_never_runs(self, ledger: Ledger) -> None:
        job_id = ledger.submit(job(order()), [order()])
        message = message_of(ledger, "k1")
        ledger.cancel(job_id)
        assert ledger.view(job_id).status == JobStatus.CANCELLED
        assert ledger.view(job_id).finished_at is not None
        assert ledger.claim([ticket("k1", message)], "worker", is_shared=False)[0].outcome == "stale"

    def test_a_task_that_others_wait_for_runs(self, ledger: Ledger) -> None:
        first, second = (ledger.submit(job(order()), [order()]) for _ in range(2))
        ledger.cancel(first)
        claim(ledger, "k1")
        ledger.finish([End("k1", 0.1, result={})])
        assert ledger.view(first).status == JobStatus.CANCELLED
        assert ledger.view(second).status == JobStatus.SUCCEEDED

    def test_the_message_of_a_cancelled_task_does_not_start_its_successor(self, ledger: Ledger) -> None:
        job_id = ledger.submit(job(order()), [order()])
        old = message_of(ledger, "k1")
        ledger.cancel(job_id)
        ledger.submit(job(order()), [order()])
        stale, fresh = ledger.claim([ticket("k1", old), ticket("k1", message_of(ledger, "k1"))], "w", is_shared=True)
        assert (stale.outcome, fresh.outcome) == ("stale", "claimed")

    def test_twice_or_after_the_end_or_of_nothing_is_refused(self, ledger: Ledger) -> None:
        job_id = ledger.submit(job(order()), [order()])
        ledger.cancel(job_id)
        with pytest.raises(JobCancelled, match="already cancelled"):
            ledger.cancel(job_id)
        done = ledger.submit(job(order()), [order()])
        claim(ledger, "k1")
        ledger.finish([End("k1", 0.1, result={})])
        with pytest.raises(Conflict, match="already ended"):
            ledger.cancel(done)
        with pytest.raises(JobNotFound, match="found no job 'nothing'"):
            ledger.cancel("nothing")


class TestLostWorkers:
    def test_a_task_that_was_in_hand_at_a_crash_runs_alone(self, ledger: Ledger) -> None:
        ledger.submit(job(order()), [order()])
        claim(ledger, "k1", is_shared=True)
        assert claim(ledger, "k1", is_shared=True).outcome == "alone"
        again = claim(ledger, "k1", is_shared=False)
        assert (again.outcome, again.attempt) == ("claimed", 2)

    def test_a_task_that_kills_its_worker_at_every_delivery_is_given_up(self, ledger: Ledger) -> None:
        job_id = ledger.submit(job(order()), [order()])
        assert [claim(ledger, "k1").outcome for _ in range(3)] == ["claimed"] * 3
        assert claim(ledger, "k1").outcome == "exhausted"
        view = ledger.view(job_id)
        assert view.status == JobStatus.FAILED
        assert view.failure is not None
        assert view.failure.code == "WorkerLost"

    def test_an_open_task_without_a_message_gets_a_new_one(self, ledger: Ledger) -> None:
        ledger.submit(job(order()), [order()])
        queue = Transport.queue_name("m", Priority.INTERACTIVE)
        ledger.transport.broker.flush(queue)
        lost = message_of(ledger, "k1")
        assert ledger.reconcile(older_than=60) == 0
        assert ledger.reconcile(older_than=-1) == 1
        assert ledger.transport.depth(queue) == 1
        assert message_of(ledger, "k1") != lost
        assert ledger.reconcile(older_than=-1) == 0

    def test_an_open_entry_without_a_task_is_dropped(self, ledger: Ledger) -> None:
        ledger.client.zadd(f"{ledger.settings.namespace}:open", {"ghost": 0.0})
        assert ledger.reconcile(older_than=0) == 0
        assert ledger.client.zcard(f"{ledger.settings.namespace}:open") == 0


def test_interactive_work_overtakes_the_same_work_queued_in_bulk(ledger: Ledger) -> None:
    ledger.submit(job(order(), priority=Priority.BULK), [order()])
    bulk = message_of(ledger, "k1")
    ledger.submit(job(order()), [order()])
    assert ledger.transport.depth(Transport.queue_name("m", Priority.INTERACTIVE)) == 1
    assert ledger.claim([ticket("k1", bulk)], "w", is_shared=False)[0].outcome == "stale"
    assert claim(ledger, "k1").outcome == "claimed"


def test_bulk_work_does_not_slow_the_same_work_queued_as_interactive(ledger: Ledger) -> None:
    ledger.submit(job(order()), [order()])
    before = message_of(ledger, "k1")
    ledger.submit(job(order(), priority=Priority.BULK), [order()])
    assert message_of(ledger, "k1") == before


def test_a_job_whose_results_are_gone_has_expired(ledger: Ledger) -> None:
    job_id = ledger.submit(job(order()), [order()])
    claim(ledger, "k1")
    ledger.finish([End("k1", 0.1, result={})])
    ledger.forget("k1")
    assert ledger.view(job_id).status == JobStatus.EXPIRED


def test_everything_that_ends_has_a_lifetime(ledger: Ledger) -> None:
    job_id = ledger.submit(job(order()), [order()], "key", "body")
    claim(ledger, "k1")
    ledger.finish([End("k1", 0.1, result={})])
    name = ledger.settings.namespace
    for key in (f"job:{job_id}", "task:k1", "task:k1:jobs", "idempotency::key"):
        assert 0 < ledger.client.ttl(f"{name}:{key}") <= 7 * 86_400


def test_pages_list_jobs_newest_first(ledger: Ledger) -> None:
    ids = []
    for index in range(5):
        ids.append(ledger.submit(job(order(f"k{index}")), [order(f"k{index}")]))
        time.sleep(0.002)
    first = ledger.page(3)
    assert [view.record.id for view in first] == ids[:1:-1]
    rest = ledger.page(3, before=first[-1].record.created_at.timestamp())
    assert [view.record.id for view in rest] == ids[1::-1]


def test_a_job_that_waits_has_no_result_to_give(ledger: Ledger) -> None:
    job_id = ledger.submit(job(order()), [order()])
    with pytest.raises(JobNotFinished, match="queued; expected it to have ended"):
        ledger.require_finished(ledger.view(job_id))
    with pytest.raises(JobNotFound, match="found no job 'nothing'; expected one of yours that is still kept"):
        ledger.view("nothing")


def test_the_end_of_a_task_is_published(ledger: Ledger) -> None:
    feed = ledger.client.pubsub(ignore_subscribe_messages=True)
    feed.subscribe(ledger.channel)
    feed.get_message(timeout=1)
    ledger.submit(job(order()), [order()])
    claim(ledger, "k1")
    ledger.finish([End("k1", 0.1, result={})])
    notice = feed.get_message(timeout=2)
    feed.close()
    assert notice is not None
    assert notice["data"] == b"k1"


def test_tasks_that_do_not_exist_are_left_out(ledger: Ledger) -> None:
    ledger.submit(job(order()), [order()])
    assert {key: task.status for key, task in ledger.tasks(["k1", "k2"]).items()} == {"k1": TaskStatus.QUEUED}


def owned(owner: str, request_id: str = "") -> JobRecord:
    return job(order()).model_copy(update={"owner": owner, "request_id": request_id})


def test_a_page_of_an_owner_holds_the_jobs_of_that_owner(ledger: Ledger) -> None:
    ids = {owner: [ledger.submit(owned(owner), [order()]) for _ in range(2)] for owner in ("alice", "bob", "")}
    for owner in ("alice", "bob"):
        assert [view.record.id for view in ledger.page(10, owner=owner)] == ids[owner][::-1]
    assert ledger.page(10, owner="carol") == []
    assert len(ledger.page(10)) == 6


def test_one_idempotency_key_of_two_owners_is_two_requests(ledger: Ledger) -> None:
    first = ledger.submit(owned("alice"), [order()], "k", "hash")
    assert ledger.submit(owned("bob"), [order()], "k", "another") != first
    assert ledger.submit(owned("alice"), [order()], "k", "hash") == first


def test_the_end_of_a_task_names_the_requests_that_asked_for_it(ledger: Ledger) -> None:
    for request_id in ("r1", "r2"):
        ledger.submit(owned("", request_id), [order()])
    claim(ledger, "k1")
    ledger.submit(owned("", "r3"), [order()])
    assert ledger.finish([End("k1", 0.1, result={}), End("k1", 0.1, result={})]) == ["r1 r2 r3", None]


def test_the_names_of_a_thousand_requests_are_cut_short(ledger: Ledger) -> None:
    for index in range(100):
        ledger.submit(owned("", f"request-{index:08}"), [order()])
    claim(ledger, "k1")
    [requests] = ledger.finish([End("k1", 0.1, result={})])
    assert requests is not None
    assert requests.startswith("request-00000000 request-00000001")
    assert len(requests) < 1100


def test_a_claim_that_is_sent_again_for_want_of_an_answer_is_one_attempt(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.submit(job(order("k1")), [order("k1")])
    moment = time.time()
    with monkeypatch.context() as repeated:
        repeated.setattr("time.time", lambda: moment)
        first, again = claim(ledger, "k1", is_shared=True), claim(ledger, "k1", is_shared=True)
    assert first == again
    assert (again.outcome, again.attempt) == ("claimed", 1)
    assert claim(ledger, "k1").attempt == 2


def test_a_claim_says_how_long_the_task_has_waited(ledger: Ledger) -> None:
    ledger.submit(job(order()), [order()])
    time.sleep(0.05)
    taken = claim(ledger, "k1")
    assert 0.05 <= taken.waited < 10


def test_a_task_that_is_handed_back_unharmed_has_lost_no_attempt(ledger: Ledger) -> None:
    job_id = ledger.submit(job(order()), [order()])
    claim(ledger, "k1")
    before = message_of(ledger, "k1")
    assert ledger.resend("k1", is_unharmed=True)
    assert message_of(ledger, "k1") != before
    assert ledger.view(job_id).status == JobStatus.QUEUED
    assert claim(ledger, "k1", is_shared=True).attempt == 1


def test_a_relaxation_waits_in_a_lane_of_its_own(ledger: Ledger) -> None:
    asked = order()
    settings = RelaxationSettings(fmax=0.1, steps=5, relax_cell=True)
    relaxation = asked.model_copy(
        update={"key": "k2", "input": asked.input.model_copy(update={"relaxation": settings})}
    )
    ledger.submit(job(asked), [asked])
    ledger.submit(job(relaxation), [relaxation])
    assert (asked.lane, relaxation.lane) == ("m", "m.relaxations")
    for lane in ("m", "m.relaxations"):
        assert ledger.transport.depth(Transport.queue_name(lane, Priority.INTERACTIVE)) == 1
    taken = ledger.claim([ticket("k2", message_of(ledger, "k2"), model="m.relaxations")], "worker", is_shared=False)[0]
    assert taken.input is not None
    assert taken.input.relaxation == settings
