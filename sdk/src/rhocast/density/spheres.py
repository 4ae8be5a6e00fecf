"""Which points of a grid, or of a list, lie in a sphere or one of its images."""

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rhocast.density.lattice_lengths import squared_lengths
from rhocast.structure import Structure

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Shape = tuple[int, int, int]
Block = tuple[slice, slice, slice]

_PAIRS_AT_ONCE = 2**18


class Sphere(NamedTuple):
    """Where to look: `centre` in Å, [3], inside the cell or not, and `radius` in Å."""

    centre: FloatArray
    radius: float


class Part(NamedTuple):
    """The part of a sphere that lies in a block of a grid.

    Attributes:
        block: Where it is in the grid.
        is_inside: Which points of the block lie in the sphere, the shape of the block.
        squared: Squared distances in Å² from the centre to these, [n_inside].
        coordinates: Indices of the block's points less that of the centre, along each axis.
        steps: Vectors in Å from a grid point to the next along each, one a row, [3, 3].
    """

    block: Block
    is_inside: NDArray[np.bool_]
    squared: FloatArray
    coordinates: tuple[FloatArray, FloatArray, FloatArray]
    steps: FloatArray

    @property
    def vectors(self) -> FloatArray:
        """From the centre to the points inside in Å, [n_inside, 3]."""
        indices = np.nonzero(self.is_inside)
        along = [one[index] for one, index in zip(self.coordinates, indices, strict=True)]
        return np.stack(along, axis=1) @ self.steps

    def with_zeros(self, inside: FloatArray) -> FloatArray:
        """Values of the whole block: those inside, and zero elsewhere.

        Args:
            inside: Values at the points inside, [n_inside].
        """
        values = np.zeros(self.is_inside.shape)
        values[self.is_inside] = inside
        return values


def parts_on_grid(structure: Structure, shape: Shape, sphere: Sphere) -> Iterator[Part]:
    """Parts of a sphere that together hold each of its grid points once, image by image.

    Args:
        structure: The cell, and whether it repeats; a point may lie in several images.
        shape: The grid.
        sphere: Where to look.
    """
    n_points = np.array(shape)
    steps = structure.cell / n_points[:, None]
    to_fractional = np.linalg.inv(structure.cell)
    centre = sphere.centre @ to_fractional * n_points
    reach = sphere.radius * np.linalg.norm(to_fractional, axis=0) * n_points
    runs = [_runs(centre[axis], reach[axis], shape[axis], structure.is_periodic) for axis in range(3)]
    for first, second, third in product(*runs):
        n_planes = max(1, _PAIRS_AT_ONCE // max(1, len(second) * len(third)))
        for start in range(0, len(first), n_planes):
            unwrapped = (first[start : start + n_planes], second, third)
            x, y, z = (np.array(run) - centre[axis] for axis, run in enumerate(unwrapped))
            squared = squared_lengths(steps, x, y, z)
            is_inside = squared < sphere.radius**2
            if is_inside.any():
                b0, b1, b2 = (_wrapped(run, n) for run, n in zip(unwrapped, shape, strict=True))
                yield Part((b0, b1, b2), is_inside, squared[is_inside], (x, y, z), steps)


def pairs_with_points(
    structure: Structure, points: FloatArray, sphere: Sphere
) -> Iterator[tuple[IntArray, FloatArray]]:
    """Indices of points within a sphere or an image, and the vectors to them in Å, [n] and [n, 3], in pieces.

    Args:
        structure: The cell, and whether it repeats; a point comes once for each image that it lies in.
        points: Cartesian positions in Å, inside the cell or not, [n_points, 3].
        sphere: Where to look.
    """
    vectors, images = points - sphere.centre, np.zeros((1, 3))
    if structure.is_periodic:
        to_fractional = np.linalg.inv(structure.cell)
        vectors = vectors - np.rint(vectors @ to_fractional) @ structure.cell
        # A vector to the nearest cell has fractional components of a half at most.
        farthest = np.floor(sphere.radius * np.linalg.norm(to_fractional, axis=0) + 0.5).astype(np.int64)
        images = np.array(list(product(*(range(-n, n + 1) for n in farthest.tolist())))) @ structure.cell
    n_points = max(1, _PAIRS_AT_ONCE // len(images))
    for start in range(0, len(vectors), n_points):
        to_images = vectors[start : start + n_points, None] + images
        which, image = np.nonzero(np.square(to_images).sum(axis=2) < sphere.radius**2)
        if len(which):
            yield start + which, to_images[which, image]


def _runs(centre: float, reach: float, n_points: int, is_periodic: bool) -> list[range]:
    """Unwrapped indices within reach of a centre along an axis, divided where a cell ends."""
    first, last = int(np.ceil(centre - reach)), int(np.floor(centre + reach))
    if not is_periodic:
        return [range(max(first, 0), min(last, n_points - 1) + 1)]
    ends = [*range((first // n_points + 1) * n_points, last + 1, n_points), last + 1]
    starts = [first, *ends[:-1]]
    return [range(start, end) for start, end in zip(starts, ends, strict=True)]


def _wrapped(run: range, n_points: int) -> slice:
    start = run.start % n_points
    return slice(start, start + len(run))
