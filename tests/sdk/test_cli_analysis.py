"""`rhocast compare` and `rhocast analyse`."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from rhocast import application, cli
from rhocast.density import (
    Density,
    FreeAtoms,
    Potential,
    difference_to_promolecule,
    electrostatic_potential,
    hirshfeld_charges,
    planar_average,
)
from rhocast.structure import Structure

SHIPPED = Path(__file__).parents[2] / "models" / "density" / "promolecule.safetensors"
ROCK_SALT = Structure.from_symbols(
    ["Na", "Cl"], [[0, 0, 0], [2.82] * 3], np.array([[0, 2.82, 2.82], [2.82, 0, 2.82], [2.82, 2.82, 0]])
)
LIH = Structure.from_symbols(["Li", "H"], [[4, 4, 3.2], [4, 4, 4.8]], np.diag([8.0, 8, 8.0]))


def smooth(structure: Structure, electrons: float, width: float, shape=(24, 24, 24)) -> Density:
    """Density whose electrons are in one Gaussian about (0, 0, 0) and its images, which is enough to look at."""
    fractions = np.stack(np.meshgrid(*(np.arange(n) / n for n in shape), indexing="ij"), axis=-1)
    fractions = fractions - structure.fractional_positions[0]
    away = np.linalg.norm((fractions - np.rint(fractions)) @ structure.cell, axis=-1)
    values = np.exp(-((away / width) ** 2)) + 1e-9
    return Density(structure, values * electrons / (values.mean() * structure.volume), comment="smooth")


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    smooth(ROCK_SALT, 14, 1.4).write("CHGCAR")
    smooth(ROCK_SALT, 14, 1.5, (20, 20, 20)).write("b.cube")
    smooth(LIH, 2, 0.9, (40, 40, 40)).write("CHGCAR_LiH")
    return tmp_path


def run(*arguments: str):
    return CliRunner().invoke(cli.app, list(arguments), prog_name="rhocast")


def answer(*arguments: str):
    found = run(*arguments, "--json")
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


class TestCompare:
    def test_numbers_with_units_are_shown(self):
        found = run("compare", "b.cube", "CHGCAR")
        assert found.exit_code == 0, found.output
        for words in ("NMAE", " %", "∫|A − B|", "A 14.000000, B 14.000000", "24 × 24 × 24"):
            assert words in found.stdout
        assert "note: A was brought from 20 × 20 × 20 to 24 × 24 × 24 points" in found.stdout
        assert "note: no change of the dipole is given: the dipole of a cell that repeats is undefined" in found.stdout

    def test_the_json_has_the_same(self):
        found = answer("compare", "b.cube", "CHGCAR")
        assert found["nmae_percent"] == pytest.approx(found["absolute_difference_e"] / 14 * 100, rel=1e-6)
        assert found["n_electrons"]["a"] == pytest.approx(14)
        assert found["shape"] == [24, 24, 24]
        assert found["dipole_change_debye"] is None
        assert len(found["notes"]) == 2

    def test_a_molecule_has_a_change_of_its_dipole(self):
        moved = np.roll(Density.read("CHGCAR_LiH").values, 1, axis=2)
        replace(Density.read("CHGCAR_LiH"), values=moved).write("CHGCAR_moved")
        found = answer("compare", "CHGCAR_moved", "CHGCAR_LiH", "--molecule")
        np.testing.assert_allclose(found["dipole_change_e_A"], [0, 0, -2 * 8 / 40], atol=1e-5)
        np.testing.assert_allclose(found["dipole_change_debye"], [0, 0, -0.4 * 4.80320471], atol=1e-4)
        shown = run("compare", "CHGCAR_moved", "CHGCAR_LiH", "--molecule").stdout
        assert "-0.40000) e·Å, |Δ| = 1.9213 D" in shown

    @pytest.mark.parametrize(("name", "options"), [("d.cube", []), ("CHGCAR_d", []), ("d", ["--format", "chg"])])
    def test_the_difference_is_written(self, name, options):
        found = run("compare", "b.cube", "CHGCAR", "-o", name, *options)
        assert (found.exit_code, found.stderr) == (0, f"wrote {name}\n")
        written = Density.read(name, *options[1:])
        assert written.n_electrons == pytest.approx(0, abs=1e-4)
        assert written.comment.startswith("difference A - B, A: regridded from 20 x 20 x 20 points; smooth, B: smooth")


class TestDifference:
    @pytest.mark.parametrize(("name", "options"), [("d.cube", []), ("CHGCAR_d", []), ("d", ["--format", "npz"])])
    def test_that_to_the_shipped_free_atoms_is_written(self, name, options):
        found = run("analyse", "difference", "CHGCAR", "-o", name, *options)
        assert (found.exit_code, found.stderr) == (0, f"wrote {name}\n")
        expected = difference_to_promolecule(Density.read("CHGCAR"), FreeAtoms.read(SHIPPED))
        written = Density.read(name, *options[1:])
        np.testing.assert_allclose(written.values, expected.values, rtol=1e-5, atol=1e-6)
        assert written.comment == "difference to the promolecule; smooth"
        moved = np.abs(expected.values).mean() * ROCK_SALT.volume / 2
        assert f"½ ∫|ρ − Σ free atoms| = {moved:.6f} e" in found.stdout

    def test_a_charged_molecule_is_given_its_charge(self):
        table = str(SHIPPED)
        options = ["--molecule", "--charge", "-2", "--free-atoms", table, "-o", "d.npz"]
        smooth(replace(LIH, numbers=np.array([1, 1])), 4, 0.9, (40, 40, 40)).write("CHGCAR_H2")
        found = run("analyse", "difference", "CHGCAR_H2", *options)
        assert found.exit_code == 0, found.output
        assert Density.read("d.npz").n_electrons == pytest.approx(2, abs=1e-6)
        assert not Density.read("d.npz").structure.is_periodic


class TestProfiles:
    def test_planes_are_given_as_csv(self):
        found = run("analyse", "planar-average", "CHGCAR", "--axis", "a", "--window", "1.0", "--window", "0.7")
        rows = list(csv.DictReader(io.StringIO(found.stdout)))
        assert list(rows[0]) == ["distance_A", "average_density_e_per_A3", "macroscopic_density_e_per_A3"]
        expected = planar_average(Density.read("CHGCAR"), 0)
        np.testing.assert_allclose([float(row["average_density_e_per_A3"]) for row in rows], expected.values)
        assert float(rows[5]["distance_A"]) == pytest.approx(expected.distances[5])

    def test_a_locpot_has_a_profile_in_ev(self):
        Potential(ROCK_SALT, np.random.default_rng(0).normal(size=(4, 4, 6))).write("LOCPOT")
        found = answer("analyse", "planar-average", "LOCPOT")
        assert list(found) == ["distance_A", "average_potential_eV"]
        np.testing.assert_allclose(found["average_potential_eV"], planar_average(Potential.read("LOCPOT"), 2).values)

    def test_a_profile_is_written_whole(self, folder):
        found = run("analyse", "planar-average", "CHGCAR", "-o", "profile.csv")
        assert (found.exit_code, found.stdout, found.stderr) == (0, "", "wrote profile.csv\n")
        assert len((folder / "profile.csv").read_text().splitlines()) == 25

    def test_a_line_goes_between_positions_in_angstrom_or_in_cell_vectors(self):
        one = answer("analyse", "line", "CHGCAR", "--from", "0,0,0", "--to", "2.82,2.82,2.82", "--points", "11")
        along = ["--from", "0,0,0", "--to", "0.5,0.5,0.5", "--points", "11", "--fractional"]
        other = answer("analyse", "line", "CHGCAR", *along, "--molecule")
        assert list(one) == ["distance_A", "x_A", "y_A", "z_A", "density_e_per_A3"]
        assert one["distance_A"][-1] == pytest.approx(2.82 * 3**0.5)
        np.testing.assert_allclose(one["x_A"], other["x_A"])
        assert one["density_e_per_A3"][-1] == pytest.approx(Density.read("CHGCAR").values[12, 12, 12], rel=1e-6)
        np.testing.assert_allclose(other["density_e_per_A3"][-1], one["density_e_per_A3"][-1], rtol=1e-6)


class TestHirshfeld:
    def test_charges_are_those_of_the_shipped_free_atoms(self):
        found = answer("analyse", "hirshfeld", "CHGCAR")
        expected = hirshfeld_charges(Density.read("CHGCAR"), FreeAtoms.read(SHIPPED))
        np.testing.assert_allclose(found["charges_e"], expected.charges, atol=1e-12)
        assert found["symbols"] == ["Na", "Cl"]
        shown = run("analyse", "hirshfeld", "CHGCAR", "--free-atoms", str(SHIPPED)).stdout
        assert f"{expected.charges[0]:+.4f}" in shown
        assert "sum" in shown

    def test_electrons_that_no_atom_reaches_are_a_note(self):
        far = Structure.from_symbols(["H"], [[0, 0, 0]], np.diag([40.0, 40, 40]))
        values = np.zeros((20, 20, 20))
        values[0, 0, 0], values[10, 10, 10] = 0.9 / 8, 0.1 / 8
        Density(far, values).write("CHGCAR_H")
        shown = run("analyse", "hirshfeld", "CHGCAR_H", "--molecule").stdout
        assert "note: 0.1 electrons are beyond the reach of every free atom, and in no charge" in shown

    def test_a_client_without_the_application_is_told_what_to_give(self, monkeypatch, tmp_path):
        monkeypatch.setattr(application, "__file__", str(tmp_path / "site-packages" / "a" / "b" / "c" / "d.py"))
        found = run("analyse", "hirshfeld", "CHGCAR")
        assert found.exit_code == 1
        assert found.stderr.startswith("found no table of free atoms, which the client does not bring; expected")


class TestPotential:
    def test_it_is_shown_and_written(self):
        found = run("analyse", "potential", "CHGCAR", "-o", "LOCPOT")
        assert found.exit_code == 0, found.output
        for words in ("mean of the cell", "Gaussians exp(−r²/w²), w = 0.300 Å", " eV"):
            assert words in found.stdout
        assert found.stderr == "wrote LOCPOT\n"
        expected = electrostatic_potential(Density.read("CHGCAR"), {"Na": 7, "Cl": 7})
        np.testing.assert_allclose(Potential.read("LOCPOT").values, expected.values, atol=1e-6)

    def test_a_molecule_stands_in_free_space(self):
        found = answer("analyse", "potential", "CHGCAR_LiH", "--molecule", "--valence", "Li=1, H=1", "--width", "0.5")
        assert found["zero"] == "infinity"
        assert found["ion_width_A"] == 0.5

    def test_its_vacuum_level_is_given_along_an_axis(self):
        found = answer("analyse", "potential", "CHGCAR_LiH", "--axis", "a")
        assert found["vacuum_gap_A"] == pytest.approx(8)
        assert found["vacuum_position_A"] == pytest.approx(0)
        shown = run("analyse", "potential", "CHGCAR_LiH", "--axis", "a").stdout
        assert f"{found['vacuum_level_eV']:.4f} eV at 0.000 Å, in a gap of 8.00 Å; within 1 Å it varies by" in shown

    def test_a_charged_molecule_is_given_its_charge(self):
        found = run("analyse", "potential", "CHGCAR_LiH", "--molecule", "--valence", "Li=3,H=1", "--charge", "2")
        assert found.exit_code == 0, found.output


def test_bader_charges_are_explained_and_not_given():
    found = run("analyse", "bader", "CHGCAR")
    assert (found.exit_code, found.stdout) == (1, "")
    for words in ("has no cores; expected an all-electron one", "`rhocast analyse hirshfeld`", "AECCAR0 + AECCAR2"):
        assert words in found.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("compare no b.cube", "found no file at 'no'; expected a CHGCAR, CHG, cube, npz or zarr.zip"),
        ("compare b.cube CHGCAR_LiH", "found cells of A and B whose vectors differ by up to 8 Å; expected one cell"),
        ("compare b.cube CHGCAR -o CHGCAR", "found that CHGCAR exists; expected a new name"),
        ("compare b.cube CHGCAR -o no/CHGCAR", "found no folder no; expected one for CHGCAR; make it first"),
        ("compare b.cube CHGCAR -o diff", "found the file name 'diff'; expected a name CHGCAR*"),
        ("analyse planar-average LOCPOT", "found no file at 'LOCPOT'; expected a CHGCAR, CHG, cube, npz"),
        ("analyse planar-average CHGCAR --window 99", "found a window of 99 Å; expected the distance of"),
        ("analyse planar-average CHGCAR -o b.cube", "found that b.cube exists; expected a new name"),
        (
            "analyse line CHGCAR --from 0,0 --to 1,1,1",
            "found the position '0,0'; expected three numbers such as 0,0,1.5",
        ),
        ("analyse line CHGCAR --from 0,0,x --to 1,1,1", "found the position '0,0,x'; expected three numbers"),
        ("analyse line CHGCAR --from 0,0,0 --to 0,0,0", "found a line from [0.0, 0.0, 0.0] to [0.0, 0.0, 0.0] with"),
        ("analyse line CHGCAR --from 0,0,0 --to 9,9,9 --molecule", "found a position outside the box of a molecule"),
        ("analyse difference CHGCAR -o b.cube", "found that b.cube exists; expected a new name"),
        ("analyse difference CHGCAR -o diff", "found the file name 'diff'; expected a name CHGCAR*"),
        ("analyse difference no -o d.cube", "found no file at 'no'; expected a CHGCAR"),
        ("analyse difference CHGCAR --charge 1 -o d.cube", "found 14 electrons; expected 13, of Na 7, Cl 7 and the"),
        ("analyse hirshfeld no", "found no file at 'no'; expected a CHGCAR"),
        ("analyse hirshfeld CHGCAR --free-atoms no", "found no file at 'no'; expected a table of free atoms"),
        ("analyse hirshfeld CHGCAR --free-atoms b.cube", "found no readable table in 'b.cube'"),
        ("analyse hirshfeld CHGCAR --charge 1", "found 14 electrons; expected 13, of Na 7, Cl 7 and the charge 1"),
        (
            "analyse potential CHGCAR -o CHGCAR_pot",
            "found the file name 'CHGCAR_pot'; expected a name LOCPOT* or *.cube",
        ),
        ("analyse potential CHGCAR --valence Na=7", "found no ion charge of Cl; expected one for each element"),
        ("analyse potential CHGCAR --valence Na:7", "found the valence 'Na:7'; expected charges by element"),
        ("analyse potential CHGCAR --width 0.01", "found ions 0.01 Å wide; expected at least"),
        ("analyse potential CHGCAR --axis c", "found at most 1.63 Å between layers of atoms along axis c; expected"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(arguments, sentence):
    found = run(*arguments.split())
    assert found.exit_code == 1, found.output
    assert found.stderr.startswith(sentence)
    assert found.stderr.count("\n") == 1
    assert found.stdout == ""


def test_wrong_usage_has_exit_code_2():
    assert run("analyse", "planar-average", "CHGCAR", "--axis", "x").exit_code == 2
    assert run("compare", "CHGCAR").exit_code == 2
