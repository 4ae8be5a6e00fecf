"""Gaussian cube, with ASE as independent reader and writer."""

import io
import re
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.io.cube import read_cube as ase_read_cube
from ase.io.cube import write_cube as ase_write_cube

from rhocast.density import Density, read_cube, write_cube
from rhocast.density.cube import BOHR
from rhocast.errors import InvalidFile
from rhocast.structure import Structure


def text_of(density):
    stream = io.BytesIO()
    write_cube(density, stream)
    return stream.getvalue()


def read(text, **options):
    return read_cube(io.BytesIO(text), **options)


SMALL = b"""first
second
1 0.5 0.0 0.0
2 1.0 0.0 0.0
1 0.0 2.0 0.0
3 0.0 0.0 1.0
8 8.0 1.5 0.0 1.0
1.0 2.0 3.0
4.0 5.0 6.0
"""


class TestRoundTrip:
    def test_keeps_six_digits_and_the_atoms(self, density):
        found = read(text_of(density))
        np.testing.assert_array_equal(found.structure.numbers, density.structure.numbers)
        np.testing.assert_allclose(found.structure.positions, density.structure.positions, atol=1e-7)
        np.testing.assert_allclose(found.structure.cell, density.structure.cell, atol=1e-7)
        np.testing.assert_allclose(found.values, density.values, rtol=6e-6)
        assert found.comment == density.comment

    def test_the_number_of_electrons_is_exact(self, density):
        assert read(text_of(density)).n_electrons == pytest.approx(density.n_electrons, rel=1e-9)

    def test_periodicity_is_what_the_reader_says(self, density):
        assert read(text_of(density)).structure.is_periodic
        assert not read(text_of(density), is_periodic=False).structure.is_periodic

    @pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 5), (2, 3, 6), (3, 2, 7), (2, 2, 13), (130, 150, 2)])
    def test_rows_of_any_length(self, density, shape):
        values = np.random.default_rng(0).random(shape)
        np.testing.assert_allclose(read(text_of(Density(density.structure, values))).values, values, rtol=6e-6)

    def test_far_atoms_keep_a_blank_between_columns(self):
        structure = Structure.from_symbols(["H", "H"], [[-123456.7, -1, 9.9999999999], [1e9, 2, 3]], np.eye(3) * 50)
        found = read(text_of(Density(structure, np.ones((2, 2, 2)))))
        np.testing.assert_allclose(found.structure.positions, structure.positions, rtol=1e-6)


class TestText:
    def test_every_row_along_the_last_axis_starts_a_line(self, density):
        lines = text_of(density).decode().splitlines()[6 + 12 :]
        assert len(lines) == 7 * 10 * 2
        assert all(re.fullmatch(r"( [ -]\d\.\d{5}E[+-]\d\d){6}", line) for line in lines[::2])

    def test_header_columns_are_those_of_gaussian(self, density):
        lines = text_of(density).decode().splitlines()
        assert lines[2] == "   12" + " 0.000000000" * 3
        assert all(re.fullmatch(r" {0,4}\d+( +-?\d+\.\d+){3}", line) and len(line) == 41 for line in lines[3:6])
        assert all(len(line) == 53 for line in lines[6:18])

    def test_a_cell_without_volume_is_written_as_it_is(self, density):
        flat = Structure(density.structure.numbers, density.structure.positions, np.zeros((3, 3)))
        assert text_of(Density(flat, density.values)).count(b"\n") == 18 + 140

    def test_values_that_are_no_numbers_are_refused(self, density):
        with pytest.raises(InvalidFile, match="found 630 of 630 values"):
            text_of(replace(density, values=density.values * np.inf))


class TestAse:
    def test_reads_what_we_write(self, density):
        found = ase_read_cube(io.StringIO(text_of(density).decode()))
        np.testing.assert_array_equal(found["atoms"].numbers, density.structure.numbers)
        np.testing.assert_allclose(found["atoms"].positions, density.structure.positions, atol=1e-6)
        np.testing.assert_allclose(found["atoms"].cell[:], density.structure.cell, atol=1e-6)
        np.testing.assert_allclose(found["data"], density.values * BOHR**3, rtol=6e-6)

    def test_writes_what_we_read(self, density, tmp_path):
        atoms = density.structure
        with (tmp_path / "ase.cube").open("w") as stream:
            ase_atoms = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell)
            ase_write_cube(stream, ase_atoms, data=density.values * BOHR**3, origin=[1, 2, 3])
        found = Density.read(tmp_path / "ase.cube")
        np.testing.assert_allclose(found.values, density.values, rtol=1e-6)
        np.testing.assert_allclose(found.structure.cell, atoms.cell, atol=1e-5)
        np.testing.assert_allclose(found.structure.positions, atoms.positions - [1, 2, 3], atol=1e-5)


class TestReading:
    def test_lengths_are_in_bohr_and_the_grid_starts_at_zero(self):
        found = read(SMALL)
        np.testing.assert_allclose(found.structure.cell, np.diag([2, 2, 3]) * BOHR)
        np.testing.assert_allclose(found.structure.positions, [[BOHR, 0, BOHR]])
        np.testing.assert_allclose(found.values * BOHR**3, [[[1, 2, 3]], [[4, 5, 6]]])

    def test_negative_numbers_of_points_mean_angstrom(self):
        text = SMALL.replace(b"\n2 1.0", b"\n-2 1.0").replace(b"\n1 0.0 2", b"\n-1 0.0 2").replace(b"\n3 0", b"\n-3 0")
        found = read(text)
        np.testing.assert_allclose(found.structure.cell, np.diag([2, 2, 3]))
        np.testing.assert_allclose(found.structure.positions, [[1, 0, 1]])
        np.testing.assert_allclose(found.values, read(SMALL).values)

    def test_one_value_a_point_may_be_said(self):
        assert read(SMALL.replace(b"1 0.5 0.0 0.0", b"1 0.5 0.0 0.0 1")).shape == (2, 1, 3)

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            (b"1 0.5 0.0 0.0", b"-1 0.5 0.0 0.0", "the cube holds orbitals or several values"),
            (b"1 0.5 0.0 0.0", b"1 0.5 0.0 0.0 2", "the cube holds orbitals or several values"),
            (b"1 0.5 0.0 0.0", b"1 0.5", r"found \[1.0, 0.5\] in line 3; expected the number of atoms"),
            (b"1 0.5 0.0 0.0", b"H 0 0 0", "found 'H' as value 1 of the numbers of line 3"),
            (b"2 1.0 0.0 0.0", b"-2 1.0 0.0 0.0", r"found \(-2, 1, 3\) points in lines 4 to 6; expected all positive"),
            (b"2 1.0 0.0 0.0", b"0 1.0 0.0 0.0", "in lines 4 to 6; expected a number of points and a voxel vector"),
            (b"2 1.0 0.0 0.0", b"2 0.0 0.0 0.0", "voxel vectors in lines 4 to 6 that span no volume"),
            (b"8 8.0", b"0 8.0", r"as atom 1 of 1; expected an atomic number from 1 to 118.* remove ghost atoms"),
            (b"8 8.0 1.5", b"8 1.5", "as atom 1 of 1; expected an atomic number"),
            (b"6.0\n", b"\n", "expected 6 values of the density, found 5: the file is truncated"),
            (b"6.0\n", b"6.0\n7.0\n", "found '7.0' after the last of 6 values"),
        ],
    )
    def test_a_damaged_file_is_refused(self, old, new, message):
        assert old in SMALL
        with pytest.raises(InvalidFile, match=message):
            read(SMALL.replace(old, new, 1))
