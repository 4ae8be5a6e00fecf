"""Density of orbitals in real space on a GPU: what `models.decoder.orbital` does on processors."""

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from models.basis.gaussian import Orbitals
from models.basis.harmonics import degree_of, leading_factors
from models.decoder.frame import FloatArray, Frame
from models.decoder.orbital import checked_degree, checked_points, fractional_positions
from models.decoder.tile_kernels import Centres, Entries, Runs, fill_tiles, find_intervals, sum_runs
from models.decoder.tile_making import Images, Tiles
from models.decoder.tiles import Chunk, GridTiles, PointTiles, Tiling, chunks, images_of, wrapped
from models.decoder.together import Placed
from models.interface import GridShape

MOST_PAIRS = 2**24
"""Pairs that are sorted at once on the way back."""

PAIRS_TOGETHER = 128
"""Pairs of a run that one warp works on together."""


class TiledDecoder:
    """Σ over centres (a crystal: and their images) of their orbitals, each out to its decode radius.

    It runs where the orbitals are: on a CUDA device, or on the CPU if `TRITON_INTERPRET=1` was set before Triton was
    imported, which is for tests. Otherwise it is as `RealSpaceDecoder`, and values lie where the orbitals do.

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
        self._tables, self._radii = _tables(orbitals, dtype)
        fractional = fractional_positions(self._cell, is_periodic, positions, orbitals.n_centres)
        self._images = images_of(self._frame((1, 1, 1)), fractional, self._radii)

    def on_grid(self, shape: GridShape) -> Tensor:
        """Point values in e/Å³, float64, [n0, n1, n2]."""
        return self.on_planes(shape, 0, shape[0])

    def on_planes(self, shape: GridShape, first: int, last: int) -> Tensor:
        """Point values of the planes from `first` to before `last` of a grid, float64, [last − first, n1, n2].

        Raises:
            ValueError: If the grid has no such planes.
        """
        frame = self._frame(shape)
        found = frame.shape_of_planes(first, last)
        return self._sum(GridTiles(frame, (first, last), self._tables.device), prod(found)).view(found)

    def at_points(self, points: FloatArray) -> Tensor:
        """Values in e/Å³ at Cartesian points in Å, [n_points, 3] → float64, [n_points].

        Raises:
            ValueError: If the points have another shape or are not finite.
        """
        positions = torch.from_numpy(wrapped(self._frame((1, 1, 1)), checked_points(points)))
        return self._sum(PointTiles(positions.to(self._tables.device)), len(positions))

    def _frame(self, shape: GridShape) -> Frame:
        return Frame.of_cell(self._cell, shape, self._is_periodic)

    def _sum(self, tiling: Tiling, n_values: int) -> Tensor:
        return _Values.apply(self._tables, _Geometry(tiling, self._images, self._radii, n_values))


def side_by_side(placed: Sequence[Placed], orbitals: Orbitals, dtype: torch.dtype = torch.float32) -> Tensor:
    """Values at points of several structures, all in one go: `models.decoder.together` says what they are.

    The structures stand in a row, none in reach of another's points. Where that is, the CPU finds out: it is little
    work in many steps.
    """
    tables, radii = _tables(orbitals, dtype)
    images: list[Images] = []
    points: list[Tensor] = []
    n_centres, end = 0, 0.0
    for one, its_radii in zip(placed, radii.cpu().split([len(one.positions) for one in placed]), strict=True):
        frame = Frame.of_cell(np.asarray(one.cell, dtype=np.float64), (1, 1, 1), one.is_periodic)
        fractional = fractional_positions(frame.cell, one.is_periodic, one.positions, len(its_radii))
        of_images = images_of(frame, fractional, its_radii)
        of_points = torch.from_numpy(wrapped(frame, checked_points(one.points)))
        reach = sum(float(found.abs().max()) for found in (of_images.positions, of_points, its_radii) if found.numel())
        shift = torch.tensor([end + reach, 0, 0], dtype=torch.float64)
        images.append(Images(of_images.positions + shift, of_images.centres + n_centres))
        points.append(of_points + shift)
        n_centres, end = n_centres + len(its_radii), end + 2 * reach
    there = [torch.cat(parts).to(radii.device) for parts in (*zip(*images, strict=True), points)]
    tiling = PointTiles(there[2])
    return _Values.apply(tables, _Geometry(tiling, Images(there[0], there[1]), radii, len(there[2])))


def _tables(orbitals: Orbitals, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Value and slope at each knot, [n_centres, (L + 1)², n_knots, 2], and the centres' radii."""
    factors = leading_factors(checked_degree(orbitals)).to(orbitals.exponents.device)
    tables = orbitals.tables()
    return (tables.knots * factors).permute(0, 3, 1, 2).to(dtype), tables.radii


class _Geometry(NamedTuple):
    """What the values are sums of, but for the tables."""

    tiling: Tiling
    images: Images
    radii: Tensor
    n_values: int

    def chunks(self) -> Iterator[Chunk]:
        return chunks(self.tiling, self.images, self.radii)

    def centres(self, tables: Tensor) -> Centres:
        knots, slopes = tables.unbind(3)
        lines = knots.diff()
        bends = torch.stack([slopes[..., :-1] - lines, lines - slopes[..., 1:]], 3)
        if tables.dtype == torch.float32:
            bends = bends.bfloat16()
        return Centres(knots.contiguous(), bends, self.radii.to(tables.dtype))


class _Values(torch.autograd.Function):
    """Tables → values."""

    @staticmethod
    def forward(ctx: Any, tables: Tensor, geometry: _Geometry) -> Tensor:
        ctx.geometry = geometry
        ctx.save_for_backward(tables)
        sizes, centres = {**_degree(tables), **_sizes(tables, geometry)}, geometry.centres(tables)
        values = torch.zeros(geometry.n_values, dtype=torch.float64, device=tables.device)
        with torch.cuda.device_of(tables):
            for tiles, starts, entries in geometry.chunks():
                fill_tiles[(len(tiles.places),)](tiles, starts, entries, geometry.images, centres, values, **sizes)
        return values

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None]:
        (tables,) = ctx.saved_tensors
        with torch.cuda.device_of(tables):
            return _gradient(tables, ctx.geometry, upstream[0].contiguous()), None


def _gradient(tables: Tensor, geometry: _Geometry, upstream: Tensor) -> Tensor:
    """Gradient of the tables from that of the values."""
    n_centres, n_harmonics, n_knots, _ = tables.shape
    sizes, centres = _sizes(tables, geometry), geometry.centres(tables)
    of_runs = {**_degree(tables), **sizes, "N_LANES": PAIRS_TOGETHER, "num_warps": 1}
    of_runs["N_PADDED"] = 1 << (n_harmonics - 1).bit_length()
    of_intervals = tables.new_zeros(n_centres * (n_knots - 1), 4, n_harmonics)
    for tiles, entries in _portions(geometry):
        where = tiles, entries, geometry.images, centres
        runs = _runs(where, n_centres * (n_knots - 1), sizes)
        sums = tables.new_empty(len(runs.keys), 4, n_harmonics)
        if len(sums):
            sum_runs[(len(sums),)](runs, *where, upstream, sums, **of_runs)
        of_intervals[runs.keys.long()] += sums
    first, second = of_intervals.view(n_centres, n_knots - 1, 2, 2, n_harmonics).permute(2, 0, 4, 1, 3)
    return torch.nn.functional.pad(first, (0, 0, 0, 1)) + torch.nn.functional.pad(second, (0, 0, 1, 0))


def _portions(geometry: _Geometry) -> Iterator[tuple[Tiles, Entries]]:
    """All tiles and the images that reach them, not more than can be sorted at once."""
    at_once = MOST_PAIRS // geometry.tiling.n_points
    for tiles, _, entries in geometry.chunks():
        for of_tiles, of_images in zip(entries.tiles.split(at_once), entries.images.split(at_once), strict=True):
            yield tiles, Entries(of_tiles, of_images)


def _runs(where: tuple[Tiles, Entries, Images, Centres], nowhere: int, sizes: dict[str, Any]) -> Runs:
    """Pairs within the radii, sorted by intervals; `nowhere` is the number of all intervals."""
    tiles, entries, *_ = where
    keys = entries.tiles.new_empty(len(entries.tiles) * tiles.places.shape[1])
    find_intervals[(len(entries.tiles),)](*where, keys, nowhere, **sizes)
    keys, slots = torch.sort(keys, stable=True)
    found, counts = torch.unique_consecutive(keys, return_counts=True)
    is_somewhere = found < nowhere
    lasts = counts.cumsum(0)
    return Runs(slots, (lasts - counts)[is_somewhere], lasts[is_somewhere], found[is_somewhere])


def _sizes(tables: Tensor, geometry: _Geometry) -> dict[str, Any]:
    """What all kernels are compiled for."""
    # Triton's default for the fusion of multiplication and addition is about to change.
    return {"N_INTERVALS": tables.shape[2] - 1, "N_POINTS": geometry.tiling.n_points, "enable_fp_fusion": True}


def _degree(tables: Tensor) -> dict[str, Any]:
    """What kernels with harmonics are compiled for besides."""
    return {"HIGHEST_DEGREE": degree_of(tables.shape[1])}
