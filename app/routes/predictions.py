"""`POST /v1/predictions` and its shorthands."""

import asyncio
import hashlib
import re
import time
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request, Response

from app.access import Caller, CallerDep
from app.bodies import read_body, read_prediction
from app.problems import documented
from app.services import Services, ServicesDep
from app.submission import request_hash, submit
from jobs.records import JobView
from rhocast.errors import (
    IdempotencyConflict,
    InvalidField,
    InvalidRequest,
    InvalidStructure,
    StorageFull,
    TooLarge,
    TooManyRequests,
    UnsupportedFormat,
)
from rhocast.model_info import Property
from rhocast.schemas import AnyRequest, Job, PredictionRequest

router = APIRouter(tags=["predictions"])


def form_of(first: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Schema of a form that sends a structure file.

    Args:
        first: Its own fields, such as what is wanted, and of which model.
        more: Further ones of its own.
    """
    return {
        "type": "object",
        "required": ["file"],
        "additionalProperties": False,
        "properties": {
            "file": {"type": "string", "format": "binary", "description": "CIF, POSCAR, extxyz or xyz"},
            **first,
            "format": {
                "type": "string",
                "enum": ["cif", "poscar", "extxyz", "xyz"],
                "description": "Format of the file, if its content does not tell",
            },
            **more,
            "vacuum": {"type": "number", "description": "Empty space on each side of a molecule, Å", "x-unit": "Å"},
            "priority": {"type": "string", "enum": ["interactive", "bulk"]},
        },
    }


MULTIPART = form_of(
    {
        "want": {"type": "string", "description": "Comma-separated: density, energy, forces, stress, magmoms"},
        "model": {"type": "string", "description": "Comma-separated names of models"},
    },
    {
        "shape": {"type": "string", "pattern": r"^\d+,\d+,\d+$", "description": "Grid points along each cell vector"},
        "spacing": {"type": "number", "description": "Grid spacing, Å", "x-unit": "Å"},
        "encut": {
            "type": "number",
            "description": "Plane-wave cut-off whose fine FFT grid is made, eV",
            "x-unit": "eV",
        },
    },
)


def body_of(schema: str, form: dict[str, Any]) -> dict[str, Any]:
    """`openapi_extra=` of a route that reads JSON or a form.

    Args:
        schema: Name of the schema of the JSON.
        form: Schema of the form.
    """
    content = {
        "application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}},
        "multipart/form-data": {"schema": form},
    }
    return {"requestBody": {"required": True, "content": content}}


RESPONSES = {
    202: {"description": "Accepted; the Location header names the job", "model": Job},
    **documented(
        InvalidRequest, InvalidStructure, TooLarge, UnsupportedFormat, IdempotencyConflict, TooManyRequests, StorageFull
    ),
}

Prefer = Annotated[str, Header(description="`wait=n`: answer within n seconds if it can be done, else 202")]
IdempotencyKey = Annotated[str, Header(max_length=255, description="Makes a repeated POST give the first one's job")]


def _route(path: str, summary: str) -> Any:
    body = body_of("PredictionRequest", MULTIPART)
    return router.post(path, response_model=Job, responses=RESPONSES, openapi_extra=body, summary=summary)


@dataclass(frozen=True)
class Terms:
    """How a request wants to be answered: how long it waits, and its idempotency key."""

    wait_seconds: float
    idempotency_key: str


def terms(services: ServicesDep, prefer: Prefer = "", idempotency_key: IdempotencyKey = "") -> Terms:
    return Terms(_wait_seconds(prefer, services.settings.max_wait_seconds), idempotency_key)


TermsDep = Annotated[Terms, Depends(terms)]


@dataclass(frozen=True)
class Asked:
    """A request as it arrived: what it asks, and how it wants to be answered."""

    request: PredictionRequest
    terms: Terms

    def only(self, offered: Collection[Property], default: list[Property]) -> "Asked":
        """The same, at an address that offers certain properties.

        Args:
            offered: Properties that may be wanted there.
            default: What is wanted if nothing is said.

        Raises:
            InvalidField: If something else is wanted.
        """
        if "want" not in self.request.model_fields_set:
            return replace(self, request=self.request.model_copy(update={"want": default}))
        if foreign := [wanted for wanted in self.request.want if wanted not in offered]:
            raise InvalidField(
                f"found that {', '.join(foreign)} is wanted; expected {' or '.join(offered)} at this address; "
                "post to /v1/predictions"
            )
        return self


async def asked(request: Request, services: ServicesDep, terms: TermsDep) -> Asked:
    body = await read_body(request, services.settings.max_body_bytes)
    return Asked(await read_prediction(request, body), terms)


AskedDep = Annotated[Asked, Depends(asked)]


@_route("/v1/predictions", "Predict what is wanted of a structure")
async def predict(asked: AskedDep, response: Response, services: ServicesDep, caller: CallerDep) -> Job:
    return await answer(services, caller, response, asked.request, asked.terms)


@_route("/v1/density", "Predict the density of a structure")
async def predict_density(asked: AskedDep, response: Response, services: ServicesDep, caller: CallerDep) -> Job:
    only = asked.only([Property.DENSITY], [Property.DENSITY])
    return await answer(services, caller, response, only.request, only.terms)


@_route("/v1/energy", "Predict energy and forces of a structure")
async def predict_energy(asked: AskedDep, response: Response, services: ServicesDep, caller: CallerDep) -> Job:
    offered = [one for one in Property if one != Property.DENSITY]
    only = asked.only(offered, [Property.ENERGY, Property.FORCES])
    return await answer(services, caller, response, only.request, only.terms)


async def answer(services: Services, caller: Caller, response: Response, request: AnyRequest, terms: Terms) -> Job:
    """The job of a request, as soon as it has ended or the request waits no longer.

    Args:
        services: What the application has.
        caller: Who asks.
        response: Whose status and headers say how far it is.
        request: What is asked.
        terms: How it wants to be answered.

    Raises:
        RhocastError: What is wrong with the request.
    """
    deadline = time.monotonic() + terms.wait_seconds
    body_hash = hashlib.sha256(request_hash(request).encode()).hexdigest()
    job_id = await submit(services, caller, request, terms.idempotency_key, body_hash)
    view = await finished_view(services, caller, job_id, deadline - time.monotonic())
    job = await asyncio.to_thread(services.answers.job, view)
    response.headers["Location"] = f"/v1/jobs/{job_id}"
    if terms.wait_seconds > 0:
        response.headers["Preference-Applied"] = f"wait={terms.wait_seconds:g}"
    if not job.status.is_final:
        response.status_code = 202
        response.headers["Retry-After"] = "1"
    return job


async def finished_view(services: Services, caller: Caller, job_id: str, seconds: float) -> JobView:
    """A job of the caller as soon as it has ended, or as it is after some seconds."""
    deadline = time.monotonic() + seconds
    view = caller.require_seen(await asyncio.to_thread(services.ledger.view, job_id))
    if view.status.is_final or seconds <= 0:
        return view
    with services.waiter.watch(job_id, view.record.tasks.values()) as watch:
        await watch.end_of_job(deadline - time.monotonic())
    return await asyncio.to_thread(services.ledger.view, job_id)


def _wait_seconds(prefer: str, longest: float) -> float:
    found = re.search(r"\bwait\s*=\s*\"?(\d+(?:\.\d+)?)", prefer)
    return min(float(found.group(1)), longest) if found else 0.0
