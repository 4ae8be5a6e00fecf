"""Deep Densities with random weights that leave nothing silent."""

from dataclasses import replace

import torch

from models.density.deep_density.config import BackgroundConfig, ClusterConfig, DeepDensityConfig, EnvironmentConfig
from models.density.deep_density.network import DeepDensityNetwork, deep_density_network

ELEMENTS = (1, 8, 12, 14)
ABOUT = {"name": "toy", "description": "", "level_of_theory": "", "domains": ["crystal", "molecule"]}
ENVIRONMENT = EnvironmentConfig(3.5, 4, 6, 2, 6, n_hidden=8, mean_neighbours=8.0)
BACKGROUND = BackgroundConfig(3.0, 8)
CLUSTERS = ClusterConfig(2.5, 6, 8, 0.8)
CONFIGS = {
    "clusters": DeepDensityConfig(ELEMENTS, ENVIRONMENT, BACKGROUND, CLUSTERS),
    "triples": DeepDensityConfig(ELEMENTS, replace(ENVIRONMENT, correlation=2), BACKGROUND, CLUSTERS),
    "probe": DeepDensityConfig(ELEMENTS, ENVIRONMENT, BACKGROUND),
}


def toy(name: str, seed: int = 1) -> DeepDensityNetwork:
    """A network that adds some hundredths of an e/Å³, with biases and a background that are not zero."""
    network = deep_density_network(CONFIGS[name], seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
        network.background.copy_(0.01 * torch.randn(network.background.shape, generator=generator))
        network.scale.fill_(0.03)
    return network
