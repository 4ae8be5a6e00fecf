"""Cost-aware micro-batches: many threads hand tickets in, one thread owns the device."""

import heapq
import itertools
import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from jobs.transport import Ticket
from rhocast.schemas import Priority

_HEAD_START_SECONDS = 2.0  # bulk work waits this much longer than interactive work, and never starves
_LOOK_AHEAD = 64


@dataclass(order=True)
class _Waiting:
    deadline: float
    sequence: int
    ticket: Ticket = field(compare=False)
    done: Future[bool] = field(compare=False)


class Budgets:
    """Largest cost of a batch, for each model; lowered when a batch did not fit the device.

    Args:
        initial: Budget of every model at the start.
    """

    def __init__(self, initial: float) -> None:
        self._initial = initial
        self._lowered: dict[str, float] = {}

    def of(self, model: str) -> float:
        return self._lowered.get(model, self._initial)

    def lower(self, model: str, cost: float) -> None:
        """After a batch of some cost did not fit: the next ones are smaller."""
        self._lowered[model] = min(self.of(model), cost) * 0.9


class Batcher:
    """Packs tickets of one model into batches under a cost budget and runs them one after another.

    A device that has been idle starts at once with what there is. One that has just finished waits a moment for the
    next tickets to arrive, because the answers it gave free the threads that bring them.

    Args:
        run: Runs a batch; returns for each ticket whether its message is to be acknowledged.
        budgets: Largest cost of a batch.
        wait_seconds: How long a busy device gathers.
        max_tickets: Most tickets in one batch.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Ticket]], Sequence[bool]],
        budgets: Budgets,
        wait_seconds: float,
        max_tickets: int = 256,
    ) -> None:
        self._run = run
        self._budgets = budgets
        self._wait_seconds = wait_seconds
        self._max_tickets = max_tickets
        self._heap: list[_Waiting] = []
        self._count = itertools.count()
        self._changed = threading.Condition()
        self._is_stopped = False
        self._thread = threading.Thread(target=self._loop, name="device", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends the device thread once nothing waits."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
        self._thread.join()

    def handle(self, ticket: Ticket) -> bool:
        """Waits until a ticket's batch has run; returns whether its message is to be acknowledged."""
        late = _HEAD_START_SECONDS if ticket.priority == Priority.BULK else 0.0
        waiting = _Waiting(time.monotonic() + late, next(self._count), ticket, Future())
        with self._changed:
            heapq.heappush(self._heap, waiting)
            self._changed.notify()
        return waiting.done.result()

    def _loop(self) -> None:
        last_end = -math.inf
        while batch := self._next_batch(last_end + self._wait_seconds):
            try:
                answers = self._run([waiting.ticket for waiting in batch])
                for waiting, is_done in zip(batch, answers, strict=True):
                    waiting.done.set_result(is_done)
            except BaseException as error:  # noqa: BLE001  (the waiting threads must hear of it, whatever it is)
                for waiting in batch:
                    if not waiting.done.done():
                        waiting.done.set_exception(error)
            last_end = time.monotonic()

    def _next_batch(self, gather_until: float) -> list[_Waiting]:
        """The next tickets to run; none when the batcher has stopped."""
        with self._changed:
            while not self._heap:
                if self._is_stopped:
                    return []
                self._changed.wait()
            while len(self._heap) < self._max_tickets and (left := gather_until - time.monotonic()) > 0:
                self._changed.wait(left)
            return self._pack()

    def _pack(self) -> list[_Waiting]:
        """First fit in order of deadline: the first ticket decides the model, later ones of it join while they fit."""
        first = heapq.heappop(self._heap)
        batch, passed, cost = [first], list[_Waiting](), first.ticket.cost
        budget = self._budgets.of(first.ticket.model)
        while self._heap and len(batch) < self._max_tickets and len(passed) < _LOOK_AHEAD:
            other = heapq.heappop(self._heap)
            if other.ticket.model == first.ticket.model and cost + other.ticket.cost <= budget:
                batch.append(other)
                cost += other.ticket.cost
            else:
                passed.append(other)
        for other in passed:
            heapq.heappush(self._heap, other)
        return batch
