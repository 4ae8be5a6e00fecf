"""Jobs: look, wait, cancel, download."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import FileResponse, Response

from app.access import CallerDep
from app.downloads import MEDIA_TYPES, density_recipe, file_name
from app.kept_files import FILE_RESPONSES, SenderDep
from app.problems import documented
from app.routes.cursors import cursor_of, moment_of
from app.routes.predictions import finished_view
from app.services import ServicesDep
from app.stored_density import StoredDensityDep
from rhocast.analysis_schemas import GridQuantity
from rhocast.errors import (
    ArtifactExpired,
    InvalidField,
    JobCancelled,
    JobNotFound,
)
from rhocast.schemas import DownloadFormat, Job, JobPage

router = APIRouter(tags=["jobs"])


@router.get("/v1/jobs", responses=documented(InvalidField), summary="Jobs, newest first")
def list_jobs(
    services: ServicesDep,
    caller: CallerDep,
    cursor: Annotated[str, Query(description="From `next` of the page before")] = "",
    limit: Annotated[int, Query(ge=1, le=200)] = 20,
) -> JobPage:
    views = services.ledger.page(
        limit, moment_of(cursor) if cursor else None, None if caller.is_admin else caller.owner
    )
    answers = services.answers
    following: str | None = None
    if len(views) == limit:
        following = f"/v1/jobs?limit={limit}&cursor={cursor_of(views[-1].record.created_at)}"
    return JobPage(jobs=[answers.job(view, with_result=False) for view in views], next=following)


@router.get(
    "/v1/jobs/{job_id}",
    responses=documented(JobNotFound, ArtifactExpired),
    summary="A job, with its result once it has one",
)
async def get_job(
    job_id: str,
    services: ServicesDep,
    caller: CallerDep,
    wait: Annotated[float, Query(ge=0, description="Seconds to wait for the end of the job")] = 0.0,
) -> Job:
    view = await finished_view(services, caller, job_id, min(wait, services.settings.max_wait_seconds))
    return await asyncio.to_thread(services.answers.job, view)


@router.delete("/v1/jobs/{job_id}", responses=documented(JobNotFound, JobCancelled), summary="Cancel a job")
def cancel_job(job_id: str, services: ServicesDep, caller: CallerDep) -> Job:
    caller.require_seen(services.ledger.view(job_id))
    services.ledger.cancel(job_id)
    return services.answers.job(services.ledger.view(job_id))


_DENSITY: Any = {
    "path": "/v1/jobs/{job_id}/density",
    "responses": {
        200: {"description": "The file", "content": {"application/octet-stream": {}, "text/plain": {}}},
        **FILE_RESPONSES,
    },
    "response_class": FileResponse,
}


@router.head(**_DENSITY, summary="What is known of the file of the density; nothing is made")
@router.get(**_DENSITY, summary="The density, or what is derived of it, as a file")
async def get_density(
    stored: StoredDensityDep,
    services: ServicesDep,
    sender: SenderDep,
    format: Annotated[DownloadFormat, Query()] = "chgcar",
    quantity: Annotated[
        GridQuantity,
        Query(description="The density; its difference to the free atoms; or σ, the expected magnitude of its error"),
    ] = "density",
) -> Response:
    recipe = density_recipe(stored, format, quantity)
    # What is summed over atoms takes longer, and a plain download shall not wait for it.
    process = services.converter if quantity == "density" else services.analyst
    return await sender.sent(recipe, process, MEDIA_TYPES[format], file_name(format, quantity))
