"""Relaxations in step: all that are in hand move on together, new ones join at any step, who has converged leaves.

Between two evaluations the device is free for predictions, so that nobody waits for the end of a relaxation.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import redis
import structlog

from dynamics.relax import Descent, Goal, Relaxation, advance, chunks
from jobs.canonical import structure_from_record
from jobs.ledger import Claim, End
from jobs.records import TaskInput
from jobs.transport import Ticket
from jobs.version import code_version
from models.interface import OutOfMemory, Potential
from rhocast.errors import ServiceUnavailable, TooLarge
from workers.batcher import Budgets
from workers.desk import Desk, failure, require_weights
from workers.reports import ProgressReport
from workers.turns import Turns

log = structlog.get_logger()


@dataclass(frozen=True)
class _Waiting:
    ticket: Ticket
    done: Future[bool]


@dataclass(eq=False)
class _Run:
    """A relaxation that is under way."""

    ticket: Ticket
    done: Future[bool]
    model: str
    attempt: int
    descent: Descent
    report: ProgressReport
    seconds: float = field(default=0.0)


class Relaxer:
    """Relaxes what many threads hand in, in one thread.

    Args:
        potentials: Loaded potentials by name.
        desk: Where tasks are claimed and ended.
        budgets: Largest cost of one evaluation.
        turns: Whose turn on the device it is.
    """

    def __init__(self, potentials: Mapping[str, Potential], desk: Desk, budgets: Budgets, turns: Turns) -> None:
        self._potentials = potentials
        self._desk = desk
        self._budgets = budgets
        self._turns = turns
        self._changed = threading.Condition()
        self._arrived: list[_Waiting] = []
        self._alone: list[_Waiting] = []
        self._runs: list[_Run] = []
        self._is_stopped = False
        self._thread = threading.Thread(target=self._loop, name="relaxations", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread after the present evaluation; another worker begins anew what is under way."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
        self._thread.join()

    def handle(self, ticket: Ticket) -> bool:
        """Waits until a relaxation has ended; returns whether its message is to be acknowledged."""
        waiting = _Waiting(ticket, Future())
        with self._changed:
            if self._is_stopped:
                self._desk.hand_back(ticket.key, was_claimed=False)
                return True
            self._arrived.append(waiting)
            self._changed.notify_all()
        return waiting.done.result()

    def _loop(self) -> None:
        while self._has_work():
            try:
                self._admit()
                self._step()
            except BaseException as error:  # noqa: BLE001  (the waiting threads must hear of it, whatever it is)
                self._give_up(error)
        self._hand_back()

    def _has_work(self) -> bool:
        """Waits for something to do; returns whether there is, and time for it."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_stopped or self._arrived or self._alone or self._runs)
            return not self._is_stopped

    def _admit(self) -> None:
        """Begins what has come. What was in hand when a worker died runs when nothing else does."""
        if any(run.attempt > 1 for run in self._runs):
            return
        for lane, waiting in self._admitted().items():
            tickets = [one.ticket for one in waiting]
            is_shared = len(self._runs) + len(waiting) > 1
            claims = self._desk.claim(tickets, self._budgets.of(lane), is_shared=is_shared)
            for one, claim in zip(waiting, claims, strict=True):
                if claim.outcome == "alone":
                    self._alone.append(one)
                elif claim.input is None:
                    one.done.set_result(claim.outcome != "exhausted")
                else:
                    self._begin(one, claim, claim.input)

    def _admitted(self) -> dict[str, list[_Waiting]]:
        """What may begin now, by lane."""
        if self._alone:
            first = [] if self._runs else [self._alone.pop(0)]
        else:
            with self._changed:
                first, self._arrived = self._arrived, []
        lanes: dict[str, list[_Waiting]] = defaultdict(list)
        for waiting in first:
            lanes[waiting.ticket.model].append(waiting)
        return lanes

    def _begin(self, waiting: _Waiting, claim: Claim, asked: TaskInput) -> None:
        ticket, goal = waiting.ticket, asked.relaxation
        try:
            require_weights(self._potentials[asked.model].info, asked)
            if goal is None:
                raise ValueError("found a task of a lane of relaxations that says nothing of one")
            structure = structure_from_record(asked.structure)
            descent = Descent(structure, Goal(goal.fmax, goal.steps, bool(goal.relax_cell)))
        except Exception as error:  # noqa: BLE001  (whatever is wrong belongs to this task)
            self._desk.finish(ticket.model, [End(ticket.key, 0.0, error=failure(error, asked.model, ticket.key))])
            waiting.done.set_result(True)
            return
        report = self._desk.report(ticket.key)
        self._runs.append(_Run(ticket, waiting.done, asked.model, claim.attempt, descent, report))

    def _step(self) -> None:
        """One evaluation of each that is under way, in as many calls as its kinds and the budget ask for."""
        kinds: dict[tuple[str, bool], list[_Run]] = defaultdict(list)
        for run in self._runs:
            kinds[run.model, run.descent.goal.relax_cell].append(run)
        for runs in kinds.values():
            budget = self._budgets.of(runs[0].ticket.model)
            for batch in chunks(runs, lambda run: run.ticket.cost, budget):
                self._advance(batch)
                if self._is_stopped:
                    return

    def _advance(self, batch: Sequence[_Run]) -> None:
        lane = batch[0].ticket.model
        with self._turns:
            start = time.perf_counter()
            try:
                advance(self._potentials[batch[0].model], [run.descent for run in batch])
            except OutOfMemory:
                self._make_room(batch)
            seconds = time.perf_counter() - start
        self._desk.metrics.count_seconds(lane, seconds)
        for run in batch:
            run.seconds += seconds / len(batch)
            run.report(run.descent.n_steps, run.descent.goal.steps)
        self._finish([run for run in batch if run.descent.end is not None])

    def _make_room(self, batch: Sequence[_Run]) -> None:
        """After a batch did not fit: the next ones are smaller. One alone is too large."""
        lane = batch[0].ticket.model
        self._desk.metrics.count_split(lane)
        if len(batch) > 1:
            self._budgets.lower(lane, sum(run.ticket.cost for run in batch))
            return
        (run,) = batch
        run.descent.fail(
            TooLarge(
                f"found that {run.descent.structure.n_atoms} atoms do not fit the memory of the device for "
                f"{run.model}; expected fewer; relax a smaller cell"
            )
        )

    def _finish(self, ended: Sequence[_Run]) -> None:
        for run in ended:
            try:
                self._desk.finish(run.ticket.model, [self._end(run)])
            except ServiceUnavailable as error:  # results cannot be kept for now: no structure is to blame
                log.warning("results_not_kept", model=run.ticket.model, tasks=1, error=error.detail)
                self._desk.hand_back(run.ticket.key, was_claimed=True)
            self._runs.remove(run)
            run.done.set_result(True)

    def _end(self, run: _Run) -> End:
        key, end = run.ticket.key, run.descent.end
        try:
            if not isinstance(end, Relaxation):
                raise end or ValueError("a relaxation that goes on was taken for one that has ended")
            return End(key, run.seconds, result=self._desk.stored(key, _record(end)))
        except ServiceUnavailable:
            raise
        except Exception as error:  # noqa: BLE001  (whatever was raised, or hinders its storage, belongs to this task)
            return End(key, run.seconds, error=failure(error, run.model, key))

    def _give_up(self, error: BaseException) -> None:
        """Tells all who wait that the store is gone, or whatever it is; the ledger finds their tasks again."""
        with self._changed:
            waiting: list[_Waiting | _Run] = [*self._arrived, *self._alone, *self._runs]
            self._arrived, self._alone, self._runs = [], [], []
        for one in waiting:
            if not one.done.done():
                one.done.set_exception(error)

    def _hand_back(self) -> None:
        """Gives all that is in hand to other workers."""
        with self._changed:
            waiting = [*self._arrived, *self._alone]
        in_hand: list[_Waiting | _Run] = [*waiting, *self._runs]
        for one in in_hand:
            try:
                self._desk.hand_back(one.ticket.key, was_claimed=isinstance(one, _Run))
                one.done.set_result(True)
            except redis.RedisError as error:  # the lease runs out, and the message goes to another worker
                one.done.set_exception(error)


def _record(end: Relaxation) -> dict[str, Any]:
    """A relaxation as JSON."""
    return {
        "positions": end.structure.positions.tolist(),
        "cell": end.structure.cell.tolist(),
        "energy_before": end.energy_before,
        "energy": end.energy,
        "forces": end.forces.tolist(),
        **({"stress": end.stress.tolist()} if end.stress is not None else {}),
        "n_steps": end.n_steps,
        "is_converged": end.is_converged,
        "code_version": code_version(),
    }
