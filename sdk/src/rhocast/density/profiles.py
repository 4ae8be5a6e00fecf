"""Profiles of a density or potential: averages over planes, and values along a line."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rhocast.errors import InvalidField
from rhocast.structure import Structure

FloatArray = NDArray[np.float64]

_NODES = 8
"""Points of the polynomial that interpolates where nothing repeats."""
_MOST_POINTS = 10_000


class GridField(Protocol):
    """Values on the grid of a cell: a density in e/Å³ or a potential in eV."""

    @property
    def structure(self) -> Structure: ...

    @property
    def values(self) -> FloatArray: ...


@dataclass(frozen=True, eq=False)
class PlanarProfile:
    """Averages over the lattice planes of two cell vectors, along their normal.

    Attributes:
        distances: Distance in Å of each plane from the origin, along the normal, [n_planes].
        values: Average over the plane, in the unit of the field, [n_planes].
        height: Distance in Å after which the planes repeat.
        area: Area in Å² of a plane in the cell.
    """

    distances: FloatArray
    values: FloatArray
    height: float
    area: float

    @property
    def integral(self) -> float:
        """Integral over the cell: of a density, its number of electrons."""
        return float(self.values.mean()) * self.height * self.area


@dataclass(frozen=True, eq=False)
class LineProfile:
    """Values along a straight line.

    Attributes:
        distances: Distance in Å from the start, [n_points].
        positions: Cartesian positions in Å, [n_points, 3].
        values: The field there, in its unit, [n_points].
    """

    distances: FloatArray
    positions: FloatArray
    values: FloatArray


def planar_average(field: GridField, axis: int) -> PlanarProfile:
    """Averages over the planes of the grid that two cell vectors span.

    Args:
        field: A density or potential.
        axis: The other cell vector: 0, 1 or 2. In a sheared cell the distance is along the normal, not along it.

    Raises:
        InvalidField: If there is no such axis.
    """
    if axis not in (0, 1, 2):
        raise InvalidField(f"found axis {axis!r}; expected 0, 1 or 2")
    cell = field.structure.cell
    area = float(np.linalg.norm(np.cross(*np.delete(cell, axis, axis=0))))
    height = field.structure.volume / area
    n_planes = field.values.shape[axis]
    values = field.values.mean(axis=tuple({0, 1, 2} - {axis}))
    return PlanarProfile(np.arange(n_planes) / n_planes * height, values, height, area)


def macroscopic_average(profile: PlanarProfile, window: float) -> PlanarProfile:
    r"""Sliding average of a planar average, which removes what repeats with the window.

    .. math:: \bar{\bar f}(z) = \frac{1}{L} \int_{z-L/2}^{z+L/2} \bar f(z')\, dz'

    (Baldereschi, Baroni and Resta, Phys. Rev. Lett. 61, 734 (1988)), exact for the Fourier interpolant of the
    profile, with any window. Across an interface take it twice, with the period of either side. A window reaches over
    the ends of the cell, in a molecule's box too.

    Args:
        profile: A planar average, or a macroscopic one.
        window: Length L in Å: the distance of equivalent layers.

    Raises:
        InvalidField: If the window is not a length of at most the cell's height.
    """
    if not 0 < window <= profile.height:
        raise InvalidField(
            f"found a window of {window:g} Å; expected the distance of equivalent layers, above 0 and up to the "
            f"cell's height of {profile.height:.6g} Å"
        )
    waves = np.fft.rfft(profile.values)
    waves *= np.sinc(np.arange(len(waves)) * window / profile.height)
    return replace(profile, values=np.fft.irfft(waves, len(profile.values)))


def line_profile(field: GridField, start: Sequence[float], end: Sequence[float], n_points: int = 200) -> LineProfile:
    """Values along a straight line, interpolated between grid points.

    Where the cell repeats: by the Fourier interpolant, exact for what the grid carries. In a molecule's box, where
    nothing repeats: by the polynomial of degree 7 through the 8 nearest points along each axis.

    Args:
        field: A density or potential.
        start: Cartesian position in Å.
        end: The same.
        n_points: Points of the line, both ends among them.

    Raises:
        InvalidField: If the line has no length, fewer than two points, or leaves a molecule's box.
    """
    ends = np.array([start, end], dtype=np.float64)
    length = float(np.linalg.norm(ends[1] - ends[0])) if ends.shape == (2, 3) else 0.0
    if not (0 < length < np.inf and 2 <= n_points <= _MOST_POINTS):
        raise InvalidField(
            f"found a line from {list(start)} to {list(end)} with {n_points} points; expected two different positions "
            f"(x, y, z) in Å and 2 to {_MOST_POINTS} points"
        )
    fractions = np.linspace(0, 1, n_points)
    positions = ends[0] + fractions[:, None] * (ends[1] - ends[0])
    return LineProfile(fractions * length, positions, values_at(field, positions))


def values_at(field: GridField, positions: FloatArray) -> FloatArray:
    """The field at any positions, interpolated as by `line_profile`, [n_points].

    Args:
        field: A density or potential.
        positions: Cartesian positions in Å, [n_points, 3].

    Raises:
        InvalidField: If a position is outside a molecule's box.
    """
    structure, values = field.structure, field.values
    fractional = positions @ np.linalg.inv(structure.cell)
    if not structure.is_periodic and not (np.abs(fractional - 0.5) <= 0.5 + 1e-9).all():
        raise InvalidField(
            "found a position outside the box of a molecule; expected positions inside, where its grid is"
        )
    weights_along = _periodic_weights if structure.is_periodic else _local_weights
    weights = [weights_along(n, fractional[:, axis]) for axis, n in enumerate(values.shape)]
    result = np.zeros(len(positions))
    for plane, weight in zip(values, weights[0].T, strict=True):
        result += weight * np.einsum("jp,pj->p", plane @ weights[2].T, weights[1])
    return result


def _periodic_weights(n_points: int, fractions: FloatArray) -> FloatArray:
    """Share of each grid point in the Fourier interpolant along an axis, [n_positions, n_points]."""
    angle = np.pi * (fractions[:, None] - np.arange(n_points) / n_points)
    # Dirichlet's kernel; on an even grid the wave of n/2 is a cosine, as in `regridded`.
    denominator = np.sin(angle) if n_points % 2 else np.tan(angle)
    is_at_point = np.abs(np.sin(angle)) < 1e-12
    weights = np.sin(n_points * angle) / np.where(is_at_point, 1.0, n_points * denominator)
    return np.where(is_at_point, 1.0, weights)


def _local_weights(n_points: int, fractions: FloatArray) -> FloatArray:
    """Share of each grid point in the polynomial through the nearest ones along an axis, [n_positions, n_points]."""
    n_nodes = min(_NODES, n_points)
    place = fractions * n_points
    first = np.clip(np.floor(place).astype(np.int64) - n_nodes // 2 + 1, 0, n_points - n_nodes)
    weights = np.zeros((len(fractions), n_points))
    for node in range(n_nodes):
        others = [other for other in range(n_nodes) if other != node]
        share = np.prod([(place - first - other) / (node - other) for other in others], axis=0)
        weights[np.arange(len(fractions)), first + node] = share
    return weights
