"""Comparison of two densities."""

from dataclasses import replace

import numpy as np
import pytest
from ase.io.cube import read_cube_data
from pymatgen.io.vasp import Chgcar

from rhocast.density import Density, compare, nmae, regridded
from rhocast.density.box_walls import box_walls
from rhocast.density.comparison import largest_displacement
from rhocast.density.electron_count import are_same_count
from rhocast.errors import InvalidField, InvalidStructure
from rhocast.structure import Structure

THREE_VOXELS = Structure.from_symbols(["H"], [[0, 0, 0]], np.diag([2.0, 1.0, 3.0]))


class TestNmae:
    def test_three_voxels_by_hand(self):
        """|1−2| + |4−3| + |1−1| = 2 of 6."""
        found = nmae(np.array([1.0, 4, 1]), np.array([2.0, 3, 1]))
        assert found == pytest.approx(100 / 3)

    def test_densities_that_do_not_overlap_have_200_percent(self):
        assert nmae(np.array([0.0, 2]), np.array([2.0, 0])) == 200

    def test_negative_values_count_in_the_denominator_by_their_size(self):
        assert nmae(np.array([1.0, 1]), np.array([1.0, -1])) == 100

    def test_without_reference_electrons_there_is_none(self):
        with pytest.raises(InvalidField, match="found a reference without electrons; expected some density"):
            nmae(np.ones(2), np.zeros(2))


class TestCompare:
    def test_three_voxels_by_hand(self):
        a = Density(THREE_VOXELS, np.reshape([1.0, 4, 1], (1, 1, 3)))
        b = Density(THREE_VOXELS, np.reshape([2.0, 3, 1], (1, 1, 3)))
        found = compare(a, b)
        assert found.nmae == pytest.approx(100 / 3)
        assert found.absolute_difference == pytest.approx(2 * 6 / 3)  # a voxel is 2 Å³
        assert found.n_electrons == pytest.approx((12, 12))
        np.testing.assert_array_equal(found.difference.values.ravel(), [-1, 1, 0])
        assert found.difference.structure is b.structure

    def test_a_density_does_not_differ_from_itself_on_another_grid(self, gaussian_density, sheared):
        a = gaussian_density(sheared, (20, 30, 28), [7, 7], [0.8, 0.9])
        found = compare(a, regridded(a, (24, 30, 21)))
        assert found.difference.shape == (24, 30, 28)
        assert found.nmae < 1e-3
        assert found.notes[:2] == (
            "A was brought from 20 × 30 × 28 to 24 × 30 × 28 points",
            "B was brought from 24 × 30 × 21 to 24 × 30 × 28 points",
        )

    def test_a_supercell_has_the_error_of_its_cell(self, gaussian_density, sheared):
        a = gaussian_density(sheared, (16, 20, 18), [7.0, 7.0], [0.8, 0.9])
        b = gaussian_density(sheared, (16, 20, 18), [6.9, 7.1], [0.8, 0.9])
        doubled = Structure(
            np.tile(sheared.numbers, 2),
            np.vstack([sheared.positions, sheared.positions + sheared.cell[0]]),
            sheared.cell * [[2], [1], [1]],
        )
        twice = [Density(doubled, np.concatenate([each.values] * 2)) for each in (a, b)]
        assert compare(*twice).nmae == pytest.approx(compare(a, b).nmae, rel=1e-12)
        assert compare(*twice).absolute_difference == pytest.approx(2 * compare(a, b).absolute_difference, rel=1e-12)

    def test_a_magnetization_is_subtracted_where_both_have_one(self, spin_density, density):
        twice = replace(spin_density, magnetization=spin_density.magnetization * 2)
        np.testing.assert_array_equal(compare(twice, spin_density).difference.magnetization, spin_density.magnetization)
        assert compare(spin_density, density).difference.magnetization is None

    def test_another_cell_is_refused(self, density):
        atoms = density.structure
        stretched = replace(density, structure=replace(atoms, cell=atoms.cell * 1.001))
        with pytest.raises(InvalidStructure, match=r"found cells of A and B .* up to 0.0062 Å; expected one cell"):
            compare(stretched, density)

    def test_the_cells_of_rounded_files_are_the_same(self, density):
        atoms = density.structure
        rounded = replace(density, structure=replace(atoms, cell=atoms.cell + 1e-4))
        assert compare(rounded, density).nmae == 0

    @pytest.mark.parametrize("factor", [1.01, np.nan])
    def test_other_numbers_of_electrons_are_refused(self, density, factor):
        with pytest.raises(InvalidField, match=r"found .* electrons in A and .* in B; expected as many"):
            compare(replace(density, values=density.values * factor), density)

    def test_the_difference_is_a_file_that_others_read(self, density, tmp_path):
        other = replace(density, values=np.roll(density.values, 1), comment="the other")
        found = compare(density, other).difference
        assert found.comment == "difference A - B, A: test of a density, twelve atoms, B: the other"
        found.write(tmp_path / "CHGCAR_diff")
        found.write(tmp_path / "diff.cube")
        in_pymatgen = Chgcar.from_file(tmp_path / "CHGCAR_diff")
        np.testing.assert_allclose(
            in_pymatgen.data["total"] / density.structure.volume, found.values, atol=1e-10 * np.abs(found.values).max()
        )
        in_ase, _ = read_cube_data(str(tmp_path / "diff.cube"))
        np.testing.assert_allclose(in_ase, found.values * 0.529177210903**3, rtol=6e-6)


class TestCounts:
    @pytest.mark.parametrize(
        ("found", "expected", "is_same"),
        [(8.009, 8, True), (8.011, 8, False), (100.09, 100, True), (1000.4, 1000, True), (5001, 5000, False)],
    )
    def test_half_an_electron_is_another_charge_however_large_the_cell(self, found, expected, is_same):
        assert are_same_count(found, expected) is is_same


class TestAtoms:
    def test_another_order_and_another_image_are_no_displacement(self, sheared):
        moved = Structure(sheared.numbers, sheared.positions + sheared.cell[0] - sheared.cell[2], sheared.cell)
        assert largest_displacement(moved.reordered(np.array([1, 0])), sheared) < 1e-12

    def test_it_is_said_how_far_atoms_are_apart(self, gaussian_density, sheared):
        a = gaussian_density(sheared, (9, 9, 9), [7, 7], [0.9, 0.9])
        moved = replace(sheared, positions=sheared.positions + np.array([[0, 0, 0], [0, 0, 0.25]]))
        assert "the atoms of A and B lie up to 0.250 Å apart" in compare(replace(a, structure=moved), a).notes
        swapped = replace(sheared, numbers=np.array([11, 18]))
        assert "the atoms of A and B are not the same" in compare(replace(a, structure=swapped), a).notes

    def test_an_image_of_a_molecule_is_elsewhere(self, water):
        moved = replace(water, positions=water.positions + water.cell[0])
        assert largest_displacement(moved, water) > 5


class TestDipole:
    CHARGES = (6.0, 1.0, 1.0)
    WIDTHS = (0.8, 0.7, 0.7)

    def pair(self, gaussian_density, water):
        """Two densities of which A has 0.3 e more on the oxygen, taken from the first hydrogen."""
        b = gaussian_density(water, (40, 42, 45), self.CHARGES, self.WIDTHS)
        a = gaussian_density(water, (40, 42, 45), [6.3, 0.7, 1.0], self.WIDTHS)
        return a, b

    def test_moving_charge_makes_the_dipole_of_two_points(self, gaussian_density, water):
        found = compare(*self.pair(gaussian_density, water))
        expected = -0.3 * (water.positions[0] - water.positions[1])
        np.testing.assert_allclose(found.dipole_change, expected, atol=1e-8)
        np.testing.assert_allclose(found.dipole_change_in_debye, expected * 4.80320471, atol=1e-7)
        assert found.notes == ()

    def test_a_molecule_across_the_faces_of_its_cell_has_the_same(self, gaussian_density, water):
        def shifted(density):
            atoms = density.structure
            positions = atoms.positions + (np.array([20, 21, 22]) / density.shape) @ atoms.cell
            values = np.roll(density.values, (20, 21, 22), (0, 1, 2))
            return Density(replace(atoms, positions=positions), values)

        a, b = self.pair(gaussian_density, water)
        expected = compare(a, b).dipole_change
        np.testing.assert_allclose(compare(shifted(a), shifted(b)).dipole_change, expected, atol=1e-8)

    def test_the_dipole_of_a_crystal_is_undefined(self, density):
        found = compare(density, density)
        assert found.dipole_change is None
        assert found.dipole_change_in_debye is None
        assert found.notes == ("no change of the dipole is given: the dipole of a cell that repeats is undefined",)

    def test_it_is_not_given_where_atoms_moved(self, gaussian_density, water):
        a, b = self.pair(gaussian_density, water)
        moved = replace(a, structure=replace(water, positions=water.positions + 0.1))
        assert "the atoms moved, and the charges of their cores are in neither density" in compare(moved, b).notes[-1]

    def test_it_is_not_given_where_electrons_fill_the_box(self, water):
        full = Density(water, np.ones((4, 4, 4)))
        assert "electrons pass the walls of the box; take a larger one" in compare(full, full).notes[-1]

    def test_the_box_is_cut_at_its_own_walls_unless_electrons_pass_there(self, gaussian_density, water):
        values = self.pair(gaussian_density, water)[0].values
        assert box_walls(np.roll(values, (4, -4, 3), (0, 1, 2)), water.cell) == (0, 0, 0)
        assert box_walls(np.roll(values, 20, 0), water.cell)[1:] == (0, 0)
        assert box_walls(np.roll(values, 20, 0), water.cell)[0] == pytest.approx(20, abs=3)
