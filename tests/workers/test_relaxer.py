"""Relaxations in step: batches, newcomers, failures, memory, workers that die or are stopped."""

import gzip
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis

from dynamics.relax import Goal, Relaxation, relaxations
from jobs.artifacts import ArtifactStore
from jobs.canonical import canonical, content_key, structure_record
from jobs.ledger import Ledger
from jobs.records import TaskInput, TaskOrder, TaskRecord, TaskStatus
from jobs.transport import Ticket
from models.interface import PotentialPrediction
from rhocast.errors import ServiceUnavailable
from rhocast.model_info import Property
from rhocast.schemas import Progress, RelaxationSettings
from rhocast.structure import Structure
from tests.dynamics.argon import Argon, cluster, crystal
from tests.end_to_end.processes import wait_until
from tests.jobs.builders import job, ticket
from workers import desk as desk_module
from workers.batcher import Budgets
from workers.desk import Desk
from workers.metrics import WorkerMetrics
from workers.relaxer import Relaxer
from workers.turns import Turns

QUICK = RelaxationSettings(fmax=0.02, steps=100, relax_cell=True)
LANE = "argon.relaxations"


class Gated(Argon):
    """Argon that waits at a gate before each evaluation, and breaks on five atoms.

    Args:
        capacity: Most atoms in one call.
    """

    def __init__(self, capacity: int = 10**9) -> None:
        super().__init__(capacity)
        self.gate = threading.Event()
        self.gate.set()
        self.has_begun = threading.Event()

    def predict(self, structures: Sequence[Structure], want: frozenset[Property]) -> list[PotentialPrediction]:
        self.has_begun.set()
        assert self.gate.wait(30)
        return super().predict(structures, want)

    def of(self, structure: Structure, want: frozenset[Property]) -> PotentialPrediction:
        found = super().of(structure, want)
        if structure.n_atoms == 5:
            return PotentialPrediction(np.nan, found.forces, found.stress)
        return found


@pytest.fixture
def artifacts(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts", min_free_bytes=0)


@pytest.fixture
def submit(ledger: Ledger) -> Callable[..., Ticket]:
    def submit(
        atoms: Structure, settings: RelaxationSettings | None = QUICK, weights: str = Argon.info.weights_sha256
    ) -> Ticket:
        form = canonical(atoms).structure
        task = TaskInput(
            model="argon",
            weights_sha256=weights,
            structure=structure_record(form),
            want=[Property.ENERGY, Property.FORCES],
            relaxation=settings,
        )
        key = content_key(form, {"settings": str(settings), "weights": weights})
        order = TaskOrder(key=key, model="argon", cost=10.0, input=task)
        ledger.submit(job(order), [order])
        message = ledger.client.hget(f"{ledger.settings.namespace}:task:{key}", "message")
        assert isinstance(message, bytes)
        return ticket(key, message.decode(), model=LANE, cost=10.0)

    return submit


@pytest.fixture
def start(ledger: Ledger, artifacts: ArtifactStore) -> Iterator[Callable[..., Relaxer]]:
    started: list[Relaxer] = []

    def start(argon: Argon, budget: float = 1000.0) -> Relaxer:
        made = Relaxer({"argon": argon}, Desk(ledger, artifacts, "w", WorkerMetrics()), Budgets(budget), Turns())
        made.start()
        started.append(made)
        return made

    yield start
    for one in started:
        one.stop()


def handled(relaxer: Relaxer, *tickets: Ticket) -> list[bool]:
    """What becomes of some messages that arrive together."""
    with ThreadPoolExecutor(len(tickets)) as threads:
        return list(threads.map(relaxer.handle, tickets))


def in_hand(relaxer: Relaxer) -> int:
    """How many relaxations have come and not ended."""
    return len(relaxer._arrived) + len(relaxer._alone) + len(relaxer._runs)


def ended(ledger: Ledger, *tickets: Ticket) -> list[TaskRecord]:
    tasks = ledger.tasks([one.key for one in tickets])
    return [tasks[one.key] for one in tickets]


def alone(structure: Structure, settings: RelaxationSettings = QUICK) -> Relaxation:
    """How a structure relaxes by itself, in its canonical form."""
    goal = Goal(settings.fmax, settings.steps, bool(settings.relax_cell))
    ((_, found),) = relaxations(Argon(), [canonical(structure).structure], goal, 100)
    return found


def test_each_of_a_batch_ends_as_it_would_alone(ledger, submit, start) -> None:
    argon = Gated()
    argon.gate.clear()
    relaxer = start(argon)
    structures = [crystal(seed, strain=0.02 * (seed + 1)) for seed in range(3)]
    tickets = [submit(one) for one in structures]
    with ThreadPoolExecutor(3) as threads:
        answers = [threads.submit(relaxer.handle, one) for one in tickets]
        assert argon.has_begun.wait(10)
        wait_until(lambda: in_hand(relaxer) == 3, 10, "all are in hand")
        argon.gate.set()
        assert [answer.result(60) for answer in answers] == [True, True, True]
    assert max(argon.calls) == 3
    for task, structure in zip(ended(ledger, *tickets), structures, strict=True):
        assert task.status == TaskStatus.SUCCEEDED
        expected, found = alone(structure), task.result or {}
        assert found["energy"] == expected.energy
        assert found["energy_before"] == expected.energy_before
        assert found["n_steps"] == expected.n_steps
        assert found["is_converged"] is True
        np.testing.assert_array_equal(found["positions"], expected.structure.positions)
        np.testing.assert_array_equal(found["cell"], expected.structure.cell)
        np.testing.assert_array_equal(found["forces"], expected.forces)
        np.testing.assert_array_equal(found["stress"], expected.stress)
        assert task.seconds
        assert task.progress is None


def test_who_comes_later_joins_those_who_are_under_way(ledger, submit, start) -> None:
    argon = Gated()
    relaxer = start(argon)
    long = submit(crystal(0), RelaxationSettings(fmax=1e-9, steps=150, relax_cell=True))
    short = submit(crystal(1))
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(relaxer.handle, long)
        assert argon.has_begun.wait(10)
        second = threads.submit(relaxer.handle, short)
        assert second.result(60)
        assert not first.done()
        assert ended(ledger, short)[0].status == TaskStatus.SUCCEEDED
        assert first.result(60)
    assert 2 in argon.calls
    assert argon.calls[-1] == 1
    assert (ended(ledger, long)[0].result or {})["is_converged"] is False


def test_how_far_each_is_is_told(ledger, submit, start, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Progress] = []
    monkeypatch.setattr(
        Ledger, "progress", lambda self, key, done, total, worker: told.append(Progress(done=done, total=total))
    )
    handled(start(Argon()), submit(crystal()))
    assert told[0] == Progress(done=1, total=100)


def test_cells_that_are_held_are_evaluated_without_stress(ledger, submit, start) -> None:
    argon = Argon()
    held = QUICK.model_copy(update={"relax_cell": False})
    tickets = [submit(crystal()), submit(crystal(), held), submit(cluster(), held)]
    handled(start(argon), *tickets)
    free, *others = (task.result or {} for task in ended(ledger, *tickets))
    assert "stress" in free
    for found, structure in zip(others, (crystal(), cluster()), strict=True):
        assert "stress" not in found
        assert found["energy"] == alone(structure, held).energy


def test_one_that_breaks_does_not_fail_its_neighbours(ledger, submit, start) -> None:
    held = QUICK.model_copy(update={"relax_cell": False})
    tickets = [
        submit(cluster(5), held),
        submit(cluster(), held),
        submit(cluster(), QUICK),
        submit(crystal(), held, "w"),
    ]
    assert handled(start(Gated()), *tickets) == [True] * 4
    broken, fine, molecule, other = ended(ledger, *tickets)
    assert fine.status == TaskStatus.SUCCEEDED
    assert broken.error is not None
    assert (broken.error.code, "no numbers at step 0" in broken.error.detail) == ("PredictionFailed", True)
    assert molecule.error is not None
    assert molecule.error.code == "InvalidStructure"
    assert other.error is not None
    assert other.error.code == "UnknownModel"
    assert "got new weights" in other.error.detail


def test_a_task_that_says_nothing_of_a_relaxation_fails(ledger, submit, start) -> None:
    strange = submit(crystal(), None)
    assert handled(start(Argon()), strange) == [True]
    (task,) = ended(ledger, strange)
    assert task.error is not None
    assert "says nothing of one" in task.error.detail


def test_a_batch_that_does_not_fit_is_divided_and_the_budget_lowered(ledger, submit, start) -> None:
    argon = Gated(capacity=8)
    argon.gate.clear()
    relaxer = start(argon)
    tickets = [submit(crystal(seed)) for seed in range(4)]
    with ThreadPoolExecutor(4) as threads:
        answers = [threads.submit(relaxer.handle, one) for one in tickets]
        wait_until(lambda: in_hand(relaxer) == 4, 10, "all are in hand")
        argon.gate.set()
        assert all(answer.result(60) for answer in answers)
    assert max(argon.calls) <= 2
    assert relaxer._budgets.of(LANE) < 40
    for seed, task in enumerate(ended(ledger, *tickets)):
        assert (task.result or {})["energy"] == alone(crystal(seed)).energy


def test_a_structure_that_does_not_fit_by_itself_fails_with_the_limit(ledger, submit, start) -> None:
    large = submit(crystal())
    handled(start(Argon(capacity=3)), large)
    (task,) = ended(ledger, large)
    assert task.error is not None
    assert task.error.code == "TooLarge"
    assert "4 atoms do not fit" in task.error.detail


def test_what_was_in_hand_when_a_worker_died_runs_alone(ledger, submit, start) -> None:
    suspect, others = submit(crystal(0)), [submit(crystal(seed)) for seed in (1, 2)]
    ledger.claim([suspect], "dead", is_shared=False)
    argon = Gated()
    argon.gate.clear()
    relaxer = start(argon)
    with ThreadPoolExecutor(3) as threads:
        answers = [threads.submit(relaxer.handle, one) for one in (others[0], suspect, others[1])]
        wait_until(lambda: in_hand(relaxer) == 3, 10, "all are in hand")
        argon.gate.set()
        assert [answer.result(60) for answer in answers] == [True, True, True]
    steps = alone(crystal(0)).n_steps
    assert [task.attempts for task in ended(ledger, suspect, *others)] == [2, 1, 1]
    assert (ended(ledger, suspect)[0].result or {})["n_steps"] == steps
    assert argon.calls.count(1) > steps


def test_messages_that_count_no_more_are_put_away_and_killers_given_up(ledger, submit, start) -> None:
    killer = submit(crystal())
    for _ in range(ledger.settings.max_deliveries):
        ledger.claim([killer], "dead", is_shared=False)
    stale = ticket("nothing", "no message", model=LANE)
    relaxer = start(Argon())
    assert handled(relaxer, killer) == [False]
    assert handled(relaxer, stale) == [True]
    (task,) = ended(ledger, killer)
    assert task.error is not None
    assert task.error.code == "WorkerLost"


def test_a_worker_that_stops_hands_its_relaxations_back_unharmed(ledger, submit, start) -> None:
    argon = Gated()
    argon.gate.clear()
    relaxer = start(argon)
    begun, late = submit(crystal(0)), submit(crystal(1))
    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(relaxer.handle, begun)
        assert argon.has_begun.wait(10)
        second = threads.submit(relaxer.handle, late)
        wait_until(lambda: bool(relaxer._arrived), 10, "the second has come")
        stopping = threads.submit(relaxer.stop)
        wait_until(lambda: relaxer._is_stopped, 10, "it is told to stop")
        argon.gate.set()
        stopping.result(10)
        assert first.result(10)
        assert second.result(10)
    after = submit(crystal(2))
    assert relaxer.handle(after)
    for task, one in zip(ended(ledger, begun, late, after), (begun, late, after), strict=True):
        assert (task.status, task.attempts) == (TaskStatus.QUEUED, 0)
        message = ledger.client.hget(f"{ledger.settings.namespace}:task:{one.key}", "message")
        assert isinstance(message, bytes)
        assert message.decode() != one.message_id
        assert ledger.transport.holds(message.decode(), f"{LANE}.interactive")


def test_where_the_store_is_gone_whoever_waits_hears_of_it(ledger, submit, start, monkeypatch) -> None:
    relaxer = start(Argon())
    lost = submit(crystal())

    def gone(*_: Any, **__: Any) -> Any:
        raise redis.ConnectionError("gone")

    with monkeypatch.context() as broken:
        broken.setattr(Desk, "finish", gone)
        with pytest.raises(redis.ConnectionError, match="gone"):
            relaxer.handle(lost)
    assert handled(relaxer, submit(crystal(1))) == [True]  # it goes on when the store is back
    argon = Gated()
    argon.gate.clear()
    other = start(argon)
    with ThreadPoolExecutor(2) as threads, monkeypatch.context() as broken:
        answer = threads.submit(other.handle, submit(crystal(2)))
        assert argon.has_begun.wait(10)
        broken.setattr(Desk, "hand_back", gone)
        stopping = threads.submit(other.stop)
        wait_until(lambda: other._is_stopped, 10, "it is told to stop")
        argon.gate.set()
        stopping.result(10)
        with pytest.raises(redis.ConnectionError, match="gone"):
            answer.result(10)


def test_a_large_result_is_an_artifact_and_a_full_disk_fails_the_task_alone(
    ledger, submit, start, artifacts, monkeypatch
) -> None:
    monkeypatch.setattr(desk_module, "SMALL_RESULT_BYTES", 10)
    relaxer = start(Argon())
    large = submit(crystal())
    handled(relaxer, large)
    stored = (ended(ledger, large)[0].result or {})["artifact"]
    whole = json.loads(gzip.decompress(artifacts.path(stored).read_bytes()))
    assert whole["energy"] == alone(crystal()).energy

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    def gone(*_: Any) -> None:
        raise ServiceUnavailable("found that the bucket does not answer")

    monkeypatch.setattr(ArtifactStore, "write", gone)
    patient = submit(crystal(2))
    assert handled(relaxer, patient) == [True]
    (task,) = ended(ledger, patient)
    assert (task.status, task.attempts) == (TaskStatus.QUEUED, 0)
    monkeypatch.setattr(ArtifactStore, "write", full)
    unlucky = submit(crystal(1))
    assert handled(relaxer, unlucky) == [True]
    (task,) = ended(ledger, unlucky)
    assert task.error is not None
    assert "No space left" in task.error.detail
