r"""The best density that a basis can represent: a fit in closed form, without a network.

.. math:: \min_c \sum_p w_p\, \Big| \Delta\rho(r_p) - \sum_k c_k\, \varphi_k(r_p) \Big|^q
    + \lambda\, \bar g \sum_k c_k^2

with Δρ the reference minus the promolecule, w the volumes that points stand for, and ḡ the mean of the normal
equations' diagonal. q = 2 has a closed form; NMAE is q = 1, approached by a few of these with w_p/|error at p| as
weights (iteratively reweighted least squares): two lower it by 10 to 20 %, more change nothing. All of it is float64:
float32 loses a factor of ten in the normal equations.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from torch import Tensor

from models.basis.gaussian import radial_norm, reach
from models.basis.harmonics import degrees, n_harmonics, solid_harmonics
from models.density.orbital.config import OrbitalConfig
from models.density.orbital.radial import RadialFunctions
from models.density.promolecule import Promolecule
from models.neighbours import neighbours_of
from reference.sampling import inclusion, systematic_sample
from rhocast.density.cube import BOHR
from rhocast.structure import Structure
from training.dataset import Sample
from training.metrics import Nmae, nmae

FloatArray = NDArray[np.float64]

REGULARISATION = 1e-8
"""λ. It decides how exactly a density in the basis is reproduced: to 10⁻⁶ of its largest value; with 10⁻⁶ to 10⁻⁴. Real
floors change by some per cent of themselves between the two, either way."""

N_REWEIGHTED = 2
"""Reweighted fits after the first."""

SMALLEST_ERROR = 0.1
"""Errors below this part of their mean weigh no more in a reweighted fit."""

MOST_FITTED = 20_000
"""Points that are fitted at most; whole grids have ten times as many."""

POINTS_OF_A_PIECE = 10_000
"""Points at which functions are held at once, when they are only evaluated."""


@dataclass(frozen=True, eq=False)
class CentreFunctions:
    """Functions on centres of one kind: on each the same number, nearly orthonormal among themselves.

    Attributes:
        positions: Centres in Å, [n_centres, 3].
        exponents: α in bohr⁻², float64, [n_centres, n_radial].
        combinations: Of the Gaussians of each degree (`RadialFunctions.combinations`), float64,
            [n_centres, L + 1, n_radial, n_radial].
    """

    positions: FloatArray
    exponents: Tensor
    combinations: Tensor

    @classmethod
    def starting(cls, positions: FloatArray, radial: RadialFunctions) -> "CentreFunctions":
        """The functions of a kind that a network starts with, the same on every centre."""
        kinds = torch.zeros(len(positions), dtype=torch.int64)
        return cls(positions, radial.exponents().detach()[kinds], radial.combinations().detach()[kinds])

    @property
    def highest_degree(self) -> int:
        return self.combinations.shape[1] - 1

    @property
    def n_functions(self) -> int:
        return self.exponents.numel() * n_harmonics(self.highest_degree)

    def values(self, structure: Structure, points: FloatArray) -> FloatArray:
        """Each function at points in e/Å³ for a coefficient of 1 e·bohr^(−3/2), [n_points, n_functions].

        In a crystal with all its images, each out to its decode radius; centre by centre, harmonic by harmonic.

        Args:
            structure: The cell, and whether it repeats.
            points: Å, [n_points, 3].
        """
        degree = degrees(self.highest_degree)
        per_centre = []
        for position, exponents, combinations in zip(self.positions, self.exponents, self.combinations, strict=True):
            radius = BOHR * np.sqrt(reach(self.highest_degree) / float(exponents.min()))
            norms = radial_norm(exponents, degree[:, None])
            primitive = torch.zeros(len(points), len(degree), len(exponents), dtype=torch.float64)
            for indices, vectors in _vectors_within(structure, points, position, radius):
                in_bohr = torch.from_numpy(vectors / BOHR)
                radial = torch.exp(-in_bohr.square().sum(1)[:, None] * exponents)
                harmonics = solid_harmonics(in_bohr, self.highest_degree)
                primitive[torch.from_numpy(indices)] += harmonics[:, :, None] * radial[:, None] * norms
            combined = torch.einsum("pmj,mjk->pmk", primitive, combinations[degree]) / BOHR**3
            per_centre.append(combined.flatten(1).numpy())
        return np.concatenate(per_centre, axis=1)


def _vectors_within(
    structure: Structure, points: FloatArray, position: FloatArray, radius: float
) -> Iterator[tuple[NDArray[np.int64], FloatArray]]:
    """For each image of a centre, the points that it reaches and the vectors in Å from it to them."""
    vectors, images = points - position, np.zeros((1, 3))
    if structure.is_periodic:
        inverse = np.linalg.inv(structure.cell)
        fractional = vectors @ inverse
        vectors = (fractional - np.floor(fractional)) @ structure.cell
        # Along each direction the vectors now lie between two lattice planes, one distance apart.
        n_planes = np.ceil(radius * np.linalg.norm(inverse, axis=0)).astype(int)
        ranges = [np.arange(-n, n + 2) for n in n_planes]
        images = np.stack(np.meshgrid(*ranges, indexing="ij"), -1).reshape(-1, 3) @ structure.cell
    for image in images:
        moved = vectors - image
        indices = np.flatnonzero(np.square(moved).sum(1) <= radius**2)
        if len(indices):
            yield indices, moved[indices]


def starting_functions(structure: Structure, config: OrbitalConfig) -> list[CentreFunctions]:
    """The functions of a model with the exponents that it starts from: on atoms, and between them if it has bonds.

    The envelope of a pair's length is left out: it scales functions that are fitted freely.

    Args:
        structure: Where.
        config: Which.
    """
    functions = [CentreFunctions.starting(structure.positions, RadialFunctions(config.atoms, 1))]
    if config.bonds:
        edges = neighbours_of(structure, config.bonds.cutoff)
        one_of_each = np.arange(len(edges.sender)) < edges.reverse
        ends = structure.positions[edges.sender], structure.positions[edges.receiver] + edges.shift @ structure.cell
        middles = 0.5 * (ends[0] + ends[1])[one_of_each]
        functions.append(CentreFunctions.starting(middles, RadialFunctions(config.bonds.basis, 1)))
    return [one for one in functions if len(one.positions)]


@dataclass(frozen=True, eq=False)
class Fit:
    """Fitted functions of one structure.

    Attributes:
        structure: The structure.
        functions: By kind of centre.
        coefficients: e·bohr^(−3/2), [n_functions].
    """

    structure: Structure
    functions: Sequence[CentreFunctions]
    coefficients: FloatArray

    def at_points(self, points: FloatArray) -> FloatArray:
        """Values in e/Å³ at Cartesian points in Å, [n_points, 3] → [n_points]."""
        pieces = np.array_split(points, -(-len(points) // POINTS_OF_A_PIECE) or 1)
        return np.concatenate([_values(self.functions, self.structure, piece) @ self.coefficients for piece in pieces])


def ridge_fit(
    functions: Sequence[CentreFunctions], sample: Sample, missing: FloatArray, n_reweighted: int = N_REWEIGHTED
) -> Fit:
    """The functions that are nearest to a density at a sample's points.

    Args:
        functions: By kind of centre.
        sample: Structure, points and weights.
        missing: What to fit in e/Å³, [n_points].
        n_reweighted: Reweighted fits after the first; with none the squared error is the smallest, with a few nearly
            the absolute one.
    """
    values, weights = _values(functions, sample.structure, sample.points), sample.weights
    coefficients = _least_squares(values, weights, missing)
    for _ in range(n_reweighted):
        error = np.abs(missing - values @ coefficients)
        mean = np.average(error, weights=sample.weights)
        if mean == 0:
            break
        coefficients = _least_squares(values, sample.weights / np.maximum(error / mean, SMALLEST_ERROR), missing)
    return Fit(sample.structure, functions, coefficients)


def _values(functions: Sequence[CentreFunctions], structure: Structure, points: FloatArray) -> FloatArray:
    return np.concatenate([one.values(structure, points) for one in functions], axis=1)


def _least_squares(values: FloatArray, weights: FloatArray, wanted: FloatArray) -> FloatArray:
    """Coefficients of the functions, [n_functions]."""
    roots = np.sqrt(weights)
    scaled = values * roots[:, None]
    normal = scaled.T @ scaled
    normal[np.diag_indices_from(normal)] += REGULARISATION * normal.trace() / len(normal)
    return cho_solve(cho_factor(normal, overwrite_a=True), scaled.T @ (roots * wanted))


@dataclass(frozen=True)
class Floor:
    """How near a basis can come to the density of one structure.

    The fit sees half of the points. That of all of space would lie between the two errors: on its own points a fit
    looks too good, and between them too bad, most of all at the nuclei, where functions are sharper than the grid.

    Attributes:
        held_out: NMAE on the points that were not fitted.
        fitted: NMAE on those that were.
        n_functions: Functions of the basis.
        n_fitted: Points that were fitted.
    """

    held_out: Nmae
    fitted: Nmae
    n_functions: int
    n_fitted: int


def floor_of(
    sample: Sample, functions: Sequence[CentreFunctions], promolecule: Promolecule, n_reweighted: int = N_REWEIGHTED
) -> Floor:
    """The floor of a basis for one structure: fitted on half of its points, measured on the others.

    Of a whole grid no more than `MOST_FITTED` points of the half are fitted, drawn as compact records draw theirs; all
    points of the other half are measured.

    Args:
        sample: The reference.
        functions: The basis, by kind of centre.
        promolecule: What the basis adds to.
        n_reweighted: Reweighted fits after the first.
    """
    rng = np.random.default_rng(0)
    to_fit, to_measure = _halves(sample, rng)
    to_fit = _thinned(to_fit, MOST_FITTED, rng)
    (field,) = promolecule.fields([sample.structure])
    fit = ridge_fit(functions, to_fit, to_fit.density - field.at_points(to_fit.points), n_reweighted)
    held_out, fitted = (
        nmae(part, field.at_points(part.points) + fit.at_points(part.points)) for part in (to_measure, to_fit)
    )
    return Floor(held_out, fitted, len(fit.coefficients), len(to_fit.density))


def _halves(sample: Sample, rng: np.random.Generator) -> tuple[Sample, Sample]:
    """Two samples with half of the points each, every point in one of them, chosen by chance."""
    order = rng.permutation(len(sample.density))
    middle = len(order) // 2
    first, second = np.sort(order[:middle]), np.sort(order[middle:])
    n = len(order)
    return (
        sample.part(first, sample.weights[first] * n / middle),
        sample.part(second, sample.weights[second] * n / (n - middle)),
    )


def _thinned(sample: Sample, n_points: int, rng: np.random.Generator) -> Sample:
    """The sample with so many of its points, half of them even in space and half by density; all if it has no more.

    Only for samples whose weights are alike, such as parts of whole grids.
    """
    density = np.maximum(sample.density.astype(np.float64), 0)
    if len(density) <= n_points:
        return sample
    base, slope = inclusion(density, n_points, uniform_share=0.5)
    chances = np.minimum(1, base + slope * density)
    indices = systematic_sample(chances, rng)
    return sample.part(indices, sample.weights[indices] / chances[indices])
