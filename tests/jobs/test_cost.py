"""Estimated edges agree with counted ones."""

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.neighborlist import neighbor_list

from jobs.cost import estimated_edges
from rhocast.structure import Structure


@pytest.mark.parametrize("symbol", ["Si", "Cu", "Al"])
def test_the_edges_of_a_crystal_are_estimated_within_a_quarter(symbol: str) -> None:
    atoms = bulk(symbol, cubic=True) * (2, 1, 1)
    structure = Structure(atoms.numbers.astype(np.int64), atoms.positions, atoms.cell.array)
    counted = len(neighbor_list("i", atoms, 6.0))
    assert estimated_edges(structure, 6.0) == pytest.approx(counted, rel=0.25)


def test_the_edges_of_a_molecule_are_never_more_than_its_pairs() -> None:
    atoms = molecule("C6H6")
    structure = Structure(atoms.numbers.astype(np.int64), atoms.positions, np.eye(3) * 30, is_periodic=False)
    assert estimated_edges(structure, 12.0) == 12 * 11
    assert 0 < estimated_edges(structure, 2.0) < 12 * 11
