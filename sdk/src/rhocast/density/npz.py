"""numpy's npz: binary values in e/Å³ and everything else that a density has but augmentation occupancies.

Arrays: `values` and perhaps `magnetization` [n0, n1, n2], `scale`, `numbers`, `positions`, `cell`, `is_periodic`,
`comment`, `units`. The exact values are `values` × `scale`; a user without rhocast needs `numpy.load` alone.
"""

import io
import math
import zipfile
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, BinaryIO, Literal, cast

import numpy as np
from numpy.typing import NDArray

from rhocast.density.decimals import refuse_unwritable
from rhocast.density.provenance import sums_of
from rhocast.density.volumetric import Density
from rhocast.elements import ATOMIC_NUMBERS
from rhocast.errors import InvalidFile
from rhocast.structure import Structure

FloatArray = NDArray[np.float64]
Shape = tuple[int, int, int]

UNITS = ("values: e/Å^3", "magnetization: e/Å^3, up minus down", "positions: Å, Cartesian", "cell: Å, one vector a row")
LARGEST_SIZE = 32 * 2**30
"""Bytes of all arrays together that are read unless the caller allows more."""
_LARGEST_FLOAT32 = 3e38


def write_npz(
    density: Density, stream: BinaryIO, dtype: Literal["float32", "float64"] = "float64", is_compressed: bool = False
) -> None:
    """A density as npz. Equal densities give equal bytes.

    Args:
        density: Any density.
        stream: Binary file.
        dtype: Type of the stored values; `scale` undoes what float32 does to their sum.
        is_compressed: Whether to deflate, which pays for values with few mantissa bits.

    Raises:
        InvalidFile: If a value is NaN, infinite or too large for the type.
    """
    grids = {"values": density.values}
    if density.magnetization is not None:
        grids["magnetization"] = density.magnetization
    for grid in grids.values():
        refuse_unwritable(grid, 1.0, _LARGEST_FLOAT32 if dtype == "float32" else 1e98)
    structure = density.structure
    small = {
        "scale": np.float64(_scale_of(density.values, dtype)),
        "numbers": structure.numbers,
        "positions": structure.positions,
        "cell": structure.cell,
        "is_periodic": np.bool_(structure.is_periodic),
        "comment": np.str_(density.comment),
        "units": np.array(UNITS),
    }
    compression = zipfile.ZIP_DEFLATED if is_compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, array in small.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.asarray(array), allow_pickle=False)
            archive.writestr(_entry(name, compression), buffer.getvalue())
        for name, grid in grids.items():
            with archive.open(_entry(name, compression), "w", force_zip64=True) as member:
                _write_planes(grid, cast(BinaryIO, member), dtype)


def _entry(name: str, compression: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(f"{name}.npy")  # dated 1980, so that bytes do not depend on the clock
    entry.compress_type = compression
    return entry


def _write_planes(grid: FloatArray, stream: BinaryIO, dtype: str) -> None:
    # Plane by plane, so that the memory of a converted grid is never needed.
    little_endian = np.dtype(dtype).newbyteorder("<")
    header = {"descr": little_endian.str, "fortran_order": False, "shape": grid.shape}
    np.lib.format.write_array_header_1_0(stream, header)
    for plane in grid:
        stream.write(plane.astype(little_endian).tobytes())


def _scale_of(values: FloatArray, dtype: str) -> float:
    """Sum of the values over the sum of the stored ones; 1 where it would not be the rounding that it undoes."""
    stored = math.fsum(float(plane.astype(dtype).sum(dtype=np.float64)) for plane in values)
    scale = sums_of(values).total / stored if stored else 1.0
    return scale if abs(scale - 1) < np.finfo(dtype).eps else 1.0


def read_npz(stream: BinaryIO, largest_size: int = LARGEST_SIZE) -> Density:
    """The density of an npz that `write_npz` wrote. Nothing in the file is executed.

    Args:
        stream: Binary file, seekable.
        largest_size: Bytes that all arrays may take in memory together.

    Raises:
        InvalidFile: If it is truncated, another kind of file, lacks an array, or expands beyond what it declares or
            what is allowed.
    """
    with _archive(stream) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
        if size > largest_size:
            raise InvalidFile(f"found arrays of {size} bytes; expected at most {largest_size}: pass a larger limit")
        values = _array(archive, "values", "f", 3)
        magnetization = _array(archive, "magnetization", "f", 3) if "magnetization.npy" in archive.namelist() else None
        scale = float(_array(archive, "scale", "f", 0))
        structure = _structure(archive)
        comment = str(_array(archive, "comment", "U", 0))
    sums = [float(grid.sum(dtype=np.float64)) for grid in (values, magnetization) if grid is not None]
    if not 0.5 < scale < 2 or not all(map(math.isfinite, sums)):
        raise InvalidFile(f"found scale {scale} and sums {sums}; expected a scale near 1 and finite values")
    if magnetization is not None and magnetization.shape != values.shape:
        raise InvalidFile(f"found grids of shapes {values.shape} and {magnetization.shape}; expected the same twice")
    values = values.astype(np.float64, copy=False)
    values *= scale
    return Density(structure, values, magnetization, comment=comment)


def read_npz_shape(stream: BinaryIO) -> Shape:
    """Shape of the grid of an npz, of which only a header is read.

    Args:
        stream: Binary file, seekable.

    Raises:
        InvalidFile: If it is no npz with a grid in it.
    """
    with _archive(stream) as archive:
        n0, n1, n2 = _checked_header(archive, "values", "f", 3)
    return n0, n1, n2


@contextmanager
def _archive(stream: BinaryIO) -> Generator[zipfile.ZipFile]:
    """A zip archive; whatever is wrong inside it leaves as InvalidFile."""
    try:
        with zipfile.ZipFile(stream) as archive:
            yield archive
    # RuntimeError is an encrypted member, NotImplementedError an unknown compression.
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, RuntimeError, OSError) as error:
        raise InvalidFile(
            f"found no readable npz ({error}); expected one of rhocast: copy it again if it was"
        ) from error


def _checked_header(archive: zipfile.ZipFile, name: str, kind: str, n_axes: int) -> tuple[int, ...]:
    """Shape of an array, whose declared size has been held against the bytes that the directory declares."""
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


def _array(archive: zipfile.ZipFile, name: str, kind: str, n_axes: int) -> NDArray[Any]:
    _checked_header(archive, name, kind, n_axes)
    with archive.open(f"{name}.npy") as member:
        return np.lib.format.read_array(cast(BinaryIO, member), allow_pickle=False)


def _structure(archive: zipfile.ZipFile) -> Structure:
    numbers = _array(archive, "numbers", "i", 1)
    positions, cell = _array(archive, "positions", "f", 2), _array(archive, "cell", "f", 2)
    if positions.shape != (len(numbers), 3) or cell.shape != (3, 3):
        raise InvalidFile(f"found {len(numbers)} atoms, positions {positions.shape} and a cell {cell.shape}")
    if not set(numbers.tolist()) <= set(ATOMIC_NUMBERS.values()) or not np.linalg.det(cell):
        raise InvalidFile(
            f"found atomic numbers from {numbers.min()} to {numbers.max()} and a cell of volume "
            f"{abs(np.linalg.det(cell)):g}; expected numbers from 1 to {len(ATOMIC_NUMBERS)} and a cell of some volume"
        )
    is_periodic = bool(_array(archive, "is_periodic", "b", 0))
    return Structure(numbers, positions, cell, is_periodic)
