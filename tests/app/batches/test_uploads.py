"""Uploads that break off: nothing of them stays."""

import asyncio

import pytest
from fastapi import Request

from app.batches.uploads import received
from jobs.artifacts import ArtifactStore
from rhocast.errors import InvalidRequest, StorageFull

HEADERS = [(b"content-type", b"application/jsonl")]


@pytest.fixture
def artifacts(tmp_path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts", 0)


def receive(artifacts: ArtifactStore, *messages: dict) -> bytes:
    """What arrives of a request whose messages are these."""
    left = list(messages)

    async def next_message() -> dict:
        return left.pop(0)

    async def content() -> bytes:
        request = Request({"type": "http", "method": "POST", "headers": HEADERS}, next_message)
        async with received(request, artifacts, "b1", 10_000_000) as upload:
            return upload.path.read_bytes()

    return asyncio.run(content())


def body(content: bytes, *, more: bool = True) -> dict:
    return {"type": "http.request", "body": content, "more_body": more}


def files_of(artifacts: ArtifactStore) -> list[str]:
    return [path.name for path in artifacts.folder.rglob("*") if path.is_file()]


def test_pieces_arrive_as_one_file_that_is_gone_afterwards(artifacts):
    pieces = [bytes([k]) * 700_000 for k in range(5)]
    assert receive(artifacts, *map(body, pieces), body(b"end", more=False)) == b"".join(pieces) + b"end"
    assert files_of(artifacts) == []


def test_an_upload_that_breaks_off_leaves_nothing(artifacts):
    with pytest.raises(InvalidRequest, match="found an upload that breaks off; expected all of it; nothing was queued"):
        receive(artifacts, body(b"x" * 2_000_000), {"type": "http.disconnect"})
    assert files_of(artifacts) == []


def test_a_disk_that_fills_up_meanwhile_is_said(artifacts, monkeypatch):
    async def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("app.batches.uploads.asyncio.to_thread", full)
    with pytest.raises(StorageFull, match=r"No space left on device.*free some space"):
        receive(artifacts, body(b"x" * 2_000_000, more=False))
    assert files_of(artifacts) == []
