"""CHGCAR and CHG, with pymatgen and ASE as independent readers and writers."""

import io
import re
from dataclasses import replace

import numpy as np
import pytest
from ase.calculators.vasp import VaspChargeDensity
from pymatgen.io.vasp import Chgcar

from rhocast.density import Augmentation, Density, read_chgcar, write_chg, write_chgcar
from rhocast.density import chgcar as chgcar_module
from rhocast.errors import InvalidFile
from rhocast.structure import Structure


def text_of(density, write=write_chgcar):
    stream = io.BytesIO()
    write(density, stream)
    return stream.getvalue()


def read(text):
    return read_chgcar(io.BytesIO(text))


def assert_same_atoms(found, expected):
    np.testing.assert_array_equal(found.numbers, expected.numbers)
    np.testing.assert_allclose(found.positions, expected.positions, atol=1e-12)
    np.testing.assert_allclose(found.cell, expected.cell, atol=1e-14)


def assert_same_occupancies(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


SMALL = b"""small
1.0
2.0 0.0 0.0
0.0 2.0 0.0
0.0 0.0 2.0
Na
1
Direct
0.5 0.0 0.25

2 3 1
8.0 16.0 24.0 32.0 40.0
48.0
"""


class TestRoundTrip:
    def test_chgcar_keeps_eleven_digits_and_the_order_of_atoms(self, density):
        found = read(text_of(density))
        assert_same_atoms(found.structure, density.structure)
        np.testing.assert_allclose(found.values, density.values, rtol=5.1e-11)
        assert found.comment == density.comment
        assert (found.magnetization, found.augmentation) == (None, None)

    def test_chg_keeps_five_digits(self, density):
        found = read(text_of(density, write_chg))
        np.testing.assert_allclose(found.values, density.values, rtol=6e-5)
        assert found.comment == density.comment

    @pytest.mark.parametrize("write", [write_chgcar, write_chg])
    def test_the_number_of_electrons_is_exact(self, density, write):
        assert read(text_of(density, write)).n_electrons == pytest.approx(density.n_electrons, rel=1e-9)

    def test_spin_and_occupancies_return_bit_for_bit(self, spin_density):
        found = read(text_of(spin_density))
        np.testing.assert_allclose(found.magnetization, spin_density.magnetization, rtol=5.1e-11)
        assert_same_occupancies(found.augmentation.total, spin_density.augmentation.total)
        assert_same_occupancies(found.augmentation.difference, spin_density.augmentation.difference)
        np.testing.assert_array_equal(found.augmentation.moments, spin_density.augmentation.moments)

    def test_occupancies_of_more_digits_than_vasp_writes_return_too(self, density):
        total = tuple(np.random.default_rng(0).normal(size=n) for n in range(12))
        found = read(text_of(replace(density, augmentation=Augmentation(total))))
        assert_same_occupancies(found.augmentation.total, total)
        assert found.augmentation.difference == ()

    def test_a_chg_with_spin_has_no_moments_and_no_occupancies(self, spin_density):
        found = read(text_of(spin_density, write_chg))
        np.testing.assert_allclose(found.magnetization, spin_density.magnetization, rtol=6e-5)
        assert found.augmentation is None

    @pytest.mark.parametrize("shape", [(1, 1, 1), (2, 1, 3), (5, 3, 1), (3, 40, 2), (11, 13, 17)])
    def test_grids_larger_than_the_pieces_they_are_written_in(self, density, shape, monkeypatch):
        monkeypatch.setattr(chgcar_module, "_VALUES_GATHERED", 21)
        monkeypatch.setattr(chgcar_module, "_VALUES_FORMATTED", 10)
        values = np.random.default_rng(0).random(shape)
        found = read(text_of(Density(density.structure, values)))
        np.testing.assert_allclose(found.values, values, rtol=5.1e-11)

    def test_a_thousand_ions_leave_no_blank_in_the_header_of_occupancies(self):
        structure = Structure(np.full(1001, 3), np.zeros((1001, 3)), np.eye(3))
        augmentation = Augmentation(tuple(np.ones(33) for _ in range(1001)))
        text = text_of(Density(structure, np.ones((2, 2, 2)), augmentation=augmentation))
        assert b"\naugmentation occupancies1001  33\n" in text
        assert len(read(text).augmentation.total) == 1001


class TestText:
    def test_header_is_a_poscar_with_one_group_for_each_change_of_species(self, density):
        lines = text_of(density).decode().splitlines()
        assert lines[5].split() == ["Na", "Cl", "Na", "O", "Fe", "Cl", "Na", "H", "Fe"]
        assert lines[6].split() == list("112211121")
        assert lines[7] == "Direct"
        assert lines[20] == ""
        assert lines[21] == "    7   10    9"

    def test_numbers_are_in_the_columns_of_vasp(self, density):
        values = density.values.copy()
        values[0, 0, 0], values[1, 0, 0] = 1, -1
        lines = text_of(replace(density, values=values)).decode().splitlines()
        assert re.fullmatch(r"( [0-]\.\d{11}E[+-]\d\d){5}", lines[22])
        assert re.match(r" 0\.\d{11}E\+03 -\.\d{11}E\+03", lines[22])

    def test_a_predicted_file_ends_after_its_grid(self, density):
        assert len(text_of(density).splitlines()) == 22 + 126

    def test_headers_of_occupancies_have_vasps_columns_from_ion_ten_on(self, spin_density):
        headers = re.findall(rb"^augmentation.*$", text_of(spin_density), re.M)
        assert headers[0] == b"augmentation occupancies   1  15"
        assert headers[9] == b"augmentation occupancies  10  15"
        assert len(headers) == 24

    def test_moments_stand_five_a_line_before_the_magnetization(self, spin_density):
        lines = text_of(spin_density).decode().splitlines()
        place = max(k for k, line in enumerate(lines) if line == "    7   10    9")
        assert [len(line.split()) for line in lines[place - 3 : place]] == [5, 5, 2]

    def test_unknown_moments_are_written_as_zeros(self, density):
        text = text_of(replace(density, magnetization=density.values)).decode().splitlines()
        place = max(k for k, line in enumerate(text) if line == "    7   10    9")
        assert " ".join(text[place - 3 : place]).split() == ["0.000000000000E+00"] * 12

    def test_a_comment_stays_one_line_and_the_formula_stands_for_none(self, density):
        assert text_of(replace(density, comment="a\nb\r\n c")).startswith(b"a b c\n")
        assert text_of(replace(density, comment=" ")).startswith(b"Na4Cl2O2Fe2H2\n") is False
        assert text_of(replace(density, comment="")).startswith(b"Na4Cl2O2Fe2H2\n")
        assert len(text_of(replace(density, comment="x" * 900), write_chg).splitlines()[0]) < 400

    def test_the_scale_stands_beyond_the_forty_characters_that_vasp_keeps(self, density):
        first = text_of(replace(density, comment="short"), write_chg).decode().splitlines()[0]
        assert first.index("rhocast-scale=") >= 40

    def test_a_grid_that_rounds_exactly_has_no_scale(self, density):
        cube = Structure(density.structure.numbers, density.structure.positions, np.eye(3))
        assert b"rhocast-scale" not in text_of(Density(cube, np.full((4, 4, 4), 0.25)), write_chg)
        assert b"rhocast-scale" not in text_of(density)

    def test_a_sum_that_cancels_is_not_scaled(self, density):
        values = np.random.default_rng(0).normal(size=(6, 6, 6))
        values -= values.mean()
        assert b"rhocast-scale" not in text_of(replace(density, values=values), write_chg)
        assert b"rhocast-scale" not in text_of(replace(density, values=values))

    def test_a_scale_in_the_users_comment_is_dropped(self, density):
        found = read(text_of(replace(density, comment="copied rhocast-scale=1.5")))
        assert found.comment == "copied"
        np.testing.assert_allclose(found.values, density.values, rtol=5.1e-11)

    @pytest.mark.parametrize("field", ["values", "magnetization"])
    def test_values_that_are_no_numbers_are_refused_before_anything_is_written(self, density, field):
        stream = io.BytesIO()
        grid = density.values.copy()
        grid[3, 3, 3] = np.nan
        with pytest.raises(InvalidFile, match="found 1 of 630 values that are NaN"):
            write_chgcar(replace(density, **{field: grid}), stream)
        assert stream.getvalue() == b""


class TestPymatgen:
    def test_reads_what_we_write(self, spin_density, tmp_path):
        spin_density.write(tmp_path / "CHGCAR")
        found = Chgcar.from_file(tmp_path / "CHGCAR")
        volume = spin_density.structure.volume
        assert [site.specie.symbol for site in found.structure] == spin_density.structure.symbols
        np.testing.assert_allclose(found.structure.lattice.matrix, spin_density.structure.cell, atol=1e-12)
        np.testing.assert_allclose(found.structure.cart_coords, spin_density.structure.positions, atol=1e-9)
        np.testing.assert_allclose(found.data["total"], spin_density.values * volume, rtol=5.1e-11)
        np.testing.assert_allclose(found.data["diff"], spin_density.magnetization * volume, rtol=5.1e-11)
        for key, expected in (
            ("total", spin_density.augmentation.total),
            ("diff", spin_density.augmentation.difference),
        ):
            assert_same_occupancies([found.data_aug[key][ion] for ion in range(1, 13)], expected)

    def test_reads_our_chg(self, density, tmp_path):
        density.write(tmp_path / "CHG")
        found = Chgcar.from_file(tmp_path / "CHG")
        np.testing.assert_allclose(found.data["total"], density.values * density.structure.volume, rtol=6e-5)

    def test_writes_what_we_read(self, spin_density, tmp_path):
        spin_density.to_pymatgen().write_file(tmp_path / "CHGCAR")
        found = Density.read(tmp_path / "CHGCAR")
        np.testing.assert_array_equal(found.structure.numbers, spin_density.structure.numbers)
        # pymatgen writes six decimals of the cell.
        volume_ratio = spin_density.structure.volume / found.structure.volume
        np.testing.assert_allclose(found.values, spin_density.values * volume_ratio, rtol=5.1e-11)
        np.testing.assert_allclose(found.magnetization, spin_density.magnetization * volume_ratio, rtol=5.1e-11)
        assert_same_occupancies(found.augmentation.total, spin_density.augmentation.total)
        assert_same_occupancies(found.augmentation.difference, spin_density.augmentation.difference)
        assert found.augmentation.moments is None

    def test_without_spin_converts_without_a_difference(self, density):
        assert set(density.to_pymatgen().data) == {"total"}


class TestAse:
    def test_reads_what_we_write(self, spin_density, tmp_path):
        spin_density.write(tmp_path / "CHGCAR")
        found = VaspChargeDensity(str(tmp_path / "CHGCAR"))
        assert found.atoms[0].get_chemical_symbols() == spin_density.structure.symbols
        np.testing.assert_allclose(found.chg[0], spin_density.values, rtol=1e-10)
        np.testing.assert_allclose(found.chgdiff[0], spin_density.magnetization, rtol=1e-10)

    def test_reads_our_chg(self, spin_density, tmp_path):
        spin_density.write(tmp_path / "CHG")
        found = VaspChargeDensity(str(tmp_path / "CHG"))
        np.testing.assert_allclose(found.chg[0], spin_density.values, rtol=6e-5)
        np.testing.assert_allclose(found.chgdiff[0], spin_density.magnetization, rtol=6e-5)

    @pytest.mark.parametrize(("name", "rtol"), [("CHGCAR", 1e-10), ("CHG", 6e-5)])
    def test_writes_what_we_read(self, spin_density, tmp_path, name, rtol):
        spin_density.to_ase().write(str(tmp_path / name))
        found = Density.read(tmp_path / name)
        np.testing.assert_allclose(found.values, spin_density.values, rtol=rtol)
        np.testing.assert_allclose(found.magnetization, spin_density.magnetization, rtol=rtol)
        np.testing.assert_allclose(found.structure.positions, spin_density.structure.positions, atol=1e-9)

    def test_without_spin_converts_without_a_difference(self, density):
        assert not density.to_ase().is_spin_polarized()


class TestReading:
    def test_values_are_divided_by_the_volume_with_the_first_index_fastest(self):
        found = read(SMALL)
        np.testing.assert_allclose(found.values[:, :, 0], [[1, 3, 5], [2, 4, 6]])
        np.testing.assert_allclose(found.structure.positions, [[1, 0, 0.5]])

    @pytest.mark.parametrize("scale", [b"2.0", b"-8.0", b"2.0 2.0 2.0"])
    def test_scale_may_be_a_factor_a_volume_or_three_factors(self, scale):
        unit = SMALL.replace(b"1.0\n2.0", scale + b"\n1.0").replace(b" 2.0 0.0\n", b" 1.0 0.0\n")
        found = read(unit.replace(b"0.0 2.0\n", b"0.0 1.0\n"))
        np.testing.assert_allclose(found.structure.cell, 2 * np.eye(3))

    @pytest.mark.parametrize("word", [b"Cartesian", b"kartesisch"])
    def test_cartesian_positions_are_scaled_too(self, word):
        text = SMALL.replace(b"1.0\n2.0 0.0", b"0.5\n2.0 0.0").replace(b"Direct", word)
        np.testing.assert_allclose(read(text).structure.positions, [[0.25, 0, 0.125]])

    def test_selective_dynamics_and_data_sets_of_vasp_6_are_passed_over(self):
        text = SMALL.replace(b"Direct", b"Selective dynamics\nDirect").replace(b"0.5 0.0 0.25", b"0.5 0.0 0.25 T T F")
        found = read(text.replace(b"Na\n", b"Na_pv/6f8a2b\n"))
        assert found.structure.symbols == ["Na"]
        np.testing.assert_allclose(found.structure.positions, [[1, 0, 0.5]])

    def test_lines_may_have_any_length_and_end(self):
        lines = SMALL.replace(b"40.0\n48.0", b"40.0 48.0").replace(b"\n", b"\r\n")
        np.testing.assert_array_equal(read(lines).values, read(SMALL).values)
        np.testing.assert_array_equal(read(SMALL.replace(b"16.0", b"16.0\n\n")).values, read(SMALL).values)
        np.testing.assert_array_equal(read(SMALL.rstrip()).values, read(SMALL).values)

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            (b"40.0\n48.0\n", b"40.0\n", "expected 6 values of the charge density, found 5: the file is truncated"),
            (b"48.0\n", b"48.0 56.0\n", "expected 6 values of the charge density, found 7: the shape"),
            (b"24.0", b"*****", r"found '\*\*\*\*\*' as value 3 of the charge density: a number too wide"),
            (b"24.0", b"0.123-100", "found '0.123-100' as value 3 of the charge density: an exponent without its E"),
            (b"24.0", b"nan", "found 'nan' as value 3 of the charge density; expected a finite number"),
            (b"24.0", b"1e999", "found '1e999' as value 3"),
            (b"24.0", b"2.4D+01", "found '2.4D.01' as value 3"),
            (b"16.0 24.0", b"16.0\x0024.0\x00", "found '16.0.x0024.0.x00' as value 2"),
            (b"48.0\n", b"48.0\nanother frame\n", "found 'another frame' after the last grid; expected one frame"),
            (b"48.0\n", b"48.0\n 1.0\n", r"found the moments of the ions and no magnetization of shape \(2, 3, 1\)"),
            (b"2 3 1\n", b"2 3\n", "found '2 3' after the positions; expected the shape of the grid"),
            (b"2 3 1\n", b"2 0 1\n", "found '2 0 1' after the positions"),
            (SMALL[SMALL.index(b"\n2 3 1") :], b"", "found '' after the positions; .* a POSCAR alone holds no density"),
            (SMALL[SMALL.index(b"0.5 0.0 0.25") :], b"", "expected 1 positions, found 0: the file is truncated"),
            (b"0.5 0.0 0.25", b"0.5 0.0", "expected three numbers of the positions, found '0.5 0.0'"),
            (b"Na\n1\n", b"1\n", "found numbers of atoms in line 6, as VASP 4 wrote them; .* insert a line"),
            (b"Na\n", b"Qq\n", r"found \['Qq'\] in line 6; expected chemical symbols"),
            (b"Na\n", b"\n", "found nothing in line 6; expected chemical symbols"),
            (b"Na\n1\n", b"Na\n1 2\n", "found '1 2' in line 7; expected 1 numbers of atoms"),
            (b"Na\n1\n", b"Na\n1000000000000\n", "found '1000000000000' in line 7"),
            (b"1.0\n2.0", b"0.0\n2.0", r"found scale \[0.0\] and a cell of volume 8"),
            (b"1.0\n2.0", b"one\n2.0", "found 'one' as value 1 of the scale factor"),
            (b"1.0\n2.0", b"1.0\n0.0", r"found scale \[1.0\] and a cell of volume 0"),
            (b"small", b"small rhocast-scale=nan", "found rhocast-scale=nan; expected a number near 1"),
            (b"small", b"small rhocast-scale=x", "found rhocast-scale=x; expected a number near 1"),
        ],
    )
    def test_a_damaged_file_is_refused(self, old, new, message):
        assert old in SMALL
        with pytest.raises(InvalidFile, match=message):
            read(SMALL.replace(old, new, 1))

    def test_a_number_cut_inside_its_exponent_is_not_taken_for_a_smaller_one(self, density):
        text = text_of(density)
        assert read(text[:-1]).shape == density.shape
        for n_cut in (2, 4, 6):
            with pytest.raises(InvalidFile, match="at the end of the charge density: the file is truncated"):
                read(text[:-n_cut])

    def test_the_largest_number_of_values_allocates_nothing(self):
        with pytest.raises(InvalidFile, match=r"expected 999999999000000000 values .*, found 6: the file is truncated"):
            read(SMALL.replace(b"2 3 1", b"999999999 1000000 1000"))

    def test_a_binary_file_is_refused(self):
        with pytest.raises(InvalidFile, match="found a line of more than 1000000 bytes"):
            read(b"\x80" * 1_000_001)

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            (b"augmentation occupancies   2  33", b"augmentation occupancies   3  33", "occupancies of ion 2"),
            (b"augmentation occupancies  12   8", b"12", "occupancies of 11 ions; expected 12"),
            (
                b"augmentation occupancies   2  33",
                b"augmentation occupancies (imaginary part)   2  33",
                "occupancies of a non-collinear run cannot be read",
            ),
        ],
    )
    def test_damaged_occupancies_are_refused(self, spin_density, old, new, message):
        with pytest.raises(InvalidFile, match=message):
            read(text_of(spin_density).replace(old, new, 1))

    def test_the_grids_of_a_non_collinear_run_are_refused(self, density):
        text = text_of(replace(density, magnetization=density.values))
        with pytest.raises(InvalidFile, match=r"after the last grid; .* a non-collinear charge, to its own file"):
            read(text + text[text.index(b"    7   10    9") :])
