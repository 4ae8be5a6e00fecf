"""The POSCAR that heads a CHGCAR."""

from itertools import groupby, islice
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from rhocast.density.number_text import numbers_of_line, read_line
from rhocast.elements import ATOMIC_NUMBERS
from rhocast.errors import InvalidFile
from rhocast.structure import Structure

FloatArray = NDArray[np.float64]


def poscar_header(structure: Structure, comment: str) -> bytes:
    """POSCAR of a structure, with the blank line that ends it in a CHGCAR.

    The order of the atoms is kept: where species alternate, so do the groups of the species line. VASP then wants
    one POTCAR entry for each group.

    Args:
        structure: The atoms.
        comment: The first line.
    """
    groups = [(symbol, len(list(group))) for symbol, group in groupby(structure.symbols)]
    lines = [comment, "   1.00000000000000"]
    lines += ["".join(f" {x:21.16f}" for x in vector) for vector in structure.cell]
    lines.append("".join(f" {symbol:>4s}" for symbol, _ in groups))
    lines.append("".join(f" {n_atoms:4d}" for _, n_atoms in groups))
    lines.append("Direct")
    lines += ["".join(f" {x:19.16f}" for x in position) for position in structure.fractional_positions]
    return "\n".join([*lines, "", ""]).encode()


def read_poscar_header(stream: BinaryIO) -> tuple[str, Structure]:
    """Comment and structure of the POSCAR at the head of a file.

    Args:
        stream: File at its start.

    Raises:
        InvalidFile: If it is no POSCAR of VASP 5 or later.
    """
    comment = read_line(stream).decode("utf-8", errors="replace").strip()
    scale = numbers_of_line(read_line(stream), "scale factor")
    cell = np.array([_three_numbers(read_line(stream), "cell") for _ in range(3)])
    factors = _scale_factors(scale, cell)
    cell *= factors
    groups = _species_groups(read_line(stream), read_line(stream))
    coordinates = read_line(stream).strip().lower()
    if coordinates.startswith(b"s"):  # Selective dynamics: three flags follow each position
        coordinates = read_line(stream).strip().lower()
    n_atoms = sum(n for _, n in groups)
    lines = list(islice(stream, n_atoms))
    if len(lines) < n_atoms:
        raise InvalidFile(f"expected {n_atoms} positions, found {len(lines)}: the file is truncated; copy it again")
    positions = np.array([_three_numbers(line, "positions") for line in lines]).reshape(-1, 3)
    # Any other first letter means fractional coordinates to VASP.
    positions = positions * factors if coordinates.startswith((b"c", b"k")) else positions @ cell
    numbers = np.repeat(np.array([number for number, _ in groups], dtype=np.int64), [n for _, n in groups])
    return comment, Structure(numbers, positions, cell)


def _three_numbers(line: bytes, name: str) -> list[float]:
    # Flags of selective dynamics or the name of the species may follow.
    numbers = numbers_of_line(b" ".join(line.split()[:3]), name)
    if len(numbers) != 3:
        raise InvalidFile(f"expected three numbers of the {name}, found {line[:60].decode('latin-1').strip()!r}")
    return numbers


def _scale_factors(scale: list[float], cell: FloatArray) -> FloatArray:
    """Factor of each Cartesian component; a negative scale is the volume of the cell."""
    volume = abs(np.linalg.det(cell))
    if len(scale) not in (1, 3) or (len(scale) == 3 and min(scale) <= 0) or scale[0] == 0 or volume == 0:
        raise InvalidFile(
            f"found scale {scale} and a cell of volume {volume:g}; expected one scale other than zero, or three "
            "positive ones, in line 2 and a cell of some volume in lines 3 to 5"
        )
    return np.array(scale) if scale[0] > 0 else np.array([(-scale[0] / volume) ** (1 / 3)])


def _species_groups(species: bytes, counts: bytes) -> list[tuple[int, int]]:
    """Atomic number and number of atoms of each group."""
    # VASP 6 may write Na_pv/6d5f9a3b: the data set and its hash belong to no symbol.
    symbols = [token.split("/")[0].split("_")[0] for token in species.decode("latin-1").split()]
    if symbols and all(symbol.isdigit() for symbol in symbols):
        raise InvalidFile(
            "found numbers of atoms in line 6, as VASP 4 wrote them; expected the species there: "
            "insert a line with their symbols, such as 'Na Cl', above it"
        )
    unknown = [symbol for symbol in symbols if symbol not in ATOMIC_NUMBERS]
    if unknown or not symbols:
        raise InvalidFile(f"found {unknown or 'nothing'} in line 6; expected chemical symbols such as 'Na Cl'")
    numbers = [token for token in counts.split() if token.isdigit() and len(token) < 10]
    if len(numbers) != len(symbols) or len(numbers) != len(counts.split()):
        raise InvalidFile(
            f"found {counts[:60].decode('latin-1').strip()!r} in line 7; expected {len(symbols)} numbers of atoms"
        )
    return [(ATOMIC_NUMBERS[symbol], int(number)) for symbol, number in zip(symbols, numbers, strict=True)]
