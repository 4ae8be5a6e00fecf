"""The trunk: an O(3)-equivariant network from atoms and edges to features, shared by density, energy and force heads.

NequIP's convolutions with MACE's products, strictly local, of natural parity end to end. See `models/layers.py`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from e3nn import o3
from torch import Tensor, nn

from models.couplings import EdgeKernels
from models.graph import Graph
from models.layers import Convolution, Edges, EdgeScalars, Interaction, SoftNorm, weights_from_seed
from models.radial import BesselBasis, polynomial_envelope
from rhocast.elements import SYMBOLS


@dataclass(frozen=True)
class TrunkConfig:
    """What decides the shape of a trunk; everything else is weights.

    Attributes:
        elements: Atomic numbers of the elements that the trunk knows, rising.
        cutoff: Longest edge in Å.
        n_layers: Rounds of messages; the receptive field is as many cutoffs.
        n_channels: Features of each degree and component.
        l_max: Highest degree of features and harmonics.
        n_radial: Functions of the radial basis.
        n_hidden: Width of the networks that make the weights of edges.
        mean_neighbours: Neighbours of an atom in the training set, on average; a constant, whatever the structure.
    """

    elements: tuple[int, ...]
    cutoff: float
    n_layers: int
    n_channels: int
    l_max: int
    n_radial: int = 8
    n_hidden: int = 64
    mean_neighbours: float = 20.0

    def __post_init__(self) -> None:
        if not self.elements or list(self.elements) != sorted(set(self.elements)):
            raise ValueError(f"found elements {self.elements}; expected atomic numbers, rising, each once")
        if not 1 <= self.elements[0] <= self.elements[-1] < len(SYMBOLS):
            raise ValueError(f"found elements {self.elements}; expected atomic numbers from 1 to {len(SYMBOLS) - 1}")
        sizes = (self.cutoff, self.n_layers, self.n_channels, self.l_max, self.n_radial, self.n_hidden)
        if min(*sizes, self.mean_neighbours) <= 0:
            raise ValueError(f"found {self}; expected sizes above zero")

    @classmethod
    def preset(cls, name: str, elements: tuple[int, ...]) -> "TrunkConfig":
        """A configuration by name: "small", "medium" or "large".

        Raises:
            ValueError: If there is none of this name.
        """
        if name not in PRESETS:
            raise ValueError(f"found preset {name!r}; expected one of {', '.join(PRESETS)}")
        return cls(elements=elements, **PRESETS[name])

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> "TrunkConfig":
        """The configuration in a table of TOML or JSON.

        Raises:
            ValueError: If the table has a key that is not in the configuration, or a value that makes no sense.
        """
        unknown = sorted(set(table) - {one.name for one in fields(cls)})
        if unknown:
            raise ValueError(
                f"found {', '.join(unknown)} in the table of a trunk; expected names of {cls.__name__} alone"
            )
        return cls(**{**table, "elements": tuple(table["elements"])})

    def as_dict(self) -> dict[str, Any]:
        """Table of numbers and lists, for TOML or JSON."""
        return {**asdict(self), "elements": list(self.elements)}


PRESETS: dict[str, dict[str, Any]] = {
    "small": {"cutoff": 4.5, "n_layers": 2, "n_channels": 32, "l_max": 3},
    "medium": {"cutoff": 4.5, "n_layers": 3, "n_channels": 64, "l_max": 3},
    "large": {"cutoff": 5.0, "n_layers": 3, "n_channels": 128, "l_max": 4},
}


@dataclass(frozen=True, eq=False)
class TrunkFeatures:
    """What heads are given.

    Attributes:
        atoms: Features of atoms, [n_atoms, (l_max + 1)², n_channels]; component l² + l + m of natural parity (−1)^l
            transforms as e3nn's (l, m). `atoms[:, 0]` are scalars.
        edges: Edges with lengths, envelopes, radial basis and harmonics.
        graph: The batch that they belong to.
    """

    atoms: Tensor
    edges: Edges
    graph: Graph


class Trunk(nn.Module):
    """The network from a graph to features of atoms.

    Args:
        config: Shape of the network.
        seed: What the weights follow from, until others are loaded.
    """

    def __init__(self, config: TrunkConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.basis = BesselBasis(config.n_radial, config.cutoff)
        self.kernels = EdgeKernels(config.l_max)
        with weights_from_seed(seed):
            self.embedding = nn.Parameter(torch.randn(len(config.elements), config.n_channels))
            self.interactions = nn.ModuleList(
                _interaction(config, 0 if layer == 0 else config.l_max) for layer in range(config.n_layers)
            )
        self.norm = SoftNorm(config.l_max)

    @property
    def irreps_out(self) -> o3.Irreps:
        """Irreducible representations of the features of an atom, were they laid out as e3nn does."""
        return (o3.Irreps.spherical_harmonics(self.config.l_max) * self.config.n_channels).regroup()

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that `Graph.species` counts through."""
        return self.config.elements

    def forward(self, graph: Graph) -> TrunkFeatures:
        """Features of all atoms of a batch, differentiable in weights, positions and cells."""
        edges = self.edges(graph)
        kernels = self.kernels(edges.harmonics)
        features = self.embedding.index_select(0, graph.species).unsqueeze(1)
        for interaction in self.interactions:
            features = interaction(features, graph.species, edges, kernels)
        return TrunkFeatures(self.norm(features), edges, graph)

    def edges(self, graph: Graph) -> Edges:
        """Edges of a graph in the type of the weights."""
        vectors = graph.vectors.to(self.embedding.dtype)
        lengths = torch.linalg.vector_norm(vectors, dim=1)
        degrees = list(range(self.config.l_max + 1))
        return Edges(
            sender=graph.sender,
            receiver=graph.receiver,
            reverse=graph.reverse,
            lengths=lengths,
            envelope=polynomial_envelope(lengths, self.config.cutoff),
            radial=self.basis(lengths),
            harmonics=o3.spherical_harmonics(degrees, vectors, normalize=True, normalization="component"),
        )


def _interaction(config: TrunkConfig, l_in: int) -> Interaction:
    n_weights = Convolution.n_paths(l_in, config.l_max) * config.n_channels
    convolution = Convolution(
        l_in,
        config.l_max,
        config.n_channels,
        config.mean_neighbours,
        EdgeScalars(config.n_channels, config.n_radial, config.n_hidden, n_weights),
    )
    return Interaction(l_in, config.l_max, config.n_channels, len(config.elements), convolution)
