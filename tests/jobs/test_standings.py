"""How far many jobs are, in brief."""

import pytest

from jobs import transport
from jobs.ledger import End, Ledger
from jobs.records import Failure, Standing
from rhocast.schemas import JobStatus, Priority, Progress
from tests.jobs.builders import job, order, ticket

QUEUED, RUNNING = JobStatus.QUEUED, JobStatus.RUNNING


def message_of(ledger: Ledger, key: str) -> str:
    return ledger.client.hget(f"{ledger.settings.namespace}:task:{key}", "message").decode()


def claim(ledger: Ledger, key: str, model: str = "m") -> None:
    message = message_of(ledger, key)
    ledger.client.lrem(f"{ledger.transport.namespace}:{model}.interactive", 1, message)
    ledger.claim([ticket(key, message)], "worker", is_shared=False)


def test_places_are_counted_from_the_next_to_be_taken(ledger: Ledger) -> None:
    ids = [ledger.submit(job(order(key)), [order(key)]) for key in ("k1", "k2", "k3")]
    assert [ledger.standings(ids)[one].position for one in ids] == [1, 2, 3]
    claim(ledger, "k1")
    found = ledger.standings(ids)
    assert found == {
        ids[0]: Standing(status=RUNNING),
        ids[1]: Standing(status=QUEUED, position=1),
        ids[2]: Standing(status=QUEUED, position=2),
    }


def test_a_job_of_two_models_has_the_place_of_the_later_task(ledger: Ledger) -> None:
    ledger.submit(job(order("k0", "n")), [order("k0", "n")])
    orders = [order("k1", "m"), order("k2", "n")]
    job_id = ledger.submit(job(*orders), orders)
    assert ledger.standings([job_id])[job_id] == Standing(status=QUEUED, position=2)
    claim(ledger, "k1")
    assert ledger.standings([job_id])[job_id] == Standing(status=RUNNING)


def test_each_priority_has_a_queue_of_its_own(ledger: Ledger) -> None:
    bulk = [ledger.submit(job(order(key), priority=Priority.BULK), [order(key)]) for key in ("k1", "k2")]
    urgent = ledger.submit(job(order("k3")), [order("k3")])
    assert ledger.standings([urgent])[urgent].position == 1
    assert ledger.standings(bulk)[bulk[1]].position == 2


def test_a_place_far_back_and_one_in_a_worker_s_hand_are_not_told(ledger: Ledger, monkeypatch) -> None:
    monkeypatch.setattr(transport, "_COUNTED_PLACES", 2)
    ids = [ledger.submit(job(order(key)), [order(key)]) for key in ("k1", "k2", "k3")]
    ledger.client.lpop(f"{ledger.transport.namespace}:m.interactive")
    assert [ledger.standings(ids)[one].position for one in ids] == [None, 1, 2]
    monkeypatch.setattr(transport, "_COUNTED_PLACES", 1)
    assert [ledger.standings(ids)[one].position for one in ids] == [None, 1, None]


def test_ends_are_told_as_the_whole_job_tells_them(ledger: Ledger) -> None:
    ids = [ledger.submit(job(order(key)), [order(key)]) for key in ("k1", "k2", "k3", "k4")]
    ledger.finish([End("k1", 0.1, result={}), End("k2", 0.1, error=Failure(code="X", detail="why"))])
    ledger.cancel(ids[2])
    ledger.finish([End("k4", 0.1, result={})])
    ledger.forget("k4")
    found = ledger.standings([*ids, "nobody"])
    assert {one: standing.status for one, standing in found.items()} == {one: ledger.view(one).status for one in ids}
    assert [found[one].status for one in ids] == ["succeeded", "failed", "cancelled", "expired"]


def test_of_nothing_there_is_nothing_to_tell(ledger: Ledger) -> None:
    assert ledger.standings([]) == {}


def test_how_far_a_task_is_is_told_while_it_runs(ledger: Ledger) -> None:
    orders = [order("k1", "m"), order("k2", "n")]
    job_id = ledger.submit(job(*orders), orders)
    claim(ledger, "k1")
    assert ledger.standings([job_id])[job_id] == Standing(status=RUNNING)
    for done in (64, 128):
        ledger.progress("k1", done, 512, "worker")
        told = Standing(status=RUNNING, progress=Progress(done=done, total=512))
        assert ledger.standings([job_id])[job_id] == told
        assert ledger.view(job_id).progress == told.progress
    ledger.finish([End("k1", 0.1, result={})])
    claim(ledger, "k2", "n")
    assert ledger.standings([job_id])[job_id] == Standing(status=RUNNING)
    ledger.progress("k2", 1, 2, "worker")
    ledger.cancel(job_id)
    assert ledger.standings([job_id])[job_id] == Standing(status=JobStatus.CANCELLED)
    assert ledger.view(job_id).progress is None


@pytest.mark.parametrize("state", ["queued", "ended", "unknown", "another worker's"])
def test_a_report_of_a_task_that_is_not_in_the_worker_s_hands_is_ignored(ledger: Ledger, state: str) -> None:
    job_id = ledger.submit(job(order()), [order()])
    if state != "queued":
        claim(ledger, "k1")
    if state == "ended":
        ledger.finish([End("k1", 0.1, result={})])
    ledger.progress(
        "k0" if state == "unknown" else "k1", 1, 2, "a late one" if state.startswith("another") else "worker"
    )
    assert ledger.standings([job_id])[job_id].progress is None
    assert not ledger.client.exists(f"{ledger.settings.namespace}:task:k0")


def test_a_new_attempt_begins_without_progress(ledger: Ledger) -> None:
    job_id = ledger.submit(job(order()), [order()])
    claim(ledger, "k1")
    ledger.progress("k1", 64, 512, "worker")
    claim(ledger, "k1")
    assert ledger.standings([job_id])[job_id] == Standing(status=RUNNING)


@pytest.mark.parametrize("step", ["start", "progress", "end", "cancellation"])
def test_every_step_of_a_job_is_noticed(ledger: Ledger, step: str) -> None:
    job_id = ledger.submit(job(order()), [order()])
    if step == "progress":
        claim(ledger, "k1")
    with ledger.client.pubsub() as feed:
        feed.subscribe(ledger.channel)
        assert feed.get_message(timeout=5)["type"] == "subscribe"
        if step == "cancellation":
            ledger.cancel(job_id)
        elif step == "start":
            claim(ledger, "k1")
        elif step == "progress":
            ledger.progress("k1", 1, 2, "worker")
        else:
            ledger.finish([End("k1", 0.1, result={})])
        notice = feed.get_message(timeout=5)
    assert notice["data"].decode() == (job_id if step == "cancellation" else "k1")
