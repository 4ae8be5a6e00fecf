"""Sums of spherical functions on atoms, at the points of a grid or anywhere.

The work is done once per pair of an atom's image and a grid point within the function's cutoff, and for no other pair:
planes and rows of the grid that pass an atom's sphere are found from its bounding box, the points of a row from a
quadratic equation. Atoms walk over *unwrapped* grid indices and the results are wrapped (crystal) or clipped (molecule)
into the grid, so cells may be sheared, left-handed or far smaller than the cutoff. Threads share the planes of the
grid, hence no two threads write to one value, and the result does not depend on their number, which is numba's
(`NUMBA_NUM_THREADS`, `numba.set_num_threads`). Everything is float64 and exact at any grid spacing.
"""

from collections.abc import Sequence
from math import ceil, floor, sqrt
from typing import NamedTuple

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray
from scipy.interpolate import PPoly

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Vector = tuple[float, float, float]


class RadialCubics(NamedTuple):
    """Radial functions that are cubics in intervals of one length and zero beyond their cutoffs.

    Attributes:
        coefficients: Function in interval i as a polynomial Σ_p c[f, i, p] u^p of u = r/spacing − i, [n_functions,
            n_intervals, 4]; there is one more interval than the longest cutoff has, for rounding to fall into.
        cutoffs: Radius in Å beyond which each function is zero, [n_functions].
        spacing: Length of an interval in Å.
    """

    coefficients: FloatArray
    cutoffs: FloatArray
    spacing: float

    @classmethod
    def of_splines(cls, splines: Sequence[PPoly], spacing: float) -> "RadialCubics":
        """The same functions as these cubic splines, exactly.

        Args:
            splines: One spline a function, from 0 to its cutoff; its knots are multiples of `spacing`.
            spacing: Distance of the knots in Å.
        """
        n_intervals = max(spline.c.shape[1] for spline in splines) + 1
        coefficients = np.zeros((len(splines), n_intervals, 4))
        powers_of_spacing = spacing ** np.arange(4)
        for row, spline in zip(coefficients, splines, strict=True):
            row[: spline.c.shape[1]] = spline.c[::-1].T * powers_of_spacing
        return cls(coefficients, np.array([spline.x[-1] for spline in splines]), spacing)


class Centres(NamedTuple):
    """Where the functions sit.

    Attributes:
        fractional: Fractional coordinates, [n_atoms, 3].
        function: Index of each atom's function, [n_atoms].
    """

    fractional: FloatArray
    function: IntArray


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


def sum_on_grid(frame: Frame, functions: RadialCubics, centres: Centres) -> FloatArray:
    """Σ over atoms (a crystal: and their images) of f(|r − R|) at every grid point, [n0, n1, n2].

    Args:
        frame: The grid; point (i, j, k) lies at i/n0·a + j/n1·b + k/n2·c.
        functions: Radial functions; the result has their unit.
        centres: Where they sit.
    """
    total = np.zeros(tuple(frame.shape.tolist()))
    _fill_grid(frame, functions, centres, total)
    return total


def sum_at_points(frame: Frame, functions: RadialCubics, centres: Centres, points: FloatArray) -> FloatArray:
    """The same sum at any points.

    Args:
        frame: The cell; its grid is not used.
        functions: Radial functions; the result has their unit.
        centres: Where they sit.
        points: Cartesian positions in Å, [n_points, 3].
    """
    # The images of an atom, seen from a point, are a grid with one point in each cell.
    lattice = Frame.of_cell(frame.cell, (1, 1, 1), frame.is_periodic)
    total = np.zeros((len(points), 1, 1))
    _fill_points(lattice, functions, centres, np.ascontiguousarray(points @ np.linalg.inv(frame.cell)), total)
    return total[:, 0, 0]


@njit(parallel=True, nogil=True, cache=True)
def _fill_grid(frame: Frame, functions: RadialCubics, centres: Centres, total: FloatArray) -> None:
    for plane in prange(total.shape[0]):
        _fill_plane(frame, functions, centres, plane, total[plane])


@njit(cache=True)
def _fill_plane(frame: Frame, functions: RadialCubics, centres: Centres, plane: int, values: FloatArray) -> None:
    for atom in range(len(centres.function)):
        a, b, c = _vector(centres.fractional[atom])
        centre = (a * frame.shape[0], b * frame.shape[1], c * frame.shape[2])
        _add_to_plane(frame, _cubic(functions, centres.function[atom]), centre, plane, values)


@njit(parallel=True, nogil=True, cache=True)
def _fill_points(
    lattice: Frame, functions: RadialCubics, centres: Centres, fractional: FloatArray, total: FloatArray
) -> None:
    for point in prange(len(fractional)):
        _fill_point(lattice, functions, centres, _vector(fractional[point]), total[point])


@njit(cache=True)
def _fill_point(
    lattice: Frame, functions: RadialCubics, centres: Centres, fractional: Vector, values: FloatArray
) -> None:
    for atom in range(len(centres.function)):
        a, b, c = _vector(centres.fractional[atom])
        centre = (a - fractional[0], b - fractional[1], c - fractional[2])
        _add_to_plane(lattice, _cubic(functions, centres.function[atom]), centre, 0, values)


# The functions below are compiled into the ones above. Vectors are tuples and loops explicit, for making an array
# inside a loop, or counting the references to one, costs more than the loop's work.


class _Cubic(NamedTuple):
    """One radial function: `coefficients` [n_intervals, 4], `cutoff` in Å, `intervals_per_length` in Å⁻¹."""

    coefficients: FloatArray
    cutoff: float
    intervals_per_length: float


class _Rows(NamedTuple):
    """What the rows of a grid have in common: `step` from point to point in Å, `n_points`, and whether they repeat."""

    step: Vector
    n_points: int
    is_periodic: bool


@njit(cache=True, fastmath={"contract"})
def _add_to_plane(frame: Frame, cubic: _Cubic, centre: Vector, plane: int, values: FloatArray) -> None:
    """Addition of one atom, images included, to the grid points whose first index is `plane`.

    Args:
        frame: The grid.
        cubic: Radial function of the atom.
        centre: Position of the atom in grid steps.
        plane: First index of the grid points.
        values: Their values, [n1, n2].
    """
    step_i, step_j, step_k = _vector(frame.steps[0]), _vector(frame.steps[1]), _vector(frame.steps[2])
    period_i, period_j = frame.shape[0], frame.shape[1]
    rows = _Rows(step_k, frame.shape[2], frame.is_periodic)
    first, last = _unwrapped_range(
        centre[0], cubic.cutoff * frame.steps_per_length[0], plane, period_i, frame.is_periodic
    )
    reach = cubic.cutoff * frame.steps_per_length[1]
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
            _add_to_row(rows, cubic, start, centre[2], values[j % period_j])


@njit(cache=True)
def _cubic(functions: RadialCubics, function: int) -> _Cubic:
    return _Cubic(functions.coefficients[function], functions.cutoffs[function], 1 / functions.spacing)


@njit(cache=True)
def _vector(array: FloatArray) -> Vector:
    return array[0], array[1], array[2]


@njit(cache=True)
def _unwrapped_range(centre: float, reach: float, plane: int, period: int, is_periodic: bool) -> tuple[int, int]:
    """First and last unwrapped index within `reach` of `centre` that belong to `plane`; all are in grid steps."""
    first, last = ceil(centre - reach), floor(centre + reach)
    if is_periodic:
        return first + (plane - first) % period, last
    return max(first, plane), min(last, plane)


@njit(cache=True, fastmath={"contract"})
def _add_to_row(rows: _Rows, cubic: _Cubic, start: Vector, centre: float, values: FloatArray) -> None:
    """Addition of one atom to one row of the grid, of which it may reach several periods.

    Args:
        rows: The kind of row.
        cubic: Radial function of the atom.
        start: Vector in Å from the atom to the row, at the third index that the atom itself has.
        centre: That index, fractional.
        values: The row, [n2].
    """
    step, n_points = rows.step, rows.n_points
    step_squared = step[0] ** 2 + step[1] ** 2 + step[2] ** 2
    along = (start[0] * step[0] + start[1] * step[1] + start[2] * step[2]) / step_squared
    # Squared distance of the atom to the row, from the perpendicular itself: a difference of squares loses digits.
    distance_squared = (
        (start[0] - along * step[0]) ** 2 + (start[1] - along * step[1]) ** 2 + (start[2] - along * step[2]) ** 2
    )
    remaining = cubic.cutoff**2 - distance_squared
    if remaining <= 0:
        return
    foot, half_chord = centre - along, sqrt(remaining / step_squared)
    k, last = ceil(foot - half_chord), floor(foot + half_chord)
    if not rows.is_periodic:
        k, last = max(k, 0), min(last, n_points - 1)
    wrapped = k % n_points
    while k <= last:
        # Up to the end of the period the values are neighbours in memory: no modulo for each point.
        n_run = min(n_points - wrapped, last - k + 1)
        for step_of_run in range(n_run):
            from_foot = k + step_of_run - foot
            u = sqrt(distance_squared + from_foot * from_foot * step_squared) * cubic.intervals_per_length
            interval = int(u)
            u -= interval
            c = cubic.coefficients[interval]
            values[wrapped + step_of_run] += c[0] + u * (c[1] + u * (c[2] + u * c[3]))
        k += n_run
        wrapped = 0
