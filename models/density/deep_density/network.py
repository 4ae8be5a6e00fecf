r"""The networks of Deep Density, in two forms: points that look around, and atoms that bring clusters.

A place, be it a point or an atom, sees the atoms J around it as tensors, and as what turning leaves of them:

.. math:: T_{lmk} = \frac{1}{\sqrt{\bar n}} \sum_J G_k(Z, Z_J, |x_J|)\, Y_{lm}(\hat x_J), \qquad
    D_{lkj} = \frac{1}{2l + 1} \sum_m T_{lmk} T_{lmj}, \qquad \hat x = x / \sqrt{|x|^2 + \delta^2}

Softened directions vanish on a nucleus, where a grid point may lie. Everything that is added up fades with two
continuous derivatives at its cutoff, and nothing depends on the size of a structure.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from models.basis.harmonics import degrees, solid_harmonics
from models.decoder.pairs import PointPairs
from models.density.deep_density.config import DeepDensityConfig, EnvironmentConfig
from models.graph import Graph
from models.layers import SILU_GAIN, Edges, EdgeScalars, Mixing, SoftNorm, weights_from_seed
from models.radial import gaussian_shells, polynomial_envelope

N_KIND_SCALARS = 16
"""Numbers that tell one element from another."""

FIRST_SCALE = 0.01
"""e/Å³; size of what a network adds before training has measured what there is to add."""


@dataclass(frozen=True, eq=False)
class Probes:
    """Points, and the atoms of one structure near them.

    Attributes:
        n_points: Points, with atoms near them or without.
        points: Index of each pair's point, [n_pairs].
        vectors: From the atom to the point in Å, [n_pairs, 3].
        atoms: Atoms in the order of their pairs, those of one element together, [n_atoms].
        counts: Pairs of each.
    """

    n_points: int
    points: Tensor
    vectors: Tensor
    atoms: Tensor
    counts: list[int]

    @classmethod
    def of(cls, pairs: PointPairs, atoms: np.ndarray, n_points: int, like: Tensor) -> "Probes":
        """The probes of a list of pairs, on the device and with the numbers of another tensor.

        Args:
            pairs: Atoms and points.
            atoms: Which atoms its centres are, those of one element together, [n_atoms].
            n_points: Points.
            like: A weight of the network.
        """
        return cls(
            n_points=n_points,
            points=torch.from_numpy(pairs.points).to(like.device),
            vectors=torch.from_numpy(pairs.vectors).to(like),
            atoms=torch.from_numpy(atoms).to(like.device),
            counts=pairs.counts.tolist(),
        )


@dataclass(frozen=True, eq=False)
class Surroundings:
    """What is known of atoms before anybody asks for points.

    Attributes:
        species: Index of each atom's element, [n_atoms].
        features: What turning leaves of its surroundings, [n_atoms, n_features].
        layers: First layer of its cluster, A, [n_atoms, (L + 1)², n_hidden]; None where there are no clusters.
    """

    species: Tensor
    features: Tensor
    layers: Tensor | None = None

    def of(self, atoms: Tensor) -> "Surroundings":
        """Those of some atoms, by their indices."""
        layers = None if self.layers is None else self.layers[atoms]
        return Surroundings(self.species[atoms], self.features[atoms], layers)

    def of_structures(self, graph: Graph) -> list["Surroundings"]:
        """Those of each structure of the batch that they were found in."""
        owner = graph.structure_of_atom.to(self.species.device)
        return [self.of(torch.nonzero(owner == index).squeeze(1)) for index in range(graph.n_structures)]


class Environment(nn.Module):
    """Tensors and invariants of the atoms around places.

    Args:
        config: What is seen.
        n_kinds: Kinds of atoms and of places.
    """

    degree: Tensor
    scale: Tensor

    def __init__(self, config: EnvironmentConfig, n_kinds: int) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Parameter(torch.randn(n_kinds, N_KIND_SCALARS))
        self.channels = EdgeScalars(N_KIND_SCALARS, config.n_radial, config.n_hidden, config.n_channels)
        self.norm = SoftNorm(config.highest_degree)
        self.register_buffer("degree", degrees(config.highest_degree), persistent=False)
        self.register_buffer("scale", torch.sqrt(2.0 * self.degree + 1), persistent=False)

    def harmonics(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        """Harmonics of softened directions, of mean square 1 far from δ, [n, (L + 1)²]."""
        softened = torch.sqrt(lengths.square() + self.config.softening**2)
        return solid_harmonics(vectors / softened[:, None], self.config.highest_degree) * self.scale

    def forward(self, kinds: tuple[Tensor, Tensor], vectors: Tensor, places: Tensor, n_places: int) -> Tensor:
        """T of some places, shortened where it is long, [n_places, (L + 1)², n_channels].

        Args:
            kinds: Of each pair's atom and of its place, [n_pairs] each.
            vectors: From the place to the atom in Å, [n_pairs, 3].
            places: Index of each pair's place, [n_pairs].
            n_places: Places.
        """
        lengths = torch.linalg.vector_norm(vectors, dim=1)
        of_atoms, of_places = kinds
        edges = Edges(
            sender=of_atoms,
            receiver=of_places,
            reverse=of_atoms,  # not looked at
            lengths=lengths,
            envelope=polynomial_envelope(lengths, self.config.cutoff),
            radial=gaussian_shells(lengths, self.config.cutoff, self.config.n_radial),
            harmonics=self.harmonics(vectors, lengths),
        )
        channels = self.channels(self.embedding, edges) * self.config.mean_neighbours**-0.5
        tensors = channels.new_zeros(n_places, self.config.n_harmonics, self.config.n_channels)
        return self.norm(tensors.index_add(0, places, edges.harmonics[:, :, None] * channels[:, None]))

    def invariants(self, tensors: Tensor) -> Tensor:
        """T_00 and D of some places, [n_places, n_invariants]."""
        parts = [tensors[:, 0]]
        for degree in range(self.config.highest_degree + 1):
            of_degree = tensors[:, degree**2 : (degree + 1) ** 2]
            contracted = of_degree[:, :, : self.config.n_contracted]
            parts.append(torch.einsum("nmk,nmj->nkj", of_degree, contracted).flatten(1) / (2 * degree + 1))
        return torch.cat(parts, 1)


class Dense(nn.Module):
    """Layers without symmetry: n_in → n_hidden → n_out, or with more between.

    Args:
        widths: Numbers before the first layer, between layers, and after the last.
    """

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.mixings = nn.ModuleList(Mixing(*pair) for pair in pairwise(widths))
        self.biases = nn.ParameterList(torch.zeros(width) for width in widths[1:])

    def forward(self, inputs: Tensor) -> Tensor:
        """[n, n_in] → [n, n_out]."""
        for mixing, bias in zip(list(self.mixings)[:-1], self.biases, strict=False):
            inputs = silu(mixing(inputs) + bias) * SILU_GAIN
        return self.mixings[-1](inputs) + self.biases[-1]


class DeepDensityNetwork(nn.Module, ABC):
    """What both forms have: the background's coefficients, and the size of what is left to learn.

    Args:
        config: Shape of the model.
        n_kinds: Kinds of atoms and of places that environments tell apart.
    """

    background: Tensor
    scale: Tensor

    def __init__(self, config: DeepDensityConfig, n_kinds: int) -> None:
        super().__init__()
        self.config = config
        self.environment = Environment(config.environment, n_kinds)
        shape = (len(config.elements), config.background.n_radial)
        self.register_buffer("background", torch.zeros(shape, dtype=torch.float64))
        self.register_buffer("scale", torch.tensor(FIRST_SCALE))

    def around_atoms(self, graph: Graph) -> Tensor:
        """T of the atoms of a batch, [n_atoms, (L + 1)², n_channels]."""
        vectors = -graph.vectors.to(self.environment.embedding.dtype)
        kinds = graph.species[graph.sender], graph.species[graph.receiver]
        return self.environment(kinds, vectors, graph.receiver, graph.n_atoms)

    @abstractmethod
    def surroundings(self, graph: Graph) -> Surroundings:
        """What is computed once for the atoms of a batch, whose edges are as long as the environment's cutoff."""

    @abstractmethod
    def added(self, surroundings: Surroundings, probes: Probes) -> Tensor:
        """What the network adds to the background at points of one structure in e/Å³, float64, [n_points]."""


class ProbeNetwork(DeepDensityNetwork):
    r"""Every point is a virtual atom that sees its own surroundings.

    .. math:: \Delta\rho(r) = \sigma\, [F(D(r)) - F(0)]

    so that nothing is added where there are no atoms.

    Args:
        config: Shape of the model.
        seed: What the weights follow from, until others are loaded.
    """

    def __init__(self, config: DeepDensityConfig, seed: int = 0) -> None:
        with weights_from_seed(seed):
            super().__init__(config, len(config.elements) + 1)
            n_hidden = config.environment.n_hidden
            self.fitting = Dense(config.environment.n_invariants, n_hidden, n_hidden, 1)

    def surroundings(self, graph: Graph) -> Surroundings:
        return Surroundings(graph.species, self.environment.invariants(self.around_atoms(graph)))

    def added(self, surroundings: Surroundings, probes: Probes) -> Tensor:
        counts = torch.tensor(probes.counts, device=probes.atoms.device)
        kinds = surroundings.species[probes.atoms].repeat_interleave(counts)
        of_probe = torch.full_like(kinds, len(self.config.elements))
        tensors = self.environment((kinds, of_probe), -probes.vectors, probes.points, probes.n_points)
        invariants = self.environment.invariants(tensors)
        values = self.fitting(invariants) - self.fitting(torch.zeros_like(invariants[:1]))
        return (self.scale * values[:, 0]).double()


class ClusterNetwork(DeepDensityNetwork):
    r"""Every atom brings a cluster that its surroundings have shaped.

    .. math:: \Delta\rho(r) = \sigma \sum_I u(|x|)\, v(|x|)\, w_Z \cdot s(W_Z\, s(h)), \qquad
        h = g_Z(|x|) \sum_{lm} A_{I,lm}\, Y_{lm}(\hat x) + a_Z(|x|), \qquad x = r - R_I

    with A made of T_I and D_I once for each atom. Σ_m A_lm Y_lm is all that a point must ask of an atom's surroundings,
    and invariant; what follows is two layers without symmetry. v = exp(1 − √(1 + |x|²/ℓ²)), even at the nucleus, is
    about how densities fall: without it most of what a step changes is far from atoms, where next to nothing is, and
    steps must be small.

    Args:
        config: Shape of the model; with clusters.
        seed: What the weights follow from, until others are loaded.

    Raises:
        ValueError: If the configuration has no clusters.
    """

    def __init__(self, config: DeepDensityConfig, seed: int = 0) -> None:
        if config.clusters is None:
            raise ValueError("found a configuration without clusters; expected one with them, or a ProbeNetwork")
        with weights_from_seed(seed):
            super().__init__(config, len(config.elements))
            environment, n_hidden = config.environment, config.clusters.n_hidden
            self.clusters, n_species = config.clusters, len(config.elements)
            n_degrees = environment.highest_degree + 1
            self.code = Dense(environment.n_invariants, environment.n_hidden, (1 + n_degrees) * n_hidden)
            self.angular = nn.Parameter(torch.randn(n_species, n_degrees, environment.n_channels, n_hidden))
            self.radial = nn.Parameter(torch.randn(n_species, self.clusters.n_radial, 2 * n_hidden))
            self.hidden = nn.Parameter(torch.randn(n_species, n_hidden, n_hidden))
            self.biases = nn.Parameter(torch.zeros(n_species, 2, n_hidden))
            self.last = nn.Parameter(torch.randn(n_species, n_hidden))

    def surroundings(self, graph: Graph) -> Surroundings:
        tensors, config = self.around_atoms(graph), self.config.environment
        invariants = self.environment.invariants(tensors)
        shift, *gates = self.code(invariants).split(self.clusters.n_hidden, 1)
        weights = (self.angular * config.n_channels**-0.5).index_select(0, graph.species)
        degree = self.environment.degree
        angular = torch.einsum("nmk,nmkh->nmh", tensors, weights.index_select(1, degree))
        angular = angular * torch.stack(gates, 1).index_select(1, degree)
        layers = torch.cat([angular[:, :1] + shift[:, None], angular[:, 1:]], 1)
        return Surroundings(graph.species, invariants, layers * (config.highest_degree + 1) ** -0.5)

    def added(self, surroundings: Surroundings, probes: Probes) -> Tensor:
        if surroundings.layers is None:
            raise ValueError("found surroundings without clusters; expected those of a ClusterNetwork")
        lengths = torch.linalg.vector_norm(probes.vectors, dim=1)
        harmonics = self.environment.harmonics(probes.vectors, lengths).split(probes.counts)
        # Atom by atom, for the first layer is each atom's own; then element by element.
        layers = surroundings.layers[probes.atoms].unbind(0)
        angular = torch.cat([there @ layer for there, layer in zip(harmonics, layers, strict=True)])
        species, n_pairs = _runs(surroundings.species[probes.atoms].tolist(), probes.counts)
        parts = zip(species, angular.split(n_pairs), lengths.split(n_pairs), strict=True)
        values = torch.cat([self._values(*part) for part in parts]) * self._fading(lengths)
        total = torch.zeros(probes.n_points, dtype=torch.float64, device=lengths.device)
        return total.index_add(0, probes.points, (self.scale * values).double())

    def _fading(self, lengths: Tensor) -> Tensor:
        """What every cluster is multiplied by at some distances, v·u, [n_pairs]."""
        decay = torch.exp(1 - torch.sqrt(1 + (lengths / self.clusters.decay_length).square()))
        return decay * polynomial_envelope(lengths, self.clusters.cutoff)

    def _values(self, species: int, angular: Tensor, lengths: Tensor) -> Tensor:
        """What atoms of one element bring to their points, before it fades and without σ, [n_pairs]."""
        radial = gaussian_shells(lengths, self.clusters.cutoff, self.clusters.n_radial)
        gate, shift = (radial @ (self.radial[species] * self.clusters.n_radial**-0.5)).chunk(2, 1)
        hidden = silu((gate * angular + shift) * 2**-0.5 + self.biases[species, 0]) * SILU_GAIN
        scale = self.clusters.n_hidden**-0.5
        hidden = silu(hidden @ (self.hidden[species] * scale) + self.biases[species, 1]) * SILU_GAIN
        return hidden @ (self.last[species] * scale)


def _runs(species: list[int], counts: list[int]) -> tuple[list[int], list[int]]:
    """Elements of atoms that lie in runs of one element each, and the sums of their counts."""
    kinds, sums = list(dict.fromkeys(species)), dict.fromkeys(species, 0)
    for one, count in zip(species, counts, strict=True):
        sums[one] += count
    return kinds, list(sums.values())


def deep_density_network(config: DeepDensityConfig, seed: int = 0) -> DeepDensityNetwork:
    """The network of a configuration: with clusters, if it has some."""
    return ClusterNetwork(config, seed) if config.clusters else ProbeNetwork(config, seed)
