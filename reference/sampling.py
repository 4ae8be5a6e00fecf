"""Points drawn from a density's grid, so that a compact record stands for the whole without bias.

Each point of the grid has a chance π = min(1, f + s·ρ) to be drawn: f makes a share of the points uniform in space, s
makes the rest proportional to the density. Points are drawn by systematic sampling along the grid's own order, so they
are also spread evenly: the sum of w·g(r) over them, with w = voxel/π, estimates ∫g without bias (Horvitz and Thompson).
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from reference.record import Record, rounded_mantissa

FloatArray = NDArray[np.float64]

PACKED_BITS = 10
"""Mantissa bits of a compact record's density. Costs an NMAE of ≤ 2·10⁻⁴, a tenth of the cut-off's own error."""


def compact(record: Record, n_points: int | None, uniform_share: float = 0.5) -> Record:
    """The record with so many points of its density, or with all; the same points whenever it is asked again.

    Args:
        record: A record with the whole grid.
        n_points: How many points; all if the grid has no more, or None.
        uniform_share: Share of the points that are uniform in space; the others are proportional to the density.

    Raises:
        BadRecord: If the record has lost points already.
    """
    voxel = abs(np.linalg.det(record.arrays["cell"])) / np.prod(record.grid_shape)
    before = record.density_on_grid.astype(np.float64)
    density = rounded_mantissa(record.arrays["density"], PACKED_BITS)
    change = float(np.abs(density - before.ravel()).sum() * voxel / record.attributes["n_electrons"])
    arrays = dict(record.arrays) | {
        "density": density,
        "atomic_density_matrices": rounded_mantissa(record.arrays["atomic_density_matrices"], PACKED_BITS),
    }
    attributes = dict(record.attributes) | {
        "mantissa_bits": PACKED_BITS,
        "rounding_nmae": record.attributes["rounding_nmae"] + change,
    }
    if n_points is not None and n_points < density.size:
        floor, slope = inclusion(density.astype(np.float64), n_points, uniform_share)
        chances = np.minimum(1, floor + slope * density.astype(np.float64))
        seed = int(record.attributes["content_hash"][:16], 16)
        indices = systematic_sample(chances, np.random.default_rng(seed))
        arrays |= {"density": density[indices], "point_indices": indices}
        attributes |= {"inclusion_floor": floor, "inclusion_slope": slope}
    return replace(record, arrays=arrays, attributes=attributes)


def thinned(record: Record, n_points: int) -> Record:
    """A compact record with fewer of its points, drawn from them as if from the grid; the same whenever asked again.

    A point that was there with the chance π stays with π'/π, so that it is there with π' = min(1, q (f + s·ρ)).

    Args:
        record: A record that has lost points already.
        n_points: How many stay, fewer than there are.
    """
    density = record.arrays["density"].astype(np.float64)
    floor, slope = (record.attributes[name] for name in ("inclusion_floor", "inclusion_slope"))
    before = np.minimum(1, floor + slope * density)
    share = n_points / len(density)
    for _ in range(1000):
        stays = np.minimum(1, share * (floor + slope * density)) / before
        step = n_points / stays.sum()
        share *= step
        if abs(step - 1) < 1e-12:
            break
    seed = int(record.attributes["content_hash"][16:32], 16)
    chosen = systematic_sample(stays, np.random.default_rng(seed))
    return replace(
        record,
        arrays=dict(record.arrays) | {name: record.arrays[name][chosen] for name in ("density", "point_indices")},
        attributes=dict(record.attributes) | {"inclusion_floor": share * floor, "inclusion_slope": share * slope},
    )


def inclusion(density: FloatArray, n_points: int, uniform_share: float) -> tuple[float, float]:
    """f and s of the chances min(1, f + s·ρ) that sum to the number of points.

    Args:
        density: At all points of the grid, in any unit, [n].
        n_points: Fewer than n.
        uniform_share: Share of the points that would be uniform if no chance were cut at 1.
    """
    floor, slope = uniform_share / density.size, (1 - uniform_share) / density.sum()
    # Chances that would exceed 1 are cut, so the scale grows until the sum is right; it converges from below.
    scale = float(n_points)
    for _ in range(1000):
        chances = np.minimum(1, scale * (floor + slope * density))
        is_cut = chances >= 1
        step = (n_points - is_cut.sum()) / chances[~is_cut].sum()
        scale *= step
        if abs(step - 1) < 1e-12:
            break
    return scale * floor, scale * slope


def systematic_sample(chances: FloatArray, rng: np.random.Generator) -> NDArray[np.int64]:
    """Sorted indices, each drawn with its own chance, as evenly along the order as chances allow.

    Args:
        chances: At most 1 each, [n].
        rng: Source of the only random number that is needed.
    """
    ticks = np.floor(np.cumsum(chances) + rng.random()).astype(np.int64)
    return np.flatnonzero(np.diff(ticks, prepend=0)).astype(np.int64)
