"""Density files on disk: which format a name means, and writing that leaves a whole file or none."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple

from rhocast.density.chgcar import read_chgcar, read_chgcar_shape, write_chg, write_chgcar
from rhocast.density.cube import read_cube, read_cube_shape, write_cube
from rhocast.density.npz import read_npz, read_npz_shape, write_npz
from rhocast.density.volumetric import Density
from rhocast.density.zarr_archive import read_zarr, read_zarr_shape, write_zarr
from rhocast.errors import UnsupportedFormat

_BUFFER = 2**20


class FileFormat(NamedTuple):
    """The functions of a format, each on a binary file."""

    write: Callable[[Density, BinaryIO], None]
    read: Callable[[BinaryIO], Density]
    read_shape: Callable[[BinaryIO], tuple[int, int, int]]


FORMATS: dict[str, FileFormat] = {
    "chgcar": FileFormat(write_chgcar, read_chgcar, read_chgcar_shape),
    "chg": FileFormat(write_chg, read_chgcar, read_chgcar_shape),
    "cube": FileFormat(write_cube, read_cube, read_cube_shape),
    "npz": FileFormat(write_npz, read_npz, read_npz_shape),
    "zarr": FileFormat(write_zarr, read_zarr, read_zarr_shape),
}

ENDINGS = {"cube": ".cube", "npz": ".npz", "zarr": ".zarr.zip", "coefficients": ".coefficients.npz"}
"""Of names that say their format at the end; CHGCAR and CHG say it at the beginning."""

_REMEDIES = {
    errno.ENOENT: "the folder does not exist; make it first",
    errno.ENOSPC: "the disk is full; free space or write elsewhere",
    errno.EDQUOT: "the quota is used up; free space or write elsewhere",
    errno.EACCES: "the folder does not let you write; write elsewhere",
    errno.EISDIR: "it is a folder; add a file name",
}


def format_of(path: Path, format: str | None = None) -> FileFormat:
    """The format of a density file.

    Args:
        path: The file; an ending counts before the beginning of its name.
        format: The name of the format where the file's name does not say it.

    Raises:
        UnsupportedFormat: If neither says a format.
    """
    name = path.name
    if names_coefficients(path, format):
        raise UnsupportedFormat(
            f"found the coefficients {name!r}; expected a density on a grid: rhocast.density.DensityExpansion reads "
            "and writes coefficients, and its on_grid makes a density of them"
        )
    if format is None and path.suffix.lower() in (".cube", ".npz"):
        format = path.suffix.lower()[1:]
    elif format is None and name.lower().endswith(".zarr.zip"):
        format = "zarr"
    elif format is None and (name.startswith("CHGCAR") or path.suffix.lower() == ".vasp"):
        format = "chgcar"
    elif format is None and name.startswith("CHG"):
        format = "chg"
    if format not in FORMATS:
        raise UnsupportedFormat(
            f"found {f'format {format!r}' if format else f'the file name {name!r}'}; expected a name CHGCAR*, *.vasp, "
            f"CHG*, *.cube, *.npz or *.zarr.zip, or a format out of {', '.join(FORMATS)}"
        )
    return FORMATS[format]


def names_coefficients(path: Path, format: str | None = None) -> bool:
    """Whether a file holds coefficients, not a density on a grid.

    Args:
        path: The file.
        format: The name of the format where the file's name does not say it.
    """
    return format == "coefficients" or (format is None and path.name.lower().endswith(".coefficients.npz"))


def write_density(density: Density, path: Path, format: str | None = None) -> None:
    """A density in a file, which appears whole or not at all.

    Args:
        density: Any density.
        path: Where to write; a file that is there is replaced at the end.
        format: The name of the format where the file's name does not say it.

    Raises:
        UnsupportedFormat: If neither says a format.
        InvalidFile: If a value is NaN, infinite or too large.
        OSError: If the folder is missing or the disk is full.
    """
    write = format_of(path, format).write
    write_whole(path, "density", lambda stream: write(density, stream))


def write_whole(path: Path, name: str, write: Callable[[BinaryIO], None]) -> None:
    """A file that appears whole or not at all.

    Args:
        path: Where to write; a file that is there is replaced at the end.
        name: What is written, for the error.
        write: Writes it to a binary file.

    Raises:
        OSError: If the folder is missing or the disk is full.
    """
    target = path.resolve()  # a link stays a link to the new file
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb", buffering=_BUFFER) as stream:
            write(stream)
        partial.replace(target)
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, error.strerror)
        raise OSError(error.errno, f"cannot write the {name}: {remedy}", str(path)) from error
    finally:
        partial.unlink(missing_ok=True)


def read_density(path: Path, format: str | None = None) -> Density:
    """The density in a file.

    Args:
        path: The file.
        format: The name of the format where the file's name does not say it.

    Raises:
        UnsupportedFormat: If neither says a format.
        InvalidFile: If the file cannot be read as that format.
    """
    read = format_of(path, format).read
    with path.open("rb", buffering=_BUFFER) as stream:
        return read(stream)


def shape_like(path: str | os.PathLike[str], format: str | None = None) -> tuple[int, int, int]:
    """Shape of the grid in a CHGCAR, CHG, cube, npz or zipped Zarr file, of which only the header is read.

    Args:
        path: The file.
        format: The name of the format where the file's name does not say it.

    Raises:
        UnsupportedFormat: If neither says a format.
        InvalidFile: If the header cannot be read.
    """
    read = format_of(Path(path), format).read_shape
    with Path(path).open("rb") as stream:
        return read(stream)
