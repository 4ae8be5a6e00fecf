"""Uploads of batches: written to the disk as they come, never held in memory."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import Request
from starlette.requests import ClientDisconnect

from app.batches.items import requests_name
from app.batches.unpacking import FORM_FIELDS, JSONL_TYPES, Upload, media_type
from jobs.artifacts import ArtifactStore
from rhocast.errors import InvalidRequest, TooLarge, UnsupportedFormat

_PIECE = 1_000_000  # bytes that are gathered before a thread writes them


@asynccontextmanager
async def received(
    request: Request, artifacts: ArtifactStore, batch_id: str, max_bytes: int
) -> AsyncGenerator[Upload, None]:
    """An upload as a file, which is gone after the block.

    Args:
        request: The request that carries it.
        artifacts: Beside whose objects it is written.
        batch_id: Id of the batch that it is to be.
        max_bytes: How long it may be.

    Raises:
        UnsupportedFormat: If it is compressed, or neither JSONL nor a form.
        TooLarge: If it is too long, as soon as that is known.
        InvalidRequest: If it breaks off.
        StorageFull: If the disk is full.
    """
    content_type = request.headers.get("content-type", "")
    _check_headers(request, content_type, max_bytes)
    path = artifacts.partial(requests_name(batch_id))
    try:
        await _write(request, path, artifacts, max_bytes)
        yield Upload(batch_id, path, content_type)
    except ClientDisconnect as error:
        raise InvalidRequest(
            "found an upload that breaks off; expected all of it; nothing was queued: send it again"
        ) from error
    finally:
        path.unlink(missing_ok=True)


def _check_headers(request: Request, content_type: str, max_bytes: int) -> None:
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        raise UnsupportedFormat(
            f"found a body in content encoding {encoding!r}; expected none; send it uncompressed, or an archive"
        )
    kind = media_type(content_type)
    if kind not in (*JSONL_TYPES, "multipart/form-data"):
        raise UnsupportedFormat(
            f"found content type {kind or 'none'!r}; expected {JSONL_TYPES[0]}, or multipart/form-data with files, "
            f"archives or JSONL in parts named 'file' and text in {', '.join(FORM_FIELDS)}"
        )
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and float(declared) > max_bytes:
        raise _too_large(max_bytes)


async def _write(request: Request, path: Path, artifacts: ArtifactStore, max_bytes: int) -> None:
    size, piece = 0, bytearray()
    with path.open("wb") as file:
        async for chunk in request.stream():
            size += len(chunk)
            if size > max_bytes:
                raise _too_large(max_bytes)
            piece += chunk
            if len(piece) >= _PIECE or not chunk:
                try:
                    await asyncio.to_thread(file.write, bytes(piece))
                except OSError as error:
                    raise artifacts.full(error) from error
                piece.clear()


def _too_large(max_bytes: int) -> TooLarge:
    return TooLarge(
        f"found a batch of more than {max_bytes / 1e6:g} MB; expected at most so much; send several batches"
    )
