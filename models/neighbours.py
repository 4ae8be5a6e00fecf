"""Neighbours under periodicity, found by vesin; the only module that needs it."""

import numpy as np
from vesin import NeighborList

from models.graph import Neighbours
from rhocast.structure import Structure


def neighbours_of(structure: Structure, cutoff: float) -> Neighbours:
    """Directed edges between all atoms, and images of atoms, closer than the cutoff.

    A cell may be smaller than the cutoff: an atom then is its own neighbour, once an image and direction. A molecule
    has no images, and an atom far from all others no edges.

    Args:
        structure: Atoms anywhere, inside the cell or not.
        cutoff: Longest edge in Å.
    """
    search = NeighborList(cutoff=cutoff, full_list=False)
    sender, receiver, shift = search.compute(
        np.ascontiguousarray(structure.positions, np.float64),
        np.ascontiguousarray(structure.cell, np.float64),
        structure.is_periodic,
        "ijS",
    )
    # Each pair is searched once and turned round here: a pair right at the cutoff can then not lose one direction.
    n_pairs = len(sender)
    senders = np.concatenate([sender, receiver]).astype(np.int64)
    receivers = np.concatenate([receiver, sender]).astype(np.int64)
    shifts = np.concatenate([shift, -shift]).astype(np.int64)
    order = np.lexsort((*shifts.T, senders, receivers))
    place = np.empty_like(order)
    place[order] = np.arange(2 * n_pairs)
    reverse = place[(order + n_pairs) % (2 * n_pairs)] if n_pairs else order
    return Neighbours(senders[order], receivers[order], shifts[order], reverse)
