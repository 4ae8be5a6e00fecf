"""Many structures, a few at a time: answers in order, and a file by which a run that broke off goes on."""

import asyncio
import hashlib
import json
import os
import threading
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from rhocast.conversation import Conversation
from rhocast.errors import (
    ConnectionFailed,
    Forbidden,
    InvalidField,
    InvalidFile,
    JobNotFound,
    RhocastError,
    ServiceUnavailable,
    StorageFull,
    TooManyRequests,
    Unauthorized,
)
from rhocast.inputs import Choices, chosen_fields, structure_input, validated
from rhocast.job import JobHandle
from rhocast.schemas import Job as JobState
from rhocast.schemas import JobStatus, Prediction, PredictionRequest
from rhocast.session import Session, done, each
from rhocast.wire import LONGEST_POLL, job_look

CONCURRENCY = 16
"""Requests under way at once, where none is asked for: enough to fill a worker's batches, few for a server."""

_FIRST_BYTES = b'{"key": "'
_AHEAD = 4  # structures begun for each that may be under way, while the first of them is not answered

_OF_THE_SERVICE = (ConnectionFailed, Forbidden, ServiceUnavailable, StorageFull, TooManyRequests, Unauthorized)
"""Errors that the next structure would meet as well."""

_GOES_ON = (JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.SUCCEEDED)

S = TypeVar("S")
T = TypeVar("T")

Outcome = tuple[JobState, Prediction] | RhocastError
"""What came of one structure."""


class Manifest:
    """Which job answers which request, in a file of JSON lines to which every new job is added.

    Args:
        path: The file; it is made when the first job is noted.

    Raises:
        InvalidFile: If the file is none of this kind.
        OSError: If it cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._lock = threading.Lock()
        content = self._path.read_bytes() if self._path.exists() else b""
        whole, _, _ = content.rpartition(b"\n")  # what follows was being written when the run broke off
        self._jobs = dict(self._noted(line) for line in whole.splitlines())
        self._length = len(whole) + 1 if whole else 0
        if not whole and not content.startswith(_FIRST_BYTES[: len(content)]):
            self._noted(content)

    def job_of(self, key: str) -> str | None:
        """Id of the job that was submitted for a request, if one was."""
        return self._jobs.get(key)

    def note(self, key: str, job_id: str) -> None:
        """Remembers the job of a request.

        Args:
            key: What `key_of` gives for it.
            job_id: Id of the job.
        """
        line = json.dumps({"key": key, "job": job_id}).encode() + b"\n"
        with self._lock, self._path.open("r+b" if self._path.exists() else "w+b") as file:
            self._jobs[key] = job_id
            file.truncate(self._length)
            file.seek(self._length)
            file.write(line)
            self._length += len(line)

    def _noted(self, line: bytes) -> tuple[str, str]:
        try:
            record = json.loads(line)
            return str(record["key"]), str(record["job"])
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidFile(
                f"found the line {line[:80]!r} in {str(self._path)!r}; expected a key and a job in each, as "
                "predict_many writes them; name another file to resume from"
            ) from error


@dataclass(frozen=True)
class Plan:
    """What is asked about each structure, and how.

    Attributes:
        fields: Fields of the request beside the structure.
        timeout: Seconds after which one structure is given up.
        concurrency: Requests under way at once.
        manifest: Which jobs there are from an earlier run.
    """

    fields: dict[str, Any]
    timeout: float
    concurrency: int
    manifest: Manifest | None = None

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise InvalidField(f"found a concurrency of {self.concurrency}; expected at least 1")

    def request(self, structure: object) -> PredictionRequest:
        """The request for one structure."""
        return validated(PredictionRequest, {"structure": structure_input(structure), **self.fields})


def plan_of(
    want: str | Sequence[str],
    choices: Choices,
    timeout: float,
    concurrency: int,
    resume: str | os.PathLike[str] | None,
) -> Plan:
    """What is asked about each structure; what cannot be asked of any is refused here.

    Args:
        want: Properties, or one of them, or several separated by commas.
        choices: What else is chosen.
        timeout: Seconds after which one structure is given up.
        concurrency: Requests under way at once.
        resume: File that remembers which jobs there are.

    Raises:
        InvalidField: If a value cannot be used.
        InvalidGrid: If the grid is chosen twice.
        InvalidFile: If the file to resume from is none of this kind, or a density file cannot be read.
    """
    fields = {**chosen_fields(want, choices), "priority": choices.priority}
    return Plan(fields, timeout, concurrency, Manifest(resume) if resume is not None else None)


def key_of(request: PredictionRequest) -> str:
    """SHA-256 of everything in a request that decides its answer."""
    content = request.model_dump(mode="json", by_alias=True, exclude={"priority"})
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


async def outcome_of(conversation: Conversation, plan: Plan, structure: object) -> Outcome:
    """What comes of one structure.

    Args:
        conversation: Where to ask.
        plan: What to ask.
        structure: The structure, as `Client.predict` takes it.

    Raises:
        RhocastError: An error that every other structure would meet as well.
    """
    try:
        job = await _job_of(conversation, plan, plan.request(structure))
        await job.ended(plan.timeout)
        return job.state, await job.answered()
    except _OF_THE_SERVICE:
        raise
    except RhocastError as error:
        return error


async def _job_of(conversation: Conversation, plan: Plan, request: PredictionRequest) -> JobHandle:
    """The job of an earlier run, unless it ended badly or is no longer kept; else a new one."""
    wait = min(plan.timeout, LONGEST_POLL)
    key = key_of(request)
    known = plan.manifest.job_of(key) if plan.manifest is not None else None
    if known is not None:
        with suppress(JobNotFound):
            state = await conversation.ask(job_look(known, wait), JobState)
            if state.status in _GOES_ON:
                return JobHandle(conversation, state)
    state = await conversation.submitted(request, wait, None)
    if plan.manifest is not None:
        plan.manifest.note(key, state.id)
    return JobHandle(conversation, state)


async def in_order(
    items: Iterable[S], begin: Callable[[S], Callable[[], Awaitable[T]]], n_ahead: int
) -> AsyncGenerator[T]:
    """What comes of some items, in their order.

    Args:
        items: Taken one by one, as the answers are.
        begin: Begins with an item; what it returns waits for the end.
        n_ahead: Most items begun whose answers have not been taken.
    """
    begun: deque[Callable[[], Awaitable[T]]] = deque()
    for item in items:
        begun.append(begin(item))
        if len(begun) >= n_ahead:
            yield await begun.popleft()()
    while begun:
        yield await begun.popleft()()


def outcomes(session: Session, plan: Plan, structures: Iterable[object]) -> Generator[Outcome]:
    """What comes of some structures, in their order, with a thread for each request under way."""
    pool = ThreadPoolExecutor(plan.concurrency, thread_name_prefix="rhocast")

    def begin(structure: object) -> Callable[[], Awaitable[Outcome]]:
        return partial(_ended, pool.submit(lambda: done(outcome_of(session.conversation, plan, structure))))

    try:
        yield from each(in_order(structures, begin, _AHEAD * plan.concurrency))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


async def _ended(future: Future[T]) -> T:
    return future.result()


async def awaited_outcomes(
    conversation: Conversation, plan: Plan, structures: Iterable[object]
) -> AsyncGenerator[Outcome]:
    """What comes of some structures, in their order, with a task for each in the event loop."""
    limit = asyncio.Semaphore(plan.concurrency)
    tasks: set[asyncio.Task[Outcome]] = set()

    async def bounded(structure: object) -> Outcome:
        async with limit:
            return await outcome_of(conversation, plan, structure)

    def begin(structure: object) -> Callable[[], Awaitable[Outcome]]:
        task = asyncio.create_task(bounded(structure))
        tasks.add(task)

        async def taken() -> Outcome:
            outcome = await task
            tasks.discard(task)
            return outcome

        return taken

    try:
        async for outcome in in_order(structures, begin, _AHEAD * plan.concurrency):
            yield outcome
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
