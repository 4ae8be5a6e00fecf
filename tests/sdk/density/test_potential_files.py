"""LOCPOT and cubes of potentials, with pymatgen and ASE as independent readers."""

import io

import numpy as np
import pytest
from ase.io.cube import read_cube_data
from pymatgen.io.vasp import Locpot

from rhocast.density import Density, Potential
from rhocast.errors import InvalidFile, UnsupportedFormat

BOHR, HARTREE = 0.529177210903, 27.211386245988


@pytest.fixture
def potential(density) -> Potential:
    values = np.random.default_rng(7).normal(-3, 20, density.shape)
    return Potential(density.structure, values, "potential energy of an electron in eV")


def test_pymatgen_reads_the_same_locpot(potential, tmp_path):
    potential.write(tmp_path / "LOCPOT")
    found = Locpot.from_file(tmp_path / "LOCPOT")
    np.testing.assert_allclose(found.data["total"], potential.values, atol=1e-9)
    np.testing.assert_allclose(found.structure.lattice.matrix, potential.structure.cell)
    assert [site.specie.symbol for site in found.structure] == potential.structure.symbols


def test_we_read_what_pymatgen_writes(potential, tmp_path):
    potential.write(tmp_path / "LOCPOT")
    Locpot.from_file(tmp_path / "LOCPOT").write_file(tmp_path / "again")
    np.testing.assert_allclose(Potential.read(tmp_path / "again").values, potential.values, atol=1e-8)


def test_it_is_read_back(potential, tmp_path):
    potential.write(tmp_path / "LOCPOT_mine")
    found = Potential.read(str(tmp_path / "LOCPOT_mine"))
    np.testing.assert_allclose(found.values, potential.values, atol=1e-9)
    assert found.comment == potential.comment
    assert b"rhocast-scale" not in (tmp_path / "LOCPOT_mine").read_bytes()


def test_of_up_and_down_it_is_the_mean(potential, tmp_path):
    potential.write(tmp_path / "LOCPOT")
    Potential(potential.structure, potential.values + 0.5).write(tmp_path / "LOCPOT_down")
    up, down = ((tmp_path / name).read_text().splitlines() for name in ("LOCPOT", "LOCPOT_down"))
    header = next(index for index, line in enumerate(up) if line.split() == ["7", "10", "9"])
    (tmp_path / "LOCPOT_both").write_text("\n".join([*up, *down[header:], ""]))
    found = Potential.read(tmp_path / "LOCPOT_both")
    np.testing.assert_allclose(found.values, potential.values + 0.25, atol=1e-9)


def test_ase_reads_the_cube_as_that_of_a_positive_charge_in_hartree(potential, tmp_path):
    potential.write(tmp_path / "potential.cube")
    values, atoms = read_cube_data(str(tmp_path / "potential.cube"))
    np.testing.assert_allclose(values, -potential.values / HARTREE, rtol=6e-6)
    np.testing.assert_allclose(atoms.positions, potential.structure.positions, atol=1e-6)
    first = (tmp_path / "potential.cube").read_text().splitlines()[0]
    assert first == "electrostatic potential in hartree/e, - U of: potential energy of an electron in eV"


def test_a_name_that_says_no_format_is_refused(potential, tmp_path):
    with pytest.raises(UnsupportedFormat, match=r"found the file name 'CHGCAR'; expected a name LOCPOT\* or \*.cube"):
        potential.write(tmp_path / "CHGCAR")


@pytest.mark.parametrize("name", ["LOCPOT", "a.cube"])
def test_values_that_are_no_numbers_are_refused(potential, tmp_path, name):
    with pytest.raises(InvalidFile, match="found 630 of 630 values that are NaN"):
        Potential(potential.structure, potential.values * np.nan).write(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_named(potential, tmp_path):
    with pytest.raises(FileNotFoundError, match="cannot write the potential: the folder does not exist"):
        potential.write(tmp_path / "missing" / "LOCPOT")


def test_a_truncated_locpot_is_refused(potential, tmp_path):
    potential.write(tmp_path / "LOCPOT")
    text = (tmp_path / "LOCPOT").read_bytes()
    (tmp_path / "LOCPOT").write_bytes(text[: len(text) // 2])
    with pytest.raises(InvalidFile, match="truncated"):
        Potential.read(tmp_path / "LOCPOT")


def test_a_locpot_is_no_density_times_a_volume(density):
    stream = io.BytesIO()
    from rhocast.density.potential_files import read_locpot, write_locpot

    write_locpot(Potential(density.structure, density.values), stream)
    stream.seek(0)
    np.testing.assert_allclose(read_locpot(stream).values, density.values, rtol=1e-9)
    assert isinstance(density, Density)
