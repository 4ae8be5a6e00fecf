"""The graph that CHGNet runs on: atoms, bonds within the cutoff, and angles between short bonds, for a whole batch.

Words: a *bond* is a pair of an atom and another's image, once, whichever way round. Its two *edges* carry messages,
one to either end. An *arm* is a short bond seen from one of its ends, its centre. An *angle* is an ordered pair of
different arms of one centre.

Everything here follows from bond vectors: energies are functions of them, forces and stress sums of derivatives by
them. A cell smaller than the cutoff has many bonds between the same two atoms, and of an atom with its own images.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.device import moved
from models.graph import IntArray
from models.neighbours import pairs_of
from rhocast.structure import Structure


@dataclass(frozen=True, eq=False)
class BondGraph:
    """Atoms, bonds, edges, arms and angles of a batch of structures, one after another.

    Attributes:
        numbers: Atomic numbers, [n_atoms].
        structure_of_atom: Index of each atom's structure, never falling, [n_atoms].
        volumes: Volume of each cell in Å³, positive, [n_structures], float64.
        vectors: Vector of each bond from its first to its second atom in Å, [n_bonds, 3]. float64: a network of any
            type gets differences of positions that have lost no digits.
        first: First atom of each bond, [n_bonds].
        second: Second atom, [n_bonds].
        n_short: Number of bonds shorter than the cutoff of angles; they come first.
        receiver: Atom that each edge brings a message to, never falling, [n_edges].
        sender: Atom that it comes from, [n_edges].
        bond_of_edge: Bond that it runs along, [n_edges].
        sign_of_edge: 1 where that bond's vector points from sender to receiver, −1 where it points back, [n_edges].
        centre: Atom at which each arm begins, never falling, [n_arms].
        bond_of_arm: Bond that it is, [n_arms]; all below `n_short`.
        sign_of_arm: 1 where that bond's vector points to the centre, −1 where it points away, [n_arms].
        arm: First arm of each angle, never falling, [n_angles].
        other_arm: Second arm, [n_angles].
    """

    numbers: Tensor
    structure_of_atom: Tensor
    volumes: Tensor
    vectors: Tensor
    first: Tensor
    second: Tensor
    n_short: int
    receiver: Tensor
    sender: Tensor
    bond_of_edge: Tensor
    sign_of_edge: Tensor
    centre: Tensor
    bond_of_arm: Tensor
    sign_of_arm: Tensor
    arm: Tensor
    other_arm: Tensor

    @property
    def n_atoms(self) -> int:
        return len(self.numbers)

    @property
    def n_structures(self) -> int:
        return len(self.volumes)

    @property
    def n_bonds(self) -> int:
        return len(self.vectors)

    @property
    def n_angles(self) -> int:
        return len(self.arm)

    @property
    def structure_of_bond(self) -> Tensor:
        """Index of each bond's structure, [n_bonds]."""
        return self.structure_of_atom.index_select(0, self.first)

    @property
    def n_neighbours(self) -> Tensor:
        """Number of edges to each atom, [n_atoms]; none to an isolated one."""
        return torch.bincount(self.receiver, minlength=self.n_atoms)

    @property
    def edge_vectors(self) -> Tensor:
        """Vectors from sender to receiver in Å, [n_edges, 3]; differentiable in `vectors`."""
        return self.sign_of_edge[:, None] * self.vectors[self.bond_of_edge]

    def to(self, device: torch.device | str) -> "BondGraph":
        """The same graph on a device."""
        return moved(self, device)


def bond_graph(structures: Sequence[Structure], cutoff: float, angle_cutoff: float) -> BondGraph:
    """Graph of a batch of structures, side by side, without a bond between them.

    Args:
        structures: Structures of the batch; a molecule has no images.
        cutoff: Longest bond in Å.
        angle_cutoff: Bonds shorter than this, in Å, are arms of angles.
    """
    n_atoms = np.array([structure.n_atoms for structure in structures], np.int64)
    structure_of_atom = np.repeat(np.arange(len(structures)), n_atoms)
    first, second, vectors = _bonds(structures, n_atoms, cutoff)
    is_short = np.square(vectors).sum(axis=1) < angle_cutoff**2
    order = np.concatenate([np.flatnonzero(is_short), np.flatnonzero(~is_short)])
    first, second, vectors = first[order], second[order], vectors[order]
    n_short, n_total = int(is_short.sum()), int(n_atoms.sum())
    receiver, bond_of_edge, is_forward = _ends(first, second)
    centre, bond_of_arm, points_to_centre = _ends(first[:n_short], second[:n_short])
    arm, other_arm = _angles(np.bincount(centre, minlength=n_total))
    arrays = {
        "numbers": np.concatenate([np.empty(0, np.int64), *(structure.numbers for structure in structures)]),
        "structure_of_atom": structure_of_atom,
        "volumes": np.array([structure.volume for structure in structures], np.float64),
        "vectors": vectors,
        "first": first,
        "second": second,
        "receiver": receiver,
        "sender": np.where(is_forward, first[bond_of_edge], second[bond_of_edge]),
        "bond_of_edge": bond_of_edge,
        "sign_of_edge": np.where(is_forward, 1.0, -1.0),
        "centre": centre,
        "bond_of_arm": bond_of_arm,
        "sign_of_arm": np.where(points_to_centre, 1.0, -1.0),
        "arm": arm,
        "other_arm": other_arm,
    }
    return BondGraph(n_short=n_short, **{name: torch.from_numpy(array) for name, array in arrays.items()})


def _bonds(
    structures: Sequence[Structure], n_atoms: IntArray, cutoff: float
) -> tuple[IntArray, IntArray, NDArray[np.float64]]:
    """First and second atom of each bond of a batch, [n_bonds], and the vectors between them in Å, [n_bonds, 3]."""
    first, second, vectors = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty((0, 3))]
    for structure, at in zip(structures, n_atoms.cumsum() - n_atoms, strict=True):
        pairs = pairs_of(structure, cutoff)
        first.append(pairs.first + at)
        second.append(pairs.second + at)
        vectors.append(pairs.vectors)
    return np.concatenate(first), np.concatenate(second), np.concatenate(vectors)


def _ends(first: IntArray, second: IntArray) -> tuple[IntArray, IntArray, NDArray[np.bool_]]:
    """Both ends of each bond in the order of their atoms: atom, bond, and whether it is the bond's second atom."""
    atoms = np.concatenate([second, first])
    order = np.argsort(atoms, kind="stable")
    is_second = order < len(second)
    return atoms[order], np.where(is_second, order, order - len(second)), is_second


def _angles(n_arms: IntArray) -> tuple[IntArray, IntArray]:
    """Ordered pairs of different arms of one centre, [n_angles] each, the first one never falling.

    Args:
        n_arms: Number of arms of each atom, [n_atoms]; arms lie in the order of their centres.
    """
    n_others = np.repeat(n_arms - 1, n_arms)
    arm = np.repeat(np.arange(len(n_others)), n_others)
    first_arm_of_centre = np.repeat(n_arms.cumsum() - n_arms, n_arms)
    other = np.arange(len(arm)) - np.repeat(n_others.cumsum() - n_others, n_others) + first_arm_of_centre[arm]
    return arm, other + (other >= arm)  # an arm makes no angle with itself: what would be it and beyond moves up by one
