import itertools

import numpy as np
import pytest
import torch
from chgnet.graph.converter import CrystalGraphConverter
from pymatgen.core import Lattice
from pymatgen.core import Structure as PymatgenStructure

from models.potential.chgnet.graph import BondGraph, bond_graph
from rhocast.structure import Structure
from tests.models.potential_contract import bent_molecule, distorted_rock_salt
from tests.models.structures import sheared_cell_of_one_atom

CUTOFF, ANGLE_CUTOFF = 5.0, 3.0

CELLS = {
    "rock salt": distorted_rock_salt(),
    "one atom": sheared_cell_of_one_atom(),
    "molecule": bent_molecule(("O", "H", "H"), 0.97),
    "gas": Structure.from_symbols(["Ar", "Ne"], [[0, 0, 0], [2.1, 2.2, 2.0]], 4.2 * np.eye(3)),
    "lone atom": Structure.from_symbols(["Ar"], [[0.3, 0.1, 0.2]], 31 * np.eye(3)),
}


@pytest.fixture(params=CELLS)
def structure(request) -> Structure:
    return CELLS[request.param]


@pytest.fixture
def graph(structure) -> BondGraph:
    return bond_graph([structure], CUTOFF, ANGLE_CUTOFF)


def vectors_by_brute_force(structure: Structure) -> list[list[np.ndarray]]:
    """For each atom the vectors from it to all others, and images, within the cutoff."""
    images = np.array(list(itertools.product(range(-12, 13), repeat=3))) if structure.is_periodic else np.zeros((1, 3))
    found: list[list[np.ndarray]] = []
    for position in structure.positions:
        every = (structure.positions[:, None] + images @ structure.cell - position).reshape(-1, 3)
        lengths = np.linalg.norm(every, axis=1)
        found.append(list(every[(lengths > 1e-9) & (lengths < CUTOFF)]))
    return found


def rounded(vectors) -> list[tuple[float, ...]]:
    return sorted(tuple(np.round(one, 6) + 0.0) for one in vectors)


def test_edges_bring_to_each_atom_all_that_is_near(structure, graph):
    for atom, vectors in enumerate(vectors_by_brute_force(structure)):
        found = -graph.edge_vectors[graph.receiver == atom]
        assert rounded(found.numpy()) == rounded(vectors)
        assert graph.n_neighbours[atom] == len(vectors)


def test_angles_are_all_ordered_pairs_of_short_vectors_of_an_atom(structure, graph):
    arms = -(graph.sign_of_arm[:, None] * graph.vectors[graph.bond_of_arm]).numpy()
    for atom, vectors in enumerate(vectors_by_brute_force(structure)):
        short = [one for one in vectors if np.linalg.norm(one) < ANGLE_CUTOFF]
        expected = [np.concatenate(pair) for pair in itertools.permutations(short, 2)]
        mine = (graph.centre[graph.arm] == atom).numpy()
        found = np.concatenate([arms[graph.arm[mine]], arms[graph.other_arm[mine]]], axis=1)
        assert rounded(found) == rounded(expected)
    assert torch.equal(graph.centre[graph.arm], graph.centre[graph.other_arm])


def test_a_bond_has_two_edges_one_to_either_end(graph):
    assert torch.equal(torch.bincount(graph.bond_of_edge, minlength=graph.n_bonds), torch.full((graph.n_bonds,), 2))
    ends = torch.stack([graph.sender, graph.receiver], dim=1)
    bonds = torch.stack([graph.first, graph.second], dim=1)[graph.bond_of_edge]
    assert torch.equal(torch.where(graph.sign_of_edge[:, None] > 0, bonds, bonds.flip(1)), ends)


def test_sums_run_through_memory(graph):
    for rising in (graph.receiver, graph.centre, graph.arm):
        assert (rising.diff() >= 0).all()
    assert (graph.bond_of_arm < graph.n_short).all()


@pytest.mark.filterwarnings("ignore:No Pauling electronegativity")
@pytest.mark.parametrize("name", ["rock salt", "one atom", "gas"])
def test_bonds_and_angles_are_as_many_as_the_package_has(name):
    structure = CELLS[name]
    graph = bond_graph([structure], CUTOFF, ANGLE_CUTOFF)
    converter = CrystalGraphConverter(atom_graph_cutoff=CUTOFF, bond_graph_cutoff=ANGLE_CUTOFF)
    theirs = converter(
        PymatgenStructure(Lattice(structure.cell), structure.symbols, structure.positions, coords_are_cartesian=True)
    )
    assert len(graph.receiver) == len(theirs.atom_graph)
    assert graph.n_bonds == len(theirs.undirected2directed)
    assert graph.n_angles == len(theirs.bond_graph)


def test_a_batch_is_its_members_side_by_side():
    structures = list(CELLS.values())
    together = bond_graph(structures, CUTOFF, ANGLE_CUTOFF)
    alone = [bond_graph([one], CUTOFF, ANGLE_CUTOFF) for one in structures]
    assert together.n_structures == len(structures)
    for name in ("n_atoms", "n_bonds", "n_angles", "n_short"):
        assert getattr(together, name) == sum(getattr(one, name) for one in alone)
    for index, one in enumerate(alone):
        mine = together.structure_of_bond == index
        assert rounded(together.vectors[mine].numpy()) == rounded(one.vectors.numpy())
        assert (together.structure_of_atom[together.second[mine]] == index).all()
        assert together.volumes[index] == pytest.approx(structures[index].volume)
    angles = torch.bincount(together.structure_of_atom[together.centre[together.arm]], minlength=len(structures))
    assert angles.tolist() == [one.n_angles for one in alone]


def test_a_graph_moves_to_a_device(graph):
    moved = graph.to("meta")
    assert moved.vectors.device.type == moved.other_arm.device.type == "meta"
    assert moved.n_short == graph.n_short


def test_no_structures_make_an_empty_graph():
    graph = bond_graph([], CUTOFF, ANGLE_CUTOFF)
    assert (graph.n_structures, graph.n_atoms, graph.n_bonds, graph.n_angles) == (0, 0, 0, 0)
