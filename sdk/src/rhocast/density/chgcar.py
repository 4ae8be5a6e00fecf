"""CHGCAR and CHG of VASP: ρ·V in electrons, first index fastest.

POSCAR, blank line, shape, grid, then in a CHGCAR of VASP the augmentation occupancies, and with spin the moments of
the ions, the shape again, the magnetization and its occupancies. A predicted CHGCAR ends after its grids: VASP takes
its density but starts from the occupancies of free atoms.
"""

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from rhocast.density.decimals import FORTRAN_E11, FORTRAN_E17, DecimalFormat, refuse_unwritable, text_of_rows
from rhocast.density.number_text import numbers_of_line, read_filled_line, read_values, shape_of_line
from rhocast.density.poscar_header import poscar_header, read_poscar_header
from rhocast.density.provenance import comment_and_scale, comment_with_scale, scale_of_text
from rhocast.density.volumetric import Augmentation, Density
from rhocast.errors import InvalidFile

FloatArray = NDArray[np.float64]
Shape = tuple[int, int, int]

_VALUES_GATHERED = 2**18  # few enough to be cheap, many enough that a cache line is used whole
_VALUES_FORMATTED = 16_000  # intermediate arrays stay in the cache; a multiple of 5 and of 10
_AUGMENTATION = b"augmentation occupancies"


def write_chgcar(density: Density, stream: BinaryIO) -> None:
    """A density as CHGCAR, in VASP's own (1X,E17.11).

    Args:
        density: Any density.
        stream: Binary file.

    Raises:
        InvalidFile: If a value is NaN, infinite or too large.
    """
    _write_charge(density, stream, FORTRAN_E17)
    augmentation = density.augmentation
    if augmentation:
        _write_occupancies(augmentation.total, stream)
    if density.magnetization is None:
        return
    # Without this line VASP does not find the magnetization; it does not use the moments.
    moments = augmentation.moments if augmentation else None
    moments = np.zeros(density.structure.n_atoms) if moments is None else moments
    stream.write(_number_lines(moments, "20.12E", "25.16E"))
    write_grid(density.magnetization, density.structure.volume, stream, FORTRAN_E17)
    if augmentation:
        _write_occupancies(augmentation.difference, stream)


def write_chg(density: Density, stream: BinaryIO) -> None:
    """A density as CHG: five digits and no augmentation.

    VASP's G11.5 prints the same digits in the same columns, without exponent where it can.

    Args:
        density: Any density.
        stream: Binary file.

    Raises:
        InvalidFile: If a value is NaN, infinite or too large.
    """
    _write_charge(density, stream, FORTRAN_E11)
    if density.magnetization is not None:
        write_grid(density.magnetization, density.structure.volume, stream, FORTRAN_E11)


def _write_charge(density: Density, stream: BinaryIO, layout: DecimalFormat) -> None:
    volume = density.structure.volume
    refuse_unwritable(density.values, volume)
    if density.magnetization is not None:
        refuse_unwritable(density.magnetization, volume)
    # A sum has no order: planes as they lie in memory are faster to take than those of the file.
    scale = scale_of_text(lambda: (plane.reshape(-1) * volume for plane in density.values), layout)
    comment = comment_with_scale(density.comment or density.structure.formula, scale)
    stream.write(poscar_header(density.structure, comment))
    write_grid(density.values, volume, stream, layout)


def _in_file_order(values: FloatArray, factor: float) -> Iterator[FloatArray]:
    """A grid times a factor, first index fastest, in flat pieces of bounded size."""
    n0, n1, n2 = values.shape
    n_rows = max(1, min(n1, _VALUES_GATHERED // n0))
    n_planes = max(1, _VALUES_GATHERED // (n0 * n1))
    for plane in range(0, n2, n_planes):
        for row in range(0, n1, n_rows):
            yield values[:, row : row + n_rows, plane : plane + n_planes].ravel(order="F") * factor


def write_grid(values: FloatArray, factor: float, stream: BinaryIO, layout: DecimalFormat) -> None:
    """The shape of a grid and its values, first index fastest.

    Args:
        values: Values of any unit.
        factor: What they are multiplied by.
        stream: Binary file.
        layout: Their format.
    """
    stream.write("".join(f"{n:5d}" for n in values.shape).encode() + b"\n")
    rest = np.empty(0)
    for piece in _in_file_order(values, factor):
        ready = np.concatenate([rest, piece])
        n_full = ready.size - ready.size % layout.per_line
        for start in range(0, n_full, _VALUES_FORMATTED):
            part = ready[start : min(start + _VALUES_FORMATTED, n_full)]
            stream.write(text_of_rows(part.reshape(-1, layout.per_line), layout))
        rest = ready[n_full:]
    if rest.size:
        stream.write(text_of_rows(rest.reshape(1, -1), layout))


def _number_lines(numbers: FloatArray, usual: str, exact: str) -> bytes:
    """Five numbers a line, in the usual format where that loses nothing and else in the exact one."""
    format = usual if all(float(f"{number:{usual}}") == number for number in numbers) else exact
    texts = [f"{number:{format}}" for number in numbers]
    return "".join("".join(texts[k : k + 5]) + "\n" for k in range(0, len(texts), 5)).encode()


def _write_occupancies(occupancies: tuple[FloatArray, ...], stream: BinaryIO) -> None:
    for ion, numbers in enumerate(occupancies, start=1):
        # VASP reads these two columns by position: one blank more from ion 10 on, and it drops the whole file.
        stream.write(_AUGMENTATION + f"{ion:4d}{len(numbers):4d}\n".encode())
        stream.write(_number_lines(numbers, "15.7E", "25.16E"))


def read_chgcar(stream: BinaryIO) -> Density:
    """The density of a CHGCAR or CHG, with magnetization and augmentation if it has them.

    Args:
        stream: Binary file at its start.

    Raises:
        InvalidFile: If it is truncated, holds something that is no number, or anything but one or two grids.
    """
    title, structure = read_poscar_header(stream)
    comment, scale = comment_and_scale(title)
    shape = _read_shape(stream)
    values = _read_grid(stream, shape, scale / structure.volume, "charge density")
    total, line = _read_occupancies(stream, structure.n_atoms)
    moments = None
    if _is_numbers(line) and shape_of_line(line) != shape:
        moments, line = _read_moments(stream, line, structure.n_atoms)
        if shape_of_line(line) != shape:
            raise InvalidFile(
                f"found the moments of the ions and no magnetization of shape {shape} after them: the file is "
                "truncated; copy it again"
            )
    magnetization, difference = None, ()
    if shape_of_line(line) == shape:
        magnetization = _read_grid(stream, shape, 1 / structure.volume, "magnetization")
        difference, line = _read_occupancies(stream, structure.n_atoms)
    if line:
        raise InvalidFile(
            f"found {line[:60].decode('latin-1').strip()!r} after the last grid; expected one frame with a density "
            "and at most one magnetization: write a frame of dynamics, or a non-collinear charge, to its own file"
        )
    augmentation = Augmentation(total, difference, moments) if total else None
    return Density(structure, values, magnetization, augmentation, comment)


def read_chgcar_shape(stream: BinaryIO) -> Shape:
    """Shape of the grid of a CHGCAR or CHG, of which only the header is read.

    Args:
        stream: Binary file at its start.

    Raises:
        InvalidFile: If the header cannot be read.
    """
    read_poscar_header(stream)
    return _read_shape(stream)


def _read_shape(stream: BinaryIO) -> Shape:
    line = read_filled_line(stream)
    shape = shape_of_line(line)
    if shape is None:
        raise InvalidFile(
            f"found {line[:60].decode('latin-1').strip()!r} after the positions; expected the shape of the grid, "
            "three positive integers: a POSCAR alone holds no density"
        )
    return shape


def _read_grid(stream: BinaryIO, shape: Shape, factor: float, name: str) -> FloatArray:
    values = read_values(stream, shape[0] * shape[1] * shape[2], name)
    values *= factor
    return np.ascontiguousarray(values.reshape(shape, order="F"))


def _read_occupancies(stream: BinaryIO, n_atoms: int) -> tuple[tuple[FloatArray, ...], bytes]:
    """Occupancies of every ion, none if there are none, and the line after them."""
    blocks: list[FloatArray] = []
    line = read_filled_line(stream)
    while line.startswith(_AUGMENTATION):
        columns = line[len(_AUGMENTATION) :].rstrip(b"\r\n")
        # Ion 1000 leaves no blank between VASP's two columns of four; pymatgen writes wider ones.
        tokens = columns.split() if len(columns.split()) == 2 else [columns[:4].strip(), columns[4:8].strip()]
        if not all(token.isdigit() for token in tokens) or int(tokens[0]) != len(blocks) + 1:
            raise InvalidFile(
                f"found {line[:60].decode('latin-1').strip()!r}; expected the occupancies of ion {len(blocks) + 1} "
                "and their number: occupancies of a non-collinear run cannot be read"
            )
        blocks.append(read_values(stream, int(tokens[1]), f"occupancies of ion {tokens[0].decode()}"))
        line = read_filled_line(stream)
    if blocks and len(blocks) != n_atoms:
        raise InvalidFile(
            f"found augmentation occupancies of {len(blocks)} ions; expected {n_atoms}: the file is truncated"
        )
    return tuple(blocks), line


def _is_numbers(line: bytes) -> bool:
    try:
        return bool(numbers_of_line(line, "moments of the ions"))
    except InvalidFile:
        return False


def _read_moments(stream: BinaryIO, line: bytes, n_atoms: int) -> tuple[FloatArray, bytes]:
    """One moment an ion, from a line and those after it, and the line that follows."""
    moments: list[float] = []
    while line and len(moments) < n_atoms:
        moments += numbers_of_line(line, "moments of the ions")
        line = read_filled_line(stream)
    return np.array(moments), line
