"""Arrays in a zip archive, numpy's npz: written with bytes that do not depend on the clock, read without trust."""

import io
import math
import zipfile
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from rhocast.elements import ATOMIC_NUMBERS
from rhocast.errors import InvalidFile
from rhocast.structure import Structure


def member_of(name: str, compression: int) -> zipfile.ZipInfo:
    """Entry of an array in the archive's directory, dated 1980.

    Args:
        name: Name of the array.
        compression: zipfile's number for the way in which it is compressed.
    """
    entry = zipfile.ZipInfo(f"{name}.npy")
    entry.compress_type = compression
    return entry


def write_array(archive: zipfile.ZipFile, name: str, array: Any, compression: int) -> None:
    """An array in an archive.

    Args:
        archive: Where to.
        name: Name of the array.
        array: Array or numpy scalar.
        compression: zipfile's number for the way in which it is compressed.
    """
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(array), allow_pickle=False)
    archive.writestr(member_of(name, compression), buffer.getvalue())


@contextmanager
def opened_archive(stream: BinaryIO, kind: str = "npz", largest_size: float = math.inf) -> Generator[zipfile.ZipFile]:
    """A zip archive; whatever is wrong inside it leaves as InvalidFile.

    Args:
        stream: Binary file, seekable.
        kind: What it should be, for the error.
        largest_size: Bytes that all arrays may take in memory together.

    Raises:
        InvalidFile: If it is truncated, another kind of file, or expands beyond what is allowed.
    """
    try:
        with zipfile.ZipFile(stream) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
            if size > largest_size:
                raise InvalidFile(f"found arrays of {size} bytes; expected at most {largest_size}: pass a larger limit")
            yield archive
    # RuntimeError is an encrypted member, NotImplementedError an unknown compression.
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, RuntimeError, OSError) as error:
        raise InvalidFile(
            f"found no readable {kind} ({error}); expected one of rhocast: copy it again if it was"
        ) from error


def checked_shape(archive: zipfile.ZipFile, name: str, kind: str, n_axes: int) -> tuple[int, ...]:
    """Shape of an array, whose declared size has been held against the bytes that the directory declares.

    Args:
        archive: An npz.
        name: Name of the array.
        kind: numpy's letter for its kind of numbers.
        n_axes: Its number of axes.

    Raises:
        InvalidFile: If it is missing, damaged or of another kind.
    """
    try:
        entry = archive.getinfo(f"{name}.npy")
    except KeyError as error:
        raise InvalidFile(f"found no array {name!r}; expected an npz of rhocast") from error
    with archive.open(entry) as member:
        version = np.lib.format.read_magic(member)
        if version != (1, 0):
            raise InvalidFile(f"found npy version {version} in {name!r}; expected (1, 0)")
        shape, _, dtype = np.lib.format.read_array_header_1_0(member)
        header_size = member.tell()
    if dtype.kind != kind or len(shape) != n_axes:
        raise InvalidFile(f"found {name!r} of type {dtype} and shape {shape}; expected {n_axes} axes of kind {kind!r}")
    if header_size + math.prod(shape) * dtype.itemsize != entry.file_size or 0 in shape:
        raise InvalidFile(f"found {entry.file_size} bytes for {name!r} of type {dtype} and shape {shape}: damaged")
    return shape


def array_of(archive: zipfile.ZipFile, name: str, kind: str, n_axes: int) -> NDArray[Any]:
    """An array of an npz, after `checked_shape`.

    Args:
        archive: An npz.
        name: Name of the array.
        kind: numpy's letter for its kind of numbers.
        n_axes: Its number of axes.

    Raises:
        InvalidFile: If it is missing, damaged or of another kind.
    """
    checked_shape(archive, name, kind, n_axes)
    with archive.open(f"{name}.npy") as member:
        return np.lib.format.read_array(cast(BinaryIO, member), allow_pickle=False)


def structure_arrays(structure: Structure) -> dict[str, Any]:
    """Arrays that `structure_of` reads.

    Args:
        structure: Any structure.
    """
    return {
        "numbers": structure.numbers,
        "positions": structure.positions,
        "cell": structure.cell,
        "is_periodic": np.bool_(structure.is_periodic),
    }


def structure_of(archive: zipfile.ZipFile) -> Structure:
    """The structure in an npz.

    Args:
        archive: An npz with the arrays of `structure_arrays`.

    Raises:
        InvalidFile: If one is missing or does not fit, a number is no element's, or the cell has no volume.
    """
    numbers = array_of(archive, "numbers", "i", 1)
    positions, cell = array_of(archive, "positions", "f", 2), array_of(archive, "cell", "f", 2)
    return structure_from(numbers, positions, cell, bool(array_of(archive, "is_periodic", "b", 0)))


def structure_from(numbers: NDArray[Any], positions: NDArray[Any], cell: NDArray[Any], is_periodic: bool) -> Structure:
    """The structure that arrays of a file make.

    Args:
        numbers: Atomic numbers, [n_atoms].
        positions: Å, [n_atoms, 3].
        cell: Å, one vector a row, [3, 3].
        is_periodic: Whether the cell repeats.

    Raises:
        InvalidFile: If they do not fit one another, a number is no element's, or the cell has no volume.
    """
    if positions.shape != (len(numbers), 3) or cell.shape != (3, 3):
        raise InvalidFile(f"found {len(numbers)} atoms, positions {positions.shape} and a cell {cell.shape}")
    if not set(numbers.tolist()) <= set(ATOMIC_NUMBERS.values()) or not np.linalg.det(cell):
        raise InvalidFile(
            f"found atomic numbers from {numbers.min()} to {numbers.max()} and a cell of volume "
            f"{abs(np.linalg.det(cell)):g}; expected numbers from 1 to {len(ATOMIC_NUMBERS)} and a cell of some volume"
        )
    return Structure(numbers, positions, cell, is_periodic)
