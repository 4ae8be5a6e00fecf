"""Neighbours under periodicity, found by vesin; the only module that needs it."""

from typing import NamedTuple

import numpy as np
from vesin import NeighborList

from models.graph import IntArray, Neighbours
from models.interface import FloatArray
from rhocast.structure import Structure


class Pairs(NamedTuple):
    """Pairs of an atom and another atom's image, or its own, each once, whichever way round.

    Attributes:
        first: First atom of each pair, [n_pairs].
        second: Second atom, [n_pairs].
        shift: Lattice vectors by which the second atom is moved, integers, [n_pairs, 3].
        vectors: Vectors from the first atom to that image of the second in Å, [n_pairs, 3].
    """

    first: IntArray
    second: IntArray
    shift: IntArray
    vectors: FloatArray


def pairs_of(structure: Structure, cutoff: float) -> Pairs:
    """Pairs of atoms closer than the cutoff.

    A cell may be smaller than the cutoff: an atom then has pairs with images of its own. A molecule has no images.

    Args:
        structure: Atoms anywhere, inside the cell or not.
        cutoff: Longest distance in Å.
    """
    search = NeighborList(cutoff=cutoff, full_list=False)
    first, second, shift, vectors = search.compute(
        np.ascontiguousarray(structure.positions, np.float64),
        np.ascontiguousarray(structure.cell, np.float64),
        structure.is_periodic,
        "ijSD",
    )
    return Pairs(first.astype(np.int64), second.astype(np.int64), shift.astype(np.int64), vectors)


def neighbours_of(structure: Structure, cutoff: float) -> Neighbours:
    """Directed edges between all atoms, and images of atoms, closer than the cutoff.

    A cell may be smaller than the cutoff: an atom then is its own neighbour, once an image and direction. A molecule
    has no images, and an atom far from all others no edges.

    Args:
        structure: Atoms anywhere, inside the cell or not.
        cutoff: Longest edge in Å.
    """
    # Each pair is searched once and turned round here: a pair right at the cutoff can then not lose one direction.
    first, second, shift, _ = pairs_of(structure, cutoff)
    n_pairs = len(first)
    senders, receivers = np.concatenate([first, second]), np.concatenate([second, first])
    shifts = np.concatenate([shift, -shift])
    order = np.lexsort((*shifts.T, senders, receivers))
    place = np.empty_like(order)
    place[order] = np.arange(2 * n_pairs)
    reverse = place[(order + n_pairs) % (2 * n_pairs)] if n_pairs else order
    return Neighbours(senders[order], receivers[order], shifts[order], reverse)
