"""Sums of radial functions on atoms over the points of a grid, in numpy.

Slower than a compiled kernel (some 10⁶ pairs of atom and point a second) and fast enough for one look at a density.
"""

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from rhocast.density.lattice_lengths import squared_lengths
from rhocast.density.radial import RadialFunction
from rhocast.structure import Structure

FloatArray = NDArray[np.float64]
Shape = tuple[int, int, int]
Block = tuple[slice, slice, slice]

_POINTS_AT_ONCE = 2**18


def sum_of_spheres(structure: Structure, shape: Shape, functions: Sequence[RadialFunction]) -> FloatArray:
    """Σ_a f_a(|r − R_a|) on a grid, with the images of the atoms where the cell repeats, [n0, n1, n2].

    Args:
        structure: Atoms and cell.
        shape: The grid.
        functions: One function an atom.
    """
    total = np.zeros(shape)
    for atom, function in enumerate(functions):
        for block, values in sphere_blocks(structure, shape, atom, function):
            total[block] += values
    return total


def sphere_blocks(
    structure: Structure, shape: Shape, atom: int, function: RadialFunction
) -> Iterator[tuple[Block, FloatArray]]:
    """Values of one atom's function in blocks of a grid that together cover its sphere, image by image.

    Args:
        structure: Atoms and cell.
        shape: The grid.
        atom: Index of the atom.
        function: Its function.
    """
    n_points = np.array(shape)
    steps = structure.cell / n_points[:, None]
    centre = structure.fractional_positions[atom] * n_points
    reach = function.cutoff * np.linalg.norm(np.linalg.inv(structure.cell), axis=0) * n_points
    runs = [_runs(centre[axis], reach[axis], shape[axis], structure.is_periodic) for axis in range(3)]
    for first, second, third in product(*runs):
        n_planes = max(1, _POINTS_AT_ONCE // max(1, len(second) * len(third)))
        for start in range(0, len(first), n_planes):
            unwrapped = (first[start : start + n_planes], second, third)
            x, y, z = (np.array(run) - centre[axis] for axis, run in enumerate(unwrapped))
            squared = squared_lengths(steps, x, y, z)
            is_inside = squared < function.cutoff**2
            if is_inside.any():
                values = np.zeros(squared.shape)
                values[is_inside] = function(np.sqrt(squared[is_inside]))
                b0, b1, b2 = (_wrapped(run, n) for run, n in zip(unwrapped, shape, strict=True))
                yield (b0, b1, b2), values


def _runs(centre: float, reach: float, n_points: int, is_periodic: bool) -> list[range]:
    """Unwrapped indices within reach of an atom along an axis, divided where a cell ends."""
    first, last = int(np.ceil(centre - reach)), int(np.floor(centre + reach))
    if not is_periodic:
        return [range(max(first, 0), min(last, n_points - 1) + 1)]
    ends = [*range((first // n_points + 1) * n_points, last + 1, n_points), last + 1]
    starts = [first, *ends[:-1]]
    return [range(start, end) for start, end in zip(starts, ends, strict=True)]


def _wrapped(run: range, n_points: int) -> slice:
    start = run.start % n_points
    return slice(start, start + len(run))
