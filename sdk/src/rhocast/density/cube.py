"""Gaussian cube: bohr and e/bohr³, last index fastest.

A cube holds one grid: a magnetization and augmentation occupancies are left out.
"""

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from rhocast.density.decimals import C_E13, refuse_unwritable, text_of_rows
from rhocast.density.number_text import numbers_of_line, read_filled_line, read_line, read_values
from rhocast.density.provenance import comment_and_scale, comment_with_scale, scale_of_text
from rhocast.density.volumetric import Density
from rhocast.elements import SYMBOLS
from rhocast.errors import InvalidFile
from rhocast.structure import Structure

FloatArray = NDArray[np.float64]
Shape = tuple[int, int, int]

BOHR = 0.529177210903
"""Å, CODATA 2018."""
_VALUES_FORMATTED = 16_000
_FIELD_WIDTH = 12


def write_cube(density: Density, stream: BinaryIO) -> None:
    """The charge of a density as Gaussian cube, in its standard columns and %13.5E.

    Args:
        density: Any density.
        stream: Binary file.

    Raises:
        InvalidFile: If a value is NaN, infinite or too large.
    """
    refuse_unwritable(density.values, BOHR**3)
    structure = density.structure
    axes = [[float(x) for x in axis] for axis in _axes(structure, density.shape)]
    written_volume = float(abs(np.linalg.det(axes))) * density.values.size
    volume_ratio = structure.volume / BOHR**3 / written_volume if written_volume else 1.0
    scale = scale_of_text(lambda: _rows(density.values, BOHR**3), C_E13, volume_ratio)
    comment = comment_with_scale(density.comment or structure.formula, scale)
    write_cube_grid(structure, density.values, BOHR**3, comment, stream)


def write_cube_grid(structure: Structure, values: FloatArray, factor: float, comment: str, stream: BinaryIO) -> None:
    """Atoms and values as Gaussian cube, in its standard columns and %13.5E.

    Args:
        structure: The atoms.
        values: Values of any unit that `refuse_unwritable` lets pass, [n0, n1, n2].
        factor: What they are multiplied by.
        comment: The first line.
        stream: Binary file.
    """
    axes = _axes(structure, values.shape)
    lines = [
        comment,
        "OUTER LOOP: X, MIDDLE LOOP: Y, INNER LOOP: Z",  # word for word what ASE looks for
        f"{structure.n_atoms:5d}" + _field(0.0) * 3,
    ]
    lines += [f"{n:5d}" + "".join(axis) for n, axis in zip(values.shape, axes, strict=True)]
    for number, position in zip(structure.numbers, structure.positions / BOHR, strict=True):
        lines.append(f"{number:5d}" + "".join(map(_field, [number, *position])))
    stream.write("\n".join([*lines, ""]).encode())
    for rows in _rows(values, factor):
        stream.write(text_of_rows(rows, C_E13))


def _axes(structure: Structure, shape: tuple[int, ...]) -> list[list[str]]:
    """Voxel vectors in bohr as they are written."""
    voxel = structure.cell / np.array(shape)[:, None] / BOHR
    return [[_field(x) for x in vector] for vector in voxel]


def _field(number: float) -> str:
    """A number with as many decimals as leave a blank in Fortran's F12.6 column, which takes any of them."""
    decimals = 9
    while len(f"{number:.{decimals}f}") >= _FIELD_WIDTH and decimals:
        decimals -= 1
    return f"{number:{_FIELD_WIDTH}.{decimals}f}"


def _rows(values: FloatArray, factor: float) -> Iterator[FloatArray]:
    """Rows along the last axis times a factor, in pieces of bounded size."""
    n_last = values.shape[2]
    rows = values.reshape(-1, n_last)
    n_rows = max(1, _VALUES_FORMATTED // n_last)
    for start in range(0, len(rows), n_rows):
        yield rows[start : start + n_rows] * factor


def read_cube(stream: BinaryIO, is_periodic: bool = True) -> Density:
    """The density of a Gaussian cube.

    Numbers of points above zero mean lengths in bohr, below zero in Å; values are e/bohr³ in both. Atoms are shifted
    by minus the origin, so that the grid starts at 0.

    Args:
        stream: Binary file at its start.
        is_periodic: Whether the cell repeats, which a cube does not say.

    Raises:
        InvalidFile: If it is truncated, holds orbitals or several values a point, or something that is no number.
    """
    comment, scale = comment_and_scale(read_line(stream).decode("utf-8", errors="replace").strip())
    read_line(stream)
    n_atoms, origin = _read_origin(stream)
    shape, cell = _read_axes(stream)
    unit = BOHR if min(shape) > 0 else 1.0
    shape = (abs(shape[0]), abs(shape[1]), abs(shape[2]))
    numbers, positions = _read_atoms(stream, n_atoms)
    structure = Structure(numbers, (positions - origin) * unit, cell * unit, is_periodic)
    values = read_values(stream, shape[0] * shape[1] * shape[2], "density")
    if rest := read_filled_line(stream):
        raise InvalidFile(
            f"found {rest[:60].decode('latin-1').strip()!r} after the last of {values.size} values; expected the end "
            "of the file"
        )
    values *= scale / BOHR**3
    return Density(structure, values.reshape(shape), comment=comment)


def read_cube_shape(stream: BinaryIO) -> Shape:
    """Shape of the grid of a cube, of which only the header is read.

    Args:
        stream: Binary file at its start.

    Raises:
        InvalidFile: If the header cannot be read.
    """
    for _ in range(2):
        read_line(stream)
    _read_origin(stream)
    (n0, n1, n2), _ = _read_axes(stream)
    return abs(n0), abs(n1), abs(n2)


def _read_origin(stream: BinaryIO) -> tuple[int, FloatArray]:
    fields = numbers_of_line(read_line(stream), "numbers of line 3")
    if len(fields) not in (4, 5) or fields[0] != int(fields[0]):
        raise InvalidFile(f"found {fields} in line 3; expected the number of atoms and the origin of the grid")
    if fields[0] < 0 or fields[4:] not in ([], [1.0]):
        raise InvalidFile(
            f"found {fields} in line 3, which says that the cube holds orbitals or several values at each point; "
            "expected one density: write it again as a density"
        )
    return int(fields[0]), np.array(fields[1:4])


def _read_axes(stream: BinaryIO) -> tuple[Shape, FloatArray]:
    """Numbers of points, negative where lengths are in Å, and the cell in the unit of the file."""
    rows = [numbers_of_line(read_line(stream), "axes of the grid") for _ in range(3)]
    if any(len(row) != 4 or row[0] != int(row[0]) or row[0] == 0 for row in rows):
        raise InvalidFile(f"found {rows} in lines 4 to 6; expected a number of points and a voxel vector in each")
    n0, n1, n2 = (int(row[0]) for row in rows)
    if not (n0 > 0) == (n1 > 0) == (n2 > 0):
        raise InvalidFile(
            f"found ({n0}, {n1}, {n2}) points in lines 4 to 6; expected all positive (for bohr) or all negative (for Å)"
        )
    cell = np.array([row[1:] for row in rows]) * np.abs([[n0], [n1], [n2]])
    if np.linalg.det(cell) == 0:
        raise InvalidFile("found voxel vectors in lines 4 to 6 that span no volume; expected three independent ones")
    return (n0, n1, n2), cell


def _read_atoms(stream: BinaryIO, n_atoms: int) -> tuple[NDArray[np.int64], FloatArray]:
    atoms: list[list[float]] = []
    while len(atoms) < n_atoms:
        atoms.append(numbers_of_line(read_line(stream), "atoms"))
        if len(atoms[-1]) != 5 or atoms[-1][0] not in range(1, len(SYMBOLS)):
            raise InvalidFile(
                f"found {atoms[-1]} as atom {len(atoms)} of {n_atoms}; expected an atomic number from 1 to "
                f"{len(SYMBOLS) - 1}, a charge and a position: remove ghost atoms and their count in line 3"
            )
    table = np.array(atoms).reshape(-1, 5)
    return table[:, 0].astype(np.int64), table[:, 2:]
