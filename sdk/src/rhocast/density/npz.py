"""numpy's npz: binary values in e/Å³ and everything else that a density has but augmentation occupancies.

Arrays: `values` and perhaps `magnetization` [n0, n1, n2], `scale`, `numbers`, `positions`, `cell`, `is_periodic`,
`comment`, `units`. The exact values are `values` × `scale`; a user without rhocast needs `numpy.load` alone.
"""

import math
import zipfile
from typing import BinaryIO, Literal, cast

import numpy as np
from numpy.typing import NDArray

from rhocast.density.decimals import refuse_unwritable
from rhocast.density.npz_archive import (
    array_of,
    checked_shape,
    member_of,
    opened_archive,
    structure_arrays,
    structure_of,
    write_array,
)
from rhocast.density.provenance import sums_of
from rhocast.density.volumetric import Density
from rhocast.errors import InvalidFile

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
    small = {
        "scale": np.float64(_scale_of(density.values, dtype)),
        **structure_arrays(density.structure),
        "comment": np.str_(density.comment),
        "units": np.array(UNITS),
    }
    compression = zipfile.ZIP_DEFLATED if is_compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, array in small.items():
            write_array(archive, name, array, compression)
        for name, grid in grids.items():
            with archive.open(member_of(name, compression), "w", force_zip64=True) as member:
                _write_planes(grid, cast(BinaryIO, member), dtype)


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
    with opened_archive(stream, largest_size=largest_size) as archive:
        values = array_of(archive, "values", "f", 3)
        magnetization = (
            array_of(archive, "magnetization", "f", 3) if "magnetization.npy" in archive.namelist() else None
        )
        scale = float(array_of(archive, "scale", "f", 0))
        structure = structure_of(archive)
        comment = str(array_of(archive, "comment", "U", 0))
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
    with opened_archive(stream) as archive:
        n0, n1, n2 = checked_shape(archive, "values", "f", 3)
    return n0, n1, n2
