"""Blob store: a folder of objects whose name decides their content."""

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from rhocast.errors import StorageFull


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

    def path(self, name: str) -> Path:
        """Where an object is or would be."""
        return self.folder / name[:2] / name

    def holds(self, name: str) -> bool:
        return self.path(name).is_file()

    def write(self, name: str, fill: Callable[[Path], None]) -> Path:
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

    def free_bytes(self) -> int:
        """Free space where the objects are."""
        return shutil.disk_usage(self.folder).free

    def n_bytes(self) -> int:
        """Size of all objects; a walk over every one of them."""
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
