"""Rows of the ledger.

A *job* is one request of one user. A *task* is one computation of one model, keyed by the hash of everything that
decides its result. Jobs point at tasks; a job's state is read off its tasks. So identical requests share one task
(single flight), and a finished task is the cache.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from rhocast.model_info import Property
from rhocast.schemas import JobStatus, Priority


class TaskStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TaskInput(Row):
    """What a worker needs to compute one task.

    Attributes:
        model: Name of the model.
        weights_sha256: Hash of the weights that the key was made with.
        structure: Canonical structure, as `canonical.structure_record` gives it.
        want: Properties to compute, all from this model.
        grid: Grid points along each cell vector, for a density.
        mantissa_bits: Mantissa bits to keep of the stored grid.
    """

    model: str
    weights_sha256: str
    structure: dict[str, Any]
    want: list[Property]
    grid: tuple[int, int, int] | None = None
    mantissa_bits: int = 12


class TaskOrder(Row):
    """A task as it is submitted.

    Attributes:
        key: Content key.
        model: Name of the model, which decides the queue.
        cost: Cost in the model's unit, for packing batches.
        input: What the worker needs.
    """

    key: str
    model: str
    cost: float
    input: TaskInput


class Failure(Row):
    """Why a task failed: the name of an error class of `rhocast.errors`, and its sentence."""

    code: str
    detail: str


class TaskRecord(Row):
    """A task as the ledger holds it."""

    key: str
    model: str
    status: TaskStatus
    attempts: int = 0
    seconds: float | None = None
    finished_at: datetime | None = None
    result: dict[str, Any] | None = None
    error: Failure | None = None


class JobRecord(Row):
    """A job as the ledger holds it.

    Attributes:
        id: Public name.
        created_at: When it was accepted.
        structure: The user's structure, in the user's order.
        order: Permutation of `canonical.CanonicalStructure`.
        want: Properties asked for.
        tasks: Content key of the task of each model.
        models: Which model answers which property.
        grid_chosen_by: How the grid was chosen, in words.
        priority: Which queue its tasks are in.
        warnings: What the user should know, found before anything was computed.
        infos: What each model said of itself when the job was accepted (`ModelInfo` as JSON), for the elements at hand.
    """

    id: str
    created_at: datetime
    structure: dict[str, Any]
    order: list[int]
    want: list[Property]
    tasks: dict[str, str]
    models: dict[str, str]
    grid_chosen_by: str = ""
    priority: Priority = Priority.INTERACTIVE
    warnings: list[str] = []
    infos: dict[str, dict[str, Any]] = {}


class JobView(Row):
    """A job with the present state of its tasks (None: a task that has expired)."""

    record: JobRecord
    cancelled_at: datetime | None
    was_cached: bool
    tasks: dict[str, TaskRecord | None]

    @property
    def status(self) -> JobStatus:
        if self.cancelled_at is not None:
            return JobStatus.CANCELLED
        present = [task.status for task in self.tasks.values() if task is not None]
        if TaskStatus.FAILED in present:
            return JobStatus.FAILED
        if len(present) < len(self.tasks):
            return JobStatus.EXPIRED
        if all(status == TaskStatus.SUCCEEDED for status in present):
            return JobStatus.SUCCEEDED
        return JobStatus.RUNNING if TaskStatus.RUNNING in present else JobStatus.QUEUED

    @property
    def finished_at(self) -> datetime | None:
        if self.cancelled_at is not None or not self.status.is_final:
            return self.cancelled_at
        ends = [task.finished_at for task in self.tasks.values() if task is not None and task.finished_at is not None]
        return max([*ends, self.record.created_at])

    @property
    def failure(self) -> Failure | None:
        return next((task.error for task in self.tasks.values() if task is not None and task.error is not None), None)


def timestamp(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
