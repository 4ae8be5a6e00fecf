r"""The background of Deep Density, fitted in closed form.

.. math:: \min_c \sum_s \frac{1}{N_s} \Big[ \sum_p w_p\, |\Delta\rho(r_p) - \sum_k c_k \Phi_k(r_p)|^2
    + \mu\, \Big( \sum_k c_k Q_{sk} \Big)^2 \Big] + \lambda \bar g \sum_k c_k^2

with Δρ the reference minus the free atoms, Φ_k the sum of one function over all atoms of its element, and Q_sk its
integral: what is added to a structure shall hold no electrons. The normal equations are as large as functions are many.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from models.decoder.frame import Frame
from models.decoder.pairs import pairs_at_points
from models.density.deep_density.background import shell_charges, shells
from models.density.deep_density.config import BackgroundConfig, DeepDensityConfig
from models.density.promolecule import AtomTable, PromoleculeField
from models.graph import species_of
from rhocast.structure import Structure
from training.dataset import Sample

FloatArray = NDArray[np.float64]

RIDGE = 1e-8
"""λ; functions that overlap by 90 % would else be large and cancel."""

CHARGE_WEIGHT = 1.0
"""In Å⁻³: an electron too many counts as much as an error of 1 e/Å³ in 1 Å³."""

POINTS_AT_ONCE = 10_000


def background_coefficients(
    there: Sequence[Sample], config: DeepDensityConfig, free: AtomTable, charge_weight: float = CHARGE_WEIGHT
) -> FloatArray:
    """c of each element in e/Å³, [n_elements, n_radial].

    Args:
        there: Samples to learn from.
        config: Elements and functions.
        free: The free atoms.
        charge_weight: μ in Å⁻³.
    """
    size = len(config.elements) * config.background.n_radial
    normal, wanted = np.zeros((size, size)), np.zeros(size)
    charges = shell_charges(config.background)
    for sample in there:
        points = sample.points
        missing = sample.density - PromoleculeField(sample.structure, free).at_points(points)
        for first in range(0, len(points), POINTS_AT_ONCE):
            run = slice(first, first + POINTS_AT_ONCE)
            roots = np.sqrt(sample.weights[run] / sample.n_electrons)
            values = roots[:, None] * design(sample.structure, points[run], config.elements, config.background)
            normal += values.T @ values
            wanted += values.T @ (roots * missing[run])
        n_atoms = np.bincount(species_of(sample.structure, config.elements), minlength=len(config.elements))
        electrons = np.outer(n_atoms, charges).ravel() / np.sqrt(sample.n_electrons)
        normal += charge_weight * np.outer(electrons, electrons)
    normal[np.diag_indices_from(normal)] += RIDGE * normal.trace() / size
    return cho_solve(cho_factor(normal), wanted).reshape(len(config.elements), -1)


def design(structure: Structure, points: FloatArray, elements: Sequence[int], config: BackgroundConfig) -> FloatArray:
    """Φ: each function summed over the atoms of each element and their images, [n_points, n_elements · n_radial].

    Args:
        structure: The atoms.
        points: Cartesian positions in Å, [n_points, 3].
        elements: Atomic numbers.
        config: The functions.
    """
    frame = Frame.of_cell(structure.cell, (1, 1, 1), structure.is_periodic)
    fractional = np.ascontiguousarray(structure.fractional_positions)
    pairs = pairs_at_points(frame, fractional, config.cutoff, points)
    values = shells(torch.from_numpy(np.linalg.norm(pairs.vectors, axis=1)), config)
    species = np.repeat(species_of(structure, elements), pairs.counts)
    rows = torch.from_numpy(pairs.points * len(elements) + species)
    sums = torch.zeros(len(points) * len(elements), config.n_radial, dtype=torch.float64).index_add(0, rows, values)
    return sums.numpy().reshape(len(points), -1)
