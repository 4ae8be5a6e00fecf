"""Jobs: look, wait, cancel, download."""

import asyncio
import base64
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import FileResponse, Response

from app.downloads import FILE_NAMES, density_file
from app.problems import documented
from app.routes.predictions import finished_view
from app.services import ServicesDep
from rhocast.errors import (
    ArtifactExpired,
    ArtifactNotFound,
    InvalidField,
    JobCancelled,
    JobNotFinished,
    JobNotFound,
    StorageFull,
    error_from_problem,
)
from rhocast.schemas import DownloadFormat, Job, JobPage, JobStatus

router = APIRouter(tags=["jobs"])


@router.get("/v1/jobs", responses=documented(InvalidField), summary="Jobs, newest first")
def list_jobs(
    services: ServicesDep,
    cursor: Annotated[str, Query(description="From `next` of the page before")] = "",
    limit: Annotated[int, Query(ge=1, le=200)] = 20,
) -> JobPage:
    views = services.ledger.page(limit, _moment(cursor) if cursor else None)
    answers = services.answers
    following: str | None = None
    if len(views) == limit:
        moment = str(views[-1].record.created_at.timestamp())
        following = f"/v1/jobs?limit={limit}&cursor={base64.urlsafe_b64encode(moment.encode()).decode()}"
    return JobPage(jobs=[answers.job(view, with_result=False) for view in views], next=following)


def _moment(cursor: str) -> float:
    try:
        moment = float(base64.urlsafe_b64decode(cursor.encode()).decode())
    except (ValueError, UnicodeDecodeError) as error:
        raise InvalidField(
            f"found the cursor {cursor[:40]!r}; expected one from `next` of a page; start without one"
        ) from error
    if not 0 <= moment < 1e12:
        raise InvalidField(f"found the cursor {cursor[:40]!r}; expected one from `next` of a page; start without one")
    return moment


@router.get(
    "/v1/jobs/{job_id}",
    responses=documented(JobNotFound, ArtifactExpired),
    summary="A job, with its result once it has one",
)
async def get_job(
    job_id: str,
    services: ServicesDep,
    wait: Annotated[float, Query(ge=0, description="Seconds to wait for the end of the job")] = 0.0,
) -> Job:
    view = await finished_view(services, job_id, min(wait, services.settings.max_wait_seconds))
    return await asyncio.to_thread(services.answers.job, view)


@router.delete("/v1/jobs/{job_id}", responses=documented(JobNotFound, JobCancelled), summary="Cancel a job")
def cancel_job(job_id: str, services: ServicesDep) -> Job:
    services.ledger.cancel(job_id)
    return services.answers.job(services.ledger.view(job_id))


@router.get(
    "/v1/jobs/{job_id}/density",
    responses={
        200: {"description": "The file", "content": {"application/octet-stream": {}, "text/plain": {}}},
        206: {"description": "A range of the file"},
        304: {"description": "The file that you have is the same"},
        416: documented(InvalidField)[422] | {"description": "No such range"},
        **documented(JobNotFound, JobNotFinished, ArtifactNotFound, ArtifactExpired, StorageFull, InvalidField),
    },
    response_class=FileResponse,
    summary="The density as a file",
)
async def get_density(
    request: Request,
    job_id: str,
    services: ServicesDep,
    format: Annotated[DownloadFormat, Query()] = "chgcar",
    if_none_match: Annotated[str, Header()] = "",
) -> Response:
    view = await asyncio.to_thread(services.ledger.view, job_id)
    services.ledger.require_finished(view)
    job = await asyncio.to_thread(services.answers.job, view)
    if job.status != JobStatus.SUCCEEDED and job.error is not None:
        raise error_from_problem(job.error.code, job.error.status, job.error.detail)
    file = await density_file(services, view, job.result.density if job.result else None, format)
    headers = {
        "ETag": f'"{file.etag}"',
        "Cache-Control": "private, immutable, max-age=604800",
        "Repr-Digest": f"sha-256=:{file.digest}:",
    }
    if f'"{file.etag}"' in if_none_match or if_none_match.strip() == "*":
        return Response(status_code=304, headers=headers)
    media_type = "application/octet-stream" if format in ("npz", "coefficients") else "text/plain; charset=utf-8"
    return FileResponse(file.path, headers=headers, media_type=media_type, filename=FILE_NAMES[format])
