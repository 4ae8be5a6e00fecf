"""Zarr in a zip archive (`*.zarr.zip`): a grid in chunks of 64³ float32 values, packed by pcodec.

One group: arrays `density` and perhaps `magnetization` [n0, n1, n2], `numbers`, `positions` and `cell`; attributes
`comment`, `is_periodic` and `units`. The exact values of a grid are the stored ones times its attribute `scale_factor`,
which xarray applies by itself. Any Zarr 3 that knows pcodec reads it, and any part of it alone.

Zarr and pcodec come with `pip install 'rhocast[zarr]'`, and are imported when a file is written or read.
"""

import contextlib
import itertools
import math
import warnings
import zipfile
from collections.abc import Generator, Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from rhocast.density.decimals import refuse_unwritable
from rhocast.density.npz_archive import opened_archive, structure_arrays, structure_from
from rhocast.density.volumetric import Density
from rhocast.errors import InvalidFile

FloatArray = NDArray[np.float64]
Shape = tuple[int, int, int]

CHUNK = 64
FULL_MANTISSA = 23
LARGEST_SIZE = 32 * 2**30
"""Bytes of a grid in memory that are read unless the caller allows more."""
UNITS = ("density: e/angstrom^3", "magnetization: e/angstrom^3, up minus down", "positions, cell: angstrom")
_LARGEST_FLOAT32 = 3e38
_STRUCTURE = ("numbers", "positions", "cell")


def planes_of_slabs(shape: Shape) -> list[tuple[int, int]]:
    """First plane of each slab, and the one after its last, in the order in which slabs are written."""
    return [(first, min(first + CHUNK, shape[0])) for first in range(0, shape[0], CHUNK)]


def rounded(values: FloatArray, mantissa_bits: int) -> NDArray[np.float32]:
    """Values as float32 of fewer bits, which pack better; what was rounded so stays as it is.

    Args:
        values: Values of any unit.
        mantissa_bits: Mantissa bits to keep of the 23 of float32.
    """
    single: NDArray[np.float32] = np.ascontiguousarray(values, dtype=np.float32)
    if mantissa_bits >= FULL_MANTISSA:
        return single
    from numcodecs import BitRound  # noqa: PLC0415

    encoded: Any = BitRound(keepbits=mantissa_bits).encode(single)
    return np.asarray(encoded).view(np.float32).reshape(values.shape)


def grid_array(store: Any, name: str, shape: Shape, attributes: Mapping[str, Any]) -> Any:
    """A Zarr array for a grid of float32 values in chunks.

    Args:
        store: Zarr store.
        name: Its name there.
        shape: Points along each cell vector.
        attributes: Its attributes.
    """
    import zarr  # noqa: PLC0415
    from zarr.codecs.numcodecs import PCodec  # noqa: PLC0415

    return zarr.create_array(
        store,
        name=name,
        shape=shape,
        chunks=tuple(min(CHUNK, n) for n in shape),
        dtype="float32",
        serializer=PCodec(level=8),
        compressors=None,
        attributes=dict(attributes),
        config={"write_empty_chunks": True},  # a chunk that is missing is damage
    )


@contextlib.contextmanager
def zarr_without_its_warning() -> Generator[None]:
    """Where Zarr does not warn that pcodec is no part of its core specification.

    Raises:
        ImportError: If Zarr or pcodec is not installed.
    """
    try:
        import pcodec  # noqa: F401, PLC0415  # pyright: ignore[reportUnusedImport, reportMissingTypeStubs]
        from zarr.errors import ZarrUserWarning  # noqa: PLC0415
    except ImportError as error:
        raise ImportError("Zarr or pcodec is not installed; install both with: pip install 'rhocast[zarr]'") from error
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Numcodecs codecs are not in", category=ZarrUserWarning)
        yield


def write_zarr(density: Density, stream: BinaryIO, mantissa_bits: int = FULL_MANTISSA, scale: float = 1.0) -> None:
    """A density as zipped Zarr. Equal densities give equal bytes.

    Args:
        density: Any density.
        stream: Binary file.
        mantissa_bits: Mantissa bits of float32 to keep; 12 make an NMAE of 4·10⁻⁵ and a quarter of the size.
        scale: Factor by which the values were multiplied after they had been rounded to so many bits, to 10⁻⁴: what is
            stored are the rounded ones.

    Raises:
        InvalidFile: If a value is NaN, infinite or too large for float32.
        ImportError: If Zarr or pcodec is not installed.
    """
    grids = {"density": density.values}
    if density.magnetization is not None:
        grids["magnetization"] = density.magnetization
    for grid in grids.values():
        refuse_unwritable(grid, 1.0, _LARGEST_FLOAT32)
    with zarr_without_its_warning():
        import zarr  # noqa: PLC0415
        from zarr.storage import MemoryStore  # noqa: PLC0415

        members: dict[str, Any] = {}
        store = MemoryStore(members)
        is_periodic = density.structure.is_periodic
        zarr.create_group(
            store, attributes={"comment": density.comment, "is_periodic": is_periodic, "units": list(UNITS)}
        )
        arrays = structure_arrays(density.structure)
        for name in _STRUCTURE:
            zarr.create_array(store, name=name, data=arrays[name])
        for name, grid in grids.items():
            _write_grid(store, name, grid, mantissa_bits, scale)
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(members):
            archive.writestr(zipfile.ZipInfo(name), members[name].to_bytes())  # dated 1980


def _write_grid(store: Any, name: str, grid: FloatArray, mantissa_bits: int, scale: float) -> None:
    n0, n1, n2 = grid.shape
    array = grid_array(store, name, (n0, n1, n2), {"mantissa_bits": mantissa_bits})
    exact: list[float] = []
    stored: list[float] = []
    slabs = planes_of_slabs((n0, n1, n2))
    buffer = np.empty((slabs[0][1], n1, n2), np.float32)
    for first, last in slabs:
        single = buffer[: last - first]
        for plane in range(first, last):  # one by one: a slab in float64 may take more than all else
            single[plane - first] = rounded(grid[plane] / scale, mantissa_bits)
            exact.append(float(grid[plane].sum(dtype=np.float64)))
        for row in range(0, n1, CHUNK):  # Zarr copies all chunks that it is given at once
            array[first:last, row : row + CHUNK] = single[:, row : row + CHUNK]
        stored.append(float(single.sum(dtype=np.float64)))
    found = math.fsum(exact) / math.fsum(stored) if math.fsum(stored) else scale
    # A grid whose positive and negative parts cancel has no total worth scaling for.
    array.attrs["scale_factor"] = found if abs(found / scale - 1) < 0.5**mantissa_bits else scale


def read_zarr(stream: BinaryIO, largest_size: int = LARGEST_SIZE) -> Density:
    """The density of a zipped Zarr that `write_zarr` wrote.

    Args:
        stream: Binary file, seekable.
        largest_size: Bytes that a grid may take in memory.

    Raises:
        InvalidFile: If it is truncated, another kind of file, lacks something, or would take more than is allowed.
        ImportError: If Zarr or pcodec is not installed.
    """
    with _opened_group(stream) as (group, names):
        values = _grid_of(group, names, "density", largest_size)
        has_spin = "magnetization/zarr.json" in names
        magnetization = _grid_of(group, names, "magnetization", largest_size) if has_spin else None
        numbers, positions, cell = (np.asarray(group[name][...]) for name in _STRUCTURE)
        structure = structure_from(numbers, positions, cell, bool(group.attrs["is_periodic"]))
        comment = str(group.attrs["comment"])
        return Density(structure, values, magnetization, comment=comment)


def read_zarr_shape(stream: BinaryIO) -> Shape:
    """Shape of the grid of a zipped Zarr, of which no chunk is unpacked.

    Args:
        stream: Binary file, seekable.

    Raises:
        InvalidFile: If it is no zipped Zarr with a grid in it.
        ImportError: If Zarr or pcodec is not installed.
    """
    with _opened_group(stream) as (group, _):
        n0, n1, n2 = group["density"].shape
        return n0, n1, n2


@contextlib.contextmanager
def _opened_group(stream: BinaryIO) -> Generator[tuple[Any, frozenset[str]]]:
    """The group in an archive, and the names of all members; whatever is wrong inside leaves as InvalidFile."""
    with zarr_without_its_warning(), opened_archive(stream, "zipped Zarr") as archive:
        import zarr  # noqa: PLC0415
        from zarr.core.buffer import default_buffer_prototype  # noqa: PLC0415
        from zarr.storage import MemoryStore  # noqa: PLC0415

        buffer = default_buffer_prototype().buffer
        members = {name: buffer.from_bytes(archive.read(name)) for name in archive.namelist()}
        try:
            yield zarr.open_group(MemoryStore(members), mode="r", zarr_format=3), frozenset(members)
        except (LookupError, TypeError, AttributeError) as error:
            raise InvalidFile(
                f"found no density in this zipped Zarr ({error}); expected one of rhocast with `density`, "
                f"{', '.join(_STRUCTURE)}"
            ) from error


def _grid_of(group: Any, names: frozenset[str], name: str, largest_size: int) -> FloatArray:
    array = group[name]
    size = math.prod(array.shape) * 8
    if size > largest_size:
        raise InvalidFile(f"found a grid of {size} bytes; expected at most {largest_size}: pass a larger limit")
    counts = [range(-(-n // chunk)) for n, chunk in zip(array.shape, array.chunks, strict=True)]
    n_chunks = math.prod(map(len, counts))
    # Zarr takes a chunk that is not there for zeros.
    n_missing = n_chunks - sum(one.startswith(f"{name}/c/") for one in names)
    if n_missing > 0 or any(f"{name}/c/{i}/{j}/{k}" not in names for i, j, k in itertools.product(*counts)):
        raise InvalidFile(f"found {name!r} without some of its {n_chunks} chunks; expected all: copy the file again")
    scale = float(array.attrs["scale_factor"])
    values = np.asarray(array[...], dtype=np.float64)
    if not 0.5 < scale < 2 or not math.isfinite(float(values.sum())):
        raise InvalidFile(f"found scale_factor {scale} and a sum of {values.sum()}; expected near 1, and finite")
    values *= scale
    return values
