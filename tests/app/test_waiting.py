"""Waiting without asking again and again."""

import asyncio
import os
import signal
import time
from collections.abc import Callable

import pytest
import redis

from app import waiting
from app.waiting import Waiter, Watch, called_on_termination
from jobs.ledger import End, Ledger
from jobs.records import Standing
from rhocast.schemas import JobStatus
from tests.jobs.builders import job, order, ticket

RUNNING = Standing(status=JobStatus.RUNNING)


class CountingLedger(Ledger):
    """The ledger, which notes how many jobs each look asks for."""

    def __init__(self, *arguments) -> None:
        super().__init__(*arguments)
        self.looks: list[int] = []

    def standings(self, job_ids):
        self.looks.append(len(job_ids))
        return super().standings(job_ids)


@pytest.fixture
def counting(ledger: Ledger) -> CountingLedger:
    return CountingLedger(ledger.client, ledger.settings)


@pytest.fixture
def waiter(settings, counting) -> Waiter:
    return Waiter(settings.redis_url, counting)


def claim(ledger: Ledger, key: str) -> None:
    message = ledger.client.hget(f"{ledger.settings.namespace}:task:{key}", "message").decode()
    ledger.claim([ticket(key, message)], "worker", is_shared=False)


async def until(is_true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not is_true():
            await asyncio.sleep(0.005)


async def status_within(watch: Watch, status: JobStatus) -> None:
    async with asyncio.timeout(5):
        while watch.standing is None or watch.standing.status != status:
            await watch.news(5)


def listening(waiter: Waiter):
    """Runs the waiter around a conversation; the subscription stands when it begins."""

    def run(conversation) -> None:
        async def whole() -> None:
            waiter.start()
            await asyncio.sleep(0.2)
            await conversation()
            assert not waiter._watches
            await waiter.stop()

        asyncio.run(whole())

    return run


def test_a_job_is_followed_from_the_queue_to_its_end(waiter, ledger):
    job_id = ledger.submit(job(order()), [order()])

    async def conversation() -> None:
        with waiter.watch(job_id, ["k1"]) as watch:
            await status_within(watch, JobStatus.QUEUED)
            assert watch.standing.position == 1
            start = time.monotonic()
            claim(ledger, "k1")
            await status_within(watch, JobStatus.RUNNING)
            assert watch.standing.position is None
            ledger.finish([End("k1", 0.1, result={})])
            await watch.end_of_job(5)
            assert watch.standing.status == JobStatus.SUCCEEDED
            assert time.monotonic() - start < waiting._LOOK_ANYWAY_SECONDS

    listening(waiter)(conversation)


def test_a_thousand_who_wait_for_a_thousand_jobs_are_served_by_one_look(waiter, counting):
    ids = [counting.submit(job(order(f"k{index}")), [order(f"k{index}")]) for index in range(1000)]
    n_before = len(counting.client.client_list())

    async def conversation() -> None:
        from contextlib import ExitStack

        with ExitStack() as stack:
            watches = [stack.enter_context(waiter.watch(one, [f"k{index}"])) for index, one in enumerate(ids)]
            await until(lambda: all(watch.standing is not None for watch in watches))
        assert [watch.standing.position for watch in watches] == list(range(1, 1001))
        assert max(counting.looks) == 1000
        assert len(counting.looks) <= 3
        assert len(counting.client.client_list()) < n_before + 20

    listening(waiter)(conversation)


def test_many_who_wait_for_one_job_are_one_question(waiter, counting):
    job_id = counting.submit(job(order()), [order()])

    async def conversation() -> None:
        with waiter.watch(job_id, ["k1"]) as one, waiter.watch(job_id, ["k1"]) as other:
            await until(lambda: one.standing is not None and other.standing is not None)
            assert set(counting.looks) == {1}

    listening(waiter)(conversation)


def test_a_cancelled_job_is_told(waiter, ledger):
    job_id = ledger.submit(job(order()), [order()])

    async def conversation() -> None:
        with waiter.watch(job_id, ["k1"]) as watch:
            await status_within(watch, JobStatus.QUEUED)
            ledger.cancel(job_id)
            await status_within(watch, JobStatus.CANCELLED)

    listening(waiter)(conversation)


def test_a_job_that_is_no_longer_kept_has_expired(waiter):
    async def conversation() -> None:
        with waiter.watch("gone", []) as watch:
            await watch.end_of_job(5)
            assert watch.standing == Standing(status=JobStatus.EXPIRED)

    listening(waiter)(conversation)


def test_what_no_notice_tells_is_found_all_the_same(waiter, ledger, monkeypatch):
    monkeypatch.setattr(waiting, "_LOOK_ANYWAY_SECONDS", 0.2)
    for key in ("k1", "k2"):
        last = ledger.submit(job(order(key)), [order(key)])

    async def conversation() -> None:
        with waiter.watch(last, ["k2"]) as watch:
            await until(lambda: watch.standing is not None and watch.standing.position == 2)
            ledger.client.lpop(f"{ledger.transport.namespace}:m.interactive")
            await until(lambda: watch.standing.position == 1)

    listening(waiter)(conversation)


def test_a_clock_that_jumps_changes_no_interval(waiter, ledger, monkeypatch):
    job_id = ledger.submit(job(order()), [order()])
    moments = iter([1e9, -1e9, 4e9] * 1000)
    monkeypatch.setattr("time.time", lambda: next(moments))

    async def conversation() -> None:
        with waiter.watch(job_id, ["k1"]) as watch:
            await status_within(watch, JobStatus.QUEUED)
            start = time.monotonic()
            await watch.end_of_job(0.3)
            assert 0.25 < time.monotonic() - start < 30

    listening(waiter)(conversation)


def test_a_watch_tells_the_newest_standing_alone():
    async def told() -> None:
        watch = Watch("j")
        assert not await watch.news(0.01)
        for position in (3, 2, 1):
            watch.tell(Standing(status=JobStatus.QUEUED, position=position))
        watch.tell(RUNNING)
        assert await watch.news(1)
        assert watch.standing == RUNNING
        watch.tell(RUNNING)
        assert not await watch.news(0.01)

    asyncio.run(told())


def test_who_waits_is_let_go_when_the_service_stops(waiter, ledger):
    job_id = ledger.submit(job(order()), [order()])

    async def conversation() -> None:
        with waiter.watch(job_id, ["k1"]) as watch:
            await status_within(watch, JobStatus.QUEUED)
            waiter.end_watches()
            async with asyncio.timeout(1):
                await watch.end_of_job(60)
                assert await watch.news(60)
            assert watch.is_over

    listening(waiter)(conversation)


def test_who_comes_while_the_service_stops_does_not_wait_either(waiter, ledger):
    """A listener that was let go asks again at once, and the door may still be open."""
    job_id = ledger.submit(job(order()), [order()])

    async def conversation() -> None:
        waiter.end_watches()
        with waiter.watch(job_id, ["k1"]) as watch:
            async with asyncio.timeout(1):
                await watch.end_of_job(60)

    listening(waiter)(conversation)


def test_a_waiter_that_never_started_stops(counting):
    asyncio.run(Waiter("unix:///nowhere", counting).stop())


def test_a_store_that_is_down_is_asked_again(waiter, counting, monkeypatch):
    tries = []

    def refusing(url: str, **_: object) -> None:
        tries.append(url)
        raise redis.ConnectionError("down")

    monkeypatch.setattr("app.waiting.redis.asyncio.Redis.from_url", refusing)
    monkeypatch.setattr("app.waiting._PAUSE_SECONDS", 0.01)
    answer, failures = counting.standings, iter([redis.TimeoutError("down"), OSError("down")])

    def unsteady(job_ids):
        for failure in failures:
            raise failure
        return answer(job_ids)

    monkeypatch.setattr(counting, "standings", unsteady)

    async def conversation() -> None:
        with waiter.watch("gone", []) as watch:
            await watch.end_of_job(5)
            assert watch.standing is not None

    listening(waiter)(conversation)
    assert len(tries) > 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_who_waits_and_then_who_listened_before(number):
    heard: list[str] = []
    before = signal.signal(number, lambda *_: heard.append("server"))

    async def stopped() -> None:
        with called_on_termination(lambda: heard.append("streams")):
            os.kill(os.getpid(), number)
            await until(lambda: len(heard) == 2)
        os.kill(os.getpid(), number)
        await until(lambda: len(heard) == 3)

    try:
        asyncio.run(stopped())
    finally:
        signal.signal(number, before)
    assert heard == ["server", "streams", "server"]


def test_outside_the_main_thread_signals_are_left_alone():
    async def stopped() -> None:
        with called_on_termination(lambda: None):
            pass

    asyncio.run(asyncio.to_thread(asyncio.run, stopped()))


def test_a_signal_that_nobody_catches_still_ends_the_process():
    handlers = signal.getsignal(signal.SIGTERM)

    async def stopped() -> None:
        with called_on_termination(lambda: None):
            assert signal.getsignal(signal.SIGTERM) == handlers

    assert handlers == signal.SIG_DFL
    asyncio.run(stopped())


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        ("wait=5", 5.0),
        ("respond-async, wait=10", 10.0),
        ('wait="2"', 2.0),
        ("wait = 0.5", 0.5),
        ("wait=100000", 60.0),
        ("wait=" + "9" * 400, 60.0),
        ("", 0.0),
        ("return=minimal", 0.0),
        ("await=5", 0.0),
        ("wait=-5", 0.0),
    ],
)
def test_patience_is_read_from_the_prefer_header(prefer, seconds):
    from app.routes.predictions import _wait_seconds

    assert _wait_seconds(prefer, 60.0) == seconds
