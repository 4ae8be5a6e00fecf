"""Size of a request before it runs: estimated without building a graph."""

import math

from rhocast.structure import Structure


def estimated_edges(structure: Structure, cutoff: float) -> float:
    """Directed edges within a cutoff, from the mean number density.

    Args:
        structure: Atoms and cell.
        cutoff: Radius in Å.

    Returns:
        n_atoms times the expected neighbours of one; for a molecule never more than all pairs.
    """
    sphere = 4.0 / 3.0 * math.pi * cutoff**3
    neighbours = sphere * structure.n_atoms / structure.volume
    if not structure.is_periodic:
        neighbours = min(structure.n_atoms - 1.0, sphere / 10.0)  # about 10 Å³ an atom in a condensed molecule
    return structure.n_atoms * neighbours
