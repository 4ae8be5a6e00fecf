"""Cheap checks before a parser sees a file."""

import bz2
import lzma
import pickle

import pytest

from app.structures.preflight import check_size, check_text, decoded, structure_format
from rhocast.errors import InvalidFile, InvalidStructure, TooLarge, UnsupportedFormat
from tests.app.samples import NACL_CIF, NACL_EXTXYZ, NACL_POSCAR, WATER_XYZ, cif_bomb

HERMANN = "_symmetry_space_group_name_H-M 'P 1'"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (NACL_CIF, "cif"),
        (NACL_POSCAR, "poscar"),
        (NACL_POSCAR.replace("NaCl", "8", 1), "poscar"),
        (NACL_EXTXYZ, "extxyz"),
        (WATER_XYZ, "xyz"),
        ("1\n", "xyz"),
    ],
)
def test_the_content_tells_the_format(text, kind):
    assert structure_format(text) == kind
    assert decoded(text.encode()) == text
    check_size(text, kind, 100)


@pytest.mark.parametrize(
    "text", ["²\n\nH 0 0 0\n", "data_x\n", "\n", "a\nb\nc\nd\ne\nf\ng\n", "a\n1\n1 0 0\nx y z\n\n\n\n"]
)
def test_what_looks_like_no_format_is_refused(text):
    with pytest.raises(UnsupportedFormat, match="expected what looks like cif, poscar, extxyz, xyz or optimade; check"):
        structure_format(text)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (bz2.compress(b"x"), "bzip2"),
        (lzma.compress(b"x"), "xz"),
        *((pickle.dumps([1], protocol), "pickle") for protocol in (2, 3, 4, 5)),
        (b"\x89HDF\r\n", "HDF5"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
    ],
)
def test_archives_and_pickles_are_told_by_their_first_bytes(content, kind):
    with pytest.raises(UnsupportedFormat, match=f"{kind}.*; expected the text"):
        decoded(content)


def test_a_byte_order_mark_is_no_content():
    assert decoded(b"\xef\xbb\xbfNa") == "Na"
    with pytest.raises(InvalidFile, match="empty file; expected a structure"):
        decoded(b"\xef\xbb\xbf")
    with pytest.raises(UnsupportedFormat, match="binary file"):
        check_text("a\x00")


def cif(symmetry: str, n_sites: int = 1) -> str:
    sites = "\n".join(f"C{k} C 0 0 {k / n_sites} ." for k in range(n_sites))
    return NACL_CIF.replace(HERMANN, symmetry).partition("Na1")[0] + sites + "\n"


@pytest.mark.parametrize(
    "symmetry",
    [
        "_symmetry_space_group_name_H-M 'F m -3 m'",
        "_space_group_name_H-M_alt 'F m -3 m'",
        "_space_group_IT_number 225",
        "_symmetry_Int_Tables_number 225",
        "loop_\n_symmetry_equiv_pos_as_xyz\n" + "'x,y,z'\n" * 192,
        "loop_\n_space_group_symop_operation_xyz\n" + "'x,y,z'\n" * 192,
    ],
)
def test_a_bomb_is_found_however_its_symmetry_is_written(symmetry):
    check_size(cif(symmetry, n_sites=26), "cif", 10_000)
    with pytest.raises(TooLarge, match="27 sites and 192 symmetry operations; expected at most 5000"):
        check_size(cif(symmetry, n_sites=27), "cif", 10_000)


@pytest.mark.parametrize("symmetry", ["", "_space_group_IT_number ?", "_space_group_IT_number 999"])
def test_a_cif_that_names_no_group_has_one_operation(symmetry):
    check_size(cif(symmetry, n_sites=5000), "cif", 10_000)


def test_a_bomb_for_a_small_service_is_smaller():
    with pytest.raises(TooLarge, match="200 sites"):
        check_size(cif_bomb(), "cif", 10)


@pytest.mark.parametrize(
    ("text", "kind", "error", "words"),
    [
        (NACL_CIF.replace("0.5 1.0", "0.5 0.25"), "cif", InvalidStructure, "occupancy 0.25; expected fully"),
        ("data_x\nloop_\n", "cif", InvalidFile, "CIF that cannot be read .*; expected valid CIF syntax; mend"),
        ("data_x\n_cell_length_a 1\n", "cif", InvalidFile, "without atom sites; expected a loop"),
        (NACL_CIF + NACL_CIF.replace("data_NaCl", "data_2"), "cif", InvalidFile, "2 structures"),
        ("a\n1\n", "poscar", InvalidFile, "POSCAR of 2 lines; expected at least 8"),
        (NACL_POSCAR.replace("Na Cl\n", ""), "poscar", InvalidFile, "VASP 4 file.*add that line"),
        (NACL_POSCAR.replace("1 1\n", "one 1\n"), "poscar", InvalidFile, "'one 1' on line 7"),
        (NACL_POSCAR.replace("1 1\n", "2\n"), "poscar", InvalidFile, "'2' on line 7"),
        (NACL_POSCAR.replace("1 1\n", "60 60\n"), "poscar", TooLarge, "poscar of 120 atoms; expected at most 100"),
        ("101\n", "xyz", TooLarge, "xyz of 101 atoms"),
        ("many\n", "extxyz", InvalidFile, "'many' on the first line .*; expected the number of atoms"),
    ],
)  # fmt: skip
def test_what_would_be_too_much_work_is_refused(text, kind, error, words):
    with pytest.raises(error, match=words):
        check_size(text, kind, 100)
