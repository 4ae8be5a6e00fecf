"""Blob store: objects in an S3 bucket, with a folder of this machine in front of it.

An object is made as a file of the folder, then sent; it is fetched into the folder before it is read. So a big grid is
never whole in memory, and what reads files reads files. The folder is bounded: what was used longest ago goes first.
"""

import contextlib
import errno
import functools
import os
import re
import time
from collections.abc import Callable, Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import ObjectStore, from_url

from jobs.artifacts import ArtifactStore
from rhocast.errors import InvalidField, ServerError, ServiceUnavailable

_URL = re.compile(r"s3://[^/]+/.*[^/].*")
_RETRY_SECONDS = 20.0
_PIECE = 16_000_000  # bytes that are asked for at once
_IN_USE_SECONDS = 600.0  # for so long after its last use a file stays, whatever the bound: somebody may be reading it
_LOOK_SECONDS = 60.0
_TOUCHED_SECONDS = 3600.0  # an object younger than this counts as new


class BucketStore(ArtifactStore):
    """Objects in a bucket; access and endpoint come from the environment variables `AWS_…`.

    Args:
        url: `s3://bucket/prefix`. What lies under the prefix belongs to this store, and is pruned.
        folder: Where copies are; made if missing.
        min_free_bytes: Free space of the folder below which writing is refused.
        max_bytes: Size of the folder above which copies are removed.

    Raises:
        InvalidField: If the URL is none of a prefix in a bucket.
    """

    def __init__(self, url: str, folder: Path, min_free_bytes: int, max_bytes: int) -> None:
        super().__init__(folder, min_free_bytes)
        if not _URL.fullmatch(url):
            raise InvalidField(
                f"found RHOCAST_ARTIFACTS={url}; expected s3://bucket/prefix, with a prefix of its own, for what lies "
                "under it is pruned; or nothing, for a folder"
            )
        self.url = url
        self._max_bytes = max_bytes
        self._next_look = 0.0

    @property
    def local(self) -> ArtifactStore:
        return ArtifactStore(self.folder, self._min_free_bytes)

    @property
    def _bucket(self) -> ObjectStore:
        return _opened(self.url, _RETRY_SECONDS)

    def holds(self, name: str) -> bool:
        with self._answering():
            try:
                obstore.head(self._bucket, name)
            except FileNotFoundError:
                return False
        return True

    def write(self, name: str, fill: Callable[[Path], object]) -> Path:
        path = super().write(name, fill)
        try:
            with self._answering():
                obstore.put(self._bucket, name, path)  # a large file in parts
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        self._bound_folder()
        return path

    def fetch(self, name: str) -> Path:
        path = self.path(name)
        with contextlib.suppress(FileNotFoundError):
            os.utime(path)
            return path
        with self._answering():
            try:
                n_bytes = obstore.head(self._bucket, name)["size"]
            except FileNotFoundError as error:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name) from error
        super().write(name, lambda partial: self._download(name, n_bytes, partial))
        self._bound_folder()
        return path

    def _download(self, name: str, n_bytes: int, path: Path) -> None:
        """Fetches piece by piece: each is retried alone, and memory is that of one."""
        with path.open("wb") as file:
            for first in range(0, n_bytes, _PIECE):
                with self._answering():
                    piece = obstore.get_range(self._bucket, name, start=first, end=min(first + _PIECE, n_bytes))
                file.write(piece)

    def remove(self, name: str) -> None:
        with self._answering():
            obstore.delete(self._bucket, [name])
        super().remove(name)

    def touch(self, name: str) -> None:
        with self._answering():
            age = datetime.now(UTC) - obstore.head(self._bucket, name)["last_modified"]
            if age < timedelta(seconds=_TOUCHED_SECONDS):
                return
            # S3 copies nothing onto itself.
            again = f"{name}.again"
            obstore.copy(self._bucket, name, again)
            obstore.copy(self._bucket, again, name)
            obstore.delete(self._bucket, [again])

    def prune(self, max_age_seconds: float) -> int:
        oldest = datetime.now(UTC) - timedelta(seconds=max_age_seconds)
        n_removed = 0
        with self._answering():
            for objects in obstore.list(self._bucket):
                old = [one["path"] for one in objects if one["last_modified"] < oldest]
                if old:
                    obstore.delete(self._bucket, old)
                n_removed += len(old)
        super().prune(max_age_seconds)
        return n_removed

    def require_reachable(self) -> None:
        with self._answering():
            next(iter(obstore.list(_opened(self.url, 0.0), chunk_size=1)), None)

    def _bound_folder(self) -> None:
        """Removes the files that were used longest ago, where they are too many bytes; looks once a minute."""
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + _LOOK_SECONDS
        found: list[tuple[float, int, Path]] = []
        for path in self.folder.glob("??/*"):
            with contextlib.suppress(FileNotFoundError):  # another process bounds it as well
                state = path.stat()
                found.append((state.st_mtime, state.st_size, path))
        n_bytes = sum(size for _, size, _ in found)
        for used, size, path in sorted(found):
            if n_bytes <= self._max_bytes or used > time.time() - _IN_USE_SECONDS:
                return
            path.unlink(missing_ok=True)
            n_bytes -= size

    @contextlib.contextmanager
    def _answering(self) -> Generator[None]:
        """Where errors of the bucket become ours; that an object is not there stays what it is.

        Raises:
            ServerError: If the bucket is not there, or refuses; nothing but a change of its settings helps.
            ServiceUnavailable: If it does not answer, for all that it was asked again and again.
        """
        try:
            yield
        except (BaseError, FileNotFoundError) as error:
            said = str(error)
            reason = re.split(r"\n|<", said)[0].rstrip(": ")
            if "NoSuchBucket" in said:
                raise ServerError(
                    f"found no bucket for {self.url}; expected the one that RHOCAST_ARTIFACTS names; make it, or "
                    "correct the name or AWS_ENDPOINT_URL"
                ) from error
            if isinstance(error, PermissionDeniedError | UnauthenticatedError):
                raise ServerError(
                    f"found that {self.url} refuses ({reason}); expected leave to list, read, write and delete there; "
                    "correct AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY or the policy of the bucket"
                ) from error
            if isinstance(error, FileNotFoundError):
                raise
            raise ServiceUnavailable(
                f"found that {self.url} does not answer ({reason}); expected results to be kept there; try again later"
            ) from error


@functools.lru_cache
def _opened(url: str, retry_seconds: float) -> ObjectStore:
    """A bucket; one for each process, since a network connection belongs to its process."""
    return from_url(
        url,
        client_options={"allow_http": True, "connect_timeout": timedelta(seconds=5), "timeout": timedelta(minutes=2)},
        retry_config={"max_retries": 10 if retry_seconds else 0, "retry_timeout": timedelta(seconds=retry_seconds)},
    )
