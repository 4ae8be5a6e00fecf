"""What an example costs, and who of several processes computes which of a batch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from models.potential.chgnet.graph import BondGraph

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class StepCost:
    """Milliseconds on one core that an example adds to a step, a·atoms + b·edges + c·angles.

    Attributes:
        per_atom: a.
        per_edge: b; a bond is two edges.
        per_angle: c; pairs of arms in either order.
    """

    per_atom: float
    per_edge: float
    per_angle: float

    def of(self, counts: FloatArray) -> FloatArray:
        """Costs of examples with so many atoms, edges and angles, [n, 3] → [n]."""
        return counts @ np.array([self.per_atom, self.per_edge, self.per_angle])

    @classmethod
    def fitted(cls, counts: FloatArray, milliseconds: FloatArray) -> "StepCost":
        """The costs, none negative, that explain measured steps best, each as much as any other.

        Args:
            counts: Atoms, edges and angles of each step, [n_steps, 3].
            milliseconds: What each took, [n_steps].
        """
        found, _ = nnls(counts / milliseconds[:, None], np.ones(len(milliseconds)))
        return cls(*found.tolist())


def counts_of(graph: BondGraph) -> FloatArray:
    """Atoms, edges and angles of a batch, [3]."""
    return np.array([graph.n_atoms, len(graph.receiver), graph.n_angles], dtype=np.float64)


def in_turn(n_examples: int, n_processes: int) -> list[list[int]]:
    """Places in a batch that each process takes if they are dealt out like cards."""
    return [list(range(rank, n_examples, n_processes)) for rank in range(n_processes)]


def longest_first(costs: Sequence[float], n_processes: int) -> list[list[int]]:
    """Places in a batch that each process takes: the costliest is always next, and goes to who has least to do.

    No process gets more than 4/3 of the least that is possible (R. L. Graham, SIAM Journal on Applied Mathematics 17,
    416 (1969)). Where all costs are equal, this is to take turns.

    Args:
        costs: Of each example of the batch.
        n_processes: How many share it.
    """
    shares: list[list[int]] = [[] for _ in range(n_processes)]
    loads = [0.0] * n_processes
    for place in sorted(range(len(costs)), key=lambda place: -costs[place]):
        rank = min(range(n_processes), key=loads.__getitem__)
        shares[rank].append(place)
        loads[rank] += costs[place]
    return shares


def imbalance(costs: Sequence[float], shares: Sequence[Sequence[int]]) -> float:
    """The largest load over the mean one; 1 where nobody waits.

    Args:
        costs: Of each example of a batch.
        shares: Places in it that each process takes.
    """
    loads = [sum(costs[place] for place in share) for share in shares]
    return max(loads) * len(loads) / sum(loads)
