from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from models.graph import Graph, batched_graph
from models.neighbours import neighbours_of
from rhocast.errors import UnsupportedByModel
from rhocast.structure import Structure
from tests.models.structures import STRUCTURES

CUTOFF = 4.5
ELEMENTS = (1, 8, 12, 14)
BATCH = [STRUCTURES["molecule"], STRUCTURES["one atom"], STRUCTURES["crystal"]]


def graph_of(*structures: Structure, cutoff: float = CUTOFF) -> Graph:
    return batched_graph(structures, [neighbours_of(one, cutoff) for one in structures], ELEMENTS)


def test_vectors_run_from_sender_to_receiver_and_are_shorter_than_the_cutoff():
    crystal = STRUCTURES["crystal"]
    neighbours, graph = neighbours_of(crystal, CUTOFF), graph_of(crystal)
    ends = crystal.positions[neighbours.receiver] + neighbours.shift @ crystal.cell
    np.testing.assert_allclose(graph.vectors, ends - crystal.positions[neighbours.sender], atol=1e-12)
    lengths = torch.linalg.vector_norm(graph.vectors, dim=1)
    assert 0 < lengths.min() < lengths.max() < CUTOFF


def test_an_edge_runs_back_along_the_same_line():
    graph = graph_of(*BATCH)
    torch.testing.assert_close(graph.vectors[graph.reverse], -graph.vectors, rtol=0, atol=1e-12)
    assert torch.equal(graph.reverse[graph.reverse], torch.arange(graph.n_edges))
    assert torch.equal(graph.sender[graph.reverse], graph.receiver)


def test_a_batch_is_its_members_side_by_side():
    graph = graph_of(*BATCH)
    assert (graph.n_atoms, graph.n_structures) == (8, 3)
    for index, structure in enumerate(BATCH):
        alone, atoms, edges = graph_of(structure), graph.structure_of_atom == index, graph.structure_of_edge == index
        first_atom, first_edge = int(atoms.nonzero()[0]), int(edges.nonzero()[0])
        torch.testing.assert_close(graph.vectors[edges], alone.vectors, rtol=0, atol=1e-12)
        assert torch.equal(graph.species[atoms], alone.species)
        assert torch.equal(graph.sender[edges] - first_atom, alone.sender)
        assert torch.equal(graph.receiver[edges] - first_atom, alone.receiver)
        assert torch.equal(graph.reverse[edges] - first_edge, alone.reverse)
        assert torch.equal(graph.structure_of_atom[graph.sender[edges]], torch.full((alone.n_edges,), index))


def test_species_count_through_the_list_of_elements():
    assert graph_of(STRUCTURES["crystal"]).species.tolist() == [2, 3, 1, 1]


def test_elements_that_are_not_in_the_list_are_refused_by_name():
    strange = Structure.from_symbols(["H", "U", "O", "Fe"], np.diag([1.0, 2.0, 3.0, 4.0])[:, :3], 9 * np.eye(3))
    with pytest.raises(UnsupportedByModel, match=r"found Fe, U; expected .* \(H, O, Mg, Si\)"):
        graph_of(STRUCTURES["crystal"], strange)


@pytest.mark.parametrize("structures", [[], [Structure.from_symbols(["H"], [[0, 0, 0]], 9 * np.eye(3), False)] * 2])
def test_a_batch_without_edges_has_the_shapes_of_one_with_edges(structures):
    graph = graph_of(*structures)
    assert graph.vectors.shape == (0, 3)
    assert (graph.n_atoms, graph.n_edges, graph.n_structures) == (len(structures), 0, len(structures))
    filled = graph_of(*BATCH)
    for one in fields(Graph):
        empty, full = getattr(graph, one.name), getattr(filled, one.name)
        assert (empty.dtype, empty.shape[1:]) == (full.dtype, full.shape[1:])


@pytest.mark.parametrize("batch", [BATCH, BATCH[2:]], ids=["batch", "single"])
def test_vectors_follow_positions_and_a_strain_of_each_structure(batch):
    graph = graph_of(*batch)
    strain = torch.linspace(-0.02, 0.03, 9 * len(batch), dtype=torch.float64).reshape(-1, 3, 3)

    def vectors(positions, strain):
        deformation = torch.eye(3, dtype=torch.float64) + strain
        strained = torch.einsum("ai,aij->aj", positions, deformation[graph.structure_of_atom])
        return replace(graph, positions=strained, cells=graph.cells @ deformation).vectors

    expected = torch.einsum(
        "ei,eij->ej", graph.vectors, (torch.eye(3, dtype=torch.float64) + strain)[graph.structure_of_edge]
    )
    torch.testing.assert_close(vectors(graph.positions, strain), expected, rtol=0, atol=1e-12)
    inputs = (graph.positions.clone().requires_grad_(), strain.requires_grad_())
    assert torch.autograd.gradcheck(vectors, inputs, fast_mode=True)


def test_a_graph_moves_as_a_whole():
    moved = graph_of(*BATCH).to("meta")
    assert {getattr(moved, one.name).device.type for one in fields(Graph)} == {"meta"}
