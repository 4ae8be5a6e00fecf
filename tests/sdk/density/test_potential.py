"""The electrostatic potential, against closed forms and a published lattice constant."""

import math
from dataclasses import replace

import numpy as np
import pytest

from rhocast.density import Density, Potential, electrostatic_potential, planar_average, vacuum_level
from rhocast.density.poisson import free_potential, periodic_potential
from rhocast.density.potential import COULOMB, ion_width
from rhocast.errors import InvalidField, InvalidGrid, InvalidStructure
from rhocast.structure import Structure

HARTREE, BOHR = 27.211386245988, 0.529177210903
MADELUNG = 1.747564594633182
"""Of rock salt, referred to the distance of neighbours."""
IONS = {"O": 6.0, "H": 1.0, "Na": 7.0, "Cl": 7.0}


def of_gaussian(distance, charge, width):
    """Potential of a Gaussian charge in free space: q erf(r/w)/r."""
    return charge * np.vectorize(math.erf)(distance / width) / distance


def distances(density, position):
    fractions = np.stack(np.meshgrid(*(np.arange(n) / n for n in density.shape), indexing="ij"), axis=-1)
    return np.linalg.norm(fractions @ density.structure.cell - position, axis=-1)


def rock_salt(length: float) -> Structure:
    """The primitive cell; `length` is that of the cubic one in Å."""
    cell = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) * length / 2
    return Structure.from_symbols(["Na", "Cl"], [[0, 0, 0], [length / 2] * 3], cell)


def test_the_constant_is_that_of_codata():
    assert pytest.approx(1, rel=1e-11) == COULOMB / (HARTREE * BOHR)
    e, epsilon0 = 1.602176634e-19, 8.8541878128e-12
    assert e / (4 * math.pi * epsilon0) * 1e10 == pytest.approx(COULOMB, rel=1e-9)


class TestPeriodic:
    def test_point_like_charges_have_madelungs_constant(self, gaussian_density):
        """Gaussians that do not overlap act on each other as points; at its own place each has 2q/(√π w)."""
        charge = gaussian_density(rock_salt(5.64), (30, 30, 30), [1, -1], [0.35, 0.35])
        found = periodic_potential(charge.values, charge.structure.cell)
        own = 2 / (math.sqrt(math.pi) * 0.35)
        assert -(found[0, 0, 0] - own) * 5.64 / 2 == pytest.approx(MADELUNG, abs=1e-7)
        assert (found[15, 15, 15] + own) * 5.64 / 2 == pytest.approx(MADELUNG, abs=1e-7)

    def test_the_energy_of_rock_salt_is_ewalds(self, gaussian_density):
        charge = gaussian_density(rock_salt(5.64), (30, 30, 30), [1, -1], [0.35, 0.35])
        potential = periodic_potential(charge.values, charge.structure.cell)
        energy = 0.5 * COULOMB * np.sum(potential * charge.values) * charge.structure.volume / 30**3
        own = 2 * COULOMB / (math.sqrt(2 * math.pi) * 0.35)
        assert energy - own == pytest.approx(-COULOMB * MADELUNG / 2.82, rel=1e-7)

    def test_a_double_layer_makes_a_step(self):
        """Sheets of ± Gaussian profile, 2 Å apart, and their mirror image: U jumps by 4π k σ d across each."""
        height, n, sigma = 24.0, 240, 0.01
        z = np.arange(n) * height / n

        def sheet(place):
            return sigma / (math.sqrt(math.pi) * 0.5) * np.exp(-(((z - place) / 0.5) ** 2))

        profile = sheet(5) - sheet(7) + sheet(19) - sheet(17)
        cell = np.array([[3.0, 0, 0], [0.4, 4, 0], [0, 0, height]])
        values = periodic_potential(np.broadcast_to(profile, (4, 6, n)), cell)
        along = planar_average(Potential(Structure.from_symbols([], [], cell), values), 2).values
        assert along[120] - along[0] == pytest.approx(-4 * math.pi * sigma * 2, rel=1e-9)

    def test_a_supercell_has_the_potential_of_its_cell(self, density):
        charge = density.values - density.values.mean()
        cell = density.structure.cell
        once = periodic_potential(charge, cell)
        doubled = periodic_potential(np.concatenate([charge] * 2, axis=2), cell * [[1], [1], [2]])
        np.testing.assert_allclose(doubled, np.concatenate([once] * 2, axis=2), atol=1e-10 * np.abs(once).max())


@pytest.mark.parametrize("shape", [(6, 8, 10), (7, 9, 11)])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("solve", [periodic_potential, free_potential])
def test_turning_a_cell_vector_round_changes_nothing(density, solve, shape, axis):
    """The same charge in the same lattice, which the wave of n/2, taken for +n/2 alone, would not know."""
    charge = np.random.default_rng(0).normal(size=shape)
    charge[0], charge[:, 0], charge[:, :, 0] = 0, 0, 0  # a box has no point at its far wall
    charge -= charge.mean() if solve is periodic_potential else 0

    def turned(values):
        return np.roll(np.flip(values, axis), 1, axis)

    cell = density.structure.cell.copy()
    expected = turned(solve(charge, cell))
    cell[axis] *= -1
    inner = (slice(1, None),) * 3
    np.testing.assert_allclose(solve(turned(charge), cell)[inner], expected[inner], atol=1e-12)


class TestFree:
    def test_a_gaussian_charge_has_its_closed_form_in_a_sheared_box(self, gaussian_density, water):
        one = replace(water, numbers=water.numbers[:1], positions=water.positions[:1])
        charge = gaussian_density(one, (40, 44, 48), [1], [0.5])
        found = free_potential(charge.values, one.cell)
        expected = of_gaussian(distances(charge, one.positions[0]), 1, 0.5)
        np.testing.assert_allclose(found, expected, atol=2e-8)

    def test_one_off_the_middle_of_a_flat_box_as_well(self, gaussian_density):
        cell = np.diag([16.0, 6.0, -8.0])
        one = Structure.from_symbols(["H"], [[3.1, 3.2, -5.3]], cell, False)
        charge = gaussian_density(one, (80, 33, 40), [-2], [0.5])
        expected = of_gaussian(distances(charge, one.positions[0]), -2, 0.5)
        np.testing.assert_allclose(free_potential(charge.values, cell), expected, atol=2e-7)


class TestElectrostaticPotential:
    def test_a_molecule_has_the_closed_form_of_its_gaussians(self, gaussian_density, water):
        density = gaussian_density(water, (44, 46, 50), [6.4, 0.8, 0.8], [0.8, 0.7, 0.7])
        found = electrostatic_potential(density, IONS)
        expected = np.zeros(density.shape)
        for place, ion, electrons, width in zip(
            water.positions, [6, 1, 1], [6.4, 0.8, 0.8], [0.8, 0.7, 0.7], strict=True
        ):
            away = distances(density, place)
            expected += of_gaussian(away, electrons, width) - of_gaussian(away, ion, ion_width(density))
        np.testing.assert_allclose(found.values, COULOMB * expected, atol=1e-4)
        assert found.values.min() < -50  # an electron is drawn to the ions
        assert "zero at infinity; ions O 6, H 1 as Gaussians" in found.comment

    def test_an_ion_molecule_repels_or_draws_from_afar(self, gaussian_density, water):
        density = gaussian_density(water, (44, 46, 50), [5.0, 1.0, 1.0], [0.8, 0.7, 0.7])
        found = electrostatic_potential(density, IONS, charge=1.0)
        away = distances(density, water.positions[0])
        far = away > 5.5
        np.testing.assert_allclose(found.values[far], -COULOMB / away[far], rtol=1e-6)

    def test_a_molecule_across_the_faces_of_its_cell_has_the_same(self, gaussian_density, water):
        density = gaussian_density(water, (40, 42, 45), [6.4, 0.8, 0.8], [0.8, 0.7, 0.7])
        shift = np.array([20, 21, 22])
        moved = replace(water, positions=water.positions + (shift / density.shape) @ water.cell)
        across = Density(moved, np.roll(density.values, shift, (0, 1, 2)))
        expected = electrostatic_potential(density, IONS).values
        found = np.roll(electrostatic_potential(across, IONS).values, -shift, (0, 1, 2))
        near = distances(density, water.positions[0]) < 3
        np.testing.assert_allclose(found[near], expected[near], atol=1e-6)

    def test_a_crystal_repeats_and_has_mean_zero(self, gaussian_density):
        density = gaussian_density(rock_salt(5.64), (24, 24, 24), [6, 8], [0.9, 0.9])
        found = electrostatic_potential(density, IONS)
        assert found.values.mean() == pytest.approx(0, abs=1e-12)
        assert "mean zero" in found.comment
        # Both kinds of ion have the same width and charge: what is left between their places is the electrons'.
        between = found.values[0, 0, 0] - found.values[12, 12, 12]
        own = 2 * COULOMB / math.sqrt(math.pi) / 0.9
        overlapping = 2 * COULOMB * MADELUNG / 2.82
        assert between == pytest.approx(overlapping - 2 * own, rel=1e-2)

    def test_far_from_nuclei_it_does_not_depend_on_the_ions_width(self, gaussian_density, water):
        density = gaussian_density(water, (44, 46, 50), [6.4, 0.8, 0.8], [0.8, 0.7, 0.7])
        narrow, wide = (electrostatic_potential(density, IONS, width=width).values for width in (0.45, 0.6))
        away = np.min([distances(density, place) for place in water.positions], axis=0)
        assert np.abs(narrow - wide)[away > 2.4].max() < 1e-5
        assert np.abs(narrow - wide)[away < 0.5].max() > 1

    def test_a_supercell_has_the_potential_of_its_cell(self, gaussian_density, sheared):
        density = gaussian_density(sheared, (24, 34, 30), [6.5, 7.5], [0.9, 0.9])
        positions = np.vstack([sheared.positions, sheared.positions + sheared.cell[0]])
        doubled = Structure(np.tile(sheared.numbers, 2), positions, sheared.cell * [[2], [1], [1]])
        once = electrostatic_potential(density, IONS).values
        twice = electrostatic_potential(Density(doubled, np.concatenate([density.values] * 2)), IONS).values
        np.testing.assert_allclose(twice, np.concatenate([once] * 2), atol=1e-8)

    def test_an_element_without_ion_charge_is_named(self, density):
        with pytest.raises(InvalidField, match="found no ion charge of Fe; expected one for each element"):
            electrostatic_potential(density, IONS)

    def test_other_valences_are_refused(self, gaussian_density, sheared):
        density = gaussian_density(sheared, (24, 34, 30), [1, 7], [0.9, 0.9])
        with pytest.raises(InvalidField, match="found 8 electrons; expected 14, of Na 7, Cl 7 and the charge 0"):
            electrostatic_potential(density, IONS)

    def test_a_charged_crystal_is_refused(self, gaussian_density, sheared):
        density = gaussian_density(sheared, (24, 34, 30), [6, 7], [0.9, 0.9])
        with pytest.raises(InvalidField, match="found a charge of 1 e in a cell that repeats; expected a neutral one"):
            electrostatic_potential(density, IONS, charge=1.0)

    def test_a_molecule_without_room_is_refused(self, gaussian_density, sheared):
        density = gaussian_density(sheared, (24, 34, 30), [7, 7], [0.9, 0.9])
        box = replace(sheared, is_periodic=False)
        with pytest.raises(InvalidStructure, match="found electrons that pass every plane of the box along an axis"):
            electrostatic_potential(replace(density, structure=box), IONS)


class TestIonWidth:
    def test_it_is_what_the_grid_carries_at_least(self, density, water):
        assert ion_width(Density(water, np.ones((90, 90, 90)))) == 0.3
        normal = np.cross(density.structure.cell[1], density.structure.cell[2])
        coarsest = abs(normal @ density.structure.cell[0]) / np.linalg.norm(normal) / 7
        assert ion_width(density) >= 2.2 * coarsest

    @pytest.mark.parametrize("width", [0.1, 0.0, -1.0, np.nan, np.inf])
    def test_ions_that_the_grid_cannot_carry_are_refused(self, density, width):
        with pytest.raises(InvalidField, match=r"found ions .* Å wide; expected at least .* take wider ones"):
            ion_width(density, width)


class TestVacuumLevel:
    def slab(self, gaussian_density, height=18.0):
        cell = np.array([[3.0, 0, 0], [0.5, 3.2, 0], [0, 0, height]])
        slab = Structure.from_symbols(["Na", "Cl"], [[0, 0, 0.5], [1.5, 1.6, height - 1.5]], cell)
        return gaussian_density(slab, (16, 16, 90), [7, 7], [0.9, 0.9])

    def test_it_is_flat_between_the_slabs(self, gaussian_density):
        density = self.slab(gaussian_density)
        potential = electrostatic_potential(density, {"Na": 7, "Cl": 7})
        found = vacuum_level(potential, 2)
        assert found.gap == pytest.approx(16)
        assert found.position == pytest.approx(8.5)
        assert found.level == pytest.approx(planar_average(potential, 2).values[42], abs=1e-4)
        assert found.variation < 1e-4
        # A spherical neutral atom of two Gaussians lowers the mean by (2π/3)·k·Z·(⟨r²⟩_e − ⟨r²⟩_ion), ⟨r²⟩ = 3w²/2.
        width = ion_width(density)
        expected = 2 * math.pi / 3 * COULOMB * 14 * 1.5 * (0.9**2 - width**2) / density.structure.volume
        assert found.level == pytest.approx(expected, rel=1e-4)

    def test_a_field_in_the_vacuum_shows_as_variation(self, gaussian_density):
        density = self.slab(gaussian_density)
        tilted = density.values.copy()
        tilted[:, :, 0:5] *= 1.1
        tilted *= density.values.sum() / tilted.sum()
        found = vacuum_level(electrostatic_potential(replace(density, values=tilted), {"Na": 7, "Cl": 7}), 2)
        assert found.variation > 0.05

    @pytest.mark.parametrize("axis", [0, 1])
    def test_without_vacuum_there_is_none(self, gaussian_density, axis):
        potential = Potential(self.slab(gaussian_density).structure, np.zeros((4, 4, 4)))
        with pytest.raises(InvalidField, match=r"found at most .* Å between layers of atoms along axis [ab]; expected"):
            vacuum_level(potential, axis)

    def test_without_atoms_there_is_none(self):
        empty = Structure.from_symbols([], [], np.eye(3) * 20)
        with pytest.raises(InvalidField, match=r"found at most 0.00 Å between layers"):
            vacuum_level(Potential(empty, np.zeros((4, 4, 4))), 2)


@pytest.mark.parametrize("shape", [(4, 4), (0, 1, 1)])
def test_a_potential_has_three_axes(density, shape):
    with pytest.raises(InvalidGrid, match=r"found values of shape .*; expected \(n0, n1, n2\)"):
        Potential(density.structure, np.ones(shape))
