import pytest

from rhocast.batch_files import is_structure_file


@pytest.mark.parametrize(
    "name", ["a.cif", "A.CIF", "x/y.vasp", "POSCAR", "x/POSCAR_7", "CONTCAR.old", "a.xyz", "a.extxyz", "b\\c.poscar"]
)
def test_what_is_called_like_a_structure_is_taken_for_one(name):
    assert is_structure_file(name)


@pytest.mark.parametrize("name", ["README.md", "a.cif.gz", "._a.cif", "x/.POSCAR", "a.json", "poscar", ""])
def test_other_files_are_not(name):
    assert not is_structure_file(name)
