"""Structure files against the programs that read them."""

import io
import sys

import ase.io
import numpy as np
import pytest
from pymatgen.core import Molecule
from pymatgen.core import Structure as PymatgenStructure

from rhocast import Structure
from rhocast.errors import InvalidStructure, UnsupportedFormat
from rhocast.structure_files import Facts, structure_file_format, structure_text

SKEWED = np.array([[4.1, 0.2, 0.0], [-0.7, 5.3, 0.1], [0.5, 1.1, 6.0]])
FORMATS = {"cif": "cif", "poscar": "vasp", "extxyz": "extxyz"}


@pytest.fixture
def crystal() -> Structure:
    """Four atoms of two kinds in turn, some outside their cell, in no symmetry."""
    fractional = np.array([[0.1, 0.2, 0.3], [1.4, -0.3, 0.6], [0.75, 0.5, 0.05], [0.3, 0.8, 2.9]])
    return Structure.from_symbols(["Na", "Cl", "Na", "Cl"], fractional @ SKEWED, SKEWED)


@pytest.fixture
def molecule() -> Structure:
    positions = [[5.0, 5.0, 5.0], [5.96, 5.0, 5.0], [4.76, 5.93, 5.0]]
    return Structure.from_symbols(["O", "H", "H"], positions, 10 * np.eye(3), is_periodic=False)


def mirrored(structure: Structure) -> Structure:
    """The structure in a mirror: its cell is left-handed."""
    mirror = np.diag([1.0, 1.0, -1.0])
    return Structure(structure.numbers, structure.positions @ mirror, structure.cell @ mirror)


def read(text: str, format: str):
    return ase.io.read(io.StringIO(text), format=FORMATS[format])


def triple_product(atoms) -> float:
    """Volume in Å³ that three bonds span, with a sign that a mirror turns."""
    return float(np.linalg.det([atoms.get_distance(0, k, mic=True, vector=True) for k in (1, 2, 3)]))


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("is_mirrored", [False, True])
def test_a_file_holds_the_structure(crystal, format, is_mirrored):
    sent = mirrored(crystal) if is_mirrored else crystal
    found, expected = read(structure_text(sent, format, "a comment"), format), sent.to_ase()
    assert found.get_chemical_symbols() == sent.symbols
    assert found.pbc.all()
    assert np.allclose(found.get_all_distances(mic=True), expected.get_all_distances(mic=True), atol=1e-9)
    assert triple_product(found) == pytest.approx(triple_product(expected), abs=1e-8)
    if format != "cif":
        assert np.allclose(found.positions, sent.positions, atol=1e-10)
        assert np.allclose(found.cell.array, sent.cell, atol=1e-10)


def test_pymatgen_reads_the_same_crystal_in_a_cif(crystal):
    found = PymatgenStructure.from_str(structure_text(mirrored(crystal), "cif"), fmt="cif")
    assert np.allclose(sorted(found.lattice.abc), sorted(crystal.to_pymatgen().lattice.abc))
    assert found.volume == pytest.approx(crystal.volume)


def test_a_comment_and_a_formula_stand_where_each_format_has_them(crystal):
    assert structure_text(crystal, "cif", "made today").startswith("# made today\ndata_Na2Cl2\n")
    assert structure_text(crystal, "cif").startswith("data_Na2Cl2\n")
    assert structure_text(crystal, "poscar", "made today").startswith("made today\n")
    assert structure_text(crystal, "poscar").startswith("Na2Cl2\n")
    assert read(structure_text(crystal, "extxyz", 'made "today"'), "extxyz").info["comment"] == "made 'today'"
    assert "comment" not in structure_text(crystal, "extxyz")


def test_an_extxyz_holds_energy_forces_and_stress(crystal):
    forces, stress = np.arange(12.0).reshape(4, 3), np.diag([0.1, 0.2, 0.3])
    found = read(structure_text(crystal, "extxyz", facts=Facts(-3.5, forces, stress)), "extxyz")
    assert found.get_potential_energy() == -3.5
    assert found.get_forces().tolist() == forces.tolist()
    assert found.get_stress(voigt=False).tolist() == stress.tolist()
    bare = read(structure_text(crystal, "extxyz", facts=Facts(-3.5, forces)), "extxyz")
    assert "stress" not in bare.calc.results


def test_a_molecule_has_a_box_in_a_poscar_none_in_an_extxyz_and_no_cif(molecule):
    assert np.allclose(read(structure_text(molecule, "poscar"), "poscar").cell.array, molecule.cell)
    found = read(structure_text(molecule, "extxyz"), "extxyz")
    assert not found.pbc.any()
    assert not found.cell.array.any()
    with pytest.raises(InvalidStructure, match="found a molecule; expected a crystal for a CIF"):
        structure_text(molecule, "cif")


@pytest.mark.parametrize(
    ("name", "format", "expected"),
    [
        ("POSCAR", None, "poscar"),
        ("a/CONTCAR.relaxed", None, "poscar"),
        ("Si.vasp", None, "poscar"),
        ("Si.CIF", None, "cif"),
        ("si.xyz", None, "extxyz"),
        ("si.extxyz", None, "extxyz"),
        ("out", "cif", "cif"),
    ],
)
def test_a_name_says_its_format(name, format, expected):
    assert structure_file_format(name, format) == expected


def test_a_name_or_format_that_says_nothing_is_refused():
    with pytest.raises(UnsupportedFormat, match=r"found the name 'out.pdb'; expected a name that begins with POSCAR"):
        structure_file_format("dir/out.pdb")
    with pytest.raises(UnsupportedFormat, match="found the format 'pdb'"):
        structure_file_format("POSCAR", "pdb")


def test_a_structure_writes_itself_whole_or_not_at_all(crystal, molecule, tmp_path):
    crystal.write(tmp_path / "out.cif")
    assert (tmp_path / "out.cif").read_text() == structure_text(crystal, "cif")
    crystal.write(tmp_path / "out", "poscar")
    assert (tmp_path / "out").read_text() == structure_text(crystal, "poscar")
    with pytest.raises(InvalidStructure, match="found a molecule"):
        molecule.write(tmp_path / "out.cif")
    with pytest.raises(OSError, match="folder"):
        crystal.write(tmp_path / "missing" / "out.cif")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "out.cif"]


def test_structures_are_those_of_pymatgen_and_ase(crystal, molecule):
    theirs = crystal.to_pymatgen()
    assert isinstance(theirs, PymatgenStructure)
    assert np.allclose(theirs.cart_coords, crystal.positions)
    assert np.allclose(theirs.lattice.matrix, crystal.cell)
    assert isinstance(molecule.to_pymatgen(), Molecule)
    assert np.allclose(molecule.to_pymatgen().cart_coords, molecule.positions)
    assert np.allclose(crystal.to_ase().cell.array, crystal.cell)
    assert crystal.to_ase().pbc.all()
    assert not molecule.to_ase().pbc.any()


@pytest.mark.parametrize(
    ("library", "module", "convert"), [("pymatgen", "pymatgen.core", "to_pymatgen"), ("ase", "ase", "to_ase")]
)
def test_without_the_library_the_error_says_how_to_install_it(crystal, monkeypatch, library, module, convert):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"pip install 'rhocast\[{library}\]'"):
        getattr(crystal, convert)()
