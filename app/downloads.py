"""Density files: made from the stored grid when first asked for, then kept."""

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.answers import comment_line, file_key
from app.services import Services
from jobs.canonical import structure_from_record
from jobs.grids import read_grid
from jobs.records import JobView
from rhocast.density import Density
from rhocast.errors import ArtifactExpired, ArtifactNotFound
from rhocast.schemas import DensityAnswer, DensityFormat

FILE_NAMES: dict[DensityFormat, str] = {"chgcar": "CHGCAR", "chg": "CHG", "cube": "density.cube", "npz": "density.npz"}


@dataclass(frozen=True)
class DensityFile:
    """A file that is ready to be sent.

    Attributes:
        path: Where it is.
        etag: Strong entity tag.
        digest: SHA-256 of the bytes, base64 (RFC 9530).
    """

    path: Path
    etag: str
    digest: str


async def density_file(
    services: Services, view: JobView, answer: DensityAnswer | None, density_format: DensityFormat
) -> DensityFile:
    """The density of a finished job in one format.

    Raises:
        ArtifactNotFound: If the job has no density.
        ArtifactExpired: If the grid is no longer kept.
        StorageFull: If there is no room for the file.
    """
    task = view.tasks.get(view.record.models.get("density", ""))
    if answer is None or task is None or task.result is None:
        raise ArtifactNotFound(
            f"found that job {view.record.id!r} has no density (it wanted {', '.join(view.record.want)}); "
            "submit one that wants it"
        )
    grid = services.artifacts.path(task.result["artifact"])
    comment = comment_line(answer)
    key = file_key(view, task, density_format, comment)
    name, digest_name = f"{key}.{density_format}", f"{key}.{density_format}.sha256"
    if not (services.artifacts.holds(name) and services.artifacts.holds(digest_name)):
        if not grid.is_file():
            raise ArtifactExpired(
                f"found that the density of job {view.record.id!r} is no longer kept; submit the structure again"
            )
        await services.converter.run(
            convert, services.artifacts, (grid, name, digest_name), (view.record.structure, comment, density_format)
        )
    return DensityFile(services.artifacts.path(name), key, services.artifacts.path(digest_name).read_text())


def convert(artifacts: Any, names: tuple[Path, str, str], content: tuple[dict[str, Any], str, DensityFormat]) -> None:
    """Writes a stored grid as a density file; runs in a process of its own.

    Args:
        artifacts: Where the file goes.
        names: Path of the stored grid, name of the file, name of its digest.
        content: Structure, comment line and format.
    """
    grid, name, digest_name = names
    record, comment, density_format = content
    density = Density(structure_from_record(record), read_grid(grid), comment=comment)
    path = artifacts.write(name, lambda partial: density.write(partial, format=density_format))
    with path.open("rb") as stream:
        digest = base64.b64encode(hashlib.file_digest(stream, "sha256").digest()).decode()
    artifacts.write(digest_name, lambda partial: partial.write_text(digest))
