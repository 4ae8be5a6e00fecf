"""Sums of spherical functions on atoms, at the points of a grid or anywhere.

The work is done once per pair of an atom's image and a grid point within the function's cutoff, and for no other pair
(`models.decoder.frame`). Threads share the planes of the grid, hence no two threads write to one value, and the result
does not depend on their number, which is numba's (`NUMBA_NUM_THREADS`, `numba.set_num_threads`). Everything is float64
and exact at any grid spacing.
"""

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

import numpy as np
from numba import njit, prange
from scipy.interpolate import PPoly

from models.decoder.frame import Chord, FloatArray, Frame, IntArray, Sphere, Vector, chords, in_steps, vector

__all__ = ["Centres", "Frame", "RadialCubics", "sum_at_points", "sum_on_planes"]


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

    def chosen(self, functions: IntArray) -> "RadialCubics":
        """Some of the functions, by their indices, [n_chosen]."""
        return RadialCubics(self.coefficients[functions], self.cutoffs[functions], self.spacing)


class Centres(NamedTuple):
    """Where the functions sit.

    Attributes:
        fractional: Fractional coordinates, [n_atoms, 3].
        function: Index of each atom's function, [n_atoms].
    """

    fractional: FloatArray
    function: IntArray


def sum_on_planes(frame: Frame, functions: RadialCubics, centres: Centres, planes: tuple[int, int]) -> FloatArray:
    """Σ over atoms (a crystal: and their images) of f(|r − R|) at the points of some planes, [n_planes, n1, n2].

    Args:
        frame: The grid; point (i, j, k) lies at i/n0·a + j/n1·b + k/n2·c.
        functions: Radial functions; the result has their unit.
        centres: Where they sit.
        planes: First plane, and the one after the last.

    Raises:
        ValueError: If the grid has no such planes.
    """
    total = frame.zeros(*planes)
    _fill_planes(frame, functions, centres, planes[0], total)
    return total


def sum_at_points(frame: Frame, functions: RadialCubics, centres: Centres, points: FloatArray) -> FloatArray:
    """The same sum at any points.

    Args:
        frame: The cell; its grid is not used.
        functions: Radial functions; the result has their unit.
        centres: Where they sit.
        points: Cartesian positions in Å, [n_points, 3].
    """
    total = np.zeros((len(points), 1, 1))
    _fill_points(frame.lattice(), functions, centres, np.ascontiguousarray(points @ np.linalg.inv(frame.cell)), total)
    return total[:, 0, 0]


@njit(parallel=True, nogil=True, cache=True)
def _fill_planes(frame: Frame, functions: RadialCubics, centres: Centres, first: int, total: FloatArray) -> None:
    for plane in prange(total.shape[0]):
        _fill_plane(frame, functions, centres, first + plane, total[plane])


@njit(cache=True)
def _fill_plane(frame: Frame, functions: RadialCubics, centres: Centres, plane: int, values: FloatArray) -> None:
    for atom in range(len(centres.function)):
        cubic = _cubic(functions, centres.function[atom])
        sphere = Sphere(in_steps(frame, vector(centres.fractional[atom])), cubic.cutoff)
        for chord in chords(frame, sphere, plane):
            _add_to_row(cubic, chord, values[chord.row])


@njit(parallel=True, nogil=True, cache=True)
def _fill_points(
    lattice: Frame, functions: RadialCubics, centres: Centres, fractional: FloatArray, total: FloatArray
) -> None:
    for point in prange(len(fractional)):
        _fill_point(lattice, functions, centres, vector(fractional[point]), total[point])


@njit(cache=True)
def _fill_point(
    lattice: Frame, functions: RadialCubics, centres: Centres, fractional: Vector, values: FloatArray
) -> None:
    for atom in range(len(centres.function)):
        cubic = _cubic(functions, centres.function[atom])
        a, b, c = vector(centres.fractional[atom])
        sphere = Sphere((a - fractional[0], b - fractional[1], c - fractional[2]), cubic.cutoff)
        for chord in chords(lattice, sphere, 0):
            _add_to_row(cubic, chord, values[chord.row])


class _Cubic(NamedTuple):
    """One radial function: `coefficients` [n_intervals, 4], `cutoff` in Å, `intervals_per_length` in Å⁻¹."""

    coefficients: FloatArray
    cutoff: float
    intervals_per_length: float


@njit(cache=True)
def _cubic(functions: RadialCubics, function: int) -> _Cubic:
    return _Cubic(functions.coefficients[function], functions.cutoffs[function], 1 / functions.spacing)


@njit(cache=True, fastmath={"contract"})
def _add_to_row(cubic: _Cubic, chord: Chord, values: FloatArray) -> None:
    """Addition of one atom to one row of the grid, of which it may reach several periods.

    Args:
        cubic: Radial function of the atom.
        chord: The points that it reaches.
        values: The row, [n2].
    """
    n_points, step_squared = len(values), chord.step * chord.step
    k = chord.first
    wrapped = k % n_points
    while k <= chord.last:
        # Up to the end of the period the values are neighbours in memory: no modulo for each point.
        n_run = min(n_points - wrapped, chord.last - k + 1)
        for step_of_run in range(n_run):
            from_foot = k + step_of_run - chord.foot
            u = sqrt(chord.distance_squared + from_foot * from_foot * step_squared) * cubic.intervals_per_length
            interval = int(u)
            u -= interval
            c = cubic.coefficients[interval]
            values[wrapped + step_of_run] += c[0] + u * (c[1] + u * (c[2] + u * c[3]))
        k += n_run
        wrapped = 0
