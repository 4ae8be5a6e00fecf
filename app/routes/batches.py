"""Batches: upload, look, cancel, output."""

import asyncio
import secrets
from datetime import UTC, datetime
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from app.access import Caller, CallerDep
from app.batches.items import Limits, headings_name, requests_name
from app.batches.outputs import batch_answer, output_lines, require_headings
from app.batches.unpacking import Contents, unpack
from app.batches.uploads import received
from app.problems import documented
from app.routes.cursors import cursor_of, moment_of
from app.routes.predictions import MULTIPART, IdempotencyKey
from app.services import Services, ServicesDep
from jobs.batches import BatchRecord, BatchView, no_batch
from rhocast.batch_schemas import Batch, BatchPage
from rhocast.errors import (
    ArtifactExpired,
    BatchNotFound,
    Conflict,
    IdempotencyConflict,
    InvalidField,
    InvalidRequest,
    StorageFull,
    TooLarge,
    UnsupportedFormat,
)

router = APIRouter(tags=["batches"])

log = structlog.get_logger()

_FORM: dict[str, Any] = {
    "type": "object",
    "required": ["file"],
    "additionalProperties": False,
    "properties": {
        "file": {
            "type": "array",
            "items": {"type": "string", "format": "binary"},
            "description": "Structure files, zip or tar archives of them, or JSONL files",
        },
        **{name: field for name, field in MULTIPART["properties"].items() if name not in ("file", "priority")},
    },
}

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "JSONL, each line a BatchRequestLine; or a form of files, whose text fields hold for all",
        "content": {
            "application/jsonl": {"schema": {"type": "string"}},
            "multipart/form-data": {"schema": _FORM},
        },
    }
}

_LINES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "JSONL: each line a BatchLine",
        "content": {"application/jsonl": {"schema": {"$ref": "#/components/schemas/BatchLine"}}},
    },
}

Start = Annotated[int, Query(ge=0, le=2**31, description="Place of the first item that is wanted, from 0")]


@router.post(
    "/v1/batches",
    status_code=202,
    response_model=Batch,
    responses=documented(InvalidRequest, TooLarge, UnsupportedFormat, IdempotencyConflict, StorageFull),
    openapi_extra=_BODY,
    summary="Predict for thousands of structures at once",
)
async def create_batch(
    request: Request,
    response: Response,
    services: ServicesDep,
    caller: CallerDep,
    idempotency_key: IdempotencyKey = "",
) -> Batch:
    settings = services.settings
    batch_id = secrets.token_urlsafe(12)
    async with received(request, services.artifacts, batch_id, settings.max_batch_bytes) as upload:
        limits = Limits(settings.max_batch_items, settings.max_body_bytes, settings.max_unpacked_bytes)
        contents = await services.unpacker.run(unpack, upload, services.artifacts, limits)
    view = await asyncio.to_thread(_accepted, services, caller, batch_id, contents, idempotency_key)
    response.headers["Location"] = f"/v1/batches/{view.record.id}"
    response.headers["Retry-After"] = "2"
    return batch_answer(services, view)


def _accepted(services: Services, caller: Caller, batch_id: str, contents: Contents, idempotency_key: str) -> BatchView:
    """The batch that was sent, or the one that the same request gave before."""
    record = BatchRecord(
        id=batch_id,
        created_at=datetime.now(UTC),
        n_items=contents.n_items,
        settings=contents.settings.model_dump(mode="json"),
        warnings=contents.warnings,
        owner=caller.owner,
        key=caller.key.digest if caller.key is not None else "",
        request_id=structlog.contextvars.get_contextvars().get("request_id", ""),
    )
    known_id = ""
    try:
        known_id = services.batches.create(record, idempotency_key, contents.digest)
    finally:
        if known_id != batch_id:
            for name in (requests_name(batch_id), headings_name(batch_id)):
                services.artifacts.remove(name)
    log.info("batch_accepted", batch=known_id, items=contents.n_items, is_new=known_id == batch_id)
    return services.batches.view(known_id)


@router.get("/v1/batches", responses=documented(InvalidField), summary="Batches, newest first")
def list_batches(
    services: ServicesDep,
    caller: CallerDep,
    cursor: Annotated[str, Query(description="From `next` of the page before")] = "",
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> BatchPage:
    views = services.batches.page(
        limit, moment_of(cursor) if cursor else None, None if caller.is_admin else caller.owner
    )
    following: str | None = None
    if len(views) == limit:
        following = f"/v1/batches?limit={limit}&cursor={cursor_of(views[-1].record.created_at)}"
    return BatchPage(batches=[batch_answer(services, view) for view in views], next=following)


@router.get("/v1/batches/{batch_id}", responses=documented(BatchNotFound), summary="A batch and how far it is")
def get_batch(batch_id: str, services: ServicesDep, caller: CallerDep) -> Batch:
    return batch_answer(services, _seen(services, caller, batch_id))


@router.delete(
    "/v1/batches/{batch_id}",
    responses=documented(BatchNotFound, Conflict),
    summary="Cancel what of a batch has not ended",
)
def cancel_batch(batch_id: str, services: ServicesDep, caller: CallerDep) -> Batch:
    _seen(services, caller, batch_id)
    services.batches.cancel(batch_id)
    return batch_answer(services, services.batches.view(batch_id))


@router.get(
    "/v1/batches/{batch_id}/output",
    responses={**_LINES, **documented(BatchNotFound, ArtifactExpired)},
    response_class=StreamingResponse,
    summary="How each item ended, those that have, in the order in which they were sent",
)
async def get_output(batch_id: str, services: ServicesDep, caller: CallerDep, start: Start = 0) -> StreamingResponse:
    return await _streamed(services, caller, batch_id, start, only_errors=False)


@router.get(
    "/v1/batches/{batch_id}/errors",
    responses={**_LINES, **documented(BatchNotFound, ArtifactExpired)},
    response_class=StreamingResponse,
    summary="The lines of the output of items that did not succeed",
)
async def get_errors(batch_id: str, services: ServicesDep, caller: CallerDep, start: Start = 0) -> StreamingResponse:
    return await _streamed(services, caller, batch_id, start, only_errors=True)


async def _streamed(
    services: Services, caller: Caller, batch_id: str, start: int, *, only_errors: bool
) -> StreamingResponse:
    view = await asyncio.to_thread(_seen, services, caller, batch_id)
    require_headings(services, view)
    lines = output_lines(services, view, start, only_errors=only_errors)
    return StreamingResponse(lines, media_type="application/jsonl")


def _seen(services: Services, caller: Caller, batch_id: str) -> BatchView:
    """A batch of the caller; that somebody else's exists is not told."""
    view = services.batches.view(batch_id)
    if not caller.sees(view.record.owner):
        raise no_batch(batch_id)
    return view
