"""Density files: made from what a worker stored when first asked for, then kept."""

import base64
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from app.answers import comment_line, file_key
from app.services import Services
from jobs.canonical import structure_from_record
from jobs.grids import grid_on_disk
from jobs.records import JobView
from rhocast.density import Density, DensityExpansion
from rhocast.errors import ArtifactExpired, ArtifactNotFound
from rhocast.schemas import DensityAnswer, DownloadFormat

FILE_NAMES: dict[DownloadFormat, str] = {
    "chgcar": "CHGCAR",
    "chg": "CHG",
    "cube": "density.cube",
    "npz": "density.npz",
    "coefficients": "density.coefficients.npz",
}


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


@dataclass(frozen=True)
class Content:
    """What a file says beside the density.

    Attributes:
        structure: Record of the user's structure.
        order: Canonical atom k is the user's atom `order[k]`.
        comment: Comment line.
        format: Format of the file.
    """

    structure: dict[str, Any]
    order: list[int]
    comment: str
    format: DownloadFormat


async def density_file(
    services: Services, view: JobView, answer: DensityAnswer | None, density_format: DownloadFormat
) -> DensityFile:
    """The density of a finished job in one format.

    Raises:
        ArtifactNotFound: If the job has no density, or its density no coefficients.
        ArtifactExpired: If what the file is made of is no longer kept.
        StorageFull: If there is no room for the file.
    """
    task = view.tasks.get(view.record.models.get("density", ""))
    if answer is None or task is None or task.result is None:
        raise ArtifactNotFound(
            f"found that job {view.record.id!r} has no density (it wanted {', '.join(view.record.want)}); "
            "submit one that wants it"
        )
    source = services.artifacts.path(_stored_name(view, task.result, density_format))
    comment = comment_line(answer, density_format)
    key = file_key(view, task, density_format, comment)
    name, digest_name = f"{key}.{density_format}", f"{key}.{density_format}.sha256"
    if not (services.artifacts.holds(name) and services.artifacts.holds(digest_name)):
        if not source.is_file():
            raise ArtifactExpired(
                f"found that the density of job {view.record.id!r} is no longer kept; submit the structure again"
            )
        content = Content(view.record.structure, view.record.order, comment, density_format)
        await services.converter.run(convert, services.artifacts, (source, name, digest_name), content)
    return DensityFile(services.artifacts.path(name), key, services.artifacts.path(digest_name).read_text())


def _stored_name(view: JobView, result: dict[str, Any], density_format: DownloadFormat) -> str:
    """Name of the stored object that a file is made of."""
    if density_format != "coefficients":
        return result["artifact"]
    if "coefficients" not in result:
        raise ArtifactNotFound(
            f"found that the density of job {view.record.id!r} has no coefficients, for its model has none or it was "
            "made before they were kept; expected a newer result; submit the structure again, or take a grid "
            "(chgcar, chg, cube, npz)"
        )
    return result["coefficients"]


def convert(artifacts: Any, names: tuple[Path, str, str], content: Content) -> None:
    """Writes what a worker stored as a density file; runs in a process of its own.

    Args:
        artifacts: Where the file goes.
        names: Path of the stored object, name of the file, name of its digest.
        content: What the file says beside the density.
    """
    source, name, digest_name = names
    structure = structure_from_record(content.structure)
    if content.format == "coefficients":
        stored = DensityExpansion.read(source).reordered(np.argsort(content.order))
        # The user's positions may lie in other cells than the canonical ones: functions go with their atoms.
        path = artifacts.write(name, replace(stored, structure=structure, comment=content.comment).write)
    else:
        with grid_on_disk(source, artifacts.folder) as values:
            density = Density(structure, values, comment=content.comment)
            path = artifacts.write(name, lambda partial: density.write(partial, format=content.format))
    with path.open("rb") as stream:
        digest = base64.b64encode(hashlib.file_digest(stream, "sha256").digest()).decode()
    artifacts.write(digest_name, lambda partial: partial.write_text(digest))
