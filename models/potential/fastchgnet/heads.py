r"""Heads that read forces and stresses off features: scalars of bonds times what turns with the bonds.

With n the unit vector of a bond, from its first atom i to its second atom j, and u an envelope that ends at the cutoff,

.. math:: F_i = \sum_j u(r_{ij})\, s_{ij}\, \hat n_{ij}, \qquad
    \sigma = \frac{1}{V} \sum_i \Big[ c_i I + \tfrac12 \sum_j u(r_{ij}) \big( p_{ij} I
    + t_{ij} (\hat n_{ij} \otimes \hat n_{ij} - \tfrac13 I) \big) \Big]

s, p, t and c are scalars of features that do not change when the crystal is turned or mirrored, so forces and stresses
turn with it, whatever the weights. They are no derivatives of the energy.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.potential.chgnet.graph import BondGraph
from models.potential.chgnet.layers import N_FEATURES, GatedPerceptron
from models.potential.chgnet.network import Features
from models.potential.chgnet.rows import Owners, summed
from models.radial import polynomial_envelope

N_STRESSES = 2
"""Scalars of a bond that the stress needs: its pressure p and its tension t."""


@dataclass(frozen=True, eq=False)
class HeadInput:
    """What heads look at, of a batch of structures.

    Attributes:
        atoms: Features of atoms, [n_atoms, N_FEATURES].
        bonds: Features of bonds, the same in both directions, [n_bonds, N_FEATURES].
        lengths: Lengths of bonds in Å, [n_bonds].
        directions: Unit vectors of bonds from first to second atom, [n_bonds, 3].
        first: First atom of each bond, [n_bonds].
        second: Second atom, [n_bonds].
        structure_of_atom: Index of each atom's structure, [n_atoms].
        volumes: Volume of each cell in Å³, [n_structures].
    """

    atoms: Tensor
    bonds: Tensor
    lengths: Tensor
    directions: Tensor
    first: Tensor
    second: Tensor
    structure_of_atom: Tensor
    volumes: Tensor

    @classmethod
    def of(cls, features: Features, graph: BondGraph) -> "HeadInput":
        """What the trunk knows of a batch, with the batch's bonds."""
        of_bonds = (features.bonds, features.lengths, features.directions, graph.first, graph.second)
        return cls(features.atoms, *of_bonds, graph.structure_of_atom, graph.volumes)

    @classmethod
    def joined(cls, parts: Sequence["HeadInput"]) -> "HeadInput":
        """One batch of several, one after another."""
        n_atoms, n_structures, moved = 0, 0, []
        for part in parts:
            indices = (part.first + n_atoms, part.second + n_atoms, part.structure_of_atom + n_structures)
            moved.append((part.atoms, part.bonds, part.lengths, part.directions, *indices, part.volumes))
            n_atoms, n_structures = n_atoms + len(part.atoms), n_structures + len(part.volumes)
        return cls(*(torch.cat(tensors) for tensors in zip(*moved, strict=True)))

    def part(self, index: int) -> "HeadInput":
        """One structure of the batch, alone."""
        atoms = torch.nonzero(self.structure_of_atom == index)[:, 0]
        bonds = torch.nonzero(self.structure_of_atom[self.first] == index)[:, 0]
        start = int(atoms[0])
        of_bonds = (self.bonds[bonds], self.lengths[bonds], self.directions[bonds])
        ends = (self.first[bonds] - start, self.second[bonds] - start)
        return HeadInput(self.atoms[atoms], *of_bonds, *ends, torch.zeros_like(atoms), self.volumes[index : index + 1])


class SymmetricScalars(nn.Module):
    """Scalars of bonds that do not tell which of the atoms is the first, of the bond, v_i + v_j and v_i ⊙ v_j."""

    def __init__(self, n_scalars: int) -> None:
        super().__init__()
        self.perceptron = _first_perceptron(n_parts=3)
        self.out = nn.Linear(N_FEATURES, n_scalars)

    def forward(self, there: HeadInput) -> Tensor:
        """The scalars, [n_bonds, n_scalars]."""
        project = self.perceptron.project
        of_atoms = project(1, there.atoms)
        products = there.atoms[there.first] * there.atoms[there.second]
        ends = of_atoms[there.first] + of_atoms[there.second]
        return self.out(self.perceptron(project(0, there.bonds) + ends + project(2, products)))


class OppositeForces(SymmetricScalars):
    """Forces of bonds on their ends, s_ij = s_ji, so that those on a structure sum to zero."""

    def __init__(self) -> None:
        super().__init__(n_scalars=1)

    def ends(self, there: HeadInput) -> tuple[Tensor, Tensor]:
        """Force on the first atom towards the second one, and on the second towards the first, [n_bonds, 1] each."""
        both = self(there)
        return both, both


class SidedForces(nn.Module):
    """Forces of bonds on their ends, each from the bond, the atom that feels it and the other one."""

    def __init__(self) -> None:
        super().__init__()
        self.perceptron = _first_perceptron(n_parts=3)
        self.out = nn.Linear(N_FEATURES, 1)

    def ends(self, there: HeadInput) -> tuple[Tensor, Tensor]:
        """Force on the first atom towards the second one, and on the second towards the first, [n_bonds, 1] each."""
        project = self.perceptron.project
        bonds, feeling, other = project(0, there.bonds), project(1, there.atoms), project(2, there.atoms)
        on_first = self.perceptron(bonds + feeling[there.first] + other[there.second])
        on_second = self.perceptron(bonds + feeling[there.second] + other[there.first])
        return self.out(on_first), self.out(on_second)


class Heads(nn.Module):
    """Forces and stresses of a batch.

    Args:
        cutoff: Longest bond in Å.
        is_antisymmetric: Whether the forces of each structure sum to zero.
    """

    def __init__(self, cutoff: float, is_antisymmetric: bool) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.forces = OppositeForces() if is_antisymmetric else SidedForces()
        self.stresses = SymmetricScalars(N_STRESSES)
        self.of_atoms = nn.Sequential(nn.Linear(N_FEATURES, N_FEATURES), nn.SiLU(), nn.Linear(N_FEATURES, 1))

    def forward(self, there: HeadInput) -> tuple[Tensor, Tensor]:
        """Forces in eV/Å, [n_atoms, 3], and stresses in eV/Å³, [n_structures, 3, 3], symmetric; float64."""
        envelope = polynomial_envelope(there.lengths, self.cutoff)[:, None].double()
        along_bonds = envelope * there.directions
        on_first, on_second = self.forces.ends(there)
        n_atoms = len(there.atoms)
        forces = summed(on_first * along_bonds, Owners(there.first, n_atoms))
        forces = forces - summed(on_second * along_bonds, Owners(there.second, n_atoms))
        return forces, self._stresses(there, self.stresses(there) * envelope)

    def _stresses(self, there: HeadInput, scalars: Tensor) -> Tensor:
        identity = torch.eye(3, dtype=scalars.dtype, device=scalars.device)
        pressures, tensions = scalars[:, :, None, None].unbind(dim=1)
        squares = there.directions[:, :, None] * there.directions[:, None, :]
        of_bonds = pressures * identity + tensions * (squares - identity / 3)
        n_structures = len(there.volumes)
        of_bonds = summed(of_bonds.flatten(1), Owners(there.structure_of_atom[there.first], n_structures))
        of_atoms = summed(self.of_atoms(there.atoms).double(), Owners(there.structure_of_atom, n_structures))
        return (of_bonds.view(-1, 3, 3) + of_atoms[:, :, None] * identity) / there.volumes[:, None, None]


def _first_perceptron(n_parts: int) -> GatedPerceptron:
    """A gated perceptron with first weights, which its own constructor leaves to be read from a file."""
    perceptron = GatedPerceptron(n_parts, is_deep=True, is_normalised=True)
    bound = (n_parts * N_FEATURES) ** -0.5
    for part in perceptron.parts:
        nn.init.uniform_(part, -bound, bound)
    nn.init.zeros_(perceptron.bias)
    return perceptron
