import json
import subprocess
import sys
from pathlib import Path

import ase
import ase.build
import numpy as np
import pymatgen.core as pmg
import pytest
from pymatgen.core.surface import Slab

from rhocast import Density, Structure
from rhocast.errors import InvalidField, InvalidFile, InvalidGrid, InvalidStructure
from rhocast.inputs import Choices, prediction_request, structure_input
from rhocast.wire import submission

EXAMPLES = Path(__file__).parents[2] / "examples"


def sent(structure) -> dict:
    """What a structure is in the body of a request."""
    return json.loads(submission(prediction_request(structure, "density", Choices())).body)["structure"]


def test_a_path_a_name_and_a_text_are_the_same(monkeypatch):
    monkeypatch.chdir(EXAMPLES)
    text = (EXAMPLES / "Si.cif").read_text()
    assert sent(EXAMPLES / "Si.cif") == sent("Si.cif") == sent(text) == {"text": text, "format": None}


def test_a_byte_order_mark_is_no_text(tmp_path, poscar):
    (tmp_path / "POSCAR").write_text(poscar, encoding="utf-8-sig")
    assert sent(tmp_path / "POSCAR")["text"] == poscar


def test_a_structure_is_sent_as_plain_arrays():
    structure = Structure.from_symbols(["Mg", "O"], [[0, 0, 0], [2, 2, 2]], np.eye(3) * 4)
    assert sent(structure) == {
        "symbols": ["Mg", "O"],
        "positions": [[0, 0, 0], [2, 2, 2]],
        "cell": [[4, 0, 0], [0, 4, 0], [0, 0, 4]],
        "charge": 0,
    }


def test_a_molecule_is_sent_without_its_box():
    assert sent(Structure.from_symbols(["He"], [[0, 0, 0]], np.eye(3) * 9, is_periodic=False))["cell"] is None


def test_atoms_with_a_cell_that_repeats_are_a_crystal():
    silicon = ase.build.bulk("Si")
    assert sent(silicon)["cell"] == silicon.cell.array.tolist()
    assert sent(silicon)["symbols"] == ["Si", "Si"]
    slab = ase.build.fcc111("Al", (1, 1, 2), vacuum=5.0)
    assert slab.pbc.tolist() == [True, True, False]
    assert sent(slab)["cell"] is not None


@pytest.mark.parametrize(
    "atoms",
    [
        ase.build.molecule("H2O"),
        ase.Atoms("He", cell=[9, 9, 9]),
        ase.Atoms("He", cell=[9, 9, 0], pbc=[True, True, False]),
    ],
)
def test_atoms_that_do_not_repeat_in_a_full_cell_are_a_molecule(atoms):
    assert sent(atoms)["cell"] is None


def test_the_charge_of_atoms_is_sent():
    atoms = ase.build.molecule("H2O")
    atoms.info["charge"] = -1
    assert sent(atoms)["charge"] == -1


def test_a_pymatgen_structure_is_sent_as_its_dictionary_without_properties():
    structure = pmg.Structure(
        pmg.Lattice.cubic(4.2), ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]], site_properties={"x": [{1}, np.zeros(2)]}
    )
    record = sent(structure)
    assert record["@class"] == "Structure"
    assert pmg.Structure.from_dict(record) == structure.remove_site_property("x")


def test_a_pymatgen_slab_is_a_structure():
    bulk = pmg.Structure(pmg.Lattice.cubic(4.05), ["Al"], [[0, 0, 0]])
    slab = Slab(bulk.lattice, ["Al"], [[0, 0, 0]], (1, 0, 0), bulk, 0.0, np.eye(3))
    record = sent(slab)
    assert record["@class"] == "Structure"
    assert len(pmg.Structure.from_dict(record)) == len(slab)


def test_a_pymatgen_molecule_is_a_molecule():
    molecule = pmg.Molecule(["H", "H"], [[0, 0, 0], [0, 0, 0.74]])
    assert sent(molecule)["@class"] == "Molecule"
    assert pmg.Molecule.from_dict(sent(molecule)) == molecule


def test_a_pymatgen_object_with_numpy_inside_is_json():
    class IStructure:
        __module__ = "pymatgen.core.structure"

        def as_dict(self):
            return {"@class": "X", "sites": [{"xyz": np.arange(3.0), "label": Path("Si")}]}

    assert structure_input(IStructure()).sites == [{"xyz": [0.0, 1.0, 2.0], "label": "Si"}]


def test_numbers_that_are_not_finite_are_refused():
    nan = float("nan")
    cell = np.eye(3) * 4
    with pytest.raises(InvalidStructure, match=r"found a coordinate of atom 1 \(counted from 0\) that is not a number"):
        sent(Structure.from_symbols(["H", "H"], [[0, 0, 0], [0, nan, 0]], cell))
    with pytest.raises(InvalidStructure, match="found a coordinate of the cell that is not a number"):
        sent(Structure.from_symbols(["H"], [[0, 0, 0]], np.full((3, 3), np.inf)))
    with pytest.raises(InvalidStructure, match="found a number in this pymatgen object that is not finite"):
        sent(pmg.Molecule(["H"], [[nan, 0, 0]]))


def test_atoms_without_an_atom_are_refused():
    with pytest.raises(InvalidField, match=r"found symbols = \[\]"):
        sent(ase.Atoms())


@pytest.mark.parametrize("thing", [5, None, {"lattice": 1}, b"text"])
def test_anything_else_is_refused_with_what_is_expected(thing):
    with pytest.raises(InvalidStructure, match=r"found a builtins\.\w+; expected the path or the text .*ASE Atoms"):
        structure_input(thing)


def test_a_missing_file_is_named():
    with pytest.raises(InvalidFile, match=r"found no file at 'POSCAR-9'; expected a structure file \(cif, poscar"):
        structure_input("POSCAR-9")
    with pytest.raises(InvalidFile, match="found no file at"):
        structure_input("x" * 5000)


def test_files_that_are_no_structure_are_refused(tmp_path, monkeypatch):
    with pytest.raises(InvalidFile, match="found a folder at"):
        structure_input(tmp_path)
    file = tmp_path / "file"
    file.write_bytes(b"\x1f\x8b\x08\x00\xff")
    with pytest.raises(InvalidFile, match=r"is not UTF-8 text; .*; unpack or convert it"):
        structure_input(file)
    file.write_text("  \n")
    with pytest.raises(InvalidFile, match="is empty"):
        structure_input(file)
    monkeypatch.setattr("rhocast.inputs.LARGEST_FILE", 2)
    with pytest.raises(InvalidFile, match=r"found 0 MB in .*; is it a density"):
        structure_input(file)


def test_a_file_that_cannot_be_read_is_refused(tmp_path, monkeypatch):
    def refused(_):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "POSCAR").write_text("x")
    monkeypatch.setattr(Path, "read_bytes", refused)
    with pytest.raises(InvalidFile, match=r"cannot be read \(Permission denied\)"):
        structure_input(tmp_path / "POSCAR")


def test_a_grid_is_copied_from_a_density_file(tmp_path, poscar):
    structure = Structure.from_symbols(["He"], [[0, 0, 0]], np.eye(3) * 4)
    Density(structure, np.ones((4, 6, 8))).write(tmp_path / "CHGCAR")
    request = prediction_request(poscar, "density", Choices(like=tmp_path / "CHGCAR"))
    assert request.grid.shape == (4, 6, 8)


def test_a_grid_from_nowhere_is_refused(poscar):
    with pytest.raises(
        InvalidFile, match=r"found no file at 'CHGCAR-9'; expected a CHGCAR, CHG, cube, npz or zarr.zip"
    ):
        prediction_request(poscar, "density", Choices(like="CHGCAR-9"))


def test_a_grid_is_chosen_once(poscar):
    with pytest.raises(InvalidGrid, match="found shape and like; expected one of shape, spacing, encut and like"):
        prediction_request(poscar, "density", Choices(shape=(2, 2, 2), like="CHGCAR"))


def test_the_vacuum_is_sent_where_it_is_chosen(poscar):
    assert prediction_request(poscar, "density", Choices(vacuum=3.0)).vacuum == 3.0
    assert prediction_request(poscar, "density, energy,density", Choices()).want == ["density", "energy"]


def test_neither_pymatgen_nor_ase_is_imported():
    code = "import sys, rhocast.client; sys.exit(bool({'pymatgen', 'ase'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
