"""Where a molecule's box can be cut: planes of the grid that no electrons pass."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

MOST_AT_A_WALL = 0.05
"""e/Å of a density integrated over a plane, above which the electrons count as passing it."""


def box_walls(values: FloatArray, cell: FloatArray) -> tuple[int, int, int] | None:
    """Index along each axis of the plane where the box begins; None if electrons pass every plane of an axis.

    It is 0, the box as it stands, unless electrons pass there: a molecule in a periodic cell may lie across its
    faces. Then it is the emptiest plane.

    Args:
        values: Electron density in e/Å³, [n0, n1, n2].
        cell: Cell vectors in Å, one a row.
    """
    walls: list[int] = []
    for axis in range(3):
        area = float(np.linalg.norm(np.cross(*np.delete(cell, axis, axis=0))))
        passing = np.abs(values).mean(axis=tuple({0, 1, 2} - {axis})) * area
        walls.append(0 if passing[0] <= MOST_AT_A_WALL else int(passing.argmin()))
        if passing[walls[axis]] > MOST_AT_A_WALL:
            return None
    return walls[0], walls[1], walls[2]
