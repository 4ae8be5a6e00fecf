r"""The coordinates in which a structure relaxes, and the forces on them.

With a moving cell, coordinates are the positions u in the undeformed cell and n_atoms times the logarithm of the
deformation F:

.. math:: F = \exp L, \quad cell = cell_0\, F^T, \quad x_i = F u_i

Atoms ride with the cell, so that the force on u is :math:`F^T f`. A change of F by dF is the strain
:math:`dF\, F^{-1}`, so that the force on F is :math:`G = -V \sigma F^{-T}`; and that on L is
:math:`D\exp(L^T)[G]`, since the derivative of the exponential at :math:`L^T` is the adjoint of that at L. It is the
upper right block of :math:`\exp \begin{pmatrix} L^T & G \\ 0 & L^T \end{pmatrix}` (N. Higham, Functions of Matrices,
SIAM 2008, eq. 3.16). These are the coordinates of ASE's FrechetCellFilter. The factor n_atoms makes a cell as stiff as
its atoms.
"""

import numpy as np
from scipy.linalg import expm

from models.interface import FloatArray, PotentialPrediction
from rhocast.errors import InvalidStructure
from rhocast.structure import Structure


class Positions:
    """Coordinates of atoms in a cell that stays, or in none.

    Args:
        start: Where they begin.
    """

    def __init__(self, start: Structure) -> None:
        self.structure = start

    def forces(self, prediction: PotentialPrediction) -> FloatArray:
        """Forces in eV/Å, [n_atoms, 3].

        Args:
            prediction: What the potential says of the present structure.
        """
        return _forces(prediction)

    def move(self, by: FloatArray) -> None:
        """Moves the structure.

        Args:
            by: Change of each coordinate in Å, [n_atoms, 3].
        """
        old = self.structure
        self.structure = Structure(old.numbers, old.positions + by, old.cell, old.is_periodic)


class PositionsAndCell:
    """Coordinates of atoms and of the cell that they ride with.

    Args:
        start: Where they begin.

    Raises:
        InvalidStructure: If it is a molecule.
    """

    def __init__(self, start: Structure) -> None:
        if not start.is_periodic:
            raise InvalidStructure(
                "found a molecule whose cell is to relax; expected a crystal: the box of a molecule is no part of it; "
                "relax its atoms alone"
            )
        self.structure = start
        self._first_cell = start.cell
        self._undeformed = start.positions
        self._log = np.zeros((3, 3))
        self._deformation = np.eye(3)

    def forces(self, prediction: PotentialPrediction) -> FloatArray:
        """Forces in eV/Å, on the atoms and in three rows on the cell, [n_atoms + 3, 3].

        Args:
            prediction: What the potential says of the present structure, its stress too.
        """
        if prediction.stress is None:
            raise ValueError("found no stress; expected that of a structure whose cell relaxes")
        on_deformation = -self.structure.volume * prediction.stress @ np.linalg.inv(self._deformation).T
        blocks = np.block([[self._log.T, on_deformation], [np.zeros((3, 3)), self._log.T]])
        on_log = expm(blocks)[:3, 3:]
        return np.vstack([_forces(prediction) @ self._deformation, on_log / self.structure.n_atoms])

    def move(self, by: FloatArray) -> None:
        """Moves the structure.

        Args:
            by: Change of each coordinate in Å, [n_atoms + 3, 3].
        """
        old = self.structure
        self._undeformed = self._undeformed + by[:-3]
        self._log = self._log + by[-3:] / old.n_atoms
        self._deformation = expm(self._log)
        cell, positions = (rows @ self._deformation.T for rows in (self._first_cell, self._undeformed))
        self.structure = Structure(old.numbers, positions, cell)


def _forces(prediction: PotentialPrediction) -> FloatArray:
    if prediction.forces is None:
        raise ValueError("found no forces; expected those of a structure that relaxes")
    return prediction.forces
