r"""The networks of Deep Density, in two forms: points that look around, and atoms that bring clusters.

A place, be it a point or an atom, sees the atoms J around it as tensors, and as what turning leaves of them:

.. math:: T_{lmk} = \frac{1}{\sqrt{\bar n}} \sum_J G_k(Z, Z_J, |x_J|)\, Y_{lm}(\hat x_J), \qquad
    D_{lkj} = \frac{1}{2l + 1} \sum_m T_{lmk} T_{lmj}, \qquad \hat x = x / \sqrt{|x|^2 + \delta^2}

Softened directions vanish on a nucleus, where a grid point may lie. Everything that is added up fades with two
continuous derivatives at its cutoff, and nothing depends on the size of a structure.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import islice, pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad, silu

from models.basis.harmonics import degrees, solid_harmonics
from models.couplings import components
from models.decoder.pairs import PointPairs
from models.density.deep_density.clusters import ClusterWeights, FirstLayer, LastLayer, Seen, shells_at_knots
from models.density.deep_density.config import DeepDensityConfig, EnvironmentConfig
from models.graph import Graph
from models.layers import SILU_GAIN, Edges, EdgeScalars, Mixing, SoftNorm, Square, weights_from_seed
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

        Atoms without pairs are left out: clusters are copied for those near the points alone.

        Args:
            pairs: Atoms and points.
            atoms: Which atoms its centres are, those of one element together, [n_atoms].
            n_points: Points.
            like: A weight of the network.
        """
        is_near = pairs.counts > 0
        return cls(
            n_points=n_points,
            points=torch.from_numpy(pairs.points).to(like.device),
            vectors=torch.from_numpy(pairs.vectors).to(like),
            atoms=torch.from_numpy(atoms[is_near]).to(like.device),
            counts=pairs.counts[is_near].tolist(),
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
        return self.norm(_sums_of_products(edges.harmonics, channels, places, n_places))

    def invariants(self, tensors: Tensor) -> Tensor:
        """T_00 and D of some places, [n_places, n_invariants]."""
        parts = [tensors[:, 0]]
        for degree in range(self.config.highest_degree + 1):
            of_degree = tensors[:, components(degree)]
            contracted = of_degree[:, :, : self.config.n_contracted]
            parts.append(torch.einsum("nmk,nmj->nkj", of_degree, contracted).flatten(1) / (2 * degree + 1))
        return torch.cat(parts, 1)


def _sums_of_products(left: Tensor, right: Tensor, places: Tensor, n_places: int) -> Tensor:
    """Σ left ⊗ right over the pairs of each place, [n_pairs, n], [n_pairs, m] → [n_places, n, m].

    As products of matrices, one a place, filled up with zeros to as many pairs as the place with most has: products of
    single pairs would be the largest arrays of a training step.
    """
    counts = torch.bincount(places, minlength=n_places)
    width = int(counts.max()) if n_places else 0
    order = torch.argsort(places, stable=True)
    # Place p's pairs, one after the other of the list, go to slots from p · width on.
    moves = width * torch.arange(n_places, device=places.device) - (counts.cumsum(0) - counts)
    slots = torch.arange(len(places), device=places.device) + moves.index_select(0, places.index_select(0, order))
    lefts, rights = (
        one.new_zeros(n_places * width, one.shape[1])
        .index_copy(0, slots, one.index_select(0, order))
        .view(n_places, width, one.shape[1])
        for one in (left, right)
    )
    return torch.bmm(lefts.transpose(1, 2), rights)


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
        counts = torch.tensor(probes.counts, dtype=torch.int64, device=probes.atoms.device)
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
            if environment.correlation > 1:
                self.square = Square(environment.highest_degree, environment.n_channels, n_species)
            self.code = Dense(environment.n_invariants, environment.n_hidden, (1 + n_degrees) * n_hidden)
            self.angular = nn.Parameter(torch.randn(n_species, n_degrees, environment.n_channels, n_hidden))
            self.radial = nn.Parameter(torch.randn(n_species, self.clusters.n_radial, 2 * n_hidden))
            self.hidden = nn.Parameter(torch.randn(n_species, n_hidden, n_hidden))
            self.biases = nn.Parameter(torch.zeros(n_species, 2, n_hidden))
            self.last = nn.Parameter(torch.randn(n_species, n_hidden))

    def surroundings(self, graph: Graph) -> Surroundings:
        tensors, config = self.around_atoms(graph), self.config.environment
        if config.correlation > 1:
            tensors = self.environment.norm(self.square(tensors, graph.species))
        invariants = self.environment.invariants(tensors)
        shift, *gates = self.code(invariants).split(self.clusters.n_hidden, 1)
        angular = self._angular(tensors, graph.species) * torch.stack(gates, 1).index_select(1, self.environment.degree)
        layers = torch.cat([angular[:, :1] + shift[:, None], angular[:, 1:]], 1)
        return Surroundings(graph.species, invariants, layers * (config.highest_degree + 1) ** -0.5)

    def _angular(self, tensors: Tensor, species: Tensor) -> Tensor:
        """T with its channels mixed by weights of the atom's element and the degree, [n_atoms, (L + 1)², n_hidden]."""
        weights = self.angular * self.config.environment.n_channels**-0.5
        mixed = tensors.new_zeros(*tensors.shape[:2], self.clusters.n_hidden)
        for kind, of_kind in enumerate(weights):
            mine = torch.nonzero(species == kind).squeeze(1)
            there = tensors.index_select(0, mine)
            parts = [there[:, components(degree)] @ one for degree, one in enumerate(of_kind)]
            mixed = mixed.index_copy(0, mine, torch.cat(parts, 1))
        return mixed

    def added(self, surroundings: Surroundings, probes: Probes) -> Tensor:
        if surroundings.layers is None:
            raise ValueError("found surroundings without clusters; expected those of a ClusterNetwork")
        lengths = torch.linalg.vector_norm(probes.vectors, dim=1)
        species, n_pairs, n_atoms = _runs(surroundings.species[probes.atoms].tolist(), probes.counts)
        compiled = lengths.device.type == "cpu" and lengths.dtype == torch.float32 and not lengths.requires_grad
        values_of = self._compiled_values if compiled else self._values
        counts = iter(probes.counts)
        values = [
            values_of(kind, vectors, list(islice(counts, len(layers))), layers)
            for kind, vectors, layers in zip(
                species,
                probes.vectors.split(n_pairs),
                surroundings.layers[probes.atoms].split(n_atoms),
                strict=True,
            )
        ]
        total = torch.zeros(probes.n_points, dtype=torch.float64, device=lengths.device)
        brought = torch.cat([lengths.new_zeros(0), *values])
        return total.index_add(0, probes.points, (self.scale * brought * self._fading(lengths)).double())

    def _fading(self, lengths: Tensor) -> Tensor:
        """What every cluster is multiplied by at some distances, v·u, [n_pairs]."""
        decay = torch.exp(1 - torch.sqrt(1 + (lengths / self.clusters.decay_length).square()))
        return decay * polynomial_envelope(lengths, self.clusters.cutoff)

    def _values(self, species: int, vectors: Tensor, counts: list[int], layers: Tensor) -> Tensor:
        """What atoms of one element bring to their points, before it fades and without σ, [n_pairs].

        Args:
            species: Index of the element.
            vectors: From the atom to the point in Å, those of the first atom first, [n_pairs, 3].
            counts: Pairs of each atom.
            layers: A of each, [n_atoms, (L + 1)², n_hidden].
        """
        lengths = torch.linalg.vector_norm(vectors, dim=1)
        harmonics = self.environment.harmonics(vectors, lengths).split(counts)
        angular = torch.cat([there @ layer for there, layer in zip(harmonics, layers.unbind(0), strict=True)])
        weights = self._weights(species)
        radial = gaussian_shells(lengths, self.clusters.cutoff, self.clusters.n_radial) @ weights.radial
        gate, shift = radial.chunk(2, 1)
        hidden = silu(gate * angular + shift + weights.first_bias)
        return silu(torch.addmm(weights.second_bias, hidden, weights.hidden)) @ weights.last

    def _compiled_values(self, species: int, vectors: Tensor, counts: list[int], layers: Tensor) -> Tensor:
        """The same, compiled."""
        clusters, weights = self.clusters, self._weights(species)
        shells = shells_at_knots(clusters.cutoff, clusters.n_radial)
        table = shells @ weights.radial + pad(weights.first_bias, (clusters.n_hidden, 0))
        seen = Seen.of(vectors, counts, self.config.environment, clusters)
        hidden = FirstLayer.apply(seen, layers, table)
        return LastLayer.apply(torch.addmm(weights.second_bias, hidden, weights.hidden), weights.last)

    def _weights(self, species: int) -> ClusterWeights:
        """Those of one element, what they are scaled by included."""
        first, second = self.biases[species]
        scale = self.clusters.n_hidden**-0.5 * SILU_GAIN
        radial = self.radial[species] * (2 * self.clusters.n_radial) ** -0.5
        return ClusterWeights(radial, first, self.hidden[species] * scale, second, self.last[species] * scale)


def _runs(species: list[int], counts: list[int]) -> tuple[list[int], list[int], list[int]]:
    """Elements of atoms that lie in runs of one element each, the sums of their counts, and their numbers."""
    kinds = list(dict.fromkeys(species))
    sums, numbers = dict.fromkeys(kinds, 0), dict.fromkeys(kinds, 0)
    for one, count in zip(species, counts, strict=True):
        sums[one] += count
        numbers[one] += 1
    return kinds, list(sums.values()), list(numbers.values())


def deep_density_network(config: DeepDensityConfig, seed: int = 0) -> DeepDensityNetwork:
    """The network of a configuration: with clusters, if it has some."""
    return ClusterNetwork(config, seed) if config.clusters else ProbeNetwork(config, seed)
