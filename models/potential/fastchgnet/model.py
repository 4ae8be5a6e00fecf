"""FastCHGNet as a potential: one pass of the network, and no way back."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.checkpoint import Checkpoint
from models.potential.chgnet.graph import BondGraph
from models.potential.chgnet.model import Chgnet
from models.potential.fastchgnet.config import FastConfig
from models.potential.fastchgnet.network import FastNetwork
from rhocast.errors import UnusableWeights
from rhocast.model_info import Cost, ModelInfo, Property


class FastChgnet(Chgnet):
    """CHGNet whose forces and stresses come from heads; they are no derivatives of its energy.

    Never use them for molecular dynamics at constant energy or for phonons.

    Args:
        info: What it says of itself.
        network: The network with its weights.
        device: Where it runs, "cpu" or "cuda".
    """

    def __init__(self, info: ModelInfo, network: FastNetwork, device: str = "cpu") -> None:
        self._fast = network.to(device).eval().requires_grad_(requires_grad=False)
        super().__init__(info, network.chgnet, device)

    @classmethod
    def read(cls, file: Path, sha256: str, device: str = "cpu") -> "FastChgnet":
        """The potential in a checkpoint that `python -m training` has written.

        Raises:
            UnusableWeights: If the file is missing, has another hash, or holds something else.
        """
        checkpoint = Checkpoint.read(file, sha256)
        try:
            network = FastNetwork(FastConfig.from_dict(checkpoint.config["model"]))
            network.load_state_dict(dict(checkpoint.weights))
            return cls(_info(network, checkpoint.config["about"], sha256), network, device)
        except (KeyError, TypeError, RuntimeError) as error:
            raise UnusableWeights(f"found {file.name}, which holds no FastCHGNet: {error!r}") from error

    def _computed(self, graph: BondGraph, want: frozenset[Property]) -> dict[Property, Tensor]:
        with torch.inference_mode():
            if want.isdisjoint({Property.FORCES, Property.STRESS}):
                return super()._computed(graph, want)
            names = (Property.ENERGY, Property.MAGMOMS, Property.FORCES, Property.STRESS)
            return dict(zip(names, self._fast(graph), strict=True))


def _info(network: FastNetwork, about: Mapping[str, Any], weights_sha256: str) -> ModelInfo:
    return ModelInfo(
        name=about["name"],
        provides=(Property.ENERGY, Property.FORCES, Property.STRESS, Property.MAGMOMS),
        description=about["description"],
        elements=tuple(about["elements"]),
        cutoff=network.config.trunk.cutoff,
        weights_sha256=weights_sha256,
        level_of_theory=about["level_of_theory"],
        licence=about["licence"],
        energy_reference=about["energy_reference"],
        domains=tuple(about["domains"]),
        has_spin=True,
        is_conservative=False,
        by_name_only=True,
        no_uncertainty_because="it is not calibrated; its card has errors on held-out structures",
        max_atoms=2000,
        cost=Cost(per_structure=6.0, per_edge=0.05),
        labels={
            "forces": "read off by a head, not the derivative of the energy: never for dynamics at constant energy "
            "or for phonons",
        },
    )
