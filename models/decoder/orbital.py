"""Density of orbitals in real space: any cell, molecule or crystal, a grid, some planes of it, or points anywhere.

decoder = RealSpaceDecoder(structure.cell, structure.is_periodic, positions, orbitals)
values = decoder.on_grid((48, 48, 60))        # e/Å³, with gradients to exponents and coefficients
tile = decoder.on_planes((48, 48, 60), 8, 16)  # the same values, memory for eight planes
samples = decoder.at_points(points)
"""

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.basis.gaussian import Orbitals
from models.basis.harmonics import degrees, n_harmonics, solid_harmonics
from models.decoder.frame import FloatArray, Frame
from models.decoder.lanes import LANES, columns
from models.decoder.orbital_kernels import (
    Centres,
    RowHarmonics,
    fill_planes,
    fill_points,
    gradient_of_planes,
    gradient_of_points,
)
from models.interface import GridShape

HIGHEST_DEGREE = 6
"""What the tests hold to a plain lattice sum in float32."""


@lru_cache(maxsize=64)
def row_harmonics(along: tuple[float, float, float], highest_degree: int, dtype: np.dtype) -> RowHarmonics:
    """Solid harmonics as polynomials along rows of this direction, found by fitting their values.

    Args:
        along: Vector along the rows.
        highest_degree: L.
        dtype: Of the matrix.
    """
    direction = np.array(along)
    _, _, axes = np.linalg.svd(direction[None])
    axes = np.ascontiguousarray(np.concatenate([axes[1:], direction[None] / np.linalg.norm(direction)]))
    # As many directions as the highest degree has monomials, twice over, determine all polynomials.
    points = np.random.default_rng(0).standard_normal((2 * n_harmonics(highest_degree + 1), 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    values = solid_harmonics(torch.from_numpy(points @ axes), highest_degree).numpy()
    degree_of_lane = degrees(highest_degree).numpy()
    lines = columns(highest_degree)
    powers = np.array([(*column.monomial, column.power) for column in lines])
    matrix = np.zeros((len(lines), LANES))
    for line_degree in range(highest_degree + 1):
        lanes = np.flatnonzero(degree_of_lane == line_degree)
        exponents = np.array([(line_degree - n, n - c, c) for n in range(line_degree + 1) for c in range(n + 1)])
        fit = np.linalg.lstsq((points[:, None] ** exponents).prod(axis=2), values[:, lanes], rcond=None)[0]
        for exponent, coefficients in zip(exponents, fit, strict=True):
            for lane, coefficient in zip(lanes, coefficients, strict=True):
                line = np.flatnonzero((powers == exponent).all(axis=1))
                vectors = np.array([lines[index].vector for index in line])
                matrix[line[vectors == lane // LANES], lane % LANES] = coefficient
    return RowHarmonics(axes, matrix.astype(dtype))


class RealSpaceDecoder:
    """Σ over centres (a crystal: and their images) of their orbitals, each out to its decode radius.

    Differentiable in exponents and coefficients, not in positions.

    Args:
        cell: Cell vectors in Å, one a row, [3, 3]; for a molecule the box that frames its grid.
        is_periodic: Whether the cell repeats.
        positions: Cartesian positions of the centres in Å, inside the cell or not, [n_centres, 3].
        orbitals: Their functions.
        dtype: Of the radial tables; float64 is for tests. Values are float64 always.

    Raises:
        ValueError: If the positions are not finite or not as many as the orbitals' centres, or a degree is too high.
    """

    def __init__(
        self, cell: FloatArray, is_periodic: bool, positions: FloatArray, orbitals: Orbitals, dtype=torch.float32
    ) -> None:
        self._cell = np.asarray(cell, dtype=np.float64)
        self._is_periodic = is_periodic
        self._highest_degree = checked_degree(orbitals)
        tables = orbitals.tables()
        self._tables = in_lanes(tables.knots).to("cpu", dtype).contiguous()
        self._centres = Centres(
            fractional_positions(self._cell, is_periodic, positions, orbitals.n_centres),
            tables.radii.cpu().numpy(),
            self._tables.detach().numpy(),
        )

    def on_grid(self, shape: GridShape) -> Tensor:
        """Point values in e/Å³, float64, [n0, n1, n2]."""
        return self.on_planes(shape, 0, shape[0])

    def on_planes(self, shape: GridShape, first: int, last: int) -> Tensor:
        """Point values of the planes from `first` to before `last` of a grid, float64, [last − first, n1, n2].

        Raises:
            ValueError: If the grid has no such planes.
        """
        frame = Frame.of_cell(self._cell, shape, self._is_periodic)
        return _Planes.apply(self._tables, *self._harmonics(frame), frame, self._centres, (first, last))

    def at_points(self, points: FloatArray) -> Tensor:
        """Values in e/Å³ at Cartesian points in Å, [n_points, 3] → float64, [n_points].

        Raises:
            ValueError: If the points have another shape or are not finite.
        """
        points = checked_points(points)
        lattice = Frame.of_cell(self._cell, (1, 1, 1), self._is_periodic)
        at = np.ascontiguousarray(points @ np.linalg.inv(self._cell))
        return _Points.apply(self._tables, *self._harmonics(lattice), lattice, self._centres, at)

    def _harmonics(self, frame: Frame) -> tuple[tuple[int, ...], RowHarmonics]:
        degrees_of_all = tuple(range(self._highest_degree + 1))
        return degrees_of_all, row_harmonics(
            tuple(frame.steps[2].tolist()), self._highest_degree, self._centres.tables.dtype
        )


def in_lanes(knots: Tensor) -> Tensor:
    """Radial tables as the kernels read them, [n_centres, n_vectors, n_intervals + 1, 2, LANES].

    Args:
        knots: As in `RadialTables`, [n_centres, n_intervals + 1, 2, (L + 1)²].
    """
    n_lanes = LANES * -(-knots.shape[-1] // LANES)
    padded = torch.nn.functional.pad(knots, (0, n_lanes - knots.shape[-1]))
    return padded.unflatten(-1, (-1, LANES)).movedim(3, 1)


def checked_degree(orbitals: Orbitals) -> int:
    """The highest degree of these orbitals.

    Raises:
        ValueError: If it is higher than what decoders are held to.
    """
    if orbitals.highest_degree > HIGHEST_DEGREE:
        raise ValueError(
            f"found orbitals up to l = {orbitals.highest_degree}; expected l ≤ {HIGHEST_DEGREE}; leave higher ones out"
        )
    return orbitals.highest_degree


def checked_points(points: FloatArray) -> FloatArray:
    """The points, float64.

    Args:
        points: Cartesian positions in Å, [n_points, 3].

    Raises:
        ValueError: If they have another shape or are not finite.
    """
    points = np.asarray(points, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 3 or not np.isfinite(points).all():
        raise ValueError(
            f"found points of shape {points.shape}, finite: {bool(np.isfinite(points).all())}; "
            "expected finite positions in Å, [n_points, 3]"
        )
    return points


def fractional_positions(cell: FloatArray, is_periodic: bool, positions: FloatArray, n_centres: int) -> FloatArray:
    """Fractional coordinates of the centres, in a crystal moved into the cell, [n_centres, 3].

    Args:
        cell: Cell vectors in Å, one a row, [3, 3].
        is_periodic: Whether the cell repeats.
        positions: Cartesian positions in Å, [n_centres, 3].
        n_centres: Number of centres that have functions.

    Raises:
        ValueError: If the positions are not finite or not as many as the centres.
    """
    positions = np.asarray(positions, dtype=np.float64)
    if positions.shape != (n_centres, 3) or not np.isfinite(positions).all():
        raise ValueError(
            f"found positions of shape {positions.shape}, finite: {bool(np.isfinite(positions).all())}; "
            f"expected {n_centres} finite positions in Å, one for each centre of the orbitals"
        )
    fractional = positions @ np.linalg.inv(cell)
    return np.ascontiguousarray(fractional - np.floor(fractional) if is_periodic else fractional)


class _Planes(torch.autograd.Function):
    """Tables → values in planes of a grid."""

    @staticmethod
    def forward(ctx: Any, tables: Tensor, *geometry: Any) -> Tensor:
        degrees, harmonics, frame, centres, (first, last) = ctx.geometry = geometry
        ctx.save_for_backward(tables)
        values = frame.zeros(first, last)
        fill_planes(degrees, harmonics, frame, _with_tables(centres, tables), first, values)
        return torch.from_numpy(values)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        degrees, harmonics, frame, centres, (first, _) = ctx.geometry
        gradients = _zeros_like(ctx.saved_tensors[0])
        values = upstream[0].contiguous().numpy()
        gradient_of_planes(degrees, harmonics, frame, _with_tables(centres, gradients), first, values)
        return gradients, *[None] * len(ctx.geometry)


class _Points(torch.autograd.Function):
    """Tables → values at points."""

    @staticmethod
    def forward(ctx: Any, tables: Tensor, *geometry: Any) -> Tensor:
        degrees, harmonics, lattice, centres, at = ctx.geometry = geometry
        ctx.save_for_backward(tables)
        values = np.zeros((len(at), 1, 1))
        fill_points(degrees, harmonics, lattice, _with_tables(centres, tables), at, values)
        return torch.from_numpy(values[:, 0, 0])

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        degrees, harmonics, lattice, centres, at = ctx.geometry
        gradients = _zeros_like(ctx.saved_tensors[0])
        values = upstream[0].contiguous().numpy()[:, None, None]
        gradient_of_points(degrees, harmonics, lattice, _with_tables(centres, gradients), at, values)
        return gradients, *[None] * len(ctx.geometry)


def _with_tables(centres: Centres, tables: Tensor) -> Centres:
    return centres._replace(tables=tables.detach().numpy())


def _zeros_like(tables: Tensor) -> Tensor:
    return torch.zeros_like(tables, memory_format=torch.contiguous_format)
