"""Layers of O(3)-equivariant networks: everything a trunk or a head is put together from.

Features are [n_atoms, (l_max + 1)², n_channels] (`models/couplings.py` says in which order). Every layer is local: an
edge counts by its envelope and an atom by nothing but its own surroundings, so no layer sees the size of a structure.

Weights are drawn with variance 1 and divided by the square root of what they sum over when they are used: one learning
rate, 0.01 to 0.02 with Adam, then fits layers of every width.
"""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, silu

from models.basis.harmonics import degrees, n_harmonics
from models.couplings import Constant, path_blocks, square_constants

SILU_GAIN = 1.6791767
SIGMOID_GAIN = 1.8467056
"""Factors after which a normal variable of variance 1 leaves the function with mean square 1."""


@contextmanager
def weights_from_seed(seed: int) -> Generator[None]:
    """Scope in which new weights follow from a seed; other random numbers of the process go on undisturbed."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


@dataclass(frozen=True, eq=False)
class Edges:
    """Edges as networks see them.

    Attributes:
        sender: Atom from which each edge runs, [n_edges].
        receiver: Atom to which it runs, [n_edges].
        reverse: Index of the edge that runs back, [n_edges].
        lengths: Distances in Å, [n_edges].
        envelope: Weight that falls to 0 at the cutoff, [n_edges].
        radial: Radial basis of the lengths, without the envelope, [n_edges, n_radial].
        harmonics: Real spherical harmonics of the directions, Σ_m Y_lm² = 2l + 1, [n_edges, (l_max + 1)²].
    """

    sender: Tensor
    receiver: Tensor
    reverse: Tensor
    lengths: Tensor
    envelope: Tensor
    radial: Tensor
    harmonics: Tensor


class Mixing(nn.Module):
    """Linear combinations of the last axis, without bias.

    Args:
        n_in: Length of the last axis.
        n_out: Its length afterwards.
    """

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_in, n_out))
        self.scale = n_in**-0.5

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs @ (self.weight * self.scale)


class DegreewiseMixing(nn.Module):
    """Linear combinations of channels, with weights of their own for each degree.

    Args:
        l_max: Highest degree.
        n_in: Channels before.
        n_out: Channels after.
    """

    degree: Tensor

    def __init__(self, l_max: int, n_in: int, n_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(l_max + 1, n_in, n_out))
        self.scale = n_in**-0.5
        self.register_buffer("degree", degrees(l_max), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """[n_atoms, (l_max + 1)², n_in] → [n_atoms, (l_max + 1)², n_out]."""
        weight = (self.weight * self.scale).index_select(0, self.degree)
        return torch.einsum("nkc,kcd->nkd", features, weight)


class SoftNorm(nn.Module):
    r"""Features of each atom and degree, shortened where they are long.

    .. math:: x_{lmc} \leftarrow x_{lmc} \, (1 + \langle x_{lm'c'}^2 \rangle_{m'c'})^{-1/2}

    Squares of squares would else grow beyond bounds, and overflow where atoms nearly touch. Small features pass
    unchanged: at a symmetric site nothing is amplified. The mean is over one atom, so the law of locality holds.

    Args:
        l_max: Highest degree.
    """

    degree: Tensor

    def __init__(self, l_max: int) -> None:
        super().__init__()
        self.register_buffer("degree", degrees(l_max), persistent=False)
        of_degree = torch.nn.functional.one_hot(self.degree).to(torch.float64)
        self.mean = Constant(of_degree / of_degree.sum(0))

    def forward(self, features: Tensor) -> Tensor:
        """[n_atoms, (l_max + 1)², n_channels] → the same shape."""
        mean_squares = features.square().mean(2) @ self.mean()
        return features * torch.rsqrt(1 + mean_squares).index_select(1, self.degree).unsqueeze(2)


class EdgeScalars(nn.Module):
    r"""Invariant numbers of each directed edge that vanish smoothly at the cutoff.

    .. math:: e_{ij} = u(r_{ij}) \, W_2 \, \sigma(W_1 \, \sigma(W_r B(r_{ij}) + W_s s_i + W_t s_j + b))

    with the basis B, the envelope u and the scalars s of sender and receiver. Exchanging the two exchanges their roles:
    `e - e[edges.reverse]` is antisymmetric to the last bit, `e + e[edges.reverse]` symmetric.

    Args:
        n_scalars: Scalars of each atom.
        n_radial: Functions of the radial basis.
        n_hidden: Width of the two hidden layers.
        n_out: Numbers an edge.
    """

    def __init__(self, n_scalars: int, n_radial: int, n_hidden: int, n_out: int) -> None:
        super().__init__()
        self.of_length = Mixing(n_radial, n_hidden)
        self.of_sender = Mixing(n_scalars, n_hidden)
        self.of_receiver = Mixing(n_scalars, n_hidden)
        self.bias = nn.Parameter(torch.zeros(n_hidden))
        self.inner = Mixing(n_hidden, n_hidden)
        self.outer = Mixing(n_hidden, n_out)

    def forward(self, scalars: Tensor, edges: Edges) -> Tensor:
        """Scalars of atoms, [n_atoms, n_scalars] → numbers of edges, [n_edges, n_out]."""
        of_ends = self.of_sender(scalars).index_select(0, edges.sender) + self.of_receiver(scalars).index_select(
            0, edges.receiver
        )
        # The three terms have variance 1 each at the start.
        hidden = silu((self.of_length(edges.radial) + of_ends) * 3**-0.5 + self.bias) * SILU_GAIN
        hidden = silu(self.inner(hidden)) * SILU_GAIN
        return self.outer(hidden * edges.envelope.unsqueeze(1))


class Convolution(nn.Module):
    r"""Sum over neighbours of their features times the harmonics of the edge, weighted by the edge's scalars.

    .. math:: A_{j,l_3 m_3 c} = \sum_{p c'} W^{l_3}_{pc'c} \, \frac{1}{\sqrt{\bar n}} \sum_{i \to j}
        e_{ij,pc'} \, (x_{i,l_1 c'} \otimes Y_{l_2}(r_{ij}))_{l_3 m_3}, \qquad p = (l_1, l_2)

    as in NequIP (Batzner et al., Nat. Commun. 13, 2453), with weights that see the scalars of both ends.

    Args:
        l_in: Highest degree of what the neighbours have.
        l_max: Highest degree of harmonics and of what comes out.
        n_channels: Channels, before and after.
        mean_neighbours: n̄, a constant: an atom's own number would jump where a neighbour crosses the cutoff.
        edge_scalars: Layer that makes the weights e, `n_paths` · n_channels of them.
    """

    def __init__(
        self, l_in: int, l_max: int, n_channels: int, mean_neighbours: float, edge_scalars: EdgeScalars
    ) -> None:
        super().__init__()
        self.blocks = [path_blocks(degree, l_max) for degree in range(l_in + 1)]
        self.n_channels = n_channels
        self.scale = mean_neighbours**-0.5
        self.edge_scalars = edge_scalars
        self.mixing = nn.ModuleList(
            Mixing(
                sum(b.n_paths for of_degree in self.blocks for b in of_degree if b.l_out == l_out) * n_channels,
                n_channels,
            )
            for l_out in range(l_max + 1)
        )

    @staticmethod
    def n_paths(l_in: int, l_max: int) -> int:
        """Number of paths, and hence of weights for each channel."""
        return sum(block.n_paths for degree in range(l_in + 1) for block in path_blocks(degree, l_max))

    def forward(self, features: Tensor, scalars: Tensor, edges: Edges, kernels: list[Tensor]) -> Tensor:
        """Messages to each atom, [n_atoms, (l_max + 1)², n_channels].

        Args:
            features: What neighbours send, [n_atoms, (l_in + 1)², n_channels].
            scalars: What the weights depend on, [n_atoms, n_scalars].
            edges: Edges.
            kernels: Matrices of `EdgeKernels`.
        """
        weights = (self.edge_scalars(scalars, edges) * self.scale).unflatten(1, (-1, self.n_channels))
        # Split, not sliced: the gradient of a split is one concatenation, that of many slices as many arrays of zeros.
        weight = iter(weights.split([block.n_paths for blocks in self.blocks for block in blocks], 1))
        by_degree = features.split([2 * degree + 1 for degree in range(len(self.blocks))], 1)
        sums: list[list[Tensor]] = [[] for _ in self.mixing]
        for kernel, sent, blocks in zip(kernels, by_degree, self.blocks, strict=False):
            products = torch.bmm(kernel, sent.index_select(0, edges.sender))
            for block, product in zip(blocks, products.split([block.n_rows for block in blocks], 1), strict=True):
                weighted = product.unflatten(1, (-1, block.n_paths)) * next(weight).unsqueeze(1)
                # Summed block by block: without a gradient, all paths of all edges never exist at once.
                received = weighted.new_zeros(len(features), *weighted.shape[1:])
                sums[block.l_out].append(received.index_add(0, edges.receiver, weighted))
        mixed = [mix(torch.cat(parts, 2).flatten(2)) for mix, parts in zip(self.mixing, sums, strict=True)]
        return torch.cat(mixed, 1)


class Square(nn.Module):
    r"""Features plus their tensor product with themselves, channel by channel, weighted by element.

    .. math:: B_{i,lmc} = a^{Z_i}_{lc} A_{i,lmc} + \sum_p b^{Z_i}_{pc} (A_{i,l_1 c} \otimes A_{i,l_2 c})_{lm}

    the product basis of MACE (Batatia et al., NeurIPS 2022) at correlation 2: a message that has summed pairs then also
    knows of triples.

    Args:
        l_max: Highest degree, before and after.
        n_channels: Channels, before and after.
        n_species: Elements.
    """

    degree: Tensor
    pairs: Tensor

    def __init__(self, l_max: int, n_channels: int, n_species: int) -> None:
        super().__init__()
        constants, self.n_paths = square_constants(l_max)
        self.constants = Constant(constants)
        self.linear = nn.Parameter(torch.randn(n_species, l_max + 1, n_channels))
        self.quadratic = nn.Parameter(torch.randn(n_species, sum(self.n_paths), n_channels))
        self.register_buffer("degree", degrees(l_max), persistent=False)
        size = n_harmonics(l_max)
        self.register_buffer("pairs", torch.triu_indices(size, size), persistent=False)

    def forward(self, features: Tensor, species: Tensor) -> Tensor:
        """[n_atoms, (l_max + 1)², n_channels] → the same shape."""
        pairs = features.index_select(1, self.pairs[0]) * features.index_select(1, self.pairs[1])
        products = self.constants() @ pairs
        weights = self.quadratic.index_select(0, species).split(self.n_paths, 1)
        rows = [(2 * degree + 1) * n_paths for degree, n_paths in enumerate(self.n_paths)]
        squares = [
            (product.unflatten(1, (-1, n_paths)) * weight.unsqueeze(1)).sum(2) * n_paths**-0.5
            for product, weight, n_paths in zip(products.split(rows, 1), weights, self.n_paths, strict=True)
        ]
        linear = self.linear.index_select(1, self.degree).index_select(0, species)
        return features * linear + torch.cat(squares, 1)


class Gate(nn.Module):
    """Nonlinearity: SiLU of scalars, and other degrees times a sigmoid of a scalar made for them.

    Args:
        l_max: Highest degree.
        n_channels: Channels, before and after.
    """

    degree: Tensor

    def __init__(self, l_max: int, n_channels: int) -> None:
        super().__init__()
        self.l_max = l_max
        self.gates = Mixing(n_channels, l_max * n_channels)
        self.register_buffer("degree", degrees(l_max)[1:] - 1, persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """[n_atoms, (l_max + 1)², n_channels] → the same shape."""
        scalars, others = features.split([1, features.shape[1] - 1], 1)
        gates = torch.sigmoid(self.gates(scalars[:, 0])).unflatten(1, (self.l_max, -1)) * SIGMOID_GAIN
        return torch.cat([silu(scalars) * SILU_GAIN, others * gates.index_select(1, self.degree)], 1)


class Interaction(nn.Module):
    """One round of messages: convolution, square, gate, and what the atom knew before, weighted by element.

    Args:
        l_in: Highest degree of the features before; 0 in the first round, where atoms know only their element.
        l_max: Highest degree of the features after.
        n_channels: Channels, before and after.
        n_species: Elements.
        convolution: How messages are gathered.
    """

    degree: Tensor

    def __init__(self, l_in: int, l_max: int, n_channels: int, n_species: int, convolution: Convolution) -> None:
        super().__init__()
        self.norm = SoftNorm(l_in)
        self.sent = DegreewiseMixing(l_in, n_channels, n_channels)
        self.convolution = convolution
        self.square = Square(l_max, n_channels, n_species)
        self.mixing = DegreewiseMixing(l_max, n_channels, n_channels)
        self.gate = Gate(l_max, n_channels)
        self.kept = DegreewiseMixing(l_in, n_channels, n_channels)
        self.kept_by_species = nn.Parameter(torch.ones(n_species, l_in + 1, n_channels))
        self.register_buffer("degree", degrees(l_in), persistent=False)
        self.n_new = n_harmonics(l_max) - n_harmonics(l_in)

    def forward(self, features: Tensor, species: Tensor, edges: Edges, kernels: list[Tensor]) -> Tensor:
        """[n_atoms, (l_in + 1)², n_channels] → [n_atoms, (l_max + 1)², n_channels]."""
        normed = self.norm(features)
        messages = self.convolution(self.sent(normed), normed[:, 0], edges, kernels)
        update = self.gate(self.mixing(self.square(messages, species)))
        kept = self.kept(features) * self.kept_by_species.index_select(1, self.degree).index_select(0, species)
        return update + pad(kept, (0, 0, 0, self.n_new))
