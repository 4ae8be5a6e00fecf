"""FIRE, the fast inertial relaxation engine: dynamics that are turned towards the force and stopped where they climb.

E. Bitzek, P. Koskinen, F. Gähler, M. Moseler and P. Gumbsch, Phys. Rev. Lett. 97, 170201 (2006). Masses are one; the
order of the steps, the constants and the bound on a step are those of ASE 3.29, so that trajectories are the same.
"""

import numpy as np

from models.interface import FloatArray

FIRST_TIME_STEP, LONGEST_TIME_STEP = 0.1, 1.0
LONGEST_MOVE = 0.2
"""Norm in Å of one move of all coordinates together."""

_MIXING, _MIXING_DECAY = 0.1, 0.99
_FASTER, _SLOWER = 1.1, 0.5
_PATIENCE = 5  # moves downhill before the time step grows


class Fire:
    """Descent of one set of coordinates."""

    def __init__(self) -> None:
        self._velocity: FloatArray | None = None
        self._time_step = FIRST_TIME_STEP
        self._mixing = _MIXING
        self._n_downhill = 0

    def move(self, force: FloatArray) -> FloatArray:
        """The next move in Å, at most LONGEST_MOVE long.

        Args:
            force: Force on each coordinate in eV/Å, of any shape, and not zero.
        """
        velocity = np.zeros_like(force) if self._velocity is None else self._turned(force, self._velocity)
        self._velocity = velocity + self._time_step * force
        move = self._time_step * self._velocity
        length = float(np.linalg.norm(move))
        return move if length <= LONGEST_MOVE else move * (LONGEST_MOVE / length)

    def _turned(self, force: FloatArray, velocity: FloatArray) -> FloatArray:
        """The velocity turned towards the force; none if it goes uphill."""
        if np.vdot(force, velocity) <= 0.0:
            self._mixing, self._time_step, self._n_downhill = _MIXING, self._time_step * _SLOWER, 0
            return np.zeros_like(velocity)
        along = force * (np.linalg.norm(velocity) / np.linalg.norm(force))
        turned = (1.0 - self._mixing) * velocity + self._mixing * along
        if self._n_downhill > _PATIENCE:
            self._time_step = min(self._time_step * _FASTER, LONGEST_TIME_STEP)
            self._mixing *= _MIXING_DECAY
        self._n_downhill += 1
        return turned
