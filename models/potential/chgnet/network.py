"""CHGNet as a network of our own: the trunk, which heads of any kind may stand on, and its energies and moments.

B. Deng and others, Nature Machine Intelligence 5, 1031 (2023). What differs from the package that carries the weights
is the order of the arithmetic alone: `tests/models/potential/test_chgnet_equality.py` holds one against the other. Its
third update of the angles is left out, for nothing reads its result.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from models.potential.chgnet.config import Config
from models.potential.chgnet.fused import Inputs, can_fuse, fused_sums
from models.potential.chgnet.graph import BondGraph
from models.potential.chgnet.layers import (
    N_FEATURES,
    AngularBasis,
    GatedPerceptron,
    RadialBasis,
    angles_between,
)
from models.potential.chgnet.rows import Owners, Rows, of_rows, summed

N_ELEMENTS = 94
N_BLOCKS = 3


@dataclass(frozen=True, eq=False)
class Features:
    """What the trunk knows after its blocks.

    Attributes:
        atoms_by_block: Features of atoms after each block, [n_atoms, N_FEATURES] each.
        bonds_by_block: Features of bonds after each block, the same in both directions, [n_bonds, N_FEATURES] each.
        bond_weights: Smooth weights of bonds that vanish at the cutoff, [n_bonds, N_FEATURES].
        lengths: Lengths of bonds in Å, [n_bonds], float64.
        directions: Unit vectors of bonds from first to second atom, [n_bonds, 3], float64.
    """

    atoms_by_block: tuple[Tensor, ...]
    bonds_by_block: tuple[Tensor, ...]
    bond_weights: Tensor
    lengths: Tensor
    directions: Tensor

    @property
    def atoms(self) -> Tensor:
        """Features of atoms after the last block."""
        return self.atoms_by_block[-1]

    @property
    def bonds(self) -> Tensor:
        """Features of bonds after the last block."""
        return self.bonds_by_block[-1]


class AtomConvolution(nn.Module):
    r"""New features of atoms from messages along their edges.

    .. math:: v_i \leftarrow v_i + L \sum_j w_{ij} \odot \phi[v_i \| e_{ij} \| v_j]
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.perceptron = GatedPerceptron(3, is_deep=True, is_normalised=config.is_normalised)
        self.out = nn.Linear(N_FEATURES, N_FEATURES, bias=config.has_output_bias)

    def forward(self, atoms: Tensor, bonds: Tensor, weights: Tensor, graph: BondGraph) -> Tensor:
        """Features of atoms, [n_atoms, N_FEATURES], from those of atoms and bonds and the weights of bonds."""
        at_receiver, along, at_sender = (
            self.perceptron.project(part, features) for part, features in enumerate((atoms, bonds, atoms))
        )
        inputs = Inputs(
            Rows(at_receiver, graph.receiver),
            Rows(along, graph.bond_of_edge),
            Rows(at_sender, graph.sender),
            Rows(weights, graph.bond_of_edge),
        )
        owners = Owners(graph.receiver, graph.n_atoms)
        if can_fuse(self.perceptron, atoms):
            return atoms + self.out(fused_sums(self.perceptron, inputs, owners))
        return atoms + self.out(of_rows(self._messages, inputs, owners, weights=self.perceptron.parameters()))

    def _messages(self, at_receiver: Tensor, along: Tensor, at_sender: Tensor, weights: Tensor) -> Tensor:
        return weights * self.perceptron(at_receiver + along + at_sender)


class ArmTerms(NamedTuple):
    """What the first layer of a perceptron on angles gets from their arms, [n_arms, 2 N_FEATURES] each."""

    of_first: Tensor
    of_second: Tensor


def arm_terms(perceptron: GatedPerceptron, atoms: Tensor, short_bonds: Tensor, graph: BondGraph) -> ArmTerms:
    r"""Terms of \phi[e_{ij} \| e_{ik} \| a_{ijk} \| v_i] but for the angle's own."""
    centres = perceptron.project(3, atoms).index_select(0, graph.centre)
    first, second = (perceptron.project(part, short_bonds).index_select(0, graph.bond_of_arm) for part in (0, 1))
    return ArmTerms(first + centres, second)


class BondConvolution(nn.Module):
    r"""New features of the bonds that make angles.

    .. math:: e_{ij} \leftarrow e_{ij} + L \sum_k w_{ij} \odot w_{ik} \odot \phi[e_{ij} \| e_{ik} \| a_{ijk} \| v_i]
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.perceptron = GatedPerceptron(4, is_deep=True, is_normalised=config.is_normalised)
        self.out = nn.Linear(N_FEATURES, N_FEATURES, bias=config.has_output_bias)

    def forward(self, atoms: Tensor, bonds: Tensor, angles: Tensor, weights: Tensor, graph: BondGraph) -> Tensor:
        """Features of all bonds, [n_bonds, N_FEATURES]; `weights` are those of short bonds in angles, [n_short, …]."""
        short, long = bonds[: graph.n_short], bonds[graph.n_short :]
        terms = arm_terms(self.perceptron, atoms, short, graph)
        of_arm = weights.index_select(0, graph.bond_of_arm)
        inputs = Inputs(
            Rows(terms.of_first, graph.arm),
            Rows(terms.of_second, graph.other_arm),
            Rows(angles),
            Rows(of_arm, graph.other_arm),
        )
        owners = Owners(graph.arm, len(graph.centre))
        if can_fuse(self.perceptron, atoms):
            messages = fused_sums(self.perceptron, inputs, owners)
        else:
            messages = of_rows(self._messages, inputs, owners, weights=self.perceptron.parameters())
        change = linear(summed(of_arm * messages, Owners(graph.bond_of_arm, graph.n_short)), self.out.weight)
        bonds = torch.cat([short + change, long])
        if self.out.bias is None:
            return bonds
        is_biased = has_angles(graph).index_select(0, graph.structure_of_bond)
        return bonds + is_biased.to(bonds.dtype)[:, None] * self.out.bias

    def _messages(self, of_first: Tensor, of_second: Tensor, angles: Tensor, weights: Tensor) -> Tensor:
        return weights * self.perceptron(of_first + of_second + self.perceptron.project(2, angles))


class AngleUpdate(nn.Module):
    r"""New features of angles, a_{ijk} \leftarrow a_{ijk} + \phi[e_{ij} \| e_{ik} \| a_{ijk} \| v_i]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.perceptron = GatedPerceptron(4, is_deep=False, is_normalised=config.is_normalised)

    def forward(self, atoms: Tensor, bonds: Tensor, angles: Tensor, graph: BondGraph) -> Tensor:
        """Features of angles, [n_angles, N_FEATURES]."""
        terms = arm_terms(self.perceptron, atoms, bonds[: graph.n_short], graph)
        inputs = [Rows(terms.of_first, graph.arm), Rows(terms.of_second, graph.other_arm), Rows(angles)]
        if can_fuse(self.perceptron, atoms):
            alike = Rows(atoms.new_ones(1, N_FEATURES), torch.zeros_like(graph.arm))
            each = Owners(torch.arange(graph.n_angles), graph.n_angles)
            return fused_sums(self.perceptron, Inputs(*inputs, weights=alike), each, start=angles)
        return of_rows(self._updated, inputs, weights=self.perceptron.parameters())

    def _updated(self, of_first: Tensor, of_second: Tensor, angles: Tensor) -> Tensor:
        return angles + self.perceptron(of_first + of_second + self.perceptron.project(2, angles))


def has_angles(graph: BondGraph) -> Tensor:
    """Whether each structure has an angle, [n_structures]; without one the bonds of CHGNet 0.2.0 get no bias."""
    centres = graph.centre.index_select(0, graph.arm)
    return torch.bincount(graph.structure_of_atom.index_select(0, centres), minlength=graph.n_structures) > 0


class Trunk(nn.Module):
    """Features of atoms, bonds and angles after three blocks."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.elements = nn.Embedding(N_ELEMENTS, N_FEATURES)
        self.radial = RadialBasis(config.n_radial, config.cutoff, config.envelope_power)
        self.angle_radial = RadialBasis(config.n_radial, config.angle_cutoff, config.envelope_power)
        self.angular = AngularBasis(config.n_frequencies)
        self.bonds = nn.Linear(config.n_radial, N_FEATURES, bias=False)
        self.bond_weights = nn.Linear(config.n_radial, N_FEATURES, bias=False)
        self.angle_weights = nn.Linear(config.n_radial, N_FEATURES, bias=False)
        self.angles = nn.Linear(2 * config.n_frequencies + 1, N_FEATURES, bias=False)
        self.atom_convolutions = nn.ModuleList([AtomConvolution(config) for _ in range(N_BLOCKS)])
        self.bond_convolutions = nn.ModuleList([BondConvolution(config) for _ in range(N_BLOCKS)])
        self.angle_updates = nn.ModuleList([AngleUpdate(config) for _ in range(N_BLOCKS - 1)])

    def forward(self, graph: BondGraph) -> Features:
        """Features of a batch, differentiable in the graph's bond vectors."""
        dtype = self.elements.weight.dtype
        lengths = torch.linalg.vector_norm(graph.vectors, dim=1)
        directions = graph.vectors / lengths[:, None]
        radial = self.radial(lengths).to(dtype)
        bonds, weights = self.bonds(radial), self.bond_weights(radial)
        angle_weights = self.angle_weights(self.angle_radial(lengths[: graph.n_short]).to(dtype))
        arms = graph.sign_of_arm[:, None] * directions.index_select(0, graph.bond_of_arm)
        inputs = [Rows(arms, graph.arm), Rows(arms, graph.other_arm)]
        known = [*self.angular.parameters(), *self.angles.parameters()]
        angles = of_rows(self._embedded, inputs, weights=known)
        atoms = self.elements(graph.numbers - 1)
        atoms_by_block: list[Tensor] = []
        bonds_by_block: list[Tensor] = []
        for block in range(N_BLOCKS):
            atoms = self.atom_convolutions[block](atoms, bonds, weights, graph)
            bonds = self.bond_convolutions[block](atoms, bonds, angles, angle_weights, graph)
            if block < N_BLOCKS - 1:
                angles = self.angle_updates[block](atoms, bonds, angles, graph)
            atoms_by_block.append(atoms)
            bonds_by_block.append(bonds)
        return Features(tuple(atoms_by_block), tuple(bonds_by_block), weights, lengths, directions)

    def _embedded(self, first: Tensor, second: Tensor) -> Tensor:
        """First features of angles between unit vectors."""
        return self.angles(self.angular(angles_between(first, second)).to(self.angles.weight.dtype))


class Network(nn.Module):
    """The trunk with CHGNet's own readout."""

    references: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.trunk = Trunk(config)
        self.last_convolution = AtomConvolution(config)
        self.norm = nn.LayerNorm(N_FEATURES) if config.is_normalised else nn.Identity()
        hidden = [layer for _ in range(config.n_readout) for layer in (nn.Linear(N_FEATURES, N_FEATURES), nn.SiLU())]
        self.readout = nn.Sequential(*hidden, nn.Linear(N_FEATURES, 1))
        self.moment = nn.Linear(N_FEATURES, 1)
        self.register_buffer("references", torch.zeros(N_ELEMENTS, dtype=torch.float64))

    def forward(self, graph: BondGraph) -> tuple[Tensor, Tensor]:
        """Energies of atoms in eV, float64, [n_atoms], and their magnetic moments in Bohr magnetons, [n_atoms]."""
        features = self.trunk(graph)
        return self.read_out(features, self.last_atoms(features, graph), graph)

    def last_atoms(self, features: Features, graph: BondGraph) -> Tensor:
        """Features of atoms that energies are read from, [n_atoms, N_FEATURES]."""
        return self.last_convolution(features.atoms, features.bonds, features.bond_weights, graph)

    def read_out(self, features: Features, last_atoms: Tensor, graph: BondGraph) -> tuple[Tensor, Tensor]:
        """Energies and moments from what the trunk and its last convolution know."""
        interaction = self.readout(self.norm(last_atoms))[:, 0]
        energies = interaction.double() + self.references[graph.numbers - 1]
        return energies, self.moment(features.atoms)[:, 0].abs()
