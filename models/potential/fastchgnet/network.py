"""CHGNet with direct heads: its trunk once, its energies and moments, and forces and stresses beside them."""

import torch
from torch import Tensor, nn

from models.potential.chgnet.graph import BondGraph
from models.potential.chgnet.network import Network
from models.potential.fastchgnet.config import FastConfig
from models.potential.fastchgnet.heads import HeadInput, Heads


class FastNetwork(nn.Module):
    """A CHGNet and its direct heads.

    Args:
        config: Its shape.
        seed: Of the heads' first weights; the CHGNet's are read from a file.
    """

    def __init__(self, config: FastConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.chgnet = Network(config.trunk)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.heads = Heads(config.trunk.cutoff, config.is_antisymmetric)

    def forward(self, graph: BondGraph) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Energies and magnetic moments of atoms as CHGNet's, forces and stresses as `Heads` gives them."""
        energies, moments, there = self.trunk_answers(graph)
        return energies, moments, *self.heads(there)

    def trunk_answers(self, graph: BondGraph) -> tuple[Tensor, Tensor, HeadInput]:
        """Energies and magnetic moments of atoms, and what the heads look at."""
        features = self.chgnet.trunk(graph)
        last_atoms = self.chgnet.last_atoms(features, graph)
        return *self.chgnet.read_out(features, last_atoms, graph), HeadInput.of(features, last_atoms, graph)
