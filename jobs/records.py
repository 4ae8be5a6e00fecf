"""Rows of the ledger.

A *job* is one request of one user. A *task* is one computation of one model, keyed by the hash of everything that
decides its result. Jobs point at tasks; a job's state is read off its tasks. So identical requests share one task
(single flight), and a finished task is the cache.
"""

from collections.abc import Collection
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from rhocast.errors import JobNotFound
from rhocast.model_info import Property
from rhocast.schemas import JobStatus, Priority, Progress, RelaxationSettings

RELAXATIONS = ".relaxations"
"""What follows the name of a model in the name of the lane of its relaxations."""


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
        relaxation: How far the structure is to relax; None if it is to stay.
    """

    model: str
    weights_sha256: str
    structure: dict[str, Any]
    want: list[Property]
    grid: tuple[int, int, int] | None = None
    mantissa_bits: int = 12
    relaxation: RelaxationSettings | None = None


class TaskOrder(Row):
    """A task as it is submitted.

    Attributes:
        key: Content key.
        model: Name of the model.
        cost: Cost in the model's unit, for packing batches.
        input: What the worker needs.
    """

    key: str
    model: str
    cost: float
    input: TaskInput

    @property
    def lane(self) -> str:
        """Whose queue it waits in: that of its model, or that of the relaxations with it, which take so long."""
        return relaxation_lane(self.model) if self.input.relaxation is not None else self.model


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
    progress: Progress | None = None
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
        relaxation: How far the structure is to relax; None if it is to stay.
        priority: Which queue its tasks are in.
        warnings: What the user should know, found before anything was computed.
        infos: What each model said of itself when the job was accepted (`ModelInfo` as JSON), for the elements at hand.
        owner: Name of the API key that asked for it; empty where the service is open.
        request_id: Id of the request that asked for it, as the logs have it.
    """

    id: str
    created_at: datetime
    structure: dict[str, Any]
    order: list[int]
    want: list[Property]
    tasks: dict[str, str]
    models: dict[str, str]
    relaxation: RelaxationSettings | None = None
    grid_chosen_by: str = ""
    priority: Priority = Priority.INTERACTIVE
    warnings: list[str] = []
    infos: dict[str, dict[str, Any]] = {}
    owner: str = ""
    request_id: str = ""


class BatchItem(Row):
    """One item of a batch, counted from 0."""

    batch: str
    index: int

    @property
    def job_id(self) -> str:
        """Id of the job that answers it: it follows from the item, so that no crash gives an item two."""
        return f"{self.batch}-{self.index}"


class JobView(Row):
    """A job with the present state of its tasks (None: a task that has expired)."""

    record: JobRecord
    cancelled_at: datetime | None
    was_cached: bool
    tasks: dict[str, TaskRecord | None]

    @property
    def status(self) -> JobStatus:
        present = [task.status if task is not None else None for task in self.tasks.values()]
        return job_status(present, is_cancelled=self.cancelled_at is not None)

    @property
    def finished_at(self) -> datetime | None:
        if self.cancelled_at is not None or not self.status.is_final:
            return self.cancelled_at
        ends = [task.finished_at for task in self.tasks.values() if task is not None and task.finished_at is not None]
        return max([*ends, self.record.created_at])

    @property
    def progress(self) -> Progress | None:
        """How far the task is that runs; None where the job has ended, or no worker has told it."""
        if self.status != JobStatus.RUNNING:
            return None
        return next((task.progress for task in self.tasks.values() if task is not None and task.progress), None)

    @property
    def failure(self) -> Failure | None:
        return next((task.error for task in self.tasks.values() if task is not None and task.error is not None), None)


class Standing(Row):
    """How far a job is, without what it asked and what it got.

    Attributes:
        status: State of the job.
        position: Place in the queue of its model and priority, 1 for the next to be taken; that of the later task
            where two wait. None where none does, or beyond the places that are counted.
        progress: How far the task is that runs; None where no worker has told it.
    """

    status: JobStatus
    position: int | None = None
    progress: Progress | None = None


def job_status(tasks: Collection[TaskStatus | None], *, is_cancelled: bool) -> JobStatus:
    """State of a job by the states of its tasks.

    Args:
        tasks: State of each task; None for one that has expired.
        is_cancelled: Whether its user cancelled it.
    """
    if is_cancelled:
        return JobStatus.CANCELLED
    if TaskStatus.FAILED in tasks:
        return JobStatus.FAILED
    if None in tasks:
        return JobStatus.EXPIRED
    if all(status == TaskStatus.SUCCEEDED for status in tasks):
        return JobStatus.SUCCEEDED
    return JobStatus.RUNNING if TaskStatus.RUNNING in tasks else JobStatus.QUEUED


def relaxation_lane(model: str) -> str:
    """Whose queue the relaxations with a model wait in."""
    return model + RELAXATIONS


def no_job(job_id: str) -> JobNotFound:
    """What is answered for a job that does not exist, and for one of somebody else: nobody can tell which it is."""
    return JobNotFound(
        f"found no job {job_id!r}; expected one of yours that is still kept (until its expires_at); see /v1/jobs"
    )


def timestamp(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
