"""`POST /v1/predictions` and its shorthands."""

import asyncio
import hashlib
import re
import time
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response

from app.answers import Answers
from app.bodies import read_body, read_prediction
from app.problems import documented
from app.services import Services, ServicesDep
from app.submission import request_hash, submit
from jobs.records import JobView
from rhocast.errors import (
    IdempotencyConflict,
    InvalidRequest,
    InvalidStructure,
    StorageFull,
    TooLarge,
    TooManyRequests,
    UnsupportedFormat,
)
from rhocast.model_info import Property
from rhocast.schemas import Job, PredictionRequest

router = APIRouter(tags=["predictions"])

_MULTIPART: dict[str, Any] = {
    "type": "object",
    "required": ["file"],
    "additionalProperties": False,
    "properties": {
        "file": {"type": "string", "format": "binary", "description": "CIF, POSCAR, extxyz or xyz"},
        "want": {"type": "string", "description": "Comma-separated: density, energy, forces, stress, magmoms"},
        "model": {"type": "string", "description": "Comma-separated names of models"},
        "format": {
            "type": "string",
            "enum": ["cif", "poscar", "extxyz", "xyz"],
            "description": "Format of the file, if its content does not tell",
        },
        "shape": {"type": "string", "pattern": r"^\d+,\d+,\d+$", "description": "Grid points along each cell vector"},
        "spacing": {"type": "number", "description": "Grid spacing, Å", "x-unit": "Å"},
        "encut": {
            "type": "number",
            "description": "Plane-wave cut-off whose fine FFT grid is made, eV",
            "x-unit": "eV",
        },
        "vacuum": {"type": "number", "description": "Empty space on each side of a molecule, Å", "x-unit": "Å"},
        "priority": {"type": "string", "enum": ["interactive", "bulk"]},
    },
}

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/PredictionRequest"}},
            "multipart/form-data": {"schema": _MULTIPART},
        },
    }
}

_RESPONSES = {
    202: {"description": "Accepted; the Location header names the job", "model": Job},
    **documented(
        InvalidRequest, InvalidStructure, TooLarge, UnsupportedFormat, IdempotencyConflict, TooManyRequests, StorageFull
    ),
}

Prefer = Annotated[str, Header(description="`wait=n`: answer within n seconds if it can be done, else 202")]
IdempotencyKey = Annotated[str, Header(max_length=255, description="Makes a repeated POST give the first one's job")]


def _route(path: str, summary: str) -> Any:
    return router.post(path, response_model=Job, responses=_RESPONSES, openapi_extra=_BODY, summary=summary)


@_route("/v1/predictions", "Predict what is wanted of a structure")
async def predict(
    request: Request,
    response: Response,
    services: ServicesDep,
    prefer: Prefer = "",
    idempotency_key: IdempotencyKey = "",
) -> Job:
    body = await read_body(request, services.settings.max_body_bytes)
    asked = await read_prediction(request, body)
    return await _answer(services, response, asked, (prefer, idempotency_key))


@_route("/v1/density", "Predict the density of a structure")
async def predict_density(
    request: Request,
    response: Response,
    services: ServicesDep,
    prefer: Prefer = "",
    idempotency_key: IdempotencyKey = "",
) -> Job:
    body = await read_body(request, services.settings.max_body_bytes)
    asked = await read_prediction(request, body)
    return await _answer(
        services, response, asked.model_copy(update={"want": [Property.DENSITY]}), (prefer, idempotency_key)
    )


@_route("/v1/energy", "Predict energy and forces of a structure")
async def predict_energy(
    request: Request,
    response: Response,
    services: ServicesDep,
    prefer: Prefer = "",
    idempotency_key: IdempotencyKey = "",
) -> Job:
    body = await read_body(request, services.settings.max_body_bytes)
    asked = await read_prediction(request, body)
    want = [Property.ENERGY, Property.FORCES]
    return await _answer(services, response, asked.model_copy(update={"want": want}), (prefer, idempotency_key))


async def _answer(services: Services, response: Response, asked: PredictionRequest, headers: tuple[str, str]) -> Job:
    prefer, idempotency_key = headers
    started = time.monotonic()
    body_hash = hashlib.sha256(request_hash(asked).encode()).hexdigest()
    job_id = await submit(services, asked, idempotency_key, body_hash)
    seconds = _wait_seconds(prefer, services.settings.max_wait_seconds)
    view = await finished_view(services, job_id, seconds - (time.monotonic() - started))
    job = await asyncio.to_thread(Answers(services.artifacts, services.settings.job_days).job, view)
    response.headers["Location"] = f"/v1/jobs/{job_id}"
    if seconds > 0:
        response.headers["Preference-Applied"] = f"wait={seconds:g}"
    if not job.status.is_final:
        response.status_code = 202
        response.headers["Retry-After"] = "1"
    return job


async def finished_view(services: Services, job_id: str, seconds: float) -> JobView:
    """A job as soon as it has ended, or as it is after some seconds."""
    deadline = time.monotonic() + seconds
    view = await asyncio.to_thread(services.ledger.view, job_id)
    if view.status.is_final or seconds <= 0:
        return view
    with services.waiter.notices([job_id, *view.record.tasks.values()]) as event:
        while True:
            view = await asyncio.to_thread(services.ledger.view, job_id)
            left = deadline - time.monotonic()
            if view.status.is_final or left <= 0:
                return view
            await services.waiter.pause(event, left)


def _wait_seconds(prefer: str, longest: float) -> float:
    found = re.search(r"\bwait\s*=\s*\"?(\d+(?:\.\d+)?)", prefer)
    return min(float(found.group(1)), longest) if found else 0.0
