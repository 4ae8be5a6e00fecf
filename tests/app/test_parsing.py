"""Parsing, called as the sandbox calls it."""

import json

import numpy as np
import pytest

from app.structures import parsing
from app.structures.parsing import boxed, check_physical, parsed
from rhocast.errors import InvalidFile, InvalidStructure, TooLarge
from rhocast.structure import Structure
from tests.app.samples import (
    NACL_CIF,
    NACL_EXTXYZ,
    NACL_POSCAR,
    WATER_XYZ,
    crooked_salt,
    decorated_record,
    molecule_record,
    optimade_entry,
    permuted,
    plain,
    pymatgen_record,
    rock_salt,
)


def read(kind: str, content, max_atoms: int = 100) -> Structure:
    return parsed(kind, content if isinstance(content, str) else json.dumps(content), max_atoms, vacuum=5.0)


def whole(**changed) -> dict:
    """A plain structure as the application passes it on: with every field."""
    return {"charge": 0.0, "cell": None} | rock_salt() | changed


CRYSTALS = {
    "cif": NACL_CIF,
    "poscar": NACL_POSCAR,
    "extxyz": NACL_EXTXYZ,
    "pymatgen": pymatgen_record(),
    "optimade": optimade_entry(),
    "plain": whole(),
}


@pytest.mark.parametrize("kind", CRYSTALS)
def test_every_format_says_the_same_of_one_crystal(kind):
    structure = read(kind, CRYSTALS[kind])
    assert structure.symbols == ["Na", "Cl"]
    assert structure.is_periodic
    np.testing.assert_allclose(structure.cell, 5.64 * np.eye(3), atol=1e-12)
    np.testing.assert_allclose(structure.positions, [[0, 0, 0], [2.82, 2.82, 2.82]], atol=1e-12)


@pytest.mark.parametrize(("kind", "content"), [("xyz", WATER_XYZ), ("pymatgen", molecule_record())])
def test_every_format_says_the_same_of_one_molecule(kind, content):
    structure = read(kind, content)
    assert structure.symbols == ["O", "H", "H"]
    assert not structure.is_periodic
    np.testing.assert_allclose(np.diag(structure.cell), np.ptp(structure.positions, axis=0) + 10)


def test_symmetry_of_a_cif_is_applied():
    cif = NACL_CIF.replace("'P 1'", "'F m -3 m'")
    structure = read("cif", cif)
    assert structure.formula in ("Na4Cl4", "Cl4Na4")


def test_a_cartesian_poscar_with_a_scale_is_read():
    text = NACL_POSCAR.replace("1.0\n", "2.0\n", 1).replace("5.64", "2.82")
    cartesian = text.replace("Direct", "Cartesian").replace("0.5 0.5 0.5", "1.41 1.41 1.41")
    np.testing.assert_allclose(read("poscar", cartesian).positions, read("poscar", NACL_POSCAR).positions, atol=1e-9)


def test_names_of_data_sets_on_the_species_line_are_symbols():
    assert read("poscar", NACL_POSCAR.replace("Na Cl", "Na_pv Cl/3ef3e316")).symbols == ["Na", "Cl"]


def test_interleaved_species_stay_in_their_order():
    structure = crooked_salt()
    kept = read("plain", {"charge": 0.0} | permuted(structure, [3, 0, 5, 2, 1, 4, 7, 6]))
    assert kept.symbols == ["Cl", "Na", "Cl", "Na", "Cl", "Na", "Cl", "Na"]


@pytest.mark.parametrize(
    ("kind", "content", "error", "words"),
    [
        ("plain", whole(symbols=["Na", "Q"]), InvalidStructure, "found 'Q'"),
        ("plain", whole(positions=[[0, 0, 0], [0, 0, None]]), InvalidStructure, "coordinate of atom 1"),
        ("plain", whole(cell=[[None, 0, 0], [0, 5, 0], [0, 0, 5]]), InvalidStructure, "coordinate of the cell"),
        ("plain", whole(positions=[[0, 0, 0]]), InvalidStructure, "2 symbols and 1 positions"),
        ("plain", whole(charge=-1), InvalidStructure, "charge of -1 e"),
        ("plain", whole(charge=float("nan")), InvalidStructure, "charge of .nan e"),
        ("plain", whole(cell=(0.9 * np.eye(3)).tolist()), InvalidStructure, "cell vectors of 0.9, 0.9, 0.9 Å"),
        ("plain", whole(cell=[[5, 0, 0], [0, 5, 0], [5, 5, 0]]), InvalidStructure, "vectors that span space"),
        ("plain", whole(positions=[[0, 0, 0], [0, 2e5, 0]]), InvalidStructure, "coordinate of 2e.05 Å"),
        ("plain", whole(positions=[[0, 0, 0], [0, 0.1, 0]]), InvalidStructure, "0.100 Å apart"),
        ("plain", plain(["H"], [[0, 0, None]], None, charge=0), InvalidStructure, "coordinate of atom 0"),
        ("plain", whole(symbols=[], positions=[]), InvalidStructure, "found no atoms"),
        ("xyz", "0\n\n", InvalidStructure, "found no atoms"),
        ("extxyz", NACL_EXTXYZ * 3, InvalidFile, "found 3 frames"),
        ("extxyz", NACL_EXTXYZ.replace("5.64 0 0 0", "0 0 0 0", 1), InvalidStructure, "span no space"),
        ("poscar", NACL_POSCAR.replace("Cl", "Zz"), InvalidStructure, "found 'Zz' on the species line"),
        ("pymatgen", {"@class": "Structure"}, InvalidFile, "sites"),
        ("pymatgen", decorated_record(charge=1), InvalidStructure, "charge of .1 e"),
    ],
)  # fmt: skip
def test_what_is_not_physical_is_refused(kind, content, error, words):
    with pytest.raises(error, match=words):
        read(kind, content)


def test_a_partly_occupied_site_is_refused():
    record = pymatgen_record()
    record["sites"][1]["species"] = [{"element": "Cl", "occu": 0.5}, {"element": "Br", "occu": 0.5}]
    with pytest.raises(InvalidStructure, match=r"partly occupied site .*ordered model"):
        read("pymatgen", record)


def test_too_many_atoms_after_symmetry_are_refused():
    with pytest.raises(TooLarge, match="8 atoms; expected at most 7"):
        read("cif", NACL_CIF.replace("'P 1'", "'F m -3 m'"), max_atoms=7)


def test_a_parser_out_of_memory_blames_the_size(monkeypatch):
    def hungry(_: str) -> Structure:
        raise MemoryError

    monkeypatch.setitem(parsing._READERS, "xyz", hungry)
    with pytest.raises(TooLarge, match="does not fit the parser's memory; expected a smaller"):
        read("xyz", WATER_XYZ)


def test_an_error_without_words_is_named(monkeypatch):
    def wordless(_: str) -> Structure:
        raise KeyError

    monkeypatch.setitem(parsing._READERS, "xyz", wordless)
    with pytest.raises(InvalidFile, match=r"cannot be read \(KeyError\); expected a complete"):
        read("xyz", WATER_XYZ)


def test_atoms_of_a_molecule_do_not_see_the_images_of_its_box():
    pair = Structure.from_symbols(["H", "H"], [[0, 0, 0], [0, 0, 1.2]], np.eye(3), is_periodic=False)
    tight = boxed(pair, vacuum=0.1)
    parsing._check_overlap(Structure(tight.numbers, tight.positions, np.diag([5, 5, 1.4]), is_periodic=False))
    with pytest.raises(InvalidStructure, match=r"0\.200 Å apart"):
        parsing._check_overlap(Structure(tight.numbers, tight.positions, np.diag([5, 5, 1.4]), is_periodic=True))


def test_atoms_overlap_however_many_lattice_vectors_lie_between_them():
    cell = np.array([[5.0, 0.0, 0.0], [1.0, 6.0, 0.0], [0.0, 2.0, 7.0]])
    far = [0.1, 0.0, 0.0] + np.array([3000.0, -2000.0, 1000.0]) @ cell
    with pytest.raises(InvalidStructure, match=r"found atoms \d and \d .* 0.100 Å apart"):
        check_physical(Structure.from_symbols(["Si", "C"], [[0.0, 0.0, 0.0], far], cell))


def test_a_large_empty_cell_is_no_more_work_than_a_small_one():
    check_physical(Structure.from_symbols(["Si", "C"], [[0.0, 0.0, 0.0], [480.0, 480.0, 480.0]], np.eye(3) * 490))
