"""From a graph to orbitals on atoms and bonds that hold exactly the electrons they should.

Charge is exact and local. A pair moves t_ij = −t_ji electrons from j to i, with an envelope; the functions of atom i
and its halves of bond functions and of products with other atoms then integrate to Σ_j t_ij, for the atom's l = 0
coefficients are projected on that. So every fragment keeps its electrons, whatever is far away, and the promolecule has
the rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.basis.gaussian import Orbitals
from models.basis.harmonics import degrees, n_harmonics
from models.basis.products import OrbitalProducts, Pairs
from models.density.orbital.config import BondConfig, OrbitalConfig, ProductConfig
from models.density.orbital.radial import RadialFunctions
from models.graph import Graph, Neighbours, batched_graph
from models.layers import DegreewiseMixing, Edges, EdgeScalars, weights_from_seed
from models.neighbours import neighbours_of
from models.network import Trunk, TrunkFeatures
from models.radial import BesselBasis, polynomial_envelope
from rhocast.structure import Structure

FIRST_SCALE = 0.01
"""Size of the first coefficients in e·bohr^(−3/2), and of the first transfers in electrons: about what a promolecule
lacks, or less."""


@dataclass(frozen=True, eq=False)
class Expansion:
    """Orbitals of a batch of structures, without the promolecule.

    Attributes:
        atoms: Orbitals on atoms, one centre each.
        bonds: Orbitals between atoms; None if the model has none.
        bond_positions: Where they sit in Å, [n_bonds, 3].
        structure_of_bond: Index of each bond's structure, rising, [n_bonds].
        charges: Electrons that each atom has beyond its neutral ones, bond functions and products of two atoms halved,
            float64, [n_atoms].
        graph: The batch.
        features: Scalar features of the trunk, [n_atoms, n_channels].
        bond_ends: Atoms between which each bond lies, [2, n_bonds].
        products: Products of fields on atoms; None if the model has none.
        pairs: Atoms that overlap in them, each with itself too; None without products.
    """

    atoms: Orbitals
    bonds: Orbitals | None
    bond_positions: Tensor
    structure_of_bond: Tensor
    charges: Tensor
    graph: Graph
    features: Tensor
    bond_ends: Tensor
    products: OrbitalProducts | None = None
    pairs: Pairs | None = None


class AtomOrbitals(nn.Module):
    """Coefficients of orthonormal functions on atoms, from their features.

    Args:
        config: Shape of the model.
    """

    degree: Tensor

    def __init__(self, config: OrbitalConfig) -> None:
        super().__init__()
        l_max, n_radial = config.atoms.highest_degree, config.atoms.n_radial
        n_species = len(config.trunk.elements)
        self.n_harmonics = n_harmonics(l_max)
        self.mixing = DegreewiseMixing(l_max, config.trunk.n_channels, n_radial)
        self.by_species = nn.Parameter(torch.ones(n_species, l_max + 1, n_radial))
        self.alone = nn.Parameter(torch.zeros(n_species, n_radial))
        self.register_buffer("degree", degrees(l_max), persistent=False)

    def forward(self, features: TrunkFeatures) -> Tensor:
        """[n_atoms, (L + 1)², n_radial]."""
        species = features.graph.species
        mixed = self.mixing(features.atoms[:, : self.n_harmonics])
        coefficients = mixed * self.by_species.index_select(1, self.degree).index_select(0, species)
        spherical, others = coefficients.split([1, self.n_harmonics - 1], 1)
        spherical = spherical + self.alone.index_select(0, species).unsqueeze(1)
        return FIRST_SCALE * torch.cat([spherical, others], 1)


class BondOrbitals(nn.Module):
    r"""Coefficients of orthonormal functions in the middle of pairs, the same from either end.

    .. math:: c_{lmk} = u(r)\, \big[ (x_i + x_j)_{lm,k}\, s_{lk} + Y_{lm}(\hat r_{ij})\, a_{lk} \big]

    with scalars of the pair: s is symmetric; a is symmetric for even l and antisymmetric for odd l, as Y is.

    Args:
        config: Shape of the bonds.
        trunk_channels: Features of each atom and component.
        n_hidden: Width of the networks that make the scalars.
        n_radial_basis: Functions in which lengths are seen.
    """

    degree: Tensor
    parity: Tensor

    def __init__(self, config: BondConfig, trunk_channels: int, n_hidden: int, n_radial_basis: int) -> None:
        super().__init__()
        l_max, self.n_radial = config.basis.highest_degree, config.basis.n_radial
        self.cutoff, self.n_harmonics = config.cutoff, n_harmonics(l_max)
        self.basis = BesselBasis(n_radial_basis, config.cutoff)
        self.mixing = DegreewiseMixing(l_max, trunk_channels, self.n_radial)
        n_out = 2 * (l_max + 1) * self.n_radial
        self.scalars = EdgeScalars(trunk_channels, n_radial_basis, n_hidden, n_out)
        self.register_buffer("degree", degrees(l_max), persistent=False)
        parity = torch.tensor([(-1.0) ** degree for degree in range(l_max + 1)])
        self.register_buffer("parity", parity, persistent=False)

    def pairs(self, edges: Edges) -> Tensor:
        """One edge of each pair that is close enough, as indices of edges, [n_bonds]."""
        here = torch.arange(len(edges.reverse), device=edges.reverse.device)
        return torch.nonzero((edges.lengths < self.cutoff) & (here < edges.reverse)).squeeze(1)

    def forward(self, features: TrunkFeatures, pairs: Tensor) -> Tensor:
        """[n_bonds, (L + 1)², n_radial]."""
        edges = features.edges
        both = torch.cat([pairs, edges.reverse[pairs]])
        lengths = edges.lengths[both]
        close = Edges(
            sender=edges.sender[both],
            receiver=edges.receiver[both],
            reverse=both,  # not looked at: the two halves are each other's reverse
            lengths=lengths,
            envelope=polynomial_envelope(lengths, self.cutoff),
            radial=self.basis(lengths),
            harmonics=edges.harmonics[both],
        )
        there, back = self.scalars(features.atoms[:, 0], close).chunk(2)
        shape = (2, len(self.parity), self.n_radial)
        scale_there, along_there = there.unflatten(1, shape).unbind(1)
        scale_back, along_back = back.unflatten(1, shape).unbind(1)
        scale, along = scale_there + scale_back, along_there + self.parity[:, None] * along_back
        mixed = self.mixing(features.atoms[:, : self.n_harmonics])
        of_ends = mixed[edges.sender[pairs]] + mixed[edges.receiver[pairs]]
        harmonics = edges.harmonics[pairs, : self.n_harmonics].unsqueeze(2)
        expanded = of_ends * scale.index_select(1, self.degree) + harmonics * along.index_select(1, self.degree)
        return FIRST_SCALE * expanded


class ProductOrbitals(nn.Module):
    """Coefficients of orthonormal functions on atoms, for the two fields of each product.

    Args:
        config: Shape of the products.
        n_species: Elements.
        trunk_channels: Features of each atom and component.
    """

    degree: Tensor

    def __init__(self, config: ProductConfig, n_species: int, trunk_channels: int) -> None:
        super().__init__()
        l_max, n_radial = config.basis.highest_degree, config.basis.n_radial
        self.shape = (2 * config.rank, n_radial)
        self.n_harmonics = n_harmonics(l_max)
        self.mixing = DegreewiseMixing(l_max, trunk_channels, 2 * config.rank * n_radial)
        self.by_species = nn.Parameter(torch.ones(n_species, l_max + 1, 2 * config.rank * n_radial))
        self.register_buffer("degree", degrees(l_max), persistent=False)

    def forward(self, features: TrunkFeatures) -> Tensor:
        """[2 n_products, n_atoms, (L + 1)², n_radial], all ψ before all χ."""
        mixed = self.mixing(features.atoms[:, : self.n_harmonics])
        scales = self.by_species.index_select(1, self.degree).index_select(0, features.graph.species)
        # A product of two such fields has the size of the other functions.
        return FIRST_SCALE**0.5 * (mixed * scales).unflatten(2, self.shape).movedim(2, 0)


class OrbitalNetwork(nn.Module):
    """Trunk and heads: graph → orbitals.

    Args:
        config: Shape of the model.
        seed: What the weights follow from, until others are loaded.
    """

    def __init__(self, config: OrbitalConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.trunk = Trunk(config.trunk, seed)
        trunk = config.trunk
        with weights_from_seed(seed + 1):
            self.atom_radial = RadialFunctions(config.atoms, len(trunk.elements))
            self.atom_orbitals = AtomOrbitals(config)
            self.transfer = EdgeScalars(trunk.n_channels, trunk.n_radial, trunk.n_hidden, 1)
            if config.bonds:
                self.bond_radial = RadialFunctions(config.bonds.basis, 1)
                self.bond_orbitals = BondOrbitals(config.bonds, trunk.n_channels, trunk.n_hidden, trunk.n_radial)
            if config.product:
                self.product_radial = RadialFunctions(config.product.basis, len(trunk.elements))
                self.product_orbitals = ProductOrbitals(config.product, len(trunk.elements), trunk.n_channels)

    def forward(self, graph: Graph, overlapping: Graph | None = None) -> Expansion:
        """Orbitals of a batch; every gradient flows but the one to positions of centres.

        Args:
            graph: The batch.
            overlapping: The same atoms with the pairs that overlap in products (`overlap_graph`); None without them.

        Raises:
            ValueError: If the model has products, and these pairs are missing.
        """
        features = self.trunk(graph)
        charges = self._transferred(features)
        bonds, edges_of_bonds, shares = self._bonds(features)
        on_atoms = charges if shares is None else charges - shares
        products = pairs = None
        if self.config.product:
            products, pairs = self._products(features, overlapping)
            on_atoms = on_atoms - _halves(products.charges(pairs), pairs, graph.n_atoms)
        return Expansion(
            atoms=self._atoms(features, on_atoms),
            bonds=bonds,
            bond_positions=(graph.positions[graph.sender] + 0.5 * graph.vectors)[edges_of_bonds],
            structure_of_bond=graph.structure_of_edge[edges_of_bonds],
            charges=charges,
            graph=graph,
            features=features.atoms[:, 0],
            bond_ends=torch.stack([graph.sender, graph.receiver])[:, edges_of_bonds],
            products=products,
            pairs=pairs,
        )

    def _transferred(self, features: TrunkFeatures) -> Tensor:
        """Σ_j t_ij of each atom, float64, [n_atoms]."""
        edges = features.edges
        numbers = self.transfer(features.atoms[:, 0], edges)[:, 0].double()
        transfers = FIRST_SCALE * (numbers - numbers[edges.reverse])
        return transfers.new_zeros(len(features.atoms)).index_add(0, edges.receiver, transfers)

    def _atoms(self, features: TrunkFeatures, charges: Tensor) -> Orbitals:
        species = features.graph.species
        coefficients = self.atom_orbitals(features).double()
        unit = self.atom_radial.charges()[species]
        # The smallest change of the l = 0 coefficients that makes the charge right.
        missing = charges - (coefficients[:, 0] * unit).sum(1)
        spherical = coefficients[:, 0] + missing[:, None] * unit / unit.square().sum(1, keepdim=True)
        coefficients = torch.cat([spherical[:, None], coefficients[:, 1:]], 1)
        return _orbitals(self.atom_radial, species, coefficients)

    def _bonds(self, features: TrunkFeatures) -> tuple[Orbitals | None, Tensor, Tensor | None]:
        """Bond orbitals, the edges that they sit on, and the electrons in each atom's halves of them."""
        edges = features.edges
        if not self.config.bonds:
            return None, edges.sender[:0], None
        pairs = self.bond_orbitals.pairs(edges)
        # In the order of their structures: edges are, and every structure's are taken out together.
        coefficients = self.bond_orbitals(features, pairs).double()
        kinds = torch.zeros(len(pairs), dtype=torch.int64, device=pairs.device)
        held = 0.5 * (coefficients[:, 0] * self.bond_radial.charges()[0]).sum(1)
        shares = held.new_zeros(len(features.atoms))
        shares = shares.index_add(0, edges.sender[pairs], held).index_add(0, edges.receiver[pairs], held)
        return _orbitals(self.bond_radial, kinds, coefficients), pairs, shares

    def _products(self, features: TrunkFeatures, overlapping: Graph | None) -> tuple[OrbitalProducts, Pairs]:
        """Products, and the pairs of atoms that overlap."""
        if overlapping is None:
            raise ValueError("found a model with products and no pairs that overlap; expected those of overlap_graph")
        species = features.graph.species
        fields = [
            _orbitals(self.product_radial, species, one) for one in self.product_orbitals(features).double().unbind(0)
        ]
        first, second = torch.stack([one.coefficients for one in fields]).chunk(2)
        return OrbitalProducts(fields[0].exponents, first, second), Pairs.of(overlapping)


def overlap_graph(structures: Sequence[Structure], config: OrbitalConfig) -> Graph | None:
    """Atoms of a batch and the pairs of them that overlap in products; None for a model without products.

    Args:
        structures: Structures of the batch.
        config: Shape of the model.

    Raises:
        UnsupportedByModel: If a structure has an element that the model does not know.
    """
    if not config.product:
        return None
    neighbours = [neighbours_of(structure, config.product.pair_cutoff) for structure in structures]
    return batched_graph(structures, neighbours, config.trunk.elements)


def expanded(
    network: OrbitalNetwork, structures: Sequence[Structure], neighbours: Sequence[Neighbours] | None = None
) -> Expansion:
    """Orbitals of a batch, from one pass of the network, on its device.

    Args:
        network: The network.
        structures: Structures of the batch.
        neighbours: Edges of their graphs, where they are known already.

    Raises:
        UnsupportedByModel: If a structure has an element that the model does not know.
    """
    config, device = network.config, next(network.parameters()).device
    if neighbours is None:
        neighbours = [neighbours_of(structure, config.trunk.cutoff) for structure in structures]
    graph = batched_graph(structures, neighbours, config.trunk.elements).to(device)
    overlapping = overlap_graph(structures, config)
    return network(graph, overlapping.to(device) if overlapping else None)


def _halves(charges: Tensor, pairs: Pairs, n_atoms: int) -> Tensor:
    """Half of each pair's electrons on either atom, [n_atoms]."""
    shares = charges.new_zeros(n_atoms)
    return shares.index_add(0, pairs.sender, 0.5 * charges).index_add(0, pairs.receiver, 0.5 * charges)


def _orbitals(radial: RadialFunctions, kinds: Tensor, coefficients: Tensor) -> Orbitals:
    """Orbitals of Gaussians from coefficients of orthonormal functions, [n_centres, (L + 1)², n_radial]."""
    degree = degrees(radial.config.highest_degree).to(kinds.device)
    combinations = radial.combinations().index_select(1, degree)[kinds]
    return Orbitals(radial.exponents()[kinds], torch.einsum("cmjk,cmk->cjm", combinations, coefficients))
