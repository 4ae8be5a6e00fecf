"""Tiles of points, and the lists of centres' images that reach them: plain torch, on any device.

A tile is a compact group of points: a brick of a grid, or neighbours among points anywhere. An image reaches it if its
sphere touches the box around its points. Both are made in chunks, so that memory does not grow with the grid.
"""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from models.decoder.frame import FloatArray, Frame
from models.decoder.tile_kernels import Entries, Images, Tiles

BRICK = (4, 8, 8)
"""Points of a tile of a grid, along each axis."""

POINTS_OF_TILE = 64
"""Points of a tile of points anywhere; few, for they are far apart."""

MOST_TESTS = 2**23
"""Tiles times images that are tested at once: what memory the lists take."""

MOST_POINTS = 2**22
"""Points of the tiles that are made at once."""


class Tiling(Protocol):
    """Points in tiles."""

    @property
    def n_tiles(self) -> int: ...

    @property
    def n_points(self) -> int:
        """Of each tile; a power of two."""
        ...

    def part(self, first: int, last: int) -> Tiles:
        """The tiles from `first` to before `last`."""
        ...


class GridTiles:
    """Bricks of some planes of a grid.

    Args:
        frame: The grid.
        planes: First plane, and the one after the last.
        device: Where tiles are made.
    """

    n_points = BRICK[0] * BRICK[1] * BRICK[2]

    def __init__(self, frame: Frame, planes: tuple[int, int], device: torch.device) -> None:
        self._first = planes[0]
        self._shape = torch.tensor([planes[1] - planes[0], *frame.shape[1:].tolist()])
        self._n_bricks = -(-self._shape // torch.tensor(BRICK))
        self._steps = torch.from_numpy(frame.steps).to(device)
        self._device = device

    @property
    def n_tiles(self) -> int:
        return int(self._n_bricks.prod())

    def part(self, first: int, last: int) -> Tiles:
        bricks = self._indices(torch.arange(first, last, device=self._device), self._n_bricks)
        within = self._indices(torch.arange(self.n_points, device=self._device), torch.tensor(BRICK))
        size, shape = torch.tensor(BRICK, device=self._device), self._shape.to(self._device)
        points = (bricks * size)[:, None] + within
        is_there = (points < shape).all(2)
        points = torch.minimum(points, shape - 1)
        i, j, k = points.unbind(2)
        places = torch.where(is_there, (i * shape[1] + j) * shape[2] + k, -1)
        i = i + self._first
        positions = torch.stack([i, j, k], 2).double() @ self._steps
        return Tiles(positions.transpose(1, 2).contiguous(), places)

    @staticmethod
    def _indices(flat: Tensor, shape: Tensor) -> Tensor:
        """Three indices for each flat one, [n, 3]."""
        return torch.stack(torch.unravel_index(flat, tuple(shape.tolist())), 1)


class PointTiles:
    """Points anywhere, neighbours together; in a crystal they are moved into the cell.

    Args:
        frame: The cell; its grid is not used.
        points: Cartesian positions in Å, [n, 3].
        device: Where tiles are made.
    """

    n_points = POINTS_OF_TILE

    def __init__(self, frame: Frame, points: FloatArray, device: torch.device) -> None:
        positions = torch.tensor(points, device=device)
        if frame.is_periodic:
            cell = torch.from_numpy(frame.cell).to(device)
            fractional = positions @ torch.linalg.inv(cell)
            positions = (fractional - fractional.floor()) @ cell
        order = torch.argsort(_morton(positions), stable=True)
        self.n_tiles = -(-len(order) // self.n_points)
        missing = self.n_tiles * self.n_points - len(order)
        repeated = torch.cat([order, order[-1:].expand(missing)])
        places = torch.cat([order, order.new_full((missing,), -1)])
        self._tiles = Tiles(
            positions[repeated].view(-1, self.n_points, 3).transpose(1, 2).contiguous(), places.view(-1, self.n_points)
        )

    def part(self, first: int, last: int) -> Tiles:
        return Tiles(self._tiles.points[first:last], self._tiles.places[first:last])


def _morton(positions: Tensor, n_bits: int = 10) -> Tensor:
    """Places on Morton's curve through a box around all positions, which keeps neighbours together, int64, [n]."""
    if not len(positions):
        return torch.zeros(0, dtype=torch.int64, device=positions.device)
    low, high = positions.amin(0), positions.amax(0)
    # A cube, not the box itself: bits of all axes stand for one length.
    edge = (high - low).max().clamp(min=1e-9)
    digits = ((positions - low) / edge * (2**n_bits - 1)).long()
    bits = (digits[..., None] >> torch.arange(n_bits, device=positions.device)) & 1
    shifts = 3 * torch.arange(n_bits, device=positions.device) + torch.arange(3, device=positions.device)[:, None]
    return (bits << shifts).sum((1, 2))


def images_of(frame: Frame, fractional: FloatArray, radii: Tensor) -> Images:
    """The centres, and in a crystal all their images that may reach a point in the cell.

    Args:
        frame: The cell; its grid is not used.
        fractional: Fractional coordinates of the centres, in a crystal within the cell, [n_centres, 3].
        radii: Of the centres in Å, float64, [n_centres]; images are made where they are.
    """
    device = radii.device
    centres, cell = torch.from_numpy(fractional).to(device), torch.from_numpy(frame.cell).to(device)
    if not frame.is_periodic or not len(centres):
        return Images(centres @ cell, torch.arange(len(centres), dtype=torch.int32, device=device))
    reach = radii[:, None] * torch.from_numpy(frame.lattice().steps_per_length).to(device)
    farthest = np.floor(reach.amax(0).cpu().numpy()).astype(int) + 1
    shifts = torch.cartesian_prod(*(torch.arange(-n, n + 1, dtype=torch.float64, device=device) for n in farthest))
    images = centres + shifts[:, None]
    shift, centre = torch.nonzero(((images > -reach) & (images < 1 + reach)).all(2)).unbind(1)
    return Images(images[shift, centre] @ cell, centre.int())


class Chunk(NamedTuple):
    """Some tiles; `starts`: first entry of each, and the number of all; `entries`: images that reach them."""

    tiles: Tiles
    starts: Tensor
    entries: Entries


def chunks(tiling: Tiling, images: Images, radii: Tensor) -> Iterator[Chunk]:
    """All tiles that an image reaches, some at a time.

    Args:
        tiling: The points.
        images: The images.
        radii: Of the centres in Å, float64, [n_centres].
    """
    at_once = max(1, min(MOST_POINTS // tiling.n_points, MOST_TESTS // max(1, len(images.centres))))
    for first in range(0, tiling.n_tiles, at_once):
        tiles = tiling.part(first, min(first + at_once, tiling.n_tiles))
        entries = _entries(tiles, images, radii[images.centres.long()])
        if len(entries.tiles):
            bounds = torch.arange(len(tiles.places) + 1, dtype=torch.int32, device=radii.device)
            yield Chunk(tiles, torch.searchsorted(entries.tiles, bounds, out_int32=True), entries)


def _entries(tiles: Tiles, images: Images, radii: Tensor) -> Entries:
    """Which image, whose radius is given, reaches which tile."""
    low, high = tiles.points.amin(2), tiles.points.amax(2)
    near = torch.nonzero(_touches(low.amin(0), high.amax(0), images.positions, radii)).squeeze(1)
    touched = _touches(low[:, None], high[:, None], images.positions[near], radii[near])
    tile, image = torch.nonzero(touched).unbind(1)
    return Entries(tile.int(), near[image].int())


def _touches(low: Tensor, high: Tensor, positions: Tensor, radii: Tensor) -> Tensor:
    """Whether spheres reach into boxes with these corners: all are broadcast, and the last axis is x, y, z."""
    squares = torch.zeros((), dtype=torch.float64, device=radii.device)
    for axis in range(3):
        position = positions[..., axis]
        outside = torch.maximum(low[..., axis] - position, position - high[..., axis]).clamp(min=0)
        squares = squares + outside.square()
    return squares < radii.square()
