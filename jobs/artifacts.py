"""Blob store: objects whose name decides their content; here in a folder, in `jobs.bucket` in an S3 bucket."""

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from jobs.settings import Settings
from rhocast.errors import ServiceUnavailable, StorageFull

log = structlog.get_logger()


class ArtifactStore:
    """Files under one folder.

    A name is a hash of what decides the content, with an ending: writing an object twice changes nothing. It appears
    whole or not at all: it is written beside its place and renamed.

    Args:
        folder: Where the objects live; made if missing.
        min_free_bytes: Free space below which writing is refused.
    """

    def __init__(self, folder: Path, min_free_bytes: int) -> None:
        self.folder = folder
        self._min_free_bytes = min_free_bytes
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def local(self) -> "ArtifactStore":
        """A store on this machine, for files that are made of objects and can be made again."""
        return self

    def path(self, name: str) -> Path:
        """Where an object is or would be, once it was fetched."""
        return self.folder / name[:2] / name

    def fetch(self, name: str) -> Path:
        """Where an object can be read.

        Raises:
            FileNotFoundError: If it is not there; or it is raised by who opens it.
        """
        return self.path(name)

    def holds(self, name: str) -> bool:
        """Whether an object is there."""
        return self.path(name).is_file()

    def write(self, name: str, fill: Callable[[Path], object]) -> Path:
        """Makes an object and returns its path.

        Args:
            name: Name of the object.
            fill: Writes the content to the path it is given.

        Raises:
            StorageFull: If the disk is full.
        """
        path = self.path(name)
        partial = self.partial(name)
        try:
            fill(partial)
            os.replace(partial, path)
        except OSError as error:
            raise self.full(error) from error
        finally:
            partial.unlink(missing_ok=True)
        return path

    def partial(self, name: str) -> Path:
        """A place beside that of an object, for what is written before it is whole; `prune` finds what is left there.

        Raises:
            StorageFull: If the disk is full.
        """
        self.require_space()
        path = self.path(name)
        try:
            path.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise self.full(error) from error
        return path.with_name(f".{secrets.token_hex(8)}.{name}")

    def full(self, error: OSError) -> StorageFull:
        """What is said where the folder cannot be written."""
        return StorageFull(
            f"found that {self.folder} cannot be written ({error.strerror}); expected room for the result; "
            "free some space and submit again"
        )

    def remove(self, name: str) -> None:
        """Removes an object that nothing points to; no error if it is not there."""
        self.path(name).unlink(missing_ok=True)

    def require_space(self) -> None:
        """Raises StorageFull where less space is free than the settings ask for."""
        free = self.free_bytes()
        if free < self._min_free_bytes:
            raise StorageFull(
                f"found {free / 1e6:.0f} MB free where results are kept; expected at least "
                f"{self._min_free_bytes / 1e6:.0f} MB; nothing was queued; try again when there is room"
            )

    def require_reachable(self) -> None:
        """Raises ServerError or ServiceUnavailable where objects lie elsewhere, and that does not answer."""

    def free_bytes(self) -> int:
        """Free space of the folder."""
        return shutil.disk_usage(self.folder).free

    def n_bytes(self) -> int:
        """Size of all files in the folder; a walk over every one of them."""
        n_bytes = 0
        for folder in os.scandir(self.folder):
            if folder.is_dir():
                for object in os.scandir(folder):
                    with contextlib.suppress(FileNotFoundError):  # pruned meanwhile
                        n_bytes += object.stat().st_size
        return n_bytes

    def touch(self, name: str) -> None:
        """Makes an object count as new, so that `prune` spares it."""
        os.utime(self.path(name))

    def prune(self, max_age_seconds: float) -> int:
        """Removes objects older than an age, half-written ones too; returns how many."""
        oldest = time.time() - max_age_seconds
        old = [path for path in self.folder.glob("??/*") if path.stat().st_mtime < oldest]
        for path in old:
            path.unlink(missing_ok=True)
        return len(old)


def artifact_store(settings: Settings) -> ArtifactStore:
    """The store that the settings name.

    Args:
        settings: A folder, or the URL of a bucket.

    Raises:
        InvalidField: If the URL is none of a bucket.
    """
    folder, min_free_bytes = settings.artifacts_folder, settings.min_free_bytes
    if not settings.artifacts:
        return ArtifactStore(folder, min_free_bytes)
    from jobs.bucket import BucketStore  # noqa: PLC0415  (it loads a client of S3, which a folder needs not)

    return BucketStore(settings.artifacts, folder, min_free_bytes, settings.artifact_copy_bytes)


def require_artifact_store(settings: Settings) -> None:
    """Refusal to start where results can never be kept; a store that does not answer now is waited for.

    Args:
        settings: A folder, or the URL of a bucket.

    Raises:
        InvalidField: If the URL is none of a bucket.
        ServerError: If the bucket is not there, or refuses.
    """
    try:
        artifact_store(settings).require_reachable()
    except ServiceUnavailable as error:
        log.warning("artifacts_unreachable", error=error.detail)
