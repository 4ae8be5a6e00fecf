"""Compiled sums of orbitals over grid points, and the sums' gradients: real space, on processors.

The work is done once per pair of a centre's image and a point within the centre's radius. Threads share planes of the
grid or runs of points on the way forward, and centres on the way back, so no two write to one number, and the results
do not depend on how many there are. Positions are float64; the rest has the type of the tables.
"""

from math import sqrt
from typing import NamedTuple

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from models.basis.radial_tables import STRETCH
from models.decoder.frame import Chord, FloatArray, Frame, Sphere, Vector, chords, in_steps, vector
from models.decoder.lanes import LANES, POSITION, SQUARE, VALUE, PointsOfRow, accumulate, interpolate, set_polynomials

Array = NDArray[np.floating]

RUN = 128
"""Points of a row that are worked on together: their scratch stays in the first cache."""

POINTS_PER_TASK = 64


class RowHarmonics(NamedTuple):
    """Solid harmonics as polynomials along rows of one direction w, with u and v perpendicular to it.

    Attributes:
        axes: u, v, w, unit vectors, one a row, [3, 3].
        matrix: Coefficient of u^a v^b w^power in each harmonic, in the order of `lanes.columns`, [n_columns, LANES].
    """

    axes: FloatArray
    matrix: Array


class Centres(NamedTuple):
    """Centres and their radial tables, or the gradients of these.

    Attributes:
        fractional: Fractional coordinates, [n_centres, 3].
        radii: Distance in Å beyond which each is zero, [n_centres].
        tables: Radial tables in lanes, [n_centres, n_vectors, n_intervals + 1, 2, LANES].
    """

    fractional: FloatArray
    radii: FloatArray
    tables: Array


class _Centre(NamedTuple):
    """One of them: `fractional`, `radius` in Å, `tables` [n_vectors, n_intervals + 1, 2, LANES]."""

    fractional: Vector
    radius: float
    tables: Array


class _Task(NamedTuple):
    """The harmonics, and memory for a row and its points, of one thread: see `lanes`."""

    degrees: tuple[int, ...]
    harmonics: RowHarmonics
    points: PointsOfRow
    monomials: Array
    polynomials: Array


# The degrees (0 … L) stand alone among the arguments, for numba takes no tuple within a tuple into a parallel loop.


@njit(parallel=True, nogil=True, cache=True)
def fill_planes(degrees, harmonics: RowHarmonics, frame: Frame, centres: Centres, first: int, values: FloatArray):
    """Addition of all centres to some planes of the grid.

    Args:
        degrees: (0 … L).
        harmonics: Harmonics along the grid's rows.
        frame: The grid.
        centres: The centres.
        first: Index of the first plane.
        values: Values in the planes, [n_planes, n1, n2].
    """
    for plane in prange(values.shape[0]):
        _fill_plane(_task(degrees, harmonics, centres.tables), frame, centres, first + plane, values[plane])


@njit(cache=True)
def _fill_plane(task: _Task, frame: Frame, centres: Centres, plane: int, values: FloatArray):
    for index in range(len(centres.radii)):
        centre = _centre(centres, index)
        for chord in chords(frame, Sphere(in_steps(frame, centre.fractional), centre.radius), plane):
            _add_to_row(task, centre, chord, values)


@njit(parallel=True, nogil=True, cache=True)
def gradient_of_planes(
    degrees, harmonics: RowHarmonics, frame: Frame, gradients: Centres, first: int, values: FloatArray
):
    """Addition to the gradients of tables, from the gradients of the values that `fill_planes` makes of them."""
    for index in prange(len(gradients.radii)):
        task = _task(degrees, harmonics, gradients.tables)
        _gradient_of_planes(task, frame, _centre(gradients, index), first, values)


@njit(cache=True)
def _gradient_of_planes(task: _Task, frame: Frame, gradient: _Centre, first: int, values: FloatArray):
    sphere = Sphere(in_steps(frame, gradient.fractional), gradient.radius)
    for plane in range(values.shape[0]):
        for chord in chords(frame, sphere, first + plane):
            _gather_from_row(task, gradient, chord, values[plane])


@njit(parallel=True, nogil=True, cache=True)
def fill_points(degrees, harmonics: RowHarmonics, lattice: Frame, centres: Centres, at: FloatArray, values: FloatArray):
    """Addition of all centres to points anywhere.

    Args:
        degrees: (0 … L).
        harmonics: Harmonics along the lattice's rows.
        lattice: Grid of one point in each cell.
        centres: The centres.
        at: Fractional coordinates of the points, [n_points, 3].
        values: Their values, [n_points, 1, 1].
    """
    for run in prange(-(-len(at) // POINTS_PER_TASK)):
        first, last = run * POINTS_PER_TASK, min((run + 1) * POINTS_PER_TASK, len(at))
        _fill_run(_task(degrees, harmonics, centres.tables), lattice, centres, at[first:last], values[first:last])


@njit(cache=True)
def _fill_run(task: _Task, lattice: Frame, centres: Centres, at: FloatArray, values: FloatArray):
    for index in range(len(centres.radii)):
        centre = _centre(centres, index)
        for point in range(len(at)):
            for chord in chords(lattice, _seen_from(vector(at[point]), centre), 0):
                _add_to_row(task, centre, chord, values[point])


@njit(parallel=True, nogil=True, cache=True)
def gradient_of_points(
    degrees, harmonics: RowHarmonics, lattice: Frame, gradients: Centres, at: FloatArray, values: FloatArray
):
    """Addition to the gradients of tables, from the gradients of the values that `fill_points` makes of them."""
    for index in prange(len(gradients.radii)):
        _gradient_of_points(_task(degrees, harmonics, gradients.tables), lattice, _centre(gradients, index), at, values)


@njit(cache=True)
def _gradient_of_points(task: _Task, lattice: Frame, gradient: _Centre, at: FloatArray, values: FloatArray):
    for point in range(len(at)):
        for chord in chords(lattice, _seen_from(vector(at[point]), gradient), 0):
            _gather_from_row(task, gradient, chord, values[point])


@njit(cache=True, forceinline=True)
def _centre(centres: Centres, index: int) -> _Centre:
    return _Centre(vector(centres.fractional[index]), centres.radii[index], centres.tables[index])


@njit(cache=True, forceinline=True)
def _seen_from(point: Vector, centre: _Centre) -> Sphere:
    a, b, c = centre.fractional
    return Sphere((a - point[0], b - point[1], c - point[2]), centre.radius)


@njit(cache=True)
def _task(degrees, harmonics: RowHarmonics, tables: Array) -> _Task:
    n_degrees, dtype = len(degrees), tables.dtype
    return _Task(
        degrees,
        harmonics,
        PointsOfRow(np.empty(RUN, np.int32), np.empty((7, RUN), dtype)),
        np.empty(n_degrees * (n_degrees + 1) // 2, dtype),
        np.empty((tables.shape[1], n_degrees, LANES), dtype),
    )


@njit(cache=True, forceinline=True)
def _add_to_row(task: _Task, centre: _Centre, chord: Chord, values: FloatArray) -> None:
    """Addition of one centre to the points of a row that it reaches, over several periods if need be."""
    _set_row(task, chord)
    numbers, n_points = task.points.numbers, values.shape[1]
    wrapped = chord.first % n_points
    for start in range(chord.first, chord.last + 1, RUN):
        n_run = min(RUN, chord.last + 1 - start)
        _set_points(task, centre, chord, start, n_run)
        interpolate(task.degrees, centre.tables, task.polynomials, task.points, n_run)
        done = 0
        while done < n_run:
            # Up to the end of the period the values are neighbours in memory.
            n_here = min(n_points - wrapped, n_run - done)
            for step in range(n_here):
                values[chord.row, wrapped + step] += numbers[VALUE, done + step]
            done += n_here
            wrapped = (wrapped + n_here) % n_points


@njit(cache=True, forceinline=True)
def _gather_from_row(task: _Task, gradient: _Centre, chord: Chord, values: FloatArray) -> None:
    """Addition of what one row makes of the gradient of a centre's tables."""
    _set_row(task, chord)
    numbers, n_points = task.points.numbers, values.shape[1]
    wrapped = chord.first % n_points
    for start in range(chord.first, chord.last + 1, RUN):
        n_run = min(RUN, chord.last + 1 - start)
        _set_points(task, gradient, chord, start, n_run)
        for step in range(n_run):
            numbers[VALUE, step] = values[chord.row, wrapped]
            wrapped = wrapped + 1 if wrapped + 1 < n_points else 0
        accumulate(task.degrees, gradient.tables, task.polynomials, task.points, n_run)


@njit(cache=True, forceinline=True)
def _set_row(task: _Task, chord: Chord) -> None:
    """Sets the polynomials of the harmonics along a row."""
    u, v = _dot(task.harmonics.axes[0], chord.perpendicular), _dot(task.harmonics.axes[1], chord.perpendicular)
    monomials, place, power_of_u = task.monomials, 0, 1.0
    for total in range(len(task.degrees)):
        value = power_of_u
        monomials[place] = value
        # u^(total − b) v^b, from the line before: each of its monomials times v, and u^total in front.
        for b in range(1, total + 1):
            monomials[place + b] = monomials[place - total + b - 1] * v
        place += total + 1
        power_of_u *= u
    set_polynomials(task.degrees, task.harmonics.matrix, monomials, task.polynomials)


@njit(cache=True, forceinline=True)
def _dot(axis: FloatArray, other: Vector) -> float:
    return axis[0] * other[0] + axis[1] * other[1] + axis[2] * other[2]


@njit(cache=True, fastmath=True, error_model="numpy")
def _set_points(task: _Task, centre: _Centre, chord: Chord, start: int, n_run: int) -> None:
    """Sets where on the row, and where in the tables, a run of points lies.

    Args:
        task: Where to write.
        centre: The centre.
        chord: The row.
        start: Unwrapped index of the first point.
        n_run: Number of points.
    """
    intervals, numbers = task.points.intervals, task.points.numbers
    number = numbers.dtype.type
    # Differences of positions are float64: float32 would lose, where the index is large, what sharp functions need.
    for step in range(n_run):
        position = (start + step - chord.foot) * chord.step
        numbers[POSITION, step] = position
        numbers[SQUARE, step] = chord.distance_squared + position * position
    n_intervals = centre.tables.shape[1] - 1
    scale, stretch = number(n_intervals * (1 + STRETCH)), number(STRETCH * centre.radius)
    last, zero, one, two, three = number(n_intervals - 1), number(0), number(1), number(2), number(3)
    for step in range(n_run):
        distance = sqrt(numbers[SQUARE, step])
        u = scale * distance / (distance + stretch)
        interval = np.floor(u)
        interval = last if interval > last else interval
        u = u - interval
        rest = one - u
        intervals[step] = np.int32(interval)
        numbers[0, step] = (one + two * u) * rest * rest
        numbers[1, step] = u * rest * rest
        numbers[2, step] = u * u * (three - two * u)
        numbers[3, step] = zero - u * u * rest
