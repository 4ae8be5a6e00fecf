r"""Heads that read forces and stresses off features: scalars of bonds times what turns with the bonds.

With n the unit vector of a bond, from its first atom i to its second atom j, and u an envelope that ends at the cutoff,

.. math:: F_i = \sum_j u(r_{ij})\, s_{ij}\, \hat n_{ij}, \qquad
    \sigma = \frac{1}{V} \sum_i \Big[ c_i I + \tfrac12 \sum_j u(r_{ij}) \big( p_{ij} I
    + t_{ij} (\hat n_{ij} \otimes \hat n_{ij} - \tfrac13 I) \big) \Big]

s, p, t and c are scalars of what does not change when the crystal is turned or mirrored: features of the trunk after
each of its blocks, and how the bond lies to vectors that its atoms have made of all their bonds,

.. math:: V_{ik} = \sum_j u(r_{ij})\, a_k(v_i, e_{ij}, v_j)\, \hat n_{ij}, \qquad
    V_{ik} \cdot \hat n_{ij}, \quad V_{jk} \cdot \hat n_{ji}, \quad V_{ik} \cdot V_{jk},

for long bonds make no angles that the trunk would know of. So forces and stresses turn with the crystal, whatever the
weights. They are no derivatives of the energy.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.potential.chgnet.graph import BondGraph
from models.potential.chgnet.layers import N_FEATURES, GatedPerceptron
from models.potential.chgnet.network import N_BLOCKS, Features
from models.potential.chgnet.rows import Owners, summed
from models.radial import polynomial_envelope

N_STRESSES = 2
"""Scalars of a bond that the stress needs: its pressure p and its tension t."""

N_VECTORS = 16
"""Vectors V of an atom."""

N_OF_ATOMS, N_OF_BONDS = (N_BLOCKS + 1) * N_FEATURES, N_BLOCKS * N_FEATURES
"""Features of an atom and of a bond after all blocks; of an atom also those that the energy is read from."""


@dataclass(frozen=True, eq=False)
class HeadInput:
    """What heads look at, of a batch of structures.

    Attributes:
        atoms: Features of atoms, [n_atoms, N_OF_ATOMS].
        bonds: Features of bonds, the same in both directions, [n_bonds, N_OF_BONDS].
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
    def of(cls, features: Features, last_atoms: Tensor, graph: BondGraph) -> "HeadInput":
        """What the trunk and its last convolution know of a batch, with the batch's bonds."""
        atoms = torch.cat([*features.atoms_by_block, last_atoms], dim=1)
        bonds = torch.cat(features.bonds_by_block, dim=1)
        of_bonds = (features.lengths, features.directions, graph.first, graph.second)
        return cls(atoms, bonds, *of_bonds, graph.structure_of_atom, graph.volumes)

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


@dataclass(frozen=True, eq=False)
class View:
    """A batch as heads see it, after one layer.

    Attributes:
        atoms: Features of atoms, [n_atoms, N_FEATURES].
        bonds: Features of bonds, [n_bonds, N_FEATURES].
        at_first: V_i · n_ij of each bond, how the first atom's vectors lie to it, [n_bonds, N_VECTORS].
        at_second: V_j · n_ji, [n_bonds, N_VECTORS].
        between: V_i · V_j, [n_bonds, N_VECTORS].
        first: First atom of each bond, [n_bonds].
        second: Second atom, [n_bonds].
    """

    atoms: Tensor
    bonds: Tensor
    at_first: Tensor
    at_second: Tensor
    between: Tensor
    first: Tensor
    second: Tensor


class Viewing(nn.Module):
    """The view of a batch: features of all blocks in one layer, and vectors of atoms."""

    def __init__(self) -> None:
        super().__init__()
        self.atoms = nn.Sequential(nn.LayerNorm(N_OF_ATOMS), nn.Linear(N_OF_ATOMS, N_FEATURES))
        self.bonds = nn.Sequential(nn.LayerNorm(N_OF_BONDS), nn.Linear(N_OF_BONDS, N_FEATURES))
        self.coefficients = SidedScalars(N_VECTORS)

    def forward(self, there: HeadInput, envelope: Tensor) -> View:
        """The view.

        Args:
            there: The batch.
            envelope: u of each bond, [n_bonds, 1].
        """
        atoms, bonds, first, second = self.atoms(there.atoms), self.bonds(there.bonds), there.first, there.second
        directions = there.directions.to(atoms.dtype)[:, None]
        on_first, on_second = self.coefficients(atoms, (bonds, bonds), (first, second))
        along = (envelope.to(atoms.dtype) * directions[:, 0])[:, None]
        vectors = summed((on_first[:, :, None] * along).flatten(1), Owners(first, len(atoms)))
        vectors = vectors - summed((on_second[:, :, None] * along).flatten(1), Owners(second, len(atoms)))
        vectors = vectors.view(-1, N_VECTORS, 3).to(atoms.dtype)
        of_first, of_second = vectors[first], vectors[second]
        at_first, at_second = (of_first * directions).sum(2), -(of_second * directions).sum(2)
        return View(atoms, bonds, at_first, at_second, (of_first * of_second).sum(2), first, second)


class SidedScalars(nn.Module):
    """Scalars of both ends of bonds, from features of the bond, of the atom at that end and of the other one."""

    def __init__(self, n_scalars: int) -> None:
        super().__init__()
        self.perceptron = _first_perceptron(n_parts=3)
        self.out = nn.Linear(N_FEATURES, n_scalars)

    def forward(
        self, atoms: Tensor, from_ends: tuple[Tensor, Tensor], ends: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Those of the first and of the second atom, [n_bonds, n_scalars] each.

        Args:
            atoms: Features of atoms, [n_atoms, N_FEATURES].
            from_ends: Features of bonds as seen from their first and their second atom, [n_bonds, N_FEATURES] each.
            ends: First and second atom of each bond, [n_bonds] each.
        """
        project, (first, second) = self.perceptron.project, ends
        of_feeling, of_other = project(1, atoms), project(2, atoms)
        from_first = project(0, from_ends[0])
        from_second = from_first if from_ends[1] is from_ends[0] else project(0, from_ends[1])
        at_first = self.perceptron(from_first + of_feeling[first] + of_other[second])
        at_second = self.perceptron(from_second + of_feeling[second] + of_other[first])
        return self.out(at_first), self.out(at_second)


class SymmetricScalars(nn.Module):
    """Scalars of bonds that do not tell which of the atoms is the first: of what both have together."""

    def __init__(self, n_scalars: int) -> None:
        super().__init__()
        self.perceptron = _first_perceptron(n_parts=4)
        self.lie = nn.Linear(3 * N_VECTORS, N_FEATURES)
        self.out = nn.Linear(N_FEATURES, n_scalars)

    def forward(self, view: View) -> Tensor:
        """The scalars, [n_bonds, n_scalars]."""
        project, first, second = self.perceptron.project, view.first, view.second
        of_atoms = project(1, view.atoms)
        products = project(2, view.atoms[first] * view.atoms[second])
        lie = torch.cat([view.at_first + view.at_second, view.at_first * view.at_second, view.between], dim=1)
        of_bonds = project(0, view.bonds) + project(3, self.lie(lie))
        return self.out(self.perceptron(of_bonds + of_atoms[first] + of_atoms[second] + products))


class OppositeForces(SymmetricScalars):
    """Forces of bonds on their ends, s_ij = s_ji, so that those on a structure sum to zero."""

    def __init__(self) -> None:
        super().__init__(n_scalars=1)

    def ends(self, view: View) -> tuple[Tensor, Tensor]:
        """Force on the first atom towards the second one, and on the second towards the first, [n_bonds, 1] each."""
        both = self(view)
        return both, both


class SidedForces(nn.Module):
    """Forces of bonds on their ends, each from the bond, the atom that feels it and the other one."""

    def __init__(self) -> None:
        super().__init__()
        self.scalars = SidedScalars(1)
        self.lie = nn.Linear(3 * N_VECTORS, N_FEATURES)

    def ends(self, view: View) -> tuple[Tensor, Tensor]:
        """Force on the first atom towards the second one, and on the second towards the first, [n_bonds, 1] each."""
        from_first = torch.cat([view.at_first, view.at_second, view.between], dim=1)
        from_second = torch.cat([view.at_second, view.at_first, view.between], dim=1)
        seen = view.bonds + self.lie(from_first), view.bonds + self.lie(from_second)
        return self.scalars(view.atoms, seen, (view.first, view.second))


class Heads(nn.Module):
    """Forces and stresses of a batch.

    Args:
        cutoff: Longest bond in Å.
        is_antisymmetric: Whether the forces of each structure sum to zero.
    """

    def __init__(self, cutoff: float, is_antisymmetric: bool) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.view = Viewing()
        self.forces = OppositeForces() if is_antisymmetric else SidedForces()
        self.stresses = SymmetricScalars(N_STRESSES)
        self.of_atoms = nn.Sequential(nn.Linear(N_FEATURES, N_FEATURES), nn.SiLU(), nn.Linear(N_FEATURES, 1))

    def forward(self, there: HeadInput) -> tuple[Tensor, Tensor]:
        """Forces in eV/Å, [n_atoms, 3], and stresses in eV/Å³, [n_structures, 3, 3], symmetric; float64."""
        envelope = polynomial_envelope(there.lengths, self.cutoff)[:, None].double()
        view = self.view(there, envelope)
        along_bonds = envelope * there.directions
        on_first, on_second = self.forces.ends(view)
        n_atoms = len(there.atoms)
        forces = summed(on_first * along_bonds, Owners(there.first, n_atoms))
        forces = forces - summed(on_second * along_bonds, Owners(there.second, n_atoms))
        return forces, self._stresses(there, view, self.stresses(view) * envelope)

    def _stresses(self, there: HeadInput, view: View, scalars: Tensor) -> Tensor:
        identity = torch.eye(3, dtype=scalars.dtype, device=scalars.device)
        pressures, tensions = scalars[:, :, None, None].unbind(dim=1)
        squares = there.directions[:, :, None] * there.directions[:, None, :]
        of_bonds = pressures * identity + tensions * (squares - identity / 3)
        n_structures = len(there.volumes)
        of_bonds = summed(of_bonds.flatten(1), Owners(there.structure_of_atom[there.first], n_structures))
        of_atoms = summed(self.of_atoms(view.atoms).double(), Owners(there.structure_of_atom, n_structures))
        return (of_bonds.view(-1, 3, 3) + of_atoms[:, :, None] * identity) / there.volumes[:, None, None]


def _first_perceptron(n_parts: int) -> GatedPerceptron:
    """A gated perceptron with first weights, which its own constructor leaves to be read from a file."""
    perceptron = GatedPerceptron(n_parts, is_deep=True, is_normalised=True)
    bound = (n_parts * N_FEATURES) ** -0.5
    for part in perceptron.parts:
        nn.init.uniform_(part, -bound, bound)
    nn.init.zeros_(perceptron.bias)
    return perceptron
