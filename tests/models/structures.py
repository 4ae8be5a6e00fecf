"""Structures that graphs and networks are tested on, and the transformations that they must bear."""

from dataclasses import replace

import numpy as np
import torch
from e3nn import o3

from models.interface import FloatArray
from rhocast.structure import Structure
from tests.models.contract import ROTATION, bent_molecule, distorted_crystal

MIRROR = np.eye(3) - 2 * np.outer([0.6, 0.0, 0.8], [0.6, 0.0, 0.8])
"""Reflection in the plane across [3, 0, 4]."""

TRANSFORMATIONS = {
    "rotation": ROTATION,
    "mirror": MIRROR,
    "inversion": -np.eye(3),
    "roto-inversion": -ROTATION @ MIRROR,
}

SHEAR = np.array([[1, 0, 0], [2, 1, 0], [-1, 1, 1]])
"""Another choice of the lattice vectors of the same lattice."""


def sheared_cell_of_one_atom() -> Structure:
    """One atom in a long oblique cell, smaller than any cutoff in every direction."""
    cell = SHEAR @ np.array([[2.1, 0.0, 0.1], [0.3, 2.3, 0.0], [-0.2, 0.4, 2.6]])
    return Structure.from_symbols(["Si"], [[0.3, 7.1, -2.0]], cell)


def transformed(structure: Structure, matrix: FloatArray) -> Structure:
    """The structure with all its vectors turned or mirrored."""
    return replace(structure, positions=structure.positions @ matrix.T, cell=structure.cell @ matrix.T)


def doubled(structure: Structure, axis: int) -> Structure:
    """The crystal in a cell twice as long; the second copies of the atoms follow all the first."""
    positions = np.concatenate([structure.positions, structure.positions + structure.cell[axis]])
    cell = structure.cell * np.where(np.arange(3) == axis, 2, 1)[:, None]
    return Structure(np.tile(structure.numbers, 2), positions, cell)


def wigner_matrix(matrix: FloatArray, l_max: int) -> torch.Tensor:
    """Matrix that turns or mirrors components of natural parity, float64, [(l_max + 1)², (l_max + 1)²].

    Solved for from harmonics at many points: `o3.Irreps.D_from_matrix` goes through angles and is wrong by 1e-6.
    """
    points = torch.from_numpy(np.random.default_rng(0).normal(size=(100, 3)))
    degrees = list(range(l_max + 1))
    before, after = (
        o3.spherical_harmonics(degrees, vectors, normalize=True)
        for vectors in (points, points @ torch.from_numpy(matrix).T)
    )
    return torch.linalg.lstsq(before, after).solution.T


def side_by_side(first: Structure, second: Structure, distance: float) -> Structure:
    """Two molecules as one structure, the second one moved along x by a distance in Å."""
    moved = second.positions + np.array([distance, 0.0, 0.0])
    return replace(
        first,
        numbers=np.concatenate([first.numbers, second.numbers]),
        positions=np.concatenate([first.positions, moved]),
    )


STRUCTURES = {"crystal": distorted_crystal(), "molecule": bent_molecule(), "one atom": sheared_cell_of_one_atom()}
