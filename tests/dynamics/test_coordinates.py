"""Forces on coordinates are the derivative of the energy, by finite differences and by ASE's filter."""

import numpy as np
import pytest
from ase.filters import FrechetCellFilter

from dynamics.coordinates import Positions, PositionsAndCell
from models.interface import PotentialPrediction
from rhocast.errors import InvalidStructure
from rhocast.model_info import Property
from tests.dynamics.argon import Argon, as_atoms, cluster, crystal

ALL = frozenset({Property.ENERGY, Property.FORCES, Property.STRESS})
ARGON = Argon()


def deformed() -> PositionsAndCell:
    """Coordinates away from their beginning: the deformation neither small nor symmetric."""
    coordinates = PositionsAndCell(crystal())
    coordinates.move(np.random.default_rng(3).uniform(-0.15, 0.15, (7, 3)))
    coordinates.move(np.random.default_rng(4).uniform(-0.15, 0.15, (7, 3)))
    return coordinates


def test_forces_on_the_deformed_cell_are_the_derivative_of_the_energy() -> None:
    forces = deformed().forces(ARGON.of(deformed().structure, ALL))
    step = 1e-4
    for row, column in np.ndindex(7, 3):
        by = np.zeros((7, 3))
        by[row, column] = step
        energies = []
        for sign in (1, -1):
            moved = deformed()
            moved.move(sign * by)
            energies.append(ARGON.of(moved.structure, ALL).energy)
        assert -(energies[0] - energies[1]) / (2 * step) == pytest.approx(forces[row, column], abs=2e-8)


def test_forces_are_those_of_ases_filter() -> None:
    start = crystal()
    mine = PositionsAndCell(start)
    filtered = FrechetCellFilter(as_atoms(start))
    by = np.random.default_rng(3).uniform(-0.15, 0.15, (7, 3))
    mine.move(by)
    filtered.set_positions(filtered.get_positions() + by)
    np.testing.assert_allclose(mine.structure.cell, filtered.atoms.cell.array, atol=1e-12)
    np.testing.assert_allclose(mine.structure.positions, filtered.atoms.positions, atol=1e-12)
    np.testing.assert_allclose(mine.forces(ARGON.of(mine.structure, ALL)), filtered.get_forces(), atol=1e-12)


def test_a_cell_that_is_held_does_not_move() -> None:
    start = cluster()
    coordinates = Positions(start)
    coordinates.move(np.ones((4, 3)))
    assert (coordinates.structure.cell == start.cell).all()
    assert not coordinates.structure.is_periodic
    np.testing.assert_allclose(coordinates.structure.positions, start.positions + 1)


def test_the_cell_of_a_molecule_is_refused() -> None:
    with pytest.raises(InvalidStructure, match="molecule whose cell is to relax"):
        PositionsAndCell(cluster())


def test_a_potential_that_keeps_forces_or_stress_to_itself_is_found_out() -> None:
    with pytest.raises(ValueError, match="found no forces"):
        Positions(crystal()).forces(PotentialPrediction(0.0))
    with pytest.raises(ValueError, match="found no stress"):
        PositionsAndCell(crystal()).forces(PotentialPrediction(0.0, np.zeros((4, 3))))
