"""The water model against laws that share no code with it."""

import numpy as np
import pytest
from ase import Atoms

from reference.sets import spc_fw, water


@pytest.fixture
def box():
    rng = np.random.default_rng(0)
    box = water.packed_box(32, 1.0, rng)
    box.positions += rng.normal(0, 0.05, box.positions.shape)
    return box


def energy(positions, cell):
    return spc_fw.energy_and_forces(positions, cell)[0]


def test_a_box_has_its_density_and_whole_molecules():
    box = water.packed_box(64, 1.0, np.random.default_rng(0))
    assert box.get_masses().sum() * 1.66053907 / box.get_volume() == pytest.approx(1.0, rel=1e-4)
    oxygen = box.positions[0::3]
    for hydrogens in (box.positions[1::3], box.positions[2::3]):
        np.testing.assert_allclose(np.linalg.norm(hydrogens - oxygen, axis=1), spc_fw.BOND_LENGTH)
    spacing = Atoms("O64", oxygen, cell=box.cell, pbc=True).get_all_distances(mic=True)
    assert spacing[spacing > 0].min() > 3


@pytest.mark.parametrize(("atom", "axis"), [(0, 0), (1, 1), (5, 2), (50, 1)])
def test_forces_are_the_energys_slope(box, atom, axis):
    _, forces = spc_fw.energy_and_forces(box.positions, box.cell.array)
    step = np.zeros_like(box.positions)
    step[atom, axis] = 1e-4
    slope = (energy(box.positions + step, box.cell.array) - energy(box.positions - step, box.cell.array)) / 2e-4
    assert forces[atom, axis] == pytest.approx(-slope, abs=1e-6)


def test_forces_add_up_to_zero(box):
    _, forces = spc_fw.energy_and_forces(box.positions, box.cell.array)
    np.testing.assert_allclose(forces.sum(axis=0), 0, atol=1e-9)


def test_where_a_molecule_is_wrapped_does_not_matter(box):
    moved = box.positions.copy()
    moved[3:6] += box.cell.array[0] - 2 * box.cell.array[2]
    assert energy(moved, box.cell.array) == pytest.approx(energy(box.positions, box.cell.array), abs=1e-9)


def test_a_repeated_box_has_the_energy_of_its_copies(box):
    # Another cutoff and another screening: only converged Ewald sums agree. Lennard-Jones is cut, so it is left out.
    cell = box.cell.array
    positions = box.positions.reshape(-1, 3, 3)
    doubled = np.concatenate([positions, positions + cell[0], positions + cell[1], positions + cell[0] + cell[1]])
    doubled = np.concatenate([doubled, doubled + cell[2]]).reshape(-1, 3)
    depth = spc_fw.WELL_DEPTH
    try:
        spc_fw.WELL_DEPTH = 0.0
        assert energy(doubled, 2 * cell) / 8 == pytest.approx(energy(box.positions, cell), abs=5e-4)
    finally:
        spc_fw.WELL_DEPTH = depth


def test_two_distant_molecules_attract_like_two_dipoles():
    half = spc_fw.ANGLE / 2
    arms = spc_fw.BOND_LENGTH * np.array([[0, 0, 0], [np.sin(half), 0, np.cos(half)], [-np.sin(half), 0, np.cos(half)]])
    cell, distance = np.eye(3) * 60.0, 12.0
    pair = np.concatenate([arms, arms + np.array([0, 0, distance])])
    apart = np.concatenate([arms, arms + np.array([0, 0, 30.0])])
    dipole = 2 * spc_fw.CHARGE_H * spc_fw.BOND_LENGTH * np.cos(half)

    def head_to_tail(r):
        return -2 * spc_fw.COULOMB * dipole**2 / r**3

    # Each also sees the other's image on the far side of the box.
    expected = head_to_tail(distance) + head_to_tail(60 - distance) - 2 * head_to_tail(30)
    assert energy(pair, cell) - energy(apart, cell) == pytest.approx(expected, rel=0.05)


def test_the_calculator_gives_what_the_function_gives(box):
    box.calc = spc_fw.FlexibleWater()
    expected, forces = spc_fw.energy_and_forces(box.positions, box.cell.array)
    assert box.get_potential_energy() == pytest.approx(expected)
    np.testing.assert_allclose(box.get_forces(), forces)


def test_boxes_of_64_are_only_for_the_test(monkeypatch):
    monkeypatch.setattr(water, "EQUILIBRATION", 2)
    monkeypatch.setattr(water, "SPACING", 1)
    structure = next(water.structure_set().structures(0, 6 * water.SNAPSHOTS))
    assert (len(structure.numbers), structure.split) == (192, "test")
