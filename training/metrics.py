"""How far a density is from the reference.

    NMAE = ∫|ρ − ρ_ref| d³r / N

per structure; means, medians and percentiles are over structures.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.dataset import Sample

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Nmae:
    """Error of one structure.

    Attributes:
        value: NMAE; 0.01 is one per cent.
        standard_error: Of the value, because the density is known at some points only; 0 for a whole grid.
    """

    value: float
    standard_error: float


def nmae(sample: Sample, predicted: FloatArray) -> Nmae:
    """The NMAE of values at a sample's points.

    Args:
        sample: The reference.
        predicted: e/Å³ at the sample's points, [n_points].

    Raises:
        ValueError: If there are not as many values as points.
    """
    if predicted.shape != sample.density.shape:
        raise ValueError(
            f"found values of shape {predicted.shape}; expected one for each of {len(sample.density)} points"
        )
    shares = sample.weights * np.abs(predicted - sample.density) / sample.n_electrons
    voxel = sample.structure.volume / np.prod(sample.grid_shape)
    # Poisson sampling's variance; the points are drawn more evenly than that, so it is an upper bound.
    variance = np.sum(shares**2 * np.maximum(0, 1 - voxel / sample.weights))
    return Nmae(float(shares.sum()), float(np.sqrt(variance)))


@dataclass(frozen=True)
class Spread:
    """Errors of many structures.

    Attributes:
        n_structures: How many.
        mean: Mean NMAE.
        standard_error: Of the mean, over structures.
        median: Median.
        p95: 95th percentile.
        worst: Largest.
        sampling_error: Root mean square of the structures' own standard errors: what their points leave unknown.
    """

    n_structures: int
    mean: float
    standard_error: float
    median: float
    p95: float
    worst: float
    sampling_error: float

    @classmethod
    def of(cls, errors: Sequence[Nmae]) -> "Spread":
        """The spread of at least one error."""
        values = np.array([error.value for error in errors])
        return cls(
            n_structures=len(values),
            mean=float(values.mean()),
            standard_error=float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0,
            median=float(np.median(values)),
            p95=float(np.percentile(values, 95)),
            worst=float(values.max()),
            sampling_error=float(np.sqrt(np.mean([error.standard_error**2 for error in errors]))),
        )


def skill(error: float, promolecule_error: float) -> float:
    """1 − ∫|ρ − ρ_ref| / ∫|ρ_pro − ρ_ref|: 0 for the promolecule, 1 for the reference."""
    return 1 - error / promolecule_error
