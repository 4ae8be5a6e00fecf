"""Packing: every ticket runs once, under the budget, urgent ones first; an idle device never waits."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from jobs.transport import Ticket
from rhocast.schemas import Priority
from tests.jobs.builders import ticket
from workers.batcher import Batcher, Budgets

Run = Callable[[Sequence[Ticket]], Sequence[bool]]


class Recorder:
    """A device that remembers its batches and may be held up."""

    def __init__(self) -> None:
        self.batches: list[list[Ticket]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.is_busy = threading.Event()

    def run(self, tickets: Sequence[Ticket]) -> list[bool]:
        self.is_busy.set()
        self.gate.wait(10)
        self.batches.append(list(tickets))
        return [True] * len(tickets)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def make_batcher() -> Iterator[Callable[..., Batcher]]:
    made: list[Batcher] = []

    def make(run: Run, budget: float = 100.0, wait_seconds: float = 0.0) -> Batcher:
        batcher = Batcher(run, Budgets(budget), wait_seconds)
        batcher.start()
        made.append(batcher)
        return batcher

    yield make
    for batcher in made:
        batcher.stop()


def hold_and_submit(recorder: Recorder, batcher: Batcher, tickets: list[Ticket]) -> None:
    """Hands tickets in while the device is busy, so that they are packed together, then lets it go."""
    recorder.gate.clear()
    with ThreadPoolExecutor(len(tickets) + 1) as pool:
        futures: list[Future[bool]] = [pool.submit(batcher.handle, ticket("first", "m0", model="other"))]
        recorder.is_busy.wait(5)
        for one in tickets:
            futures.append(pool.submit(batcher.handle, one))
            time.sleep(0.002)
        recorder.gate.set()
        assert all(future.result(5) for future in futures)


def test_batches_stay_under_the_budget_and_lose_nobody(recorder: Recorder, make_batcher) -> None:
    costs = [60.0, 50.0, 30.0, 10.0, 90.0, 5.0]
    tickets = [ticket(f"k{index}", f"m{index}", cost=cost) for index, cost in enumerate(costs)]
    hold_and_submit(recorder, make_batcher(recorder.run), tickets)
    packed = recorder.batches[1:]
    assert all(sum(one.cost for one in batch) <= 100 for batch in packed)
    assert sorted(one.key for batch in packed for one in batch) == sorted(one.key for one in tickets)
    assert [one.cost for one in packed[0]] == [60.0, 30.0, 10.0]


def test_a_ticket_above_the_budget_runs_by_itself(recorder: Recorder, make_batcher) -> None:
    hold_and_submit(recorder, make_batcher(recorder.run), [ticket("big", "b", cost=1e9), ticket("small", "s")])
    assert [[one.key for one in batch] for batch in recorder.batches[1:]] == [["big"], ["small"]]


def test_a_batch_has_one_model(recorder: Recorder, make_batcher) -> None:
    tickets = [ticket(f"k{index}", f"m{index}", model="ab"[index % 2]) for index in range(6)]
    hold_and_submit(recorder, make_batcher(recorder.run), tickets)
    assert [len({one.model for one in batch}) for batch in recorder.batches[1:]] == [1, 1]


def test_interactive_tickets_overtake_bulk_ones(recorder: Recorder, make_batcher) -> None:
    bulk = [ticket(f"b{index}", f"m{index}", cost=100, priority=Priority.BULK) for index in range(3)]
    hold_and_submit(recorder, make_batcher(recorder.run), [*bulk, ticket("urgent", "u", cost=100)])
    assert recorder.batches[1][0].key == "urgent"


def test_an_idle_device_starts_at_once(make_batcher) -> None:
    recorder = Recorder()
    batcher = make_batcher(recorder.run, wait_seconds=60.0)
    start = time.monotonic()
    batcher.handle(ticket("k", "m"))
    assert time.monotonic() - start < 30


def test_a_busy_device_gathers_what_arrives_in_a_moment(recorder: Recorder, make_batcher) -> None:
    batcher = make_batcher(recorder.run, wait_seconds=1.0)
    recorder.gate.clear()
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(batcher.handle, ticket("k0", "m0"))
        recorder.is_busy.wait(5)
        second = pool.submit(batcher.handle, ticket("k1", "m1"))
        time.sleep(0.05)
        recorder.gate.set()
        first.result(5)
        third = pool.submit(batcher.handle, ticket("k2", "m2"))
        assert second.result(5)
        assert third.result(5)
    assert [len(batch) for batch in recorder.batches] == [1, 2]


def test_what_the_device_raises_reaches_the_waiting_threads(make_batcher) -> None:
    def broken(tickets: Sequence[Ticket]) -> list[bool]:
        raise OSError("the store is gone")

    batcher = make_batcher(broken)
    with pytest.raises(OSError, match="the store is gone"):
        batcher.handle(ticket("k", "m"))
    with pytest.raises(OSError, match="the store is gone"):
        batcher.handle(ticket("k", "m"))


def test_a_budget_falls_below_the_batch_that_did_not_fit_and_only_for_its_model() -> None:
    budgets = Budgets(100.0)
    budgets.lower("m", 80.0)
    assert budgets.of("m") == pytest.approx(72.0)
    assert budgets.of("n") == 100.0
    budgets.lower("m", 500.0)
    assert budgets.of("m") == pytest.approx(64.8)
