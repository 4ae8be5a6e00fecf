"""A density grid as one stored object: zipped Zarr, rounded and compressed, written and read by slabs of planes.

BitRound and pcodec give five to eight times less than float32 at an NMAE of 4·10⁻⁵. Rounding moves the sum by
about 1e-5 relative; `scale`, known when the last slab is written, makes it exact again, and readers apply it.
"""

import contextlib
import tempfile
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.storage import ZipStore

from rhocast.density.zarr_archive import grid_array, planes_of_slabs, rounded, zarr_without_its_warning

FloatArray = NDArray[np.float64]
GridShape = tuple[int, int, int]


PLANES_AT_ONCE = 8
"""Planes of a slab that are read in float64 at a time: a slab of 512² points takes 67 MB in float32 already."""


@dataclass(frozen=True)
class StoredGrid:
    """What a written grid holds.

    Attributes:
        integral: Sum of the values as they are read back, times the voxel volume, in electrons.
        scale_factor: Factor that makes the sum of the values as they were given exact.
        minimum: Smallest value, e/Å³.
        maximum: Largest value, e/Å³.
    """

    integral: float
    scale_factor: float
    minimum: float
    maximum: float


def write_grid(
    path: Path, shape: GridShape, slabs: Iterable[FloatArray], n_electrons: float, volume: float, mantissa_bits: int
) -> StoredGrid:
    """Writes a grid so that it sums to the electron count when it is read.

    Args:
        path: File to make.
        shape: Points along each cell vector.
        slabs: Density in e/Å³ in the planes of `planes_of_slabs`, [n_planes, n1, n2] each.
        n_electrons: What the written grid sums to.
        volume: Volume of the cell, Å³.
        mantissa_bits: Mantissa bits of float32 to keep.
    """
    given = stored = 0.0
    lowest, highest = np.inf, -np.inf
    voxel = volume / (shape[0] * shape[1] * shape[2])
    with zarr_without_its_warning(), ZipStore(path, mode="w") as store:
        array = grid_array(store, "density", shape, {"units": "e/angstrom^3", "mantissa_bits": mantissa_bits})
        for (first, last), values in zip(planes_of_slabs(shape), slabs, strict=True):
            single = rounded(values, mantissa_bits)
            array[first:last] = single
            given += float(values.sum(dtype=np.float64))
            stored += float(single.sum(dtype=np.float64))
            lowest, highest = min(lowest, float(single.min())), max(highest, float(single.max()))
        scale = n_electrons / (stored * voxel)
        zarr.create_array(store, name="scale", data=np.array(scale))
    return StoredGrid(stored * scale * voxel, n_electrons / (given * voxel), lowest * scale, highest * scale)


def read_slabs(path: Path) -> Iterator[tuple[int, FloatArray]]:
    """Slabs of a stored grid in order: first plane and values in e/Å³, [n_planes, n1, n2], their scale applied."""
    with zarr_without_its_warning(), ZipStore(path, mode="r") as store:
        array = zarr.open_array(store, path="density", mode="r")
        scale = float(zarr.open_array(store, path="scale", mode="r")[()])  # type: ignore[arg-type]
        slabs = planes_of_slabs(array.shape)  # type: ignore[arg-type]
        buffer = np.empty((slabs[0][1], *array.shape[1:]), np.float32)
        for first, last in slabs:
            single = buffer[: last - first]
            for row in range(0, array.shape[1], array.chunks[1]):  # Zarr holds all chunks that are asked for at once
                single[:, row : row + array.chunks[1]] = array[first:last, row : row + array.chunks[1]]
            for start in range(first, last, PLANES_AT_ONCE):
                some = single[start - first : start - first + PLANES_AT_ONCE]
                yield start, some.astype(np.float64) * scale


def read_grid(path: Path) -> FloatArray:
    """Values in e/Å³ of a stored grid, [n0, n1, n2], its scale applied."""
    return np.concatenate([values for _, values in read_slabs(path)])


@contextlib.contextmanager
def grid_on_disk(path: Path, folder: Path) -> Generator[FloatArray]:
    """The values of `read_grid`, mapped from disk: the memory they take can be taken back at any time.

    Args:
        path: The stored grid.
        folder: Where they lie meanwhile, eight bytes a point, in a file without a name.
    """
    with tempfile.TemporaryFile(dir=folder) as stream:
        n_planes, plane = 0, (0, 0)
        for first, values in read_slabs(path):
            n_planes, plane = first + len(values), values.shape[1:]
            values.tofile(stream)
        yield np.memmap(stream, dtype=np.float64, mode="r", shape=(n_planes, *plane))
