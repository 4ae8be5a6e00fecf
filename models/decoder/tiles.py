"""Tiles of points, and the lists of centres' images that reach them.

A tile is a compact group of points: a brick of a grid, or neighbours among points anywhere. An image reaches it if its
sphere touches the box around its points. Both are made in chunks, so that memory does not grow with the grid.
"""

from collections.abc import Iterator
from math import prod
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from models.decoder.frame import FloatArray, Frame
from models.decoder.orbital import fractional_positions
from models.decoder.tile_kernels import Entries
from models.decoder.tile_making import Images, Tiles, count_images, list_images, make_bricks

BRICK = (4, 4, 4)
"""Points of a tile of a grid, along each axis: the smaller, the fewer of its points an image that touches it misses."""

POINTS_OF_TILE = 64
"""Points of a tile of points anywhere; few, for they are far apart."""

MOST_POINTS = 2**21
"""Points of the tiles that are made at once: what memory the lists take."""

IMAGES_TOGETHER = 128
"""Images that are looked at together."""


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

    n_points = prod(BRICK)

    def __init__(self, frame: Frame, planes: tuple[int, int], device: torch.device) -> None:
        self._first = planes[0]
        self._shape = planes[1] - planes[0], *frame.shape[1:].tolist()
        self._steps = torch.from_numpy(frame.steps).to(device)

    @property
    def n_tiles(self) -> int:
        return prod(-(-n // along) for n, along in zip(self._shape, BRICK, strict=True))

    def part(self, first: int, last: int) -> Tiles:
        n_tiles = last - first
        points = self._steps.new_empty(n_tiles, 3, self.n_points)
        tiles = Tiles(points, self._steps.new_empty(n_tiles, self.n_points, dtype=torch.int64))
        sizes: dict[str, Any] = {"B0": BRICK[0], "B1": BRICK[1], "B2": BRICK[2]}
        sizes |= {"N_POINTS": self.n_points, "num_warps": 1}
        make_bricks[(n_tiles,)](tiles, self._steps, first, self._first, *self._shape, **sizes)
        return tiles


class PointTiles:
    """Points anywhere, neighbours together.

    Args:
        positions: Cartesian positions in Å, float64, [n, 3]; tiles are made where they are.
    """

    n_points = POINTS_OF_TILE

    def __init__(self, positions: Tensor) -> None:
        order = torch.argsort(_morton(positions), stable=True)
        n_missing = -len(order) % self.n_points
        repeated = torch.cat([order, order[-1:].expand(n_missing)])
        places = torch.cat([order, order.new_full((n_missing,), -1)])
        points = positions[repeated].view(-1, self.n_points, 3).transpose(1, 2).contiguous()
        self._tiles = Tiles(points, places.view(-1, self.n_points))

    @property
    def n_tiles(self) -> int:
        return len(self._tiles.places)

    def part(self, first: int, last: int) -> Tiles:
        return Tiles(self._tiles.points[first:last], self._tiles.places[first:last])


def wrapped(frame: Frame, points: FloatArray) -> FloatArray:
    """Points, in a crystal moved into the cell.

    Args:
        frame: The cell; its grid is not used.
        points: Cartesian positions in Å, [n, 3].
    """
    if not frame.is_periodic:
        return points
    return fractional_positions(frame.cell, True, points, len(points)) @ frame.cell


SPREADS = (
    (32, 0x1F00000000FFFF),
    (16, 0x1F0000FF0000FF),
    (8, 0x100F00F00F00F00F),
    (4, 0x10C30C30C30C30C3),
    (2, 0x1249249249249249),
)
"""Shifts, and masks of what each leaves, that move 21 bits of a number three places apart."""


def _morton(positions: Tensor) -> Tensor:
    """Places on Morton's curve through a cube around all positions, which keeps neighbours together, int64, [n]."""
    if not len(positions):
        return torch.zeros(0, dtype=torch.int64, device=positions.device)
    low, high = positions.amin(0), positions.amax(0)
    # A cube, not the box itself: bits of all axes stand for one length.
    edge = (high - low).max().clamp(min=1e-9)
    bits = ((positions - low) / edge * (2**21 - 1)).long()
    for shift, mask in SPREADS:
        bits = (bits | bits << shift) & mask
    x, y, z = bits.unbind(1)
    return x | y << 1 | z << 2


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
    at_once = max(1, MOST_POINTS // tiling.n_points)
    for first in range(0, tiling.n_tiles, at_once):
        tiles = tiling.part(first, min(first + at_once, tiling.n_tiles))
        starts, entries = _entries(tiles, images, radii)
        if len(entries.tiles):
            yield Chunk(tiles, starts, entries)


def _entries(tiles: Tiles, images: Images, radii: Tensor) -> tuple[Tensor, Entries]:
    """First entry of each tile, and the number of all; which image reaches which tile."""
    n_tiles, n_points = tiles.places.shape
    counts = torch.empty(n_tiles, dtype=torch.int32, device=radii.device)
    sizes: dict[str, Any] = {"N_POINTS": n_points, "N_LANES": IMAGES_TOGETHER, "num_warps": 1}
    where = tiles, images, len(images.centres), radii
    count_images[(n_tiles,)](*where, counts, **sizes)
    starts = torch.nn.functional.pad(counts.cumsum(0, dtype=torch.int32), (1, 0))
    n_entries = int(starts[-1])
    found = torch.empty(n_entries, dtype=torch.int32, device=radii.device)
    list_images[(n_tiles,)](*where, starts, found, **sizes)
    of_tiles = torch.arange(n_tiles, dtype=torch.int32, device=radii.device)
    return starts, Entries(of_tiles.repeat_interleave(counts, output_size=n_entries), found)
