"""Triton kernels: sums of orbitals over tiles of points, and the sums' gradients, on GPUs.

One program fills one tile, a compact group of points, from a list of the centres' images that reach it: no two programs
write to one number. Solid harmonics come from the recurrence of `models.basis.harmonics`, radial functions from cubic
tables. Neighbouring points look into neighbouring intervals, which lie side by side in memory. What bounds a tile is
the rate at which a multiprocessor's loads bring what a pair of a point and an image takes: of each table, values at
both ends of an interval and two small numbers that bend the line between them, for which half precision is enough.

On the way back a program owns one interval of one centre's tables, and sums over the pairs of points and images that
fall into it. They were sorted before. Adding from each pair to where it belongs, atomically, would be about a hundred
additions in memory a pair (four numbers for each of 25 harmonics) and another result every time.

Separations are float64 until they are small; the rest has the type of the tables, and values are float64.
"""

# To type checkers `static_range` cannot be looped over: only the compiler unrolls it.
# pyright: reportGeneralTypeIssues=false

from typing import Any, NamedTuple

import triton
import triton.language as tl

from models.basis import radial_tables
from models.decoder.tile_making import Images, Tiles, points_of_tile

STRETCH = tl.constexpr(radial_tables.STRETCH)


class Centres(NamedTuple):
    """Centres and their radial tables.

    Attributes:
        knots: Values at the knots, times the harmonics' leading factors, [n_centres, (L + 1)², n_intervals + 1].
        bends: In each interval, its first slope less the line's from end to end, and the line's less its second, of the
            knots' type or, where that is float32, bfloat16, [n_centres, (L + 1)², n_intervals, 2].
        radii: Distance in Å beyond which each is zero, of the knots' type, [n_centres].
    """

    knots: Any
    bends: Any
    radii: Any


class Entries(NamedTuple):
    """Which image reaches which tile, in the order of the tiles.

    Attributes:
        tiles: Index of each entry's tile, int32, [n_entries].
        images: Index of its image, int32, [n_entries].
    """

    tiles: Any
    images: Any


class Runs(NamedTuple):
    """Pairs of an entry and a point of its tile, those in one interval of one centre's tables together.

    Attributes:
        slots: n_points · entry + point of each pair, int64, [n_pairs].
        firsts, lasts: First pair of each run, and the one after its last, int64, [n_runs].
        keys: n_intervals · centre + interval of each run, int32, [n_runs].
    """

    slots: Any
    firsts: Any
    lasts: Any
    keys: Any


@triton.jit
def fill_tiles(
    tiles: Tiles,
    starts,
    entries: Entries,
    images: Images,
    centres: Centres,
    values,
    HIGHEST_DEGREE: tl.constexpr,
    N_INTERVALS: tl.constexpr,
    N_POINTS: tl.constexpr,
):
    """The sum over all images at the points of a tile; one program a tile.

    Args:
        tiles: The tiles.
        starts: First entry of each tile, and the number of all, [n_tiles + 1].
        entries: Images that reach them.
        images: The images.
        centres: Their centres.
        values: Where to write, float64.
        HIGHEST_DEGREE: L.
        N_INTERVALS: Number of intervals of each table.
        N_POINTS: Number of points of each tile.
    """
    tile = tl.program_id(0)
    lanes = tl.arange(0, N_POINTS)
    point = points_of_tile(tiles, tile, lanes, N_POINTS)
    total = tl.zeros([N_POINTS], tl.float64)
    for entry in range(tl.load(starts + tile), tl.load(starts + tile + 1)):
        image = tl.load(entries.images + entry)
        centre = tl.load(images.centres + image)
        radius = tl.load(centres.radii + centre)
        separation = _separation(point, images, image, centres)
        square = _square(separation)
        interval, u = _stretched(square, radius, N_INTERVALS)
        first_row = centre * ((HIGHEST_DEGREE + 1) * (HIGHEST_DEGREE + 1))
        knots = centres.knots + first_row * (N_INTERVALS + 1) + interval
        bends = centres.bends + 2 * (first_row * N_INTERVALS + interval)
        value = _orbital(knots, bends, u, separation, square, HIGHEST_DEGREE, N_INTERVALS)
        total += tl.where(square < radius * radius, value, 0.0).to(tl.float64)
    places = tl.load(tiles.places + tile * N_POINTS + lanes)
    tl.store(values + places, total, mask=places >= 0)


@triton.jit
def find_intervals(
    tiles: Tiles,
    entries: Entries,
    images: Images,
    centres: Centres,
    keys,
    nowhere,
    N_INTERVALS: tl.constexpr,
    N_POINTS: tl.constexpr,
):
    """The interval of its centre's tables that each point of an entry's tile falls into; one program an entry.

    Args:
        tiles: The tiles.
        entries: Images that reach them.
        images: The images.
        centres: Their centres.
        keys: Where to write n_intervals · centre + interval, int32, [n_entries, n_points].
        nowhere: What to write for a repeated point and one beyond the radius.
        N_INTERVALS: Number of intervals of each table.
        N_POINTS: Number of points of each tile.
    """
    entry = tl.program_id(0)
    lanes = tl.arange(0, N_POINTS)
    tile = tl.load(entries.tiles + entry)
    image = tl.load(entries.images + entry)
    centre = tl.load(images.centres + image)
    radius = tl.load(centres.radii + centre)
    square = _square(_separation(points_of_tile(tiles, tile, lanes, N_POINTS), images, image, centres))
    interval, _ = _stretched(square, radius, N_INTERVALS)
    counts = (square < radius * radius) & (tl.load(tiles.places + tile * N_POINTS + lanes) >= 0)
    tl.store(keys + entry * N_POINTS + lanes, tl.where(counts, N_INTERVALS * centre + interval, nowhere))


@triton.jit
def sum_runs(
    runs: Runs,
    tiles: Tiles,
    entries: Entries,
    images: Images,
    centres: Centres,
    upstream,
    sums,
    HIGHEST_DEGREE: tl.constexpr,
    N_INTERVALS: tl.constexpr,
    N_POINTS: tl.constexpr,
    N_LANES: tl.constexpr,
    N_PADDED: tl.constexpr,
):
    """The gradient of an interval's tables by values and slopes at its ends; one program a run.

    Args:
        runs: Pairs in each interval.
        tiles: The tiles.
        entries: Images that reach them.
        images: The images.
        centres: Their centres; their tables are not read.
        upstream: Gradients of the values, float64.
        sums: Gradients of value and slope at the interval's first knot, then at its second, [n_runs, 4, (L + 1)²].
        HIGHEST_DEGREE: L.
        N_INTERVALS: Number of intervals of each table.
        N_POINTS: Number of points of each tile.
        N_LANES: Pairs that are worked on together.
        N_PADDED: A power of two that is not below (L + 1)².
    """
    run = tl.program_id(0)
    lanes = tl.arange(0, N_LANES)
    harmonics = tl.arange(0, N_PADDED)
    radius = tl.load(centres.radii + tl.load(runs.keys + run) // N_INTERVALS)
    first_value = tl.zeros([N_PADDED], radius.dtype)
    first_slope, second_value, second_slope = first_value, first_value, first_value
    last = tl.load(runs.lasts + run)
    for start in range(tl.load(runs.firsts + run), last, N_LANES):
        there = start + lanes < last
        slots = tl.load(runs.slots + start + lanes, mask=there, other=0)
        tile = tl.load(entries.tiles + slots // N_POINTS)
        image = tl.load(entries.images + slots // N_POINTS)
        point = points_of_tile(tiles, tile, slots % N_POINTS, N_POINTS)
        separation = _separation(point, images, image, centres)
        square = _square(separation)
        _, u = _stretched(square, radius, N_INTERVALS)
        places = tl.load(tiles.places + tile * N_POINTS + slots % N_POINTS)
        gradient = tl.load(upstream + places, mask=there, other=0.0).to(radius.dtype)
        w0, w1, w2, w3 = _hermite(u)
        cosine, sine = gradient, tl.zeros_like(gradient)
        for m in tl.static_range(HIGHEST_DEGREE + 1):
            part, below = tl.full(square.shape, 1.0, square.dtype), tl.zeros_like(square)
            for degree in tl.static_range(m, HIGHEST_DEGREE + 1):
                if degree > m:
                    part, below = _next_part(part, below, separation, square, degree, m), part
                for side in tl.static_range(2):
                    if side == 0 or m > 0:
                        turned = cosine if side == 0 else sine
                        here = harmonics == degree * degree + degree + (1 - 2 * side) * m
                        first_value += tl.where(here, tl.sum(w0 * part * turned), 0.0)
                        first_slope += tl.where(here, tl.sum(w1 * part * turned), 0.0)
                        second_value += tl.where(here, tl.sum(w2 * part * turned), 0.0)
                        second_slope += tl.where(here, tl.sum(w3 * part * turned), 0.0)
            cosine, sine = _turned(cosine, sine, separation)
    n_harmonics = (HIGHEST_DEGREE + 1) * (HIGHEST_DEGREE + 1)
    to = sums + run * 4 * n_harmonics + harmonics
    tl.store(to, first_value, mask=harmonics < n_harmonics)
    tl.store(to + n_harmonics, first_slope, mask=harmonics < n_harmonics)
    tl.store(to + 2 * n_harmonics, second_value, mask=harmonics < n_harmonics)
    tl.store(to + 3 * n_harmonics, second_slope, mask=harmonics < n_harmonics)


@triton.jit
def _separation(point, images: Images, image, centres: Centres):
    """Vectors from images to points, of the tables' type."""
    position = images.positions + 3 * image
    number = centres.radii.dtype.element_ty
    x = (point[0] - tl.load(position)).to(number)
    y = (point[1] - tl.load(position + 1)).to(number)
    z = (point[2] - tl.load(position + 2)).to(number)
    return x, y, z


@triton.jit
def _square(vector):
    return vector[0] * vector[0] + vector[1] * vector[1] + vector[2] * vector[2]


@triton.jit
def _stretched(square, radius, N_INTERVALS: tl.constexpr):
    """Where distances lie in a table, as in `models.basis.radial_tables`: the interval and the place in it."""
    distance = tl.sqrt(square)
    u = distance * (N_INTERVALS * (1 + STRETCH)) / (distance + STRETCH * radius)
    interval = tl.minimum(u.to(tl.int32), N_INTERVALS - 1)
    return interval, u - interval.to(u.dtype)


@triton.jit
def _hermite(u):
    """Weights of value and slope at an interval's first knot, then at its second."""
    rest = 1.0 - u
    return (1.0 + 2.0 * u) * rest * rest, u * rest * rest, u * u * (3.0 - 2.0 * u), -u * u * rest


@triton.jit
def _orbital(knots, bends, u, separation, square, HIGHEST_DEGREE: tl.constexpr, N_INTERVALS: tl.constexpr):
    """Σ_lm t_lm r^l Y_lm of one centre; tables for l = 0 have the points' intervals at `knots` and `bends`."""
    zero = tl.zeros_like(square)
    sums = (zero, zero, zero, zero)
    cosine, sine = tl.full(square.shape, 1.0, square.dtype), zero
    for m in tl.static_range(HIGHEST_DEGREE + 1):
        part, below = tl.full(square.shape, 1.0, square.dtype), zero
        for degree in tl.static_range(m, HIGHEST_DEGREE + 1):
            if degree > m:
                part, below = _next_part(part, below, separation, square, degree, m), part
            sums = _with_harmonic(sums, part * cosine, knots, bends, degree * degree + degree + m, N_INTERVALS)
            if m > 0:
                sums = _with_harmonic(sums, part * sine, knots, bends, degree * degree + degree - m, N_INTERVALS)
        if m == 0:
            cosine, sine = separation[2], separation[0]
        else:
            cosine, sine = _turned(cosine, sine, separation)
    rest = 1.0 - u
    return rest * sums[0] + u * sums[1] + u * rest * (rest * sums[2] + u * sums[3])


@triton.jit
def _with_harmonic(sums, harmonic, knots, bends, row: tl.constexpr, N_INTERVALS: tl.constexpr):
    """Sums over harmonics of the values at both ends and the two bends, with one more."""
    knot = knots + row * (N_INTERVALS + 1)
    first, second = _bends(bends + 2 * row * N_INTERVALS)
    return (
        sums[0] + harmonic * tl.load(knot),
        sums[1] + harmonic * tl.load(knot + 1),
        sums[2] + harmonic * first,
        sums[3] + harmonic * second,
    )


@triton.jit
def _bends(place):
    """Both bends of an interval; those of half precision in one load."""
    if place.dtype.element_ty == tl.bfloat16:
        both = tl.load(place.to(tl.pointer_type(tl.uint32)))
        first, second = (both << 16).to(tl.float32, bitcast=True), (both & 0xFFFF0000).to(tl.float32, bitcast=True)
    else:
        first, second = tl.load(place), tl.load(place + 1)
    return first, second


@triton.jit
def _next_part(part, below, separation, square, degree: tl.constexpr, m: tl.constexpr):
    """Π_l^m, scaled to begin with ζ^(l − m), from those of l − 1 and l − 2."""
    rising = separation[1] * part
    if degree > m + 1:
        lowering: tl.constexpr = (degree - 1 - m) * (degree - 1 + m) / ((2 * degree - 1) * (2 * degree - 3))
        rising -= lowering * square * below
    return rising


@triton.jit
def _turned(cosine, sine, separation):
    """Re | Im (ξ + iη)^(m + 1) from those of m."""
    eta, xi = separation[0], separation[2]
    return xi * cosine - eta * sine, xi * sine + eta * cosine
