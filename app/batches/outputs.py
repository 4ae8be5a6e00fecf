"""The output of a batch: a line for each item that has ended, in the order in which they were sent."""

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any

from app.batches.items import headings_name
from app.problems import problem
from app.services import Services
from jobs.batches import BatchView
from jobs.records import BatchItem, JobView
from rhocast.batch_schemas import Batch, BatchLine, BatchSettings, BatchStatus, ItemStatus
from rhocast.errors import ArtifactExpired, JobCancelled, RhocastError, error_from_problem
from rhocast.schemas import Job

_PAGE = 50  # items that are answered for at once

_WAITS_FOR_AN_EXPANDER = (
    "found no live process that makes jobs of batches; the batch is kept and waits for one: the operator starts it by "
    "`python -m app.batches` (`rhocast serve` does)"
)


def batch_answer(services: Services, view: BatchView) -> Batch:
    """A batch as the wire shows it."""
    record, failure = view.record, view.failure
    link = f"/v1/batches/{record.id}"
    return Batch(
        id=record.id,
        status=view.status,
        counts=view.counts,
        created_at=record.created_at,
        finished_at=view.finished_at,
        expires_at=record.created_at + timedelta(days=services.settings.job_days),
        settings=BatchSettings.model_validate(record.settings),
        warnings=[*record.warnings, *_waiting_warnings(services, view)],
        error=problem(error_from_problem(failure.code, 500, failure.detail)) if failure is not None else None,
        links={"self": link, "output": f"{link}/output", "errors": f"{link}/errors"},
    )


def _waiting_warnings(services: Services, view: BatchView) -> list[str]:
    is_open = view.status == BatchStatus.VALIDATING
    return [_WAITS_FOR_AN_EXPANDER] if is_open and not services.directory.n_expanders() else []


async def output_lines(
    services: Services, view: BatchView, start: int, *, only_errors: bool
) -> AsyncGenerator[bytes, None]:
    """Lines of the output, in pieces.

    Args:
        services: What the application has.
        view: The batch; items that end after it was looked at are left out.
        start: Place of the first item that is wanted.
        only_errors: Whether those that succeeded are left out.

    Raises:
        ArtifactExpired: If the names of its items are no longer kept.
    """
    path = await asyncio.to_thread(services.artifacts.fetch, headings_name(view.record.id))
    with path.open("rb") as headings:
        numbered = itertools.islice(enumerate(headings), start, None)
        while True:
            page = await asyncio.to_thread(lambda: list(itertools.islice(numbered, _PAGE)))
            if not page:
                return
            if piece := await asyncio.to_thread(_lines, services, view, page, only_errors):
                yield piece


def require_headings(services: Services, view: BatchView) -> None:
    """Raises ArtifactExpired where the names of a batch's items are gone."""
    if not services.artifacts.holds(headings_name(view.record.id)):
        raise ArtifactExpired(f"found that what was sent as batch {view.record.id!r} is no longer kept; send it again")


def _lines(services: Services, view: BatchView, page: list[tuple[int, bytes]], only_errors: bool) -> bytes:
    states = {index: view.states[index] for index, _ in page}
    wanted = {index for index, state in states.items() if state in ("cif" if only_errors else "scif")}
    batch = view.record.id
    ids = {index: BatchItem(batch=batch, index=index).job_id for index in wanted if states[index] != "i"}
    jobs = {found.record.id: found for found in services.ledger.views(list(ids.values()))}
    problems = services.batches.refusals(batch, [index for index in sorted(wanted) if states[index] == "i"])
    lines: list[bytes] = []
    for index, heading in page:
        if index not in wanted:
            continue
        named: dict[str, Any] = {"index": index, "custom_id": json.loads(heading)["custom_id"]}
        if states[index] == "i":
            line = BatchLine(**named, status=ItemStatus.INVALID, error=problems.get(index))
        else:
            line = _line_of_job(services, named, jobs.get(ids[index]), states[index])
        if line is not None:
            lines.append(line.model_dump_json().encode() + b"\n")
    return b"".join(lines)


def _line_of_job(services: Services, named: dict[str, Any], view: JobView | None, state: str) -> BatchLine | None:
    """The line of an item that has, or had, a job; None if somebody has just asked for it again."""
    if view is None and state == "c":
        error = JobCancelled("found the batch cancelled before this item had a job; send it again if you want it")
        return BatchLine(**named, status=ItemStatus.CANCELLED, error=problem(error))
    if view is None:
        return BatchLine(**named, status=ItemStatus.EXPIRED, error=problem(_expired()))
    if not view.status.is_final:
        return None
    try:
        job: Job = services.answers.job(view)
    except RhocastError as error:
        return BatchLine(**named, status=ItemStatus.EXPIRED, error=problem(error))
    return BatchLine(**named, status=ItemStatus(job.status), job=job, error=job.error)


def _expired() -> ArtifactExpired:
    return ArtifactExpired("found that the job of this item is no longer kept; send it again")
