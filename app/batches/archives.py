"""Archives from untrusted hands: what is a structure file in them, and nothing that costs more than it should.

Nothing is ever written where a member says. Run in a sandboxed process.
"""

import gzip
import io
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO

from app.batches.items import Item, Limits, item_of_file, refused
from rhocast.batch_files import is_structure_file
from rhocast.errors import InvalidFile, InvalidRequest, RhocastError, TooLarge

LARGEST_RATIO = 200
"""How many times its own size an archive may hold; structure files shrink to a tenth, at best."""

_FREE_OF_RATIO = 10_000_000  # bytes that any archive may hold
_PIECE = 1_000_000  # bytes that are read at once
_MEMBERS_PER_ITEM = 4  # folders, notes and other files beside each structure


@dataclass
class Passed:
    """What was passed over because it is no structure file.

    Attributes:
        n_files: How many files.
        example: One of them.
    """

    n_files: int = 0
    example: str = ""

    def note(self, name: str) -> None:
        self.n_files += 1
        self.example = self.example or name


def is_zip(start: bytes) -> bool:
    return start.startswith((b"PK\x03\x04", b"PK\x05\x06"))


def is_tar(start: bytes) -> bool:
    """Whether bytes begin a tar archive, compressed by gzip or not."""
    return start.startswith(b"\x1f\x8b") or start[257:262] == b"ustar"


def members(archive: IO[bytes], limits: Limits, passed: Passed) -> Iterator[Item]:
    """An item for each structure file in a zip or tar archive; one that cannot be taken is a refused item.

    Args:
        archive: The archive, at its beginning.
        limits: How much of it is read.
        passed: Told of files that are no structures.

    Raises:
        InvalidFile: If the archive cannot be read.
        TooLarge: If it holds too much.
    """
    start = archive.read(512)
    size = archive.seek(0, io.SEEK_END)
    archive.seek(0)
    allowed = min(limits.unpacked_bytes, max(LARGEST_RATIO * size, _FREE_OF_RATIO))
    try:
        yield from (_zipped if is_zip(start) else _tarred)(archive, allowed, limits, passed)
    except RhocastError:
        raise
    except Exception as error:
        raise InvalidFile(
            f"found an archive that cannot be read ({error}); expected a whole zip, tar or tar.gz; make it again"
        ) from error


class _Bounded(io.RawIOBase):
    """A stream that refuses to give more than it may.

    Args:
        source: Where the bytes come from.
        allowed: Bytes.

    Attributes:
        last_block: What it gave last, as much as a block of a tar archive.
    """

    def __init__(self, source: IO[bytes], allowed: int) -> None:
        self._source = source
        self._allowed = self._left = allowed
        self.last_block = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        chunk = self._source.read(len(buffer))
        self._left -= len(chunk)
        if self._left < 0:
            raise _too_much(self._allowed)
        self.last_block = (self.last_block + chunk)[-tarfile.BLOCKSIZE :]
        buffer[: len(chunk)] = chunk
        return len(chunk)


def _tarred(archive: IO[bytes], allowed: int, limits: Limits, passed: Passed) -> Iterator[Item]:
    is_compressed = archive.read(2) == b"\x1f\x8b"
    archive.seek(0)
    source = gzip.GzipFile(fileobj=archive, mode="rb") if is_compressed else archive
    bounded = _Bounded(source, allowed)  # type: ignore[arg-type]
    stream = io.BufferedReader(bounded)
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for number, member in enumerate(tar):
            _check_number(number, limits)
            tar.members = []  # type: ignore[attr-defined]  (it would remember every header)
            if member.isdir() or _is_passed_over(member.name, passed):
                continue
            content = tar.extractfile(member) if member.isreg() else None
            if content is None:
                yield _unusual(member.name, "is a link or a device")
            elif reason := _strange_path(member.name):
                yield _unusual(member.name, reason)
            else:
                yield item_of_file(member.name, content.read(limits.item_bytes + 1), limits)
    while stream.read(_PIECE):
        pass
    if bounded.last_block != bytes(tarfile.BLOCKSIZE):  # tarfile takes a cut between two members for the end
        raise tarfile.ReadError("it breaks off")


def _zipped(archive: IO[bytes], allowed: int, limits: Limits, passed: Passed) -> Iterator[Item]:
    left = allowed
    with zipfile.ZipFile(archive) as found:
        for number, member in enumerate(found.infolist()):
            _check_number(number, limits)
            if member.is_dir() or _is_passed_over(member.filename, passed):
                continue
            if member.flag_bits & 0x1:
                yield _unusual(member.filename, "is encrypted")
            elif member.external_attr >> 28 == 0xA:  # the type of file in the Unix mode
                yield _unusual(member.filename, "is a link")
            elif reason := _strange_path(member.filename):
                yield _unusual(member.filename, reason)
            else:
                with found.open(member) as stream:
                    content = stream.read(limits.item_bytes + 1)
                left -= len(content)
                if left < 0:
                    raise _too_much(allowed)
                yield item_of_file(member.filename, content, limits)


def _check_number(number: int, limits: Limits) -> None:
    if number >= _MEMBERS_PER_ITEM * limits.n_items:
        raise TooLarge(
            f"found an archive of more than {_MEMBERS_PER_ITEM * limits.n_items} members; expected at most "
            f"{limits.n_items} structures; send several batches"
        )


def _is_passed_over(name: str, passed: Passed) -> bool:
    if is_structure_file(name):
        return False
    passed.note(name)
    return True


def _strange_path(name: str) -> str:
    """What is wrong with the path of a member; empty if nothing is."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or (path.parts and path.parts[0].endswith(":")):
        return "has an absolute path"
    return "has a path that leaves the archive" if ".." in path.parts else ""


def _unusual(name: str, reason: str) -> Item:
    return refused(name, InvalidRequest(f"found that {name!r} {reason}; expected a regular file inside the archive"))


def _too_much(allowed: int) -> TooLarge:
    return TooLarge(
        f"found an archive that holds more than {allowed / 1e6:.0f} MB; expected structure files alone; "
        "send several batches"
    )
