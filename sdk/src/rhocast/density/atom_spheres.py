"""Sums of radial functions on atoms over the points of a grid, or of a list, in numpy.

Slower than a compiled kernel (some 10⁷ pairs of atom and point a second) and fast enough for one look at a density.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from rhocast.density.radial import RadialFunction
from rhocast.density.spheres import Block, Shape, Sphere, pairs_with_points, parts_on_grid
from rhocast.structure import Structure

FloatArray = NDArray[np.float64]


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
    for part in parts_on_grid(structure, shape, Sphere(structure.positions[atom], function.cutoff)):
        yield part.block, part.with_zeros(function(np.sqrt(part.squared)))


def sum_of_spheres_at(structure: Structure, points: FloatArray, functions: Sequence[RadialFunction]) -> FloatArray:
    """The same sum at any points, [n_points].

    Args:
        structure: Atoms and cell.
        points: Cartesian positions in Å, [n_points, 3].
        functions: One function an atom.
    """
    total = np.zeros(len(points))
    for position, function in zip(structure.positions, functions, strict=True):
        for indices, vectors in pairs_with_points(structure, points, Sphere(position, function.cutoff)):
            values = function(np.linalg.norm(vectors, axis=1))
            total += np.bincount(indices, values, minlength=len(points))
    return total
