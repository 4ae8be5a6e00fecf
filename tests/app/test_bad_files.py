"""Files that cannot be read: each is refused with advice, and nothing is queued."""

import gzip
import io
import pickle
import zipfile

import pytest

from rhocast.errors import InvalidFile, InvalidStructure, TooLarge, UnsupportedFormat
from tests.app.conversation import is_answered, posted, refused, uploaded
from tests.app.samples import NACL_CIF, NACL_EXTXYZ, NACL_POSCAR, WATER_XYZ, cif_bomb


def zip_bomb() -> bytes:
    """Ten megabytes of blanks in ten kilobytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("POSCAR", b" " * 10_000_000)
    return buffer.getvalue()


def lines_of(text: str, n_lines: int) -> str:
    return "".join(text.splitlines(keepends=True)[:n_lines])


UNREADABLE = {
    "empty": ("", InvalidFile, ["empty file", "expected a structure", "poscar"]),
    "blank": (" \n\t\n", InvalidFile, ["empty file"]),
    "POSCAR cut in its header": (
        lines_of(NACL_POSCAR, 4),
        UnsupportedFormat,
        ["'NaCl'", "looks like cif, poscar", "complete"],
    ),
    "POSCAR cut in its coordinates": (lines_of(NACL_POSCAR, 9), InvalidFile, ["poscar", "cannot be read", "complete"]),
    "POSCAR cut before its coordinates": (lines_of(NACL_POSCAR, 7), InvalidFile, ["poscar", "complete"]),
    "POSCAR without species": (
        NACL_POSCAR.replace("Na Cl\n", ""),
        InvalidFile,
        ["VASP 4", "expected symbols", "add that line"],
    ),
    "POSCAR of a billion atoms": (
        NACL_POSCAR.replace("1 1\n", "1000000000 1\n"),
        TooLarge,
        ["1000000001 atoms", "at most 10000", "smaller cell"],
    ),
    "POSCAR whose counts overflow": (NACL_POSCAR.replace("1 1\n", "9" * 5000 + "\n"), InvalidFile, ["line 7"]),
    "POSCAR with a negative count": (NACL_POSCAR.replace("1 1\n", "-5 6\n"), InvalidFile, ["'-5 6'", "line 7"]),
    "POSCAR with a superscript count": (NACL_POSCAR.replace("1 1\n", "² 1\n"), InvalidFile, ["'² 1'", "line 7"]),
    "POSCAR with too few counts": (NACL_POSCAR.replace("1 1\n", "2\n"), InvalidFile, ["'2' on line 7", "each symbol"]),
    "xyz of a billion atoms": (WATER_XYZ.replace("3\n", "1000000000\n", 1), TooLarge, ["1000000000 atoms"]),
    "xyz cut short": (lines_of(WATER_XYZ, 4), InvalidFile, ["xyz", "cannot be read", "complete"]),
    "xyz without atoms": ("0\nnothing\n", InvalidStructure, ["no atoms", "at least one", "complete"]),
    "several frames": (NACL_EXTXYZ * 2, InvalidFile, ["2 frames", "expected one structure", "one by one"]),
    "CIF bomb": (cif_bomb(), TooLarge, ["200 sites", "192 symmetry operations", "5000", "P1"]),
    "CIF with an open string": (
        NACL_CIF.replace("'P 1'", "'P 1"),
        InvalidFile,
        ["CIF that cannot be read", "valid CIF syntax", "mend that line"],
    ),
    "CIF without atoms": (
        NACL_CIF.partition("loop_")[0],
        InvalidFile,
        ["without atom sites", "_atom_site_", "add the atoms"],
    ),
    "CIF with two structures": (
        NACL_CIF + NACL_CIF.replace("data_NaCl", "data_other"),
        InvalidFile,
        ["2 structures", "'NaCl', 'other'", "one by one"],
    ),
    "CIF without a cell length": (
        NACL_CIF.replace("_cell_length_a 5.64\n", ""),
        InvalidFile,
        ["cif", "cannot be read", "complete"],
    ),
    "prose": (
        "Dear service,\nplease compute salt.\n",
        UnsupportedFormat,
        ["'Dear service,'", "looks like cif", "format"],
    ),
    "Latin-1": ("Ångström\n".encode("latin-1"), InvalidFile, ["byte 0xc5 at 0", "not UTF-8", "save it as UTF-8"]),
    "UTF-16": (NACL_POSCAR.encode("utf-16"), InvalidFile, ["not UTF-8"]),
    "zeros": (b"Na\x00Cl", UnsupportedFormat, ["binary file", "expected the text"]),
    "pickle": (pickle.dumps({"a": 1}), UnsupportedFormat, ["Python pickle", "plain text"]),
    "zip bomb": (zip_bomb(), UnsupportedFormat, ["zip archive", "plain text"]),
    "gzip": (gzip.compress(NACL_POSCAR.encode()), UnsupportedFormat, ["gzip file", "plain text"]),
}


@pytest.mark.usefixtures("nothing_queued")
@pytest.mark.parametrize("name", UNREADABLE)
def test_a_file_that_cannot_be_read_is_refused_with_advice(client, name):
    content, error, words = UNREADABLE[name]
    refused(uploaded(client, content), error, "expected", *words)


@pytest.mark.usefixtures("nothing_queued")
@pytest.mark.parametrize("name", [name for name, (content, *_) in UNREADABLE.items() if isinstance(content, str)])
def test_the_same_text_in_json_is_refused_alike(client, name):
    content, error, words = UNREADABLE[name]
    if not content:
        assert posted(client, {"text": ""}).status_code == 422
    else:
        refused(posted(client, {"text": content}), error, "expected", *words)


NAMED_WRONGLY = {
    "poscar": ("a\nb\n", InvalidFile, ["2 lines", "at least 8", "cut short"]),
    "xyz": ("²\n\n", InvalidFile, ["'²'", "number of atoms"]),
    "extxyz": ("9" * 5000 + "\n", InvalidFile, ["999", "number of atoms"]),
    "cif": ("no cif", InvalidFile, ["CIF that cannot be read"]),
}


@pytest.mark.usefixtures("nothing_queued")
@pytest.mark.parametrize("name", NAMED_WRONGLY)
def test_a_file_that_is_not_of_the_format_it_is_said_to_have_is_refused(client, name):
    content, error, words = NAMED_WRONGLY[name]
    refused(uploaded(client, content, format=name), error, "expected", *words)


@pytest.mark.usefixtures("nothing_queued")
def test_nul_bytes_inside_json_text_are_refused(client):
    refused(posted(client, {"text": "Na\x00Cl"}), UnsupportedFormat, "binary file", "expected the text")


def test_a_good_file_is_answered_after_all_these(client):
    assert is_answered(client)
