"""Grids in cells, and the walk over the grid points around a centre.

The walk meets each pair of a centre's image and a grid point within a radius once, and no other pair: planes and rows
of the grid that pass the sphere are found from its bounding box, the points of a row from a quadratic equation. It goes
over *unwrapped* grid indices, and what it finds is wrapped (crystal) or clipped (molecule) into the grid, so cells may
be sheared, left-handed or far smaller than the radius.

The compiled functions here become part of the kernels that call them. Numba does not see that a kernel on disk is older
than they are: after a change here, remove `models/decoder/__pycache__`.
"""

from collections.abc import Iterator
from math import ceil, floor, sqrt
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Vector = tuple[float, float, float]


class Frame(NamedTuple):
    """Grid in a cell.

    Attributes:
        shape: Number of grid points along each cell vector, [3].
        steps: Vectors from a grid point to the next along each in Å, one a row, [3, 3].
        steps_per_length: Grid planes that a unit length along their normal passes, in Å⁻¹, [3].
        is_periodic: Whether the cell repeats.
    """

    shape: IntArray
    steps: FloatArray
    steps_per_length: FloatArray
    is_periodic: bool

    @classmethod
    def of_cell(cls, cell: FloatArray, shape: tuple[int, int, int], is_periodic: bool) -> "Frame":
        """The grid with these numbers of points along the cell vectors, which are in Å, one a row, [3, 3]."""
        n_points = np.array(shape, dtype=np.int64)
        reciprocal_lengths = np.linalg.norm(np.linalg.inv(cell), axis=0)
        return cls(
            n_points, np.ascontiguousarray(cell / n_points[:, None]), reciprocal_lengths * n_points, bool(is_periodic)
        )

    @property
    def cell(self) -> FloatArray:
        """Cell vectors in Å, one a row, [3, 3]."""
        return self.steps * self.shape[:, None]

    def shape_of_planes(self, first: int, last: int) -> tuple[int, int, int]:
        """(last − first, n1, n2), for the planes from `first` to before `last`.

        Raises:
            ValueError: If the grid has no such planes.
        """
        n0, n1, n2 = self.shape.tolist()
        if not 0 <= first <= last <= n0:
            raise ValueError(f"found planes {first} to {last}; expected planes from 0 to {n0}, for the grid has {n0}")
        return last - first, n1, n2

    def zeros(self, first: int, last: int) -> FloatArray:
        """Zeros for the planes from `first` to before `last`, [last − first, n1, n2].

        Raises:
            ValueError: If the grid has no such planes.
        """
        return np.zeros(self.shape_of_planes(first, last))

    def lattice(self) -> "Frame":
        """The grid with one point in each cell: how the images of a centre look from a point."""
        return Frame.of_cell(self.cell, (1, 1, 1), self.is_periodic)


class Sphere(NamedTuple):
    """Where to walk: `centre` in grid steps, `radius` in Å."""

    centre: Vector
    radius: float


class Chord(NamedTuple):
    """The points of one row that lie in a sphere.

    Attributes:
        row: Their second index in the grid.
        first, last: Their unwrapped indices in the row.
        foot: Index, fractional, of the foot of the perpendicular from the centre.
        perpendicular: Vector in Å from the centre to that foot.
        distance_squared: Its squared length in Å².
        step: Distance of neighbouring points in Å.
    """

    row: int
    first: int
    last: int
    foot: float
    perpendicular: Vector
    distance_squared: float
    step: float


class _Rows(NamedTuple):
    """What the rows of a grid have in common: `step` from point to point in Å, `n_points`, and whether they repeat."""

    step: Vector
    n_points: int
    is_periodic: bool


# Vectors are tuples and loops explicit, for making an array inside a loop, or counting the references to one, costs
# more than the loop's work.


@njit(cache=True, forceinline=True)
def vector(array: FloatArray) -> Vector:
    """The three numbers of an array, [3], as a tuple."""
    return array[0], array[1], array[2]


@njit(cache=True)
def in_steps(frame: Frame, fractional: Vector) -> Vector:
    """A fractional position in grid steps."""
    return fractional[0] * frame.shape[0], fractional[1] * frame.shape[1], fractional[2] * frame.shape[2]


@njit  # a generator does not come back from the disk; the kernels that it is part of do
def chords(frame: Frame, sphere: Sphere, plane: int) -> Iterator[Chord]:
    """Every part of a row of a plane of the grid that lies in a sphere or one of its images.

    Args:
        frame: The grid.
        sphere: Where to walk.
        plane: First index of the grid points.
    """
    step_i, step_j = vector(frame.steps[0]), vector(frame.steps[1])
    period_i, period_j = frame.shape[0], frame.shape[1]
    rows = _Rows(vector(frame.steps[2]), frame.shape[2], frame.is_periodic)
    centre = sphere.centre
    first, last = _unwrapped_range(
        centre[0], sphere.radius * frame.steps_per_length[0], plane, period_i, frame.is_periodic
    )
    reach = sphere.radius * frame.steps_per_length[1]
    first_row, last_row = ceil(centre[1] - reach), floor(centre[1] + reach)
    if not frame.is_periodic:
        first_row, last_row = max(first_row, 0), min(last_row, period_j - 1)
    for i in range(first, last + 1, period_i):
        for j in range(first_row, last_row + 1):
            x, y = i - centre[0], j - centre[1]
            start = (
                x * step_i[0] + y * step_j[0],
                x * step_i[1] + y * step_j[1],
                x * step_i[2] + y * step_j[2],
            )
            chord = _chord(rows, sphere, start, j % period_j)
            if chord.first <= chord.last:
                yield chord


@njit(cache=True, forceinline=True)
def _unwrapped_range(centre: float, reach: float, plane: int, period: int, is_periodic: bool) -> tuple[int, int]:
    """First and last unwrapped index within `reach` of `centre` that belong to `plane`; all are in grid steps."""
    first, last = ceil(centre - reach), floor(centre + reach)
    if is_periodic:
        return first + (plane - first) % period, last
    return max(first, plane), min(last, plane)


@njit(cache=True, fastmath={"contract"}, forceinline=True)
def _chord(rows: _Rows, sphere: Sphere, start: Vector, row: int) -> Chord:
    """The part of a row that lies in the sphere.

    Args:
        rows: The kind of row.
        sphere: Where to walk.
        start: Vector in Å from the centre to the row, at the third index that the centre itself has.
        row: Second index of the row's points in the grid.
    """
    step = rows.step
    step_squared = step[0] ** 2 + step[1] ** 2 + step[2] ** 2
    along = (start[0] * step[0] + start[1] * step[1] + start[2] * step[2]) / step_squared
    # Squared distance of the centre to the row, from the perpendicular itself: a difference of squares loses digits.
    perpendicular = (start[0] - along * step[0], start[1] - along * step[1], start[2] - along * step[2])
    distance_squared = perpendicular[0] ** 2 + perpendicular[1] ** 2 + perpendicular[2] ** 2
    foot = sphere.centre[2] - along
    remaining = sphere.radius**2 - distance_squared
    if remaining <= 0:
        return Chord(row, 0, -1, foot, perpendicular, distance_squared, sqrt(step_squared))
    half_chord = sqrt(remaining / step_squared)
    first, last = ceil(foot - half_chord), floor(foot + half_chord)
    if not rows.is_periodic:
        first, last = max(first, 0), min(last, rows.n_points - 1)
    return Chord(row, first, last, foot, perpendicular, distance_squared, sqrt(step_squared))
