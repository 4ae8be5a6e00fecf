"""`POST /v1/relaxations`, and the relaxed structure as a file."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import PlainTextResponse, Response

from app.access import CallerDep
from app.bodies import read_body, read_relaxation
from app.problems import documented
from app.relaxed import comment_of
from app.routes.predictions import RESPONSES, TermsDep, answer, body_of, form_of
from app.services import ServicesDep
from rhocast.errors import (
    ArtifactExpired,
    ArtifactNotFound,
    InvalidField,
    InvalidStructure,
    JobNotFinished,
    JobNotFound,
    error_from_problem,
)
from rhocast.schemas import Job
from rhocast.structure import Structure
from rhocast.structure_files import STRUCTURE_FILE_NAMES, Facts, StructureFileFormat, structure_text

router = APIRouter(tags=["relaxations"])

MULTIPART = form_of(
    {"model": {"type": "string", "description": "Comma-separated names of potentials"}},
    {
        "fmax": {"type": "number", "description": "Largest force of a relaxed structure, eV/Å", "x-unit": "eV/Å"},
        "steps": {"type": "integer", "description": "Most steps, 1", "x-unit": "1"},
        "relax_cell": {"type": "boolean", "description": "Whether the cell relaxes too"},
    },
)


@router.post(
    "/v1/relaxations",
    response_model=Job,
    responses=RESPONSES,
    openapi_extra=body_of("RelaxationRequest", MULTIPART),
    summary="Relax a structure",
)
async def relax(request: Request, response: Response, services: ServicesDep, caller: CallerDep, terms: TermsDep) -> Job:
    body = await read_body(request, services.settings.max_body_bytes)
    return await answer(services, caller, response, await read_relaxation(request, body), terms)


@router.get(
    "/v1/jobs/{job_id}/structure",
    response_class=PlainTextResponse,
    responses={
        200: {"description": "The file"},
        **documented(JobNotFound, JobNotFinished, ArtifactNotFound, ArtifactExpired, InvalidField, InvalidStructure),
    },
    summary="The relaxed structure as a file",
)
async def get_structure(
    job_id: str,
    services: ServicesDep,
    caller: CallerDep,
    format: Annotated[StructureFileFormat, Query()] = "cif",
) -> Response:
    view = caller.require_seen(await asyncio.to_thread(services.ledger.view, job_id))
    services.ledger.require_finished(view)
    job = await asyncio.to_thread(services.answers.job, view)
    text = await asyncio.to_thread(relaxed_file, job, format)
    name = f"relaxed.{STRUCTURE_FILE_NAMES[format]}"
    return PlainTextResponse(text, headers={"Content-Disposition": f'attachment; filename="{name}"'})


def relaxed_file(job: Job, format: StructureFileFormat) -> str:
    """The relaxed structure of a job that has ended, as a file.

    Args:
        job: The job.
        format: Format of the file.

    Raises:
        ArtifactNotFound: If it was no relaxation.
        InvalidStructure: If a CIF is wanted of a molecule.
        RhocastError: Why it failed.
    """
    if job.error is not None:
        raise error_from_problem(job.error.code, job.error.status, job.error.detail)
    if job.result is None or job.result.relaxation is None or job.result.potential is None:
        raise ArtifactNotFound(
            f"found that job {job.id!r} is no relaxation; expected one; post its structure to /v1/relaxations"
        )
    found, potential = job.result.relaxation.structure, job.result.potential
    structure = Structure.from_symbols(found.symbols, found.positions, found.cell, found.is_periodic)
    facts = Facts(potential.energy, potential.forces or [], potential.stress)
    return structure_text(structure, format, comment_of(job.result.relaxation, potential), facts)
