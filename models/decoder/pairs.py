"""Lists of the pairs of centres and points that are within a radius, for functions that no table can hold.

The walk of `models.decoder.frame` meets every pair of a centre's image and a point once. Lists are ordered by centre:
what a centre does to its points can be computed at once for all of them. Centres are shared between threads, each with
its own part of the list, which does not depend on how many there are.
"""

from typing import NamedTuple

import numpy as np
from numba import njit, prange

from models.decoder.frame import FloatArray, Frame, IntArray, Sphere, chords, in_steps, vector


class PointPairs(NamedTuple):
    """Centres and the points near them, those of the first centre first.

    Attributes:
        counts: Pairs of each centre, [n_centres].
        points: Index of each pair's point, [n_pairs].
        vectors: From the centre, or its image, to the point in Å, [n_pairs, 3].
    """

    counts: IntArray
    points: IntArray
    vectors: FloatArray

    def of_points(self, first: int, last: int) -> "PointPairs":
        """The pairs of the points from `first` to before `last`, which are counted from there."""
        chosen = (self.points >= first) & (self.points < last)
        if chosen.all():
            return PointPairs(self.counts, self.points - first, self.vectors)
        centres = np.repeat(np.arange(len(self.counts)), self.counts)[chosen]
        counts = np.bincount(centres, minlength=len(self.counts))
        return PointPairs(counts, self.points[chosen] - first, self.vectors[chosen])


def pairs_on_plane(frame: Frame, fractional: FloatArray, radius: float, plane: int) -> PointPairs:
    """The pairs of centres with points of one plane of a grid; the point (j, k) of the plane is j · n2 + k.

    Args:
        frame: The grid.
        fractional: Fractional coordinates of the centres, [n_centres, 3].
        radius: Of each centre, in Å.
        plane: First index of the points.
    """
    counts = np.zeros(len(fractional), dtype=np.int64)
    _count_on_plane(frame, fractional, radius, plane, counts)
    found = _room_for(counts)
    _fill_on_plane(frame, fractional, radius, plane, found)
    return found


def pairs_at_points(frame: Frame, fractional: FloatArray, radius: float, points: FloatArray) -> PointPairs:
    """The pairs of centres with any points.

    Args:
        frame: The cell; its grid is not used.
        fractional: Fractional coordinates of the centres, [n_centres, 3].
        radius: Of each centre, in Å.
        points: Cartesian positions in Å, [n_points, 3].
    """
    lattice, there = frame.lattice(), np.ascontiguousarray(points @ np.linalg.inv(frame.cell))
    counts = np.zeros(len(fractional), dtype=np.int64)
    _count_at_points(lattice, fractional, radius, there, counts)
    found = _room_for(counts)
    _fill_at_points(lattice, fractional, radius, there, found)
    return found


def _room_for(counts: IntArray) -> PointPairs:
    n_pairs = int(counts.sum())
    return PointPairs(counts, np.empty(n_pairs, dtype=np.int64), np.empty((n_pairs, 3)))


@njit(parallel=True, nogil=True, cache=True)
def _count_on_plane(frame: Frame, fractional: FloatArray, radius: float, plane: int, counts: IntArray) -> None:
    for centre in prange(len(fractional)):
        counts[centre] = _count(frame, Sphere(in_steps(frame, vector(fractional[centre])), radius), plane)


@njit(parallel=True, nogil=True, cache=True)
def _fill_on_plane(frame: Frame, fractional: FloatArray, radius: float, plane: int, found: PointPairs) -> None:
    first = np.cumsum(found.counts) - found.counts
    for centre in prange(len(fractional)):
        sphere = Sphere(in_steps(frame, vector(fractional[centre])), radius)
        _fill(frame, sphere, plane, 0, found, first[centre])


@njit(parallel=True, nogil=True, cache=True)
def _count_at_points(
    lattice: Frame, fractional: FloatArray, radius: float, points: FloatArray, counts: IntArray
) -> None:
    for centre in prange(len(fractional)):
        n_pairs = 0
        for point in range(len(points)):
            n_pairs += _count(lattice, _sphere_seen_from(fractional[centre], points[point], radius), 0)
        counts[centre] = n_pairs


@njit(parallel=True, nogil=True, cache=True)
def _fill_at_points(
    lattice: Frame, fractional: FloatArray, radius: float, points: FloatArray, found: PointPairs
) -> None:
    first = np.cumsum(found.counts) - found.counts
    for centre in prange(len(fractional)):
        place = first[centre]
        for point in range(len(points)):
            sphere = _sphere_seen_from(fractional[centre], points[point], radius)
            place = _fill(lattice, sphere, 0, point, found, place)


@njit(cache=True)
def _sphere_seen_from(centre: FloatArray, point: FloatArray, radius: float) -> Sphere:
    """A centre's sphere in a lattice that has a grid point in each cell, when the point is its origin."""
    return Sphere((centre[0] - point[0], centre[1] - point[1], centre[2] - point[2]), radius)


@njit(cache=True)
def _count(frame: Frame, sphere: Sphere, plane: int) -> int:
    n_pairs = 0
    for chord in chords(frame, sphere, plane):
        n_pairs += chord.last - chord.first + 1
    return n_pairs


@njit(cache=True)
def _fill(frame: Frame, sphere: Sphere, plane: int, first_point: int, found: PointPairs, place: int) -> int:
    """The place after the last pair of a sphere, all of which are written from `place` on."""
    n_points, (x, y, z) = frame.shape[2], vector(frame.steps[2])
    for chord in chords(frame, sphere, plane):
        to_foot = chord.perpendicular
        for k in range(chord.first, chord.last + 1):
            from_foot = k - chord.foot
            found.points[place] = first_point + chord.row * n_points + k % n_points
            found.vectors[place, 0] = to_foot[0] + from_foot * x
            found.vectors[place, 1] = to_foot[1] + from_foot * y
            found.vectors[place, 2] = to_foot[2] + from_foot * z
            place += 1
    return place
