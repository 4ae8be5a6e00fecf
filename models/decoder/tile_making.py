"""Triton kernels: tiles of a grid's points, and which images of centres reach a tile; `tile_kernels` sums over them."""

# To type checkers `static_range` cannot be looped over: only the compiler unrolls it.
# pyright: reportGeneralTypeIssues=false

from typing import Any, NamedTuple

import triton
import triton.language as tl


class Tiles(NamedTuple):
    """Groups of points; a tile that is not full repeats some.

    Attributes:
        points: Cartesian positions in Å, float64, [n_tiles, 3, n_points].
        places: Where the value of each goes, −1 for a repeated point, int64, [n_tiles, n_points].
    """

    points: Any
    places: Any


class Images(NamedTuple):
    """Images of centres.

    Attributes:
        positions: Cartesian positions in Å, float64, [n_images, 3].
        centres: Centre of which each is an image, int32, [n_images].
    """

    positions: Any
    centres: Any


@triton.jit(do_not_specialize=["first_brick", "first_plane", "n0", "n1", "n2"])
def make_bricks(
    tiles: Tiles,
    steps,
    first_brick,
    first_plane,
    n0,
    n1,
    n2,
    B0: tl.constexpr,
    B1: tl.constexpr,
    B2: tl.constexpr,
    N_POINTS: tl.constexpr,
):
    """Points of bricks of a grid's planes; one program a brick.

    Args:
        tiles: Where to write.
        steps: Vectors from a grid point to the next along each axis in Å, one a row, float64, [3, 3].
        first_brick: Index of the first brick, of all of the planes.
        first_plane: Index of the first plane.
        n0: Number of planes.
        n1: Points of a plane along its first axis.
        n2: Points of a plane along its second axis.
        B0: Points of a brick along the first axis, a power of two.
        B1: The same along the second.
        B2: The same along the third.
        N_POINTS: Their product.
    """
    tile = tl.program_id(0)
    brick = first_brick + tile
    bricks_1, bricks_2 = tl.cdiv(n1, B1), tl.cdiv(n2, B2)
    lanes = tl.arange(0, N_POINTS)
    i = brick // (bricks_1 * bricks_2) * B0 + lanes // (B1 * B2)
    j = brick // bricks_2 % bricks_1 * B1 + lanes // B2 % B1
    k = brick % bricks_2 * B2 + lanes % B2
    is_there = (i < n0) & (j < n1) & (k < n2)
    i, j, k = tl.minimum(i, n0 - 1), tl.minimum(j, n1 - 1), tl.minimum(k, n2 - 1)
    places = (i.to(tl.int64) * n1 + j) * n2 + k
    tl.store(tiles.places + tile * N_POINTS + lanes, tl.where(is_there, places, -1))
    a, b, c = (i + first_plane).to(tl.float64), j.to(tl.float64), k.to(tl.float64)
    for axis in tl.static_range(3):
        along = a * tl.load(steps + axis) + b * tl.load(steps + 3 + axis) + c * tl.load(steps + 6 + axis)
        tl.store(tiles.points + (3 * tile + axis) * N_POINTS + lanes, along)


@triton.jit(do_not_specialize=["n_images"])
def count_images(tiles: Tiles, images: Images, n_images, radii, counts, N_POINTS: tl.constexpr, N_LANES: tl.constexpr):
    """How many images' spheres touch the box around the points of a tile; one program a tile.

    Args:
        tiles: The tiles.
        images: The images.
        n_images: Their number.
        radii: Of the centres in Å, float64.
        counts: Where to write, int32, [n_tiles].
        N_POINTS: Number of points of each tile.
        N_LANES: Images that are looked at together.
    """
    tile = tl.program_id(0)
    low, high = _box(tiles, tile, N_POINTS)
    found = tl.zeros([N_LANES], tl.int32)
    for first in range(0, n_images, N_LANES):
        touched = _touches(low, high, images, first + tl.arange(0, N_LANES), n_images, radii)
        found += touched.to(tl.int32)
    tl.store(counts + tile, tl.sum(found))


@triton.jit(do_not_specialize=["n_images"])
def list_images(
    tiles: Tiles, images: Images, n_images, radii, starts, found, N_POINTS: tl.constexpr, N_LANES: tl.constexpr
):
    """Those images, in their order; one program a tile.

    Args:
        tiles: The tiles.
        images: The images.
        n_images: Their number.
        radii: Of the centres in Å, float64.
        starts: Where the list of each tile begins, int32.
        found: Where to write the images' indices, int32.
        N_POINTS: Number of points of each tile.
        N_LANES: Images that are looked at together.
    """
    tile = tl.program_id(0)
    low, high = _box(tiles, tile, N_POINTS)
    to = found + tl.load(starts + tile)
    for first in range(0, n_images, N_LANES):
        image = first + tl.arange(0, N_LANES)
        touched = _touches(low, high, images, image, n_images, radii)
        rank = tl.cumsum(touched.to(tl.int32))
        tl.store(to + rank - 1, image, mask=touched)
        to += tl.sum(touched.to(tl.int32))


@triton.jit
def _box(tiles: Tiles, tile, N_POINTS: tl.constexpr):
    """Corners of the box around the points of a tile."""
    x, y, z = points_of_tile(tiles, tile, tl.arange(0, N_POINTS), N_POINTS)
    return (tl.min(x), tl.min(y), tl.min(z)), (tl.max(x), tl.max(y), tl.max(z))


@triton.jit
def _touches(low, high, images: Images, image, n_images, radii):
    """Whether the spheres of images reach into a box with these corners; not those of images that there are not."""
    is_there = image < n_images
    radius = tl.load(radii + tl.load(images.centres + image, mask=is_there, other=0))
    square = tl.zeros_like(radius)
    for axis in tl.static_range(3):
        position = tl.load(images.positions + 3 * image + axis, mask=is_there, other=0.0)
        outside = tl.maximum(tl.maximum(low[axis] - position, position - high[axis]), 0.0)
        square += outside * outside
    return is_there & (square < radius * radius)


@triton.jit
def points_of_tile(tiles: Tiles, tile, lanes, N_POINTS: tl.constexpr):
    """Positions of points of a tile, or of tiles."""
    x = tiles.points + tile * (3 * N_POINTS) + lanes
    return tl.load(x), tl.load(x + N_POINTS), tl.load(x + 2 * N_POINTS)
