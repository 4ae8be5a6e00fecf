"""Waters with a density that is written down, and a small Deep Density that learns them."""

import numpy as np

from models.density.deep_density.config import BackgroundConfig, ClusterConfig, DeepDensityConfig, EnvironmentConfig
from rhocast.structure import Structure
from tests.training.analytic_samples import grid_points, sample_of
from training.dataset import Sample

CONFIG = DeepDensityConfig(
    (1, 8),
    EnvironmentConfig(3.0, 2, 6, 2, 6, n_hidden=12, mean_neighbours=2.0),
    BackgroundConfig(3.0, 12),
    ClusterConfig(2.5, 8, 16, 1.0),
)


def water(seed: int) -> Sample:
    """Bent at random in a box, with Gaussians for a density, that of oxygen wider where hydrogen is near."""
    rng = np.random.default_rng(seed)
    positions = 3.5 + np.array([[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]) + 0.1 * rng.normal(size=(3, 3))
    structure = Structure.from_symbols(("O", "H", "H"), positions, 7 * np.eye(3), is_periodic=False)
    shape = (18, 18, 18)
    squares = np.square(grid_points(structure.cell, shape)[:, None] - positions).sum(2)
    nearness = np.exp(-np.square(positions[1:] - positions[0]).sum(1)).sum()
    exponents = np.array([1.5 - nearness, 2.0, 2.0])
    electrons = np.array([6.6, 0.7, 0.7])
    density = (electrons * (exponents / np.pi) ** 1.5 * np.exp(-exponents * squares)).sum(1)
    return sample_of(structure, shape, density, 8)
