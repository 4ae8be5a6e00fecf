from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import niggli_reduce

from models.couplings import components
from models.graph import Graph, batched_graph
from models.layers import EdgeScalars, SoftNorm, weights_from_seed
from models.neighbours import neighbours_of
from models.network import PRESETS, Trunk, TrunkConfig, TrunkFeatures
from rhocast.structure import Structure
from tests.models.structures import (
    SHEAR,
    STRUCTURES,
    TRANSFORMATIONS,
    doubled,
    side_by_side,
    transformed,
    wigner_matrix,
)

ELEMENTS = (1, 8, 12, 14)
TINY = TrunkConfig(ELEMENTS, cutoff=4.0, n_layers=2, n_channels=6, l_max=3, n_radial=5, n_hidden=12)
CONFIGS = {"tiny": TINY, "high": replace(TINY, l_max=4, n_layers=3, n_channels=4)} | {
    name: TrunkConfig.preset(name, ELEMENTS) for name in PRESETS
}
CRYSTAL, MOLECULE = STRUCTURES["crystal"], STRUCTURES["molecule"]


def graph_of(trunk: Trunk, *structures: Structure) -> Graph:
    return batched_graph(structures, [neighbours_of(one, trunk.config.cutoff) for one in structures], trunk.elements)


def features_of(trunk: Trunk, *structures: Structure) -> torch.Tensor:
    with torch.no_grad():
        return trunk(graph_of(trunk, *structures)).atoms


def assert_equal(found: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-10) -> None:
    """Equality of each degree on its own scale, so that a large scalar hides no error of a small l = 3."""
    assert found.shape == expected.shape
    for degree in range(int(found.shape[1] ** 0.5)):
        part = expected[:, components(degree)]
        # At a centre of inversion an odd degree is nothing but rounding.
        scale = max(part.norm(), 1e-3 * expected.norm())
        deviation = (found[:, components(degree)] - part).norm() / scale
        assert deviation < tolerance, f"l = {degree}"


@pytest.fixture(scope="module", params=["tiny", "high"])
def trunk(request) -> Trunk:
    return Trunk(CONFIGS[request.param], seed=1).double()


@pytest.fixture(params=STRUCTURES)
def structure(request) -> Structure:
    return STRUCTURES[request.param]


def assert_turns(trunk: Trunk, name: str, tolerance: float) -> None:
    matrix = TRANSFORMATIONS[name]
    wigner = wigner_matrix(matrix, trunk.config.l_max).to(trunk.embedding.dtype)
    for structure in (CRYSTAL, MOLECULE):
        after = features_of(trunk, transformed(structure, matrix))
        assert_equal(after, torch.einsum("kl,nlc->nkc", wigner, features_of(trunk, structure)), tolerance)


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_features_turn_and_mirror_with_the_structure(trunk, name):
    assert_turns(trunk, name, 1e-10)


@pytest.mark.parametrize("name", ["rotation", "mirror", "inversion"])
@pytest.mark.parametrize("preset", PRESETS)
def test_they_do_so_in_single_precision_and_at_every_size(preset, name):
    assert_turns(Trunk(CONFIGS[preset]), name, 1e-4)


@pytest.mark.parametrize("config", CONFIGS)
def test_every_atom_and_channel_has_a_signal_in_every_degree(config):
    features = features_of(Trunk(CONFIGS[config]), CRYSTAL, MOLECULE)
    for degree in range(CONFIGS[config].l_max + 1):
        sizes = features[:, components(degree)].norm(dim=1) / (2 * degree + 1) ** 0.5
        assert sizes.max() < 30
        assert sizes.square().mean().sqrt() > 0.05
        assert sizes.min() > 1e-5


def test_the_order_of_atoms_does_not_matter(trunk):
    order = np.array([2, 0, 3, 1])
    assert_equal(features_of(trunk, CRYSTAL.reordered(order)), features_of(trunk, CRYSTAL)[order])


def test_a_batch_is_its_members(trunk):
    batch = [MOLECULE, CRYSTAL, STRUCTURES["one atom"], MOLECULE]
    assert_equal(features_of(trunk, *batch), torch.cat([features_of(trunk, one) for one in batch]))


def test_fragments_beyond_the_cutoff_do_not_know_of_each_other(trunk):
    other = transformed(MOLECULE, TRANSFORMATIONS["rotation"])
    expected = torch.cat([features_of(trunk, MOLECULE), features_of(trunk, other)])
    assert_equal(features_of(trunk, side_by_side(MOLECULE, other, 25.0)), expected)
    with pytest.raises(AssertionError):
        assert_equal(features_of(trunk, side_by_side(MOLECULE, other, 4.0)), expected)


@pytest.mark.parametrize("axis", range(3))
def test_a_doubled_cell_has_the_features_twice(trunk, axis):
    for crystal in (CRYSTAL, STRUCTURES["one atom"]):
        assert_equal(features_of(trunk, doubled(crystal, axis)), features_of(trunk, crystal).repeat(2, 1, 1))


def test_moving_everything_or_single_atoms_by_lattice_vectors_changes_nothing(trunk, structure):
    expected = features_of(trunk, structure)
    moved = replace(structure, positions=structure.positions + np.array([10.3, -4.1, 7.7]))
    assert_equal(features_of(trunk, moved), expected)
    if structure.is_periodic:
        images = np.array([[1, 0, -2], [0, 3, 1], [-1, -1, 0], [0, 0, 0]])[: structure.n_atoms]
        assert_equal(
            features_of(trunk, replace(structure, positions=structure.positions + images @ structure.cell)), expected
        )
        assert_equal(features_of(trunk, replace(structure, positions=structure.wrapped_positions)), expected)


def test_the_choice_of_cell_does_not_matter(trunk):
    expected = features_of(trunk, CRYSTAL)
    for cell in (SHEAR @ CRYSTAL.cell, CRYSTAL.cell[[1, 0, 2]]):
        assert_equal(features_of(trunk, replace(CRYSTAL, cell=cell)), expected)


def test_the_reduced_cell_of_niggli_has_the_same_scalars(trunk):
    sheared = replace(CRYSTAL, cell=SHEAR @ CRYSTAL.cell)
    atoms = Atoms(sheared.numbers, sheared.positions, cell=sheared.cell, pbc=True)
    niggli_reduce(atoms)  # turns the crystal as well
    reduced = Structure(sheared.numbers, atoms.positions, np.array(atoms.cell))
    assert not np.allclose(reduced.cell, sheared.cell)
    assert_equal(features_of(trunk, reduced)[:, :1], features_of(trunk, sheared)[:, :1])


def test_the_box_of_a_molecule_does_not_matter(trunk):
    assert_equal(features_of(trunk, replace(MOLECULE, cell=2.0 * np.eye(3))), features_of(trunk, MOLECULE))


def test_news_travels_one_cutoff_a_layer(trunk):
    n_layers = trunk.config.n_layers
    chain = np.array([[3.0 * k, 0.2 * k**2 % 0.7, 0.0] for k in range(n_layers + 2)])

    def first_atom(changed: int) -> torch.Tensor:
        symbols = ["O" if k == changed else "H" for k in range(len(chain))]
        return features_of(trunk, Structure.from_symbols(symbols, chain, np.eye(3), is_periodic=False))[0]

    untouched = first_atom(n_layers + 1)
    assert torch.equal(first_atom(-1), untouched)
    for changed in range(1, n_layers + 1):
        assert (first_atom(changed) - untouched).abs().max() > 1e-6


def test_a_soft_norm_shortens_each_degree_by_its_own_length():
    features = torch.randn(5, 9, 6, dtype=torch.float64) * torch.logspace(-3, 3, 5, dtype=torch.float64)[:, None, None]
    found = SoftNorm(2).double()(features)
    for degree in range(3):
        before, after = (part[:, components(degree)].square().mean((1, 2)) for part in (features, found))
        torch.testing.assert_close(after, before / (1 + before))


def test_features_change_smoothly_where_a_neighbour_crosses_the_cutoff(trunk):
    steps = np.arange(-0.02, 0.02, 0.001)
    far = MOLECULE.positions[0] + np.array([trunk.config.cutoff, 0.0, 0.0])

    def scan(offsets):
        structures = [
            replace(
                MOLECULE,
                numbers=np.append(MOLECULE.numbers, 14),
                positions=np.vstack([MOLECULE.positions, far + np.array([offset, 0.0, 0.0])]),
            )
            for offset in offsets
        ]
        graph = graph_of(trunk, *structures)
        assert len(set(torch.bincount(graph.structure_of_edge).tolist())) > 1
        with torch.no_grad():
            return trunk(graph).atoms.unflatten(0, (-1, 4))

    features = scan(steps)
    assert features[0].sub(features[-1]).norm() > 1e-7
    # A jump of a value, a slope or a curvature would stand out of the n-th differences by powers of 1 / step.
    for order in (1, 2):
        differences = features.diff(n=order, dim=0).flatten(1).norm(dim=1)
        neighbouring = differences.diff().abs()
        assert neighbouring.max() < 0.2 * differences.max()


@pytest.mark.parametrize("config", ["tiny", "high"])
def test_gradients_by_positions_and_cells_are_those_of_finite_differences(config):
    trunk = Trunk(replace(CONFIGS[config], n_channels=2), seed=2).double()
    graph = graph_of(trunk, CRYSTAL, MOLECULE)
    projection = torch.linspace(-1, 1, 7 * (trunk.config.l_max + 1) ** 2 * 2, dtype=torch.float64).reshape(7, -1, 2)

    def projected(positions, cells):
        return (trunk(replace(graph, positions=positions, cells=cells)).atoms * projection).sum((1, 2))

    inputs = (graph.positions.clone().requires_grad_(), graph.cells.clone().requires_grad_())
    assert torch.autograd.gradcheck(projected, inputs, fast_mode=True)
    if config == "tiny":  # forces are trained through a second derivative
        assert torch.autograd.gradgradcheck(projected, inputs, fast_mode=True)


def test_every_parameter_has_a_gradient():
    trunk = Trunk(TINY)
    trunk(graph_of(trunk, CRYSTAL, MOLECULE)).atoms.square().sum().backward()
    for name, parameter in trunk.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 1e-6, name


@pytest.mark.parametrize("is_periodic", [True, False])
def test_an_isolated_atom_knows_its_element_alone(trunk, is_periodic):
    atoms = [
        Structure.from_symbols([symbol], [[1.0, 2.0, 3.0]], 30 * np.eye(3), is_periodic) for symbol in ("H", "O", "O")
    ]
    hydrogen, *oxygens = features_of(trunk, *atoms)
    assert torch.equal(*oxygens)
    assert (hydrogen[0] - oxygens[0][0]).abs().min() > 1e-3
    assert hydrogen[1:].abs().max() == 0


def test_atoms_that_nearly_touch_give_finite_numbers():
    trunk = Trunk(CONFIGS["small"])
    pair = Structure.from_symbols(["Si", "O"], [[0, 0, 0], [0, 0.06, 0.08]], np.eye(3), is_periodic=False)
    crowd = Structure.from_symbols(["Si"], [[0, 0, 0]], np.eye(3))
    for structure in (pair, crowd):
        graph = graph_of(trunk, structure)
        positions = graph.positions.requires_grad_()
        features = trunk(graph).atoms
        (gradient,) = torch.autograd.grad(features.sum(), positions)
        assert features.isfinite().all()
        assert gradient.isfinite().all()
        assert features.abs().max() < 100


def test_weights_follow_from_the_seed_and_leave_other_random_numbers_alone():
    torch.manual_seed(7)
    expected = torch.randn(3)
    torch.manual_seed(7)
    first, again, other = (Trunk(TINY, seed=seed).state_dict() for seed in (5, 5, 6))
    assert torch.equal(torch.randn(3), expected)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["embedding"], other["embedding"])


def test_what_heads_are_given_fits_together(trunk):
    graph = graph_of(trunk, CRYSTAL, MOLECULE)
    found = trunk(graph)
    assert isinstance(found, TrunkFeatures)
    assert found.graph is graph
    edges = found.edges
    torch.testing.assert_close(edges.lengths, graph.vectors.norm(dim=1))
    assert (edges.envelope > 0).all()
    assert (edges.envelope <= 1).all()
    assert edges.radial.shape == (graph.n_edges, trunk.config.n_radial)
    torch.testing.assert_close(edges.harmonics[:, 1:4] * edges.lengths[:, None] / 3**0.5, graph.vectors)
    assert trunk.irreps_out.dim == found.atoms[0].numel()


def test_transfers_made_of_edge_scalars_are_antisymmetric_to_the_last_bit_and_fade_at_the_cutoff():
    trunk = Trunk(TINY)
    with weights_from_seed(3):
        head = EdgeScalars(TINY.n_channels, TINY.n_radial, n_hidden=8, n_out=2)
    found = trunk(graph_of(trunk, CRYSTAL, STRUCTURES["one atom"]))
    scalars = head(found.atoms[:, 0], found.edges)
    transfers = scalars - scalars[found.edges.reverse]
    assert torch.equal(transfers[found.edges.reverse], -transfers)
    assert transfers.abs().max() > 1e-2
    fading = replace(found.edges, lengths=None, envelope=torch.zeros_like(found.edges.envelope))
    assert head(found.atoms[:, 0], fading).abs().max() == 0


def test_a_configuration_survives_a_table():
    config = TrunkConfig.preset("medium", (6, 1)[::-1])
    assert TrunkConfig.from_dict(config.as_dict()) == config
    assert config.as_dict()["elements"] == [1, 6]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_layer": 2}, "found n_layer in the table of a trunk"),
        ({"elements": [8, 1]}, r"found elements \(8, 1\); expected atomic numbers, rising, each once"),
        ({"elements": []}, "expected atomic numbers, rising, each once"),
        ({"elements": [1, 119]}, "expected atomic numbers from 1 to 118"),
        ({"elements": [0, 1]}, "expected atomic numbers from 1 to 118"),
        ({"cutoff": 0.0}, "expected sizes above zero"),
        ({"mean_neighbours": -1.0}, "expected sizes above zero"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        TrunkConfig.from_dict(TINY.as_dict() | change)


def test_an_unknown_preset_is_refused():
    with pytest.raises(ValueError, match="found preset 'huge'; expected one of small, medium, large"):
        TrunkConfig.preset("huge", ELEMENTS)


@pytest.mark.parametrize(("name", "least", "most"), [("small", 1e5, 2e5), ("medium", 5e5, 1e6), ("large", 2e6, 5e6)])
def test_presets_have_the_size_that_they_are_named_for(name, least, most):
    organics = TrunkConfig.preset(name, (1, 6, 7, 8, 9))
    assert least < sum(parameter.numel() for parameter in Trunk(organics).parameters()) < most
