"""Moves of FIRE against those of ASE's on a surface with a narrow valley, where it must brake."""

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.optimize import FIRE

from dynamics.fire import LONGEST_MOVE, Fire

STIFFNESS = np.array([[30.0, 1.0, 0.2], [4.0, 9.0, 60.0]])


class Valley(Calculator):
    """E = ½ Σ k x², its forces −k x."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012  (ASE's)

    def calculate(self, atoms=None, properties=("energy",), system_changes=("positions",)) -> None:
        super().calculate(atoms, properties, system_changes)
        positions = self.atoms.positions
        self.results = {"energy": 0.5 * (STIFFNESS * positions**2).sum(), "forces": -STIFFNESS * positions}


def test_moves_are_those_of_ase() -> None:
    start = np.array([[0.3, -0.8, 1.2], [0.1, 0.9, -0.4]])
    atoms = Atoms("H2", start, calculator=Valley())
    fire, mine, brakes = Fire(), start.copy(), 0
    seen: list[np.ndarray] = []
    optimizer = FIRE(atoms, logfile=None)
    optimizer.attach(lambda: seen.append(atoms.positions.copy()))
    optimizer.run(fmax=1e-9, steps=120)
    for positions in seen:
        np.testing.assert_allclose(mine, positions, atol=1e-12)
        before = fire._time_step
        mine = mine + fire.move(-STIFFNESS * mine)
        brakes += fire._time_step < before
    assert len(seen) == 121
    assert brakes > 3  # else the braking would be untried


@pytest.mark.parametrize("strength", [1e3, 1e12])
def test_no_force_however_strong_moves_further_than_the_bound(strength: float) -> None:
    move = Fire().move(np.full((5, 3), strength))
    assert np.linalg.norm(move) == pytest.approx(LONGEST_MOVE)
    assert (move > 0).all()
