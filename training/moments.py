"""How far the dipole and the quadrupole of a molecule's density are from the reference's.

A record has no moments of its own, but what moments follow from: the waves of its density up to 3 Å⁻¹, which are exact,
and the density at points that were drawn without bias. Waves cannot be x, which does not repeat with the box; but some
sum of them, f, is very nearly x wherever there are electrons, and

    ∫ δ x = ∫ δ f + ∫ δ (x − f),    δ = ρ − ρ_ref

The first is known exactly, the second is a small number estimated at points. Whatever f is, nothing is biased: the
regression estimator of survey sampling. For a whole grid f is nothing, and the sum over the grid is everything.

Both densities must repeat with the molecule's box: the reference does, for it was computed so, and `repeated` makes a
model's do the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.interface import DensityField
from reference.soft_density import fourier_coefficients
from rhocast.structure import Structure
from training.dataset import ComplexArray, Sample

FloatArray = NDArray[np.float64]

_SECOND = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
_FITTED = 6_000  # points that the sums of waves are fitted at
_RIDGE = 1e-11  # of the largest; waves are known to seven digits
_FINER = 1.5  # than the record's grid: sharp functions would fold into the waves, and the reference has none


@dataclass(frozen=True, eq=False)
class MomentError:
    """Moments of a molecule's density less those of the reference.

    Attributes:
        dipole: e·Å, from − to +, [3].
        quadrupole: Θ of `docs/conventions.md` about the centre of the ions' charge, traceless, e·Å², [3, 3].
        dipole_sampling: Standard error of the dipole's length, because the density is known at some points, e·Å.
    """

    dipole: FloatArray
    quadrupole: FloatArray
    dipole_sampling: float

    @property
    def dipole_length(self) -> float:
        """|Δμ| in e·Å."""
        return float(np.linalg.norm(self.dipole))

    @property
    def quadrupole_size(self) -> float:
        """Root of the sum of the squares of ΔΘ's nine components, in e·Å²."""
        return float(np.linalg.norm(self.quadrupole))


def repeated(molecule: Structure) -> Structure:
    """A molecule as one of the crystal of its images: its density then repeats with its box."""
    return replace(molecule, is_periodic=True)


class MomentRule:
    """What a molecule's waves and points count in its moments; the same for every density that is held against it.

    Args:
        sample: The reference: a molecule.
        ions: Charge of each atom's ion, [n_atoms]; moments are about their centre.

    Raises:
        ValueError: If the sample is a crystal, whose moments are undefined.
    """

    def __init__(self, sample: Sample, ions: Sequence[float]) -> None:
        if sample.structure.is_periodic:
            raise ValueError(f"found the crystal {sample.name}; expected a molecule: moments of a cell are undefined")
        self._sample = sample
        self._centre = np.average(sample.structure.positions, axis=0, weights=ions)
        away = sample.points - self._centre
        self._of_points = np.column_stack([away, *(away[:, i] * away[:, j] for i, j in _SECOND)])
        self._of_waves: FloatArray | None = None
        if not sample.is_whole:
            functions = _real_waves(away, sample.wave_vectors)
            # The error of a density is about in proportion to it, so this is what a remainder at a point will count.
            importance = sample.weights * sample.density
            chosen = slice(None, None, -(-len(away) // _FITTED))
            self._of_waves = _fitted(functions[chosen], self._of_points[chosen], importance[chosen])
            self._of_points -= functions @ self._of_waves

    def error(self, field: DensityField) -> MomentError:
        """How far the moments of a density are from the reference's.

        Args:
            field: The density of the molecule, `repeated`.
        """
        sample = self._sample
        values = field.on_grid(sample.grid_shape).ravel() if sample.is_whole else field.at_points(sample.points)
        at_points = sample.weights * (values - sample.density)
        moments = at_points @ self._of_points
        if self._of_waves is not None:
            in_waves = (self._waves(field) - sample.wave_electrons) * np.exp(1j * sample.wave_vectors @ self._centre)
            moments += np.concatenate([in_waves.real, -in_waves.imag]) @ self._of_waves
        voxel = sample.structure.volume / np.prod(sample.grid_shape)
        unknown = np.maximum(0, 1 - voxel / sample.weights)  # as in `training.metrics.nmae`
        variances = (at_points[:, None] * self._of_points[:, :3]) ** 2 * unknown[:, None]
        return MomentError(-moments[:3], _traceless(moments[3:]), float(np.sqrt(variances.sum())))

    def _waves(self, field: DensityField) -> ComplexArray:
        """∫ρ exp(−iG·r) at the sample's waves, in electrons, [n_waves]."""
        cell = self._sample.structure.cell
        indices = np.rint(self._sample.wave_vectors @ cell.T / (2 * np.pi)).astype(np.int64)
        n0, n1, n2 = (round(_FINER * n) for n in self._sample.grid_shape)
        return fourier_coefficients(field.on_grid((n0, n1, n2)), cell, indices)


def _traceless(second: FloatArray) -> FloatArray:
    """Quadrupole of ions less electrons, [3, 3], from the electrons' six second moments."""
    matrix = np.empty((3, 3))
    for value, (i, j) in zip(second, _SECOND, strict=True):
        matrix[i, j] = matrix[j, i] = value
    return -0.5 * (3 * matrix - np.trace(matrix) * np.eye(3))


def _real_waves(points: FloatArray, vectors: FloatArray) -> FloatArray:
    """cos G·r, then sin G·r, of each wave, [n_points, 2 n_waves]."""
    angles = points @ vectors.T
    return np.concatenate([np.cos(angles), np.sin(angles)], axis=1)


def _fitted(functions: FloatArray, targets: FloatArray, importance: FloatArray) -> FloatArray:
    """Factors of the functions whose sums come nearest to each target, [n_functions, n_targets]."""
    weighted = functions * importance[:, None]
    normal = weighted.T @ weighted
    ridge = _RIDGE * np.linalg.norm(normal, 2) * np.eye(len(normal))
    return np.asarray(np.linalg.solve(normal + ridge, weighted.T @ (targets * importance[:, None])), dtype=np.float64)
