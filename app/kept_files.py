"""Files that are made in a process of their own when first asked for, then kept, and how they are sent."""

import asyncio
import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, Header, Request
from fastapi.responses import FileResponse, Response

from app.problems import documented
from app.services import Services, ServicesDep
from app.structures.sandbox import Sandbox
from jobs.artifacts import ArtifactStore
from rhocast.errors import (
    ArtifactExpired,
    ArtifactNotFound,
    InvalidField,
    JobNotFinished,
    JobNotFound,
    StorageFull,
)

FILE_RESPONSES: dict[int | str, dict[str, Any]] = {
    206: {"description": "A range of it"},
    304: {"description": "What you have is the same"},
    416: documented(InvalidField)[422] | {"description": "No such range"},
    **documented(JobNotFound, JobNotFinished, ArtifactNotFound, ArtifactExpired, StorageFull, InvalidField),
}
"""`responses=` of a route that sends such a file."""


@dataclass(frozen=True)
class Recipe:
    """How a file is made; it can be sent to another process.

    Attributes:
        job_id: The job for which it is made.
        key: Hash of all that decides the bytes; the entity tag.
        ending: Ending of the file's name in the store.
        sources: What must still be kept for it to be made: where objects are once they were fetched.
        write: Writes it: a function of a module, of a path and the arguments.
        arguments: What else that takes.
    """

    job_id: str
    key: str
    ending: str
    sources: tuple[Path, ...]
    write: Callable[..., None]
    arguments: tuple[Any, ...]

    @property
    def name(self) -> str:
        """Name in the store."""
        return f"{self.key}.{self.ending}"

    @property
    def digest_name(self) -> str:
        """Name of its hash in the store."""
        return f"{self.name}.sha256"


@dataclass(frozen=True)
class KeptFile:
    """A file that is ready to be sent.

    Attributes:
        path: Where it is.
        digest: SHA-256 of the bytes, base64 (RFC 9530).
    """

    path: Path
    digest: str


def kept_file(artifacts: ArtifactStore, recipe: Recipe) -> KeptFile | None:
    """A file that was made before on this machine; None where it was not."""
    local = artifacts.local
    if not (local.holds(recipe.name) and local.holds(recipe.digest_name)):
        return None
    return KeptFile(local.path(recipe.name), local.path(recipe.digest_name).read_text())


def require_sources(artifacts: ArtifactStore, recipe: Recipe) -> None:
    """Refusal of a file that cannot be made any more.

    Args:
        artifacts: Where its sources are.
        recipe: How it would be made.

    Raises:
        ArtifactExpired: If what it is made of is no longer kept.
    """
    if not all(artifacts.holds(source.name) for source in recipe.sources):
        raise ArtifactExpired(
            f"found that the density of job {recipe.job_id!r} is no longer kept; submit the structure again"
        )


def make(artifacts: ArtifactStore, recipe: Recipe) -> KeptFile:
    """Writes a file and its hash; runs in a process of its own.

    Args:
        artifacts: Where what it is made of comes from; the file stays on this machine.
        recipe: How it is made.
    """
    for source in recipe.sources:
        artifacts.fetch(source.name)
    local = artifacts.local
    path = local.write(recipe.name, lambda partial: recipe.write(partial, *recipe.arguments))
    with path.open("rb") as stream:
        digest = base64.b64encode(hashlib.file_digest(stream, "sha256").digest()).decode()
    local.write(recipe.digest_name, lambda partial: write_text(partial, digest))
    return KeptFile(path, digest)


def write_text(path: Path, text: str) -> None:
    """Writes a text.

    Args:
        path: Where to.
        text: What.
    """
    path.write_text(text, encoding="utf-8")


@dataclass(frozen=True)
class Sender:
    """Sends files as somebody asked for them.

    Attributes:
        services: What the application has.
        method: GET; or HEAD, for which nothing is made.
        if_none_match: Entity tags of what the asker has.
    """

    services: Services
    method: str
    if_none_match: str

    async def sent(self, recipe: Recipe, process: Sandbox, media_type: str, file_name: str | None = None) -> Response:
        """The response that sends a file, made if it is not kept.

        Args:
            recipe: How it is made.
            process: Where it is made.
            media_type: Its type.
            file_name: Under which name it is to be saved; None for an answer that is read at once.

        Raises:
            ArtifactExpired: If what it is made of is no longer kept.
            RhocastError: Why it cannot be made.
        """
        artifacts, tag = self.services.artifacts, f'"{recipe.key}"'
        headers = {"ETag": tag, "Cache-Control": "private, immutable, max-age=604800"}
        if tag in self.if_none_match or self.if_none_match.strip() == "*":
            return Response(status_code=304, headers=headers)
        file = kept_file(artifacts, recipe)
        if file is None:
            await asyncio.to_thread(require_sources, artifacts, recipe)
            if self.method == "HEAD":
                response = Response(headers=headers, media_type=media_type)
                del response.headers["content-length"]  # nobody knows it yet
                return response
            file = await process.run(make, artifacts, recipe)
        headers["Repr-Digest"] = f"sha-256=:{file.digest}:"
        return FileResponse(file.path, headers=headers, media_type=media_type, filename=file_name)


def sender(
    request: Request,
    services: ServicesDep,
    if_none_match: Annotated[str, Header(description="Entity tag of what you have: 304 if it is the same")] = "",
) -> Sender:
    return Sender(services, request.method, if_none_match)


SenderDep = Annotated[Sender, Depends(sender)]
