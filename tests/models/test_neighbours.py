import itertools
from dataclasses import replace

import numpy as np
import pytest

from models.neighbours import neighbours_of
from rhocast.structure import Structure
from tests.models.structures import SHEAR, STRUCTURES

CUTOFF = 4.5

IMAGES = np.array(list(itertools.product(range(-14, 15), repeat=3)))


def edges_of(structure: Structure, cutoff: float = CUTOFF) -> set[tuple[int, ...]]:
    neighbours = neighbours_of(structure, cutoff)
    columns = np.column_stack([neighbours.sender, neighbours.receiver, neighbours.shift])
    assert len(set(map(tuple, columns))) == len(columns)
    return set(map(tuple, columns.tolist()))


def edges_by_brute_force(structure: Structure, cutoff: float = CUTOFF) -> set[tuple[int, ...]]:
    images = IMAGES if structure.is_periodic else np.zeros((1, 3), dtype=int)
    found = set()
    for i, j in itertools.product(range(structure.n_atoms), repeat=2):
        vectors = structure.positions[j] + images @ structure.cell - structure.positions[i]
        for shift in images[np.linalg.norm(vectors, axis=1) < cutoff]:
            if i != j or shift.any():
                found.add((i, j, *shift.tolist()))
    return found


@pytest.fixture(params=STRUCTURES)
def structure(request) -> Structure:
    return STRUCTURES[request.param]


def test_edges_are_those_of_a_search_through_all_images(structure):
    assert edges_of(structure) == edges_by_brute_force(structure)
    assert len(edges_of(structure)) >= 6


def test_shifts_count_from_where_the_atoms_are_and_not_from_where_they_would_be_wrapped():
    crystal = STRUCTURES["crystal"]
    images = np.array([[1, 0, -2], [0, 3, 1], [-1, -1, 0], [0, 0, 0]])
    moved = replace(crystal, positions=crystal.positions + images @ crystal.cell)
    expected = {
        (i, j, *(np.array(shift) + images[i] - images[j]).tolist()) for i, j, *shift in edges_by_brute_force(crystal)
    }
    assert edges_of(moved) == expected


def test_lengths_do_not_know_which_cell_was_chosen():
    def lengths(structure: Structure):
        edges = neighbours_of(structure, CUTOFF)
        vectors = structure.positions[edges.receiver] + edges.shift @ structure.cell - structure.positions[edges.sender]
        return np.sort(np.linalg.norm(vectors, axis=1))

    crystal = STRUCTURES["crystal"]
    for cell in (SHEAR @ crystal.cell, crystal.cell[[1, 0, 2]], -crystal.cell):
        np.testing.assert_allclose(lengths(replace(crystal, cell=cell)), lengths(crystal), rtol=1e-12)


def test_every_edge_has_one_that_runs_back(structure):
    edges = neighbours_of(structure, CUTOFF)
    back = edges.reverse
    np.testing.assert_array_equal(back[back], np.arange(len(back)))
    assert (back != np.arange(len(back))).all()
    np.testing.assert_array_equal(edges.sender[back], edges.receiver)
    np.testing.assert_array_equal(edges.shift[back], -edges.shift)


def test_edges_come_in_the_order_of_their_receivers(structure):
    assert (np.diff(neighbours_of(structure, CUTOFF).receiver) >= 0).all()


def test_a_pair_right_at_the_cutoff_keeps_both_directions_or_none():
    cell = 2.7 * np.ones((3, 3)) - 2.7 * np.eye(3)
    for cutoff in 2.7 * np.sqrt([2, 4, 6, 8]):
        for origin in ([0.0, 0.0, 0.0], [0.1, 0.7, 0.3]):
            edges = edges_of(Structure.from_symbols(["Cu"], [origin], cell), cutoff)
            assert {(j, i, -a, -b, -c) for i, j, a, b, c in edges} == edges


def test_a_molecule_has_no_images():
    box = replace(STRUCTURES["molecule"], cell=2.0 * np.eye(3))
    assert edges_of(box) == {(i, j, 0, 0, 0) for i, j in itertools.permutations(range(3), 2)}


@pytest.mark.parametrize("is_periodic", [True, False])
def test_an_atom_far_from_all_others_has_no_edges(is_periodic):
    atom = Structure.from_symbols(["Ne"], [[1.0, 2.0, 3.0]], 20 * np.eye(3), is_periodic)
    edges = neighbours_of(atom, CUTOFF)
    assert [len(array) for array in (edges.sender, edges.receiver, edges.reverse)] == [0, 0, 0]
    assert edges.shift.shape == (0, 3)
