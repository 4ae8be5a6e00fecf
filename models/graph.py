"""Graphs: structures joined into one batch of atoms and directed edges, on which networks run.

Which atoms are neighbours is found once (`models/neighbours.py`) and can be stored; where the edges point is computed
here, differentiably, from positions, cells and shifts. The convention of `docs/conventions.md` holds: an edge (i, j, S)
runs from its sender i to its receiver j, and r_ij = x_j + S @ cell − x_i.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.device import moved
from rhocast.elements import SYMBOLS
from rhocast.errors import UnsupportedByModel
from rhocast.structure import Structure

IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Directed edges of one structure, both directions of every pair, in the order of their receivers.

    Attributes:
        sender: Atom from which each edge runs, [n_edges].
        receiver: Atom to which it runs, [n_edges].
        shift: Lattice vectors by which the receiver is moved, integers, [n_edges, 3].
        reverse: Index of the edge that runs back, [n_edges]; an edge is never its own.
    """

    sender: IntArray
    receiver: IntArray
    shift: IntArray
    reverse: IntArray


@dataclass(frozen=True, eq=False)
class Graph:
    """Atoms and edges of a batch of structures, one after another.

    Geometry is float64 whatever the network's type: differences of large coordinates lose no digits.

    Attributes:
        species: Index of each atom's element in the model's list of elements, [n_atoms].
        positions: Cartesian positions in Å, [n_atoms, 3].
        cells: Cell vectors in Å, one a row, [n_structures, 3, 3].
        sender: Atom from which each edge runs, [n_edges].
        receiver: Atom to which it runs, [n_edges]; never falling, so that sums over neighbours run through memory.
        shifts: Whole numbers of lattice vectors by which the receiver is moved, as floats, [n_edges, 3].
        reverse: Index of the edge that runs back, [n_edges].
        structure_of_atom: Index of each atom's structure, [n_atoms].
        structure_of_edge: Index of each edge's structure, [n_edges].
    """

    species: Tensor
    positions: Tensor
    cells: Tensor
    sender: Tensor
    receiver: Tensor
    shifts: Tensor
    reverse: Tensor
    structure_of_atom: Tensor
    structure_of_edge: Tensor

    @property
    def n_atoms(self) -> int:
        return len(self.positions)

    @property
    def n_edges(self) -> int:
        return len(self.sender)

    @property
    def n_structures(self) -> int:
        return len(self.cells)

    @property
    def vectors(self) -> Tensor:
        r"""Vectors from sender to receiver in Å, [n_edges, 3]; differentiable in `positions` and `cells`.

        .. math:: r_{ij} = x_j + S L - x_i

        A strain ε of each structure is `replace(graph, positions=x (1 + ε), cells=L (1 + ε))`.
        """
        if self.n_structures == 1:  # one matrix product: the gradient of a gathered cell is a slow sum over edges
            lattice = self.shifts @ self.cells[0]
        else:
            lattice = torch.einsum("ei,eij->ej", self.shifts, self.cells[self.structure_of_edge])
        return self.positions[self.receiver] + lattice - self.positions[self.sender]

    def to(self, device: torch.device | str) -> "Graph":
        """The same graph on a device."""
        return moved(self, device)


def batched_graph(structures: Sequence[Structure], neighbours: Sequence[Neighbours], elements: Sequence[int]) -> Graph:
    """Graph of a batch: its structures side by side, without an edge between them.

    Args:
        structures: Structures of the batch.
        neighbours: Edges of each of them.
        elements: Atomic numbers that the model knows; `species` are places in this list.

    Raises:
        UnsupportedByModel: If a structure has an element that is not in the list.
    """
    species = [species_of(structure, elements) for structure in structures]
    n_atoms = np.array([structure.n_atoms for structure in structures], dtype=np.int64)
    n_edges = np.array([len(edges.sender) for edges in neighbours], dtype=np.int64)
    first_atom, first_edge = n_atoms.cumsum() - n_atoms, n_edges.cumsum() - n_edges
    return Graph(
        species=_joined(species),
        positions=_joined([structure.positions for structure in structures], np.float64, 3),
        cells=torch.from_numpy(np.array([structure.cell for structure in structures], np.float64).reshape(-1, 3, 3)),
        sender=_joined([edges.sender + first for edges, first in zip(neighbours, first_atom, strict=True)]),
        receiver=_joined([edges.receiver + first for edges, first in zip(neighbours, first_atom, strict=True)]),
        shifts=_joined([edges.shift for edges in neighbours], np.float64, 3),
        reverse=_joined([edges.reverse + first for edges, first in zip(neighbours, first_edge, strict=True)]),
        structure_of_atom=torch.from_numpy(np.repeat(np.arange(len(structures)), n_atoms)),
        structure_of_edge=torch.from_numpy(np.repeat(np.arange(len(structures)), n_edges)),
    )


def species_of(structure: Structure, elements: Sequence[int]) -> IntArray:
    """Place of each atom's element in a list of atomic numbers, [n_atoms].

    Raises:
        UnsupportedByModel: If an element is not in the list.
    """
    place = np.full(len(SYMBOLS), -1, dtype=np.int64)
    place[np.asarray(elements, dtype=np.int64)] = np.arange(len(elements))
    species = place[structure.numbers]
    if (species < 0).any():
        unknown = ", ".join(SYMBOLS[number] for number in np.unique(structure.numbers[species < 0]))
        known = ", ".join(SYMBOLS[number] for number in elements)
        raise UnsupportedByModel(
            f"found {unknown}; expected the elements that this model was trained on ({known}); choose another model"
        )
    return species


def _joined(arrays: Sequence[NDArray], dtype: type = np.int64, n_columns: int | None = None) -> Tensor:
    """Arrays one after another as one tensor, of the right type and shape also where there are none."""
    shape = (-1,) if n_columns is None else (-1, n_columns)
    return torch.from_numpy(
        np.concatenate([np.empty(0, dtype), *(one.ravel() for one in arrays)], dtype=dtype).reshape(shape)
    )
