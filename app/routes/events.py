"""`GET /v1/jobs/{id}/events`: how far a job is, told as it happens."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
from typing import Annotated, Any, cast

import redis
import structlog
from fastapi import APIRouter, Header, Query
from fastapi.responses import Response, StreamingResponse
from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event
from starlette.types import Send

from app.access import CallerDep
from app.problems import documented
from app.services import Services, ServicesDep
from jobs.records import Standing
from rhocast.errors import JobNotFound
from rhocast.schemas import Job, JobStatus

router = APIRouter(tags=["jobs"])

HEARTBEAT_SECONDS = 15.0
_LONGEST_SECONDS = 600.0

_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}  # neither caches nor nginx hold events back
_DESCRIPTION = (
    "One event for each state of the job: `queued` (again when its place changes), `running`, `progress` (where it "
    "takes a moment, about twice a second), then the last one, `succeeded`, `failed`, `cancelled` or `expired`. The "
    "data of each is the job without its result. Events are states, not a history: what passed while nobody read is "
    "left out. A comment comes every 15 s."
)
_EVENT: dict[str, Any] = {
    "type": "object",
    "description": "One event",
    "required": ["event", "id", "data"],
    "properties": {
        "event": {"type": "string", "enum": [*JobStatus, "progress"]},
        "id": {"type": "string", "description": "What Last-Event-ID names"},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"$ref": "#/components/schemas/Job"},
        },
    },
}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": _DESCRIPTION, "content": {"text/event-stream": {"schema": _EVENT}}},
    204: {"description": "The job has ended, and the last event is known to whoever asks"},
    **documented(JobNotFound),
}

log = structlog.get_logger()


@router.get(
    "/v1/jobs/{job_id}/events",
    responses=_RESPONSES,
    response_class=StreamingResponse,
    summary="How far a job is, as server-sent events",
)
async def get_events(
    job_id: str,
    services: ServicesDep,
    caller: CallerDep,
    wait: Annotated[
        float, Query(ge=0, description="Seconds after which the stream ends if the job does not; at most 600")
    ] = _LONGEST_SECONDS,
    last_event_id: Annotated[
        str, Header(description="Id of the last event that was read; it does not come again")
    ] = "",
) -> Response:
    view = caller.require_seen(await asyncio.to_thread(services.ledger.view, job_id))
    if view.status.is_final and last_event_id == _event_id(Standing(status=view.status)):
        return Response(status_code=204)  # an EventSource of a browser then asks no more
    job = await asyncio.to_thread(services.answers.job, view, with_result=False)
    events = _events(services, job, list(view.record.tasks.values()), last_event_id, min(wait, _LONGEST_SECONDS))
    return _EventStream(events, headers=_HEADERS)


class _EventStream(EventSourceResponse):
    """A stream that is closed, and its watch forgotten, as soon as its listener leaves."""

    async def stream_response(self, send: Send) -> None:
        async with contextlib.aclosing(cast(AsyncGenerator[bytes], self.body_iterator)):
            await super().stream_response(send)


async def _events(
    services: Services, job: Job, tasks: list[str], last_event_id: str, seconds: float
) -> AsyncGenerator[bytes]:
    """Events of a job until it ends, or some seconds are over.

    Whoever reads slowly holds one event back and no more: the next one tells what is then.
    """
    deadline = time.monotonic() + seconds
    if job.status.is_final:
        yield _event(job)
        return
    with services.waiter.watch(job.id, tasks) as watch:
        while not watch.is_over and (left := deadline - time.monotonic()) > 0:
            if not await watch.news(min(left, HEARTBEAT_SECONDS)):
                yield KEEPALIVE_COMMENT
                continue
            standing = watch.standing
            if standing is None or _event_id(standing) == last_event_id:
                continue
            if standing.status.is_final:
                last = await asyncio.to_thread(_last, services, job.id)
                if last is not None:
                    yield _event(last)
                return
            last_event_id = _event_id(standing)
            yield _event(job.model_copy(update=dict(standing)))


def _last(services: Services, job_id: str) -> Job | None:
    """A job that has ended; None if it cannot be seen now: who asks again will be told why."""
    try:
        view = services.ledger.view(job_id)
    except (redis.RedisError, JobNotFound) as error:
        log.warning("stream_broken_off", job=job_id, error=str(error))
        return None
    return services.answers.job(view, with_result=False)


def _event(job: Job) -> bytes:
    name = str(job.status) if job.progress is None else "progress"
    event_id = _event_id(Standing(status=job.status, position=job.position, progress=job.progress))
    return format_sse_event(event=name, id=event_id, data_str=job.model_dump_json())


def _event_id(standing: Standing) -> str:
    """Name of a state; whoever knows it needs no event to tell it."""
    if standing.progress is not None:
        return f"progress-{standing.progress.done}"
    return f"{standing.status}-{standing.position}" if standing.position is not None else str(standing.status)
