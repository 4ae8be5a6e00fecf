"""Cheap checks of a structure file before a parser sees it: a few kilobytes can cost a parser minutes."""

import math
import re

import gemmi

from rhocast.errors import InvalidFile, InvalidStructure, TooLarge, UnsupportedFormat
from rhocast.schemas import STRUCTURE_FORMATS, StructureFormat

MAX_GENERAL_POSITIONS = 5_000
"""Sites times symmetry operations of a CIF; pymatgen needs about a second for 2,000 of them."""

_COUNT = re.compile(r"[0-9]{1,18}")
_BINARY_STARTS = {
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "a gzip file",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ": "an xz file",
    b"\x28\xb5\x2f\xfd": "a zstd file",
    b"\x89HDF": "an HDF5 file",
    b"\x80\x02": "a Python pickle",
    b"\x80\x03": "a Python pickle",
    b"\x80\x04": "a Python pickle",
    b"\x80\x05": "a Python pickle",
}


def decoded(content: bytes) -> str:
    """Text of an uploaded file.

    Raises:
        InvalidFile: If it is empty or not UTF-8.
        UnsupportedFormat: If it is an archive or a pickle.
    """
    for start, kind in _BINARY_STARTS.items():
        if content.startswith(start):
            raise UnsupportedFormat(
                f"found {kind}; expected the text of a structure file; send {_formats()} as plain text"
            )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidFile(
            f"found byte 0x{content[error.start]:02x} at {error.start}, which is not UTF-8; expected a text file; "
            "save it as UTF-8"
        ) from error
    check_text(text)
    return text


def check_text(text: str) -> None:
    """Refuses a text that can be no structure file.

    Raises:
        InvalidFile: If it is empty.
        UnsupportedFormat: If it is not text at all.
    """
    if not text.strip():
        raise InvalidFile(f"found an empty file; expected a structure; send it as {_formats()}")
    if "\x00" in text:
        raise UnsupportedFormat(f"found a binary file; expected the text of a structure file; send {_formats()}")


def structure_format(text: str) -> StructureFormat:
    """The format of a structure file, by its content.

    Raises:
        UnsupportedFormat: If it looks like none of those that are read.
    """
    lines = text.splitlines()
    if re.search(r"^\s*data_", text, re.MULTILINE) and "_cell_" in text:
        return "cif"
    if text.lstrip().startswith("{"):
        return "optimade"
    # Before xyz: the comment of a POSCAR may be a number.
    if len(lines) >= 7 and all(_are_numbers(line, 3) for line in lines[2:5]) and _are_numbers(lines[1], 1):
        return "poscar"
    if lines[0].strip().isdecimal():
        return "extxyz" if len(lines) > 1 and "lattice=" in lines[1].lower() else "xyz"
    raise UnsupportedFormat(
        f"found a file that starts with {lines[0][:40]!r}; expected what looks like {_formats()}; "
        "check that it is complete, or name its format"
    )


def check_size(text: str, kind: StructureFormat, max_atoms: int) -> None:
    """Refuses what would be too much work to parse.

    Args:
        text: The file.
        kind: Its format.
        max_atoms: Largest structure that is accepted.

    Raises:
        InvalidFile: If the header cannot be read.
        InvalidStructure: If sites are partly occupied.
        TooLarge: If it claims more atoms than that.
    """
    if kind == "cif":
        _check_cif(text, max_atoms)
        return
    if kind == "optimade":
        return  # it lists every atom: reading it costs no more than its length
    claimed = _poscar_atoms(text) if kind == "poscar" else _xyz_atoms(text)
    if claimed > max_atoms:
        raise TooLarge(f"found a {kind} of {claimed} atoms; expected at most {max_atoms}; send a smaller cell")


def structure_block(text: str) -> gemmi.cif.Block:
    """The block of a CIF that holds the atoms; journals put others before it.

    Raises:
        InvalidFile: If the text is no CIF, or has no such block, or several.
    """
    try:
        # Names of authors have their accents, which gemmi refuses; nothing that is read here has any.
        document = gemmi.cif.read_string(text.encode("ascii", "replace").decode("ascii"))
    except (ValueError, RuntimeError) as error:
        raise InvalidFile(
            f"found a CIF that cannot be read ({error}); expected valid CIF syntax; mend that line"
        ) from error
    blocks = [
        block for block in document if block.find_loop("_atom_site_label") or block.find_loop("_atom_site_type_symbol")
    ]
    if not blocks:
        raise InvalidFile("found a CIF without atom sites; expected a loop of _atom_site_…; add the atoms")
    if len(blocks) > 1:
        names = ", ".join(repr(block.name[:20]) for block in blocks[:3])
        raise InvalidFile(f"found a CIF with {len(blocks)} structures ({names}…); expected one; send them one by one")
    return blocks[0]


def _check_cif(text: str, max_atoms: int) -> None:
    block = structure_block(text)
    n_sites = len(block.find_loop("_atom_site_label") or block.find_loop("_atom_site_type_symbol"))
    for value in block.find_loop("_atom_site_occupancy"):
        occupancy = gemmi.cif.as_number(value)
        if occupancy < 1 - 1e-6:  # '.' and '?' are NaN: not stated, so full
            raise InvalidStructure(
                f"found a site with occupancy {occupancy:g}; expected fully occupied sites; send an ordered model of it"
            )
    general = n_sites * _n_operations(block)
    if general > min(MAX_GENERAL_POSITIONS, 200 * max_atoms):
        raise TooLarge(
            f"found a CIF of {n_sites} sites and {_n_operations(block)} symmetry operations; expected at most "
            f"{MAX_GENERAL_POSITIONS} positions in all; send the expanded cell in P1 or as a POSCAR"
        )


def _n_operations(block: gemmi.cif.Block) -> int:
    for tag in ("_space_group_symop_operation_xyz", "_symmetry_equiv_pos_as_xyz", "_space_group_symop.operation_xyz"):
        if listed := len(block.find_loop(tag)):
            return listed
    for tag in ("_space_group_name_H-M_alt", "_symmetry_space_group_name_H-M"):
        name = block.find_value(tag)
        group = gemmi.find_spacegroup_by_name(gemmi.cif.as_string(name)) if name else None
        if group:
            return len(group.operations())
    for tag in ("_space_group_IT_number", "_symmetry_Int_Tables_number"):
        number = block.find_value(tag)
        group = gemmi.find_spacegroup_by_number(int(number)) if number and _COUNT.fullmatch(number) else None
        if group:
            return len(group.operations())
    return 1


def _poscar_atoms(text: str) -> int:
    lines = text.splitlines()
    if len(lines) < 7:
        raise InvalidFile(f"found a POSCAR of {len(lines)} lines; expected at least 8; is it cut short?")
    if _are_numbers(lines[5], 1):
        raise InvalidFile(
            f"found counts {lines[5].strip()!r} where the species line should be (a VASP 4 file); "
            "expected symbols such as 'Na Cl' on line 6; add that line"
        )
    species, counts = lines[5].split(), lines[6].split()
    # One to one: pymatgen would read 'Na Cl' over '2' as two atoms of Na.
    if len(counts) != len(species) or not all(_COUNT.fullmatch(word) for word in counts):
        raise InvalidFile(
            f"found {lines[6].strip()[:40]!r} on line 7 of a POSCAR; expected the number of atoms of each species; "
            "write one number for each symbol of line 6"
        )
    return sum(map(int, counts))


def _xyz_atoms(text: str) -> int:
    first = text.splitlines()[0].strip()
    if not _COUNT.fullmatch(first):
        raise InvalidFile(
            f"found {first[:40]!r} on the first line of an xyz file; expected the number of atoms; write it there"
        )
    return int(first)


def _are_numbers(line: str, at_least: int) -> bool:
    words = line.split()
    try:
        return len(words) >= at_least and all(math.isfinite(float(word)) for word in words[:at_least])
    except ValueError:
        return False


def _formats() -> str:
    return ", ".join(STRUCTURE_FORMATS[:-1]) + " or " + STRUCTURE_FORMATS[-1]
