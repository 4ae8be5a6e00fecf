"""Potentials in files: VASP's LOCPOT, and Gaussian cube."""

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from rhocast.density.chgcar import read_chgcar, write_grid
from rhocast.density.cube import BOHR, write_cube_grid
from rhocast.density.decimals import FORTRAN_E17, refuse_unwritable
from rhocast.density.files import write_whole
from rhocast.density.poscar_header import poscar_header
from rhocast.density.potential import COULOMB, Potential
from rhocast.density.provenance import comment_with_scale
from rhocast.errors import UnsupportedFormat

HARTREE = COULOMB / BOHR
"""eV, CODATA 2018."""


def write_locpot(potential: Potential, stream: BinaryIO) -> None:
    """A potential as LOCPOT: the layout of CHGCAR, with values in eV that no volume multiplies.

    Args:
        potential: Any potential.
        stream: Binary file.

    Raises:
        InvalidFile: If a value is NaN or infinite.
    """
    refuse_unwritable(potential.values, 1.0)
    comment = comment_with_scale(potential.comment or potential.structure.formula, 1.0)
    stream.write(poscar_header(potential.structure, comment))
    write_grid(potential.values, 1.0, stream, FORTRAN_E17)


def read_locpot(stream: BinaryIO) -> Potential:
    """The potential of a LOCPOT; of one with spin, the mean of up and down.

    Args:
        stream: Binary file at its start.

    Raises:
        InvalidFile: If it is truncated, holds something that is no number, or the four grids of a non-collinear run.
    """
    read = read_chgcar(stream)  # which divides by the volume
    up = read.values * read.structure.volume
    if read.magnetization is None:
        return Potential(read.structure, up, read.comment)
    down = read.magnetization * read.structure.volume
    return Potential(read.structure, (up + down) / 2, read.comment)


def write_potential_cube(potential: Potential, stream: BinaryIO) -> None:
    """The electrostatic potential φ = −U/e as Gaussian cube, in hartree/e, as Gaussian's own cubes of it.

    Args:
        potential: Any potential.
        stream: Binary file.

    Raises:
        InvalidFile: If a value is NaN or infinite.
    """
    refuse_unwritable(potential.values, 1.0)
    comment = comment_with_scale(f"electrostatic potential in hartree/e, - U of: {potential.comment}", 1.0)
    write_cube_grid(potential.structure, potential.values, -1 / HARTREE, comment, stream)


def write_potential(potential: Potential, path: Path) -> None:
    """A potential in a file, which appears whole or not at all.

    Args:
        potential: Any potential.
        path: Where to write.

    Raises:
        UnsupportedFormat: If the name says neither format.
        InvalidFile: If a value is NaN or infinite.
        OSError: If the folder is missing or the disk is full.
    """
    write = potential_writer(path)
    write_whole(path, "potential", lambda stream: write(potential, stream))


def potential_writer(path: Path) -> Callable[[Potential, BinaryIO], None]:
    """The function that writes a potential in the format that a name says.

    Args:
        path: The file.

    Raises:
        UnsupportedFormat: If it says neither.
    """
    if path.suffix.lower() == ".cube":
        return write_potential_cube
    if path.name.startswith("LOCPOT"):
        return write_locpot
    raise UnsupportedFormat(f"found the file name {path.name!r}; expected a name LOCPOT* or *.cube for a potential")


def read_potential(path: Path) -> Potential:
    """The potential in a LOCPOT.

    Args:
        path: The file.

    Raises:
        InvalidFile: If it cannot be read as that format.
    """
    with path.open("rb") as stream:
        return read_locpot(stream)
