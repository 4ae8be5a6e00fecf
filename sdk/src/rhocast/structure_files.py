"""Structures as text: CIF, POSCAR, extxyz. Atoms keep their order, and positions all their digits."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import ArrayLike

from rhocast.density.files import write_whole
from rhocast.density.poscar_header import poscar_header
from rhocast.errors import InvalidStructure, UnsupportedFormat
from rhocast.structure import FloatArray, Structure

StructureFileFormat = Literal["cif", "poscar", "extxyz"]

STRUCTURE_FILE_NAMES: dict[StructureFileFormat, str] = {"cif": "cif", "poscar": "vasp", "extxyz": "extxyz"}
"""Ending of a file in each format, by which every program knows it."""

_POSCAR_NAMES = ("POSCAR", "CONTCAR")
_ENDINGS: dict[str, StructureFileFormat] = {
    ".cif": "cif",
    ".vasp": "poscar",
    ".poscar": "poscar",
    ".extxyz": "extxyz",
    ".xyz": "extxyz",
}


@dataclass(frozen=True)
class Facts:
    """What is known of a structure beside its atoms.

    Attributes:
        energy: Total energy, eV.
        forces: Forces, eV/Å, [n_atoms, 3].
        stress: Stress in eV/Å³, tension positive, [3, 3]; None if nobody knows it.
    """

    energy: float
    forces: ArrayLike
    stress: ArrayLike | None = None


def structure_file_format(path: str | os.PathLike[str], format: str | None = None) -> StructureFileFormat:
    """Format of a structure file.

    Args:
        path: The file: POSCAR*, CONTCAR*, *.vasp, *.cif, *.extxyz or *.xyz.
        format: Its format, where the name does not say it.

    Raises:
        UnsupportedFormat: If neither says one.
    """
    if format is not None and format in STRUCTURE_FILE_NAMES:
        return format  # type: ignore[return-value]
    name = Path(path).name
    found = "poscar" if name.upper().startswith(_POSCAR_NAMES) else _ENDINGS.get(Path(name).suffix.lower())
    if format is not None or found is None:
        raise UnsupportedFormat(
            f"found {f'the format {format!r}' if format is not None else f'the name {name!r}'}; expected a name that "
            f"begins with POSCAR or ends in {', '.join(_ENDINGS)}, or one of the formats "
            f"{', '.join(STRUCTURE_FILE_NAMES)}; choose another name"
        )
    return found


def structure_text(
    structure: Structure, format: StructureFileFormat, comment: str = "", facts: Facts | None = None
) -> str:
    """Text of a structure file.

    Args:
        structure: The atoms.
        format: Format of the text.
        comment: One line of its own; without line breaks.
        facts: Energy and forces of the structure, which extxyz holds and the others do not.

    Raises:
        InvalidStructure: If a CIF is wanted of a molecule.
    """
    if format == "cif":
        return _cif(structure, comment)
    if format == "poscar":
        return poscar_header(structure, comment or structure.formula).decode().rstrip("\n") + "\n"
    return _extxyz(structure, comment, facts)


def write_structure(structure: Structure, path: Path, format: str | None = None) -> None:
    """Writes a structure to a file, whole or not at all.

    Args:
        structure: The atoms.
        path: Where to; its name may say the format.
        format: Its format, where the name does not say it.

    Raises:
        UnsupportedFormat: If neither says one.
        InvalidStructure: If a CIF is wanted of a molecule.
        OSError: If the file cannot be written.
    """
    text = structure_text(structure, structure_file_format(path, format)).encode()

    def write(stream: BinaryIO) -> None:
        stream.write(text)

    write_whole(path, "structure", write)


def _cif(structure: Structure, comment: str) -> str:
    if not structure.is_periodic:
        raise InvalidStructure(
            "found a molecule; expected a crystal for a CIF, whose reader would repeat it; take extxyz, or poscar for "
            "the molecule in its box"
        )
    # Lengths and angles say nothing of handedness, and readers take the cell as right-handed. With all vectors turned
    # round it is, and its lengths and angles are the same.
    hand = 1.0 if np.linalg.det(structure.cell) > 0 else -1.0
    lengths = np.linalg.norm(structure.cell, axis=1)
    cosines = [
        structure.cell[one] @ structure.cell[other] / (lengths[one] * lengths[other])
        for one, other in ((1, 2), (2, 0), (0, 1))
    ]
    angles = np.degrees(np.arccos(np.clip(cosines, -1.0, 1.0)))
    fractional = hand * structure.fractional_positions
    lines = [f"# {comment}"] if comment else []
    lines += [
        f"data_{structure.formula}",
        *(f"_cell_length_{name} {length:.12f}" for name, length in zip("abc", lengths, strict=True)),
        *(f"_cell_angle_{name} {angle:.12f}" for name, angle in zip(("alpha", "beta", "gamma"), angles, strict=True)),
        "_symmetry_space_group_name_H-M 'P 1'",
        "_symmetry_Int_Tables_number 1",
        "loop_",
        "_symmetry_equiv_pos_site_id",
        "_symmetry_equiv_pos_as_xyz",
        "1 'x, y, z'",
        "loop_",
        *(f"_atom_site_{name}" for name in ("label", "type_symbol", "fract_x", "fract_y", "fract_z", "occupancy")),
        *(
            f"{symbol}{number} {symbol} {_row(position)} 1.0"
            for number, (symbol, position) in enumerate(zip(structure.symbols, fractional, strict=True), start=1)
        ),
    ]
    return "\n".join([*lines, ""])


def _extxyz(structure: Structure, comment: str, facts: Facts | None) -> str:
    columns, values = "species:S:1:pos:R:3", structure.positions
    line = [f'Lattice="{_row(structure.cell.ravel())}"'] if structure.is_periodic else []
    if facts is not None:
        line.append(f"energy={facts.energy!r}")
        columns, values = columns + ":forces:R:3", np.hstack([values, facts.forces])
        if facts.stress is not None:
            line.append(f'stress="{_row(np.array(facts.stress).ravel())}"')
    line += [f"Properties={columns}", f'pbc="{" ".join("FT"[structure.is_periodic] * 3)}"']
    if comment:
        line.append(f'comment="{comment.replace(chr(34), chr(39))}"')
    rows = [f"{symbol} {_row(row)}" for symbol, row in zip(structure.symbols, values, strict=True)]
    return "\n".join([str(structure.n_atoms), " ".join(line), *rows, ""])


def _row(numbers: FloatArray) -> str:
    return " ".join(f"{number:.12f}" for number in numbers)
