"""Laws of the orbital model with random weights that leave no degree silent, for every option."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from models.basis.harmonics import degrees
from models.basis.products import Pairs
from models.checkpoint import Checkpoint
from models.density.orbital.config import BasisConfig, BondConfig, OrbitalConfig, ProductConfig
from models.density.orbital.model import OrbitalDensity, centres_of, products_of
from models.density.orbital.network import FIRST_SCALE, OrbitalNetwork, overlap_graph
from models.graph import batched_graph
from models.neighbours import neighbours_of
from models.network import TrunkConfig
from rhocast.errors import UnsupportedByModel, UnusableWeights
from rhocast.structure import Structure
from tests.models.contract import DensityModelContract, bent_molecule, distorted_crystal

ELEMENTS = (1, 8, 12, 14)
TRUNK = TrunkConfig(ELEMENTS, cutoff=4.0, n_layers=2, n_channels=8, l_max=3, n_hidden=16)
ATOMS = BasisConfig(3, 5, 0.15, 6.0)
BONDS = BondConfig(BasisConfig(2, 3, 0.4, 2.0), 3.0)
PRODUCT = ProductConfig(2, BasisConfig(1, 3, 0.3, 3.0))
ABOUT = {"name": "toy", "description": "", "level_of_theory": "", "domains": ["crystal", "molecule"]}
BASIS = asdict(PRODUCT.basis)
OPTIONS = {
    "atoms alone": OrbitalConfig(TRUNK, ATOMS, None),
    "bonds": OrbitalConfig(TRUNK, ATOMS, BONDS),
    "fixed exponents": OrbitalConfig(TRUNK, replace(ATOMS, is_learned=False), BONDS),
    "products": OrbitalConfig(TRUNK, ATOMS, BONDS, PRODUCT),
    "a product in the place of bonds": OrbitalConfig(
        TRUNK, ATOMS, None, ProductConfig(1, BasisConfig(2, 2, 0.4, 2.0, is_learned=False))
    ),
}


def network(config: OrbitalConfig = OPTIONS["bonds"], seed: int = 0) -> OrbitalNetwork:
    """A network whose weights have moved from where they start: no symmetry of the start can hide a fault."""
    made = OrbitalNetwork(config, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * parameter.std(correction=0) * torch.randn(parameter.shape, generator=generator))
        made.atom_orbitals.alone += torch.randn(made.atom_orbitals.alone.shape, generator=generator)
    return made


def expansion(of: OrbitalNetwork, *structures: Structure):
    neighbours = [neighbours_of(structure, of.config.trunk.cutoff) for structure in structures]
    graph = batched_graph(structures, neighbours, of.config.trunk.elements)
    return of(graph, overlap_graph(structures, of.config))


class TestOrbital(DensityModelContract):
    tolerance = 3e-5
    integral_tolerance = 2e-3
    fragment_distance = 40.0

    @pytest.fixture(params=OPTIONS)
    def model(self, request):
        return OrbitalDensity(network(OPTIONS[request.param]), ABOUT, "0")


@pytest.mark.parametrize("name", ["bonds", "atoms alone"])
def test_no_degree_is_silent(name):
    """Each l carries a thousandth of ∫|ρ| at least, so that no law passes because something is zero."""
    found = expansion(network(OPTIONS[name]), distorted_crystal())
    for orbitals in (found.atoms, found.bonds):
        if orbitals is not None:
            degree = degrees(orbitals.highest_degree)
            sizes = orbitals.coefficients.abs().sum((0, 1))
            for one in degree.unique():
                assert sizes[degree == one].sum() > 1e-3 * sizes.sum()


@pytest.mark.parametrize("name", ["products", "a product in the place of bonds"])
def test_no_degree_of_a_field_is_silent_and_products_have_both_signs(name):
    structure = distorted_crystal()
    found = products_of(expansion(network(OPTIONS[name]), structure), 0)
    for psi, chi in found.products.fields():
        for field in (psi, chi):
            sizes = field.coefficients.abs().sum((0, 1))
            degree = degrees(field.highest_degree)
            for one in degree.unique():
                assert sizes[degree == one].sum() > 1e-2 * sizes.sum()
    values = found.decoder(structure).on_grid((8, 8, 8))
    assert values.min() < -0.01
    assert values.max() > 0.01


def test_products_begin_as_small_as_other_functions():
    found = expansion(OrbitalNetwork(OPTIONS["products"]), distorted_crystal())
    size = found.products.first.abs().mean() * found.products.second.abs().mean()
    assert 0 < size < 10 * FIRST_SCALE


def test_products_need_the_pairs_that_overlap():
    structure, of = bent_molecule(), network(OPTIONS["products"])
    with pytest.raises(ValueError, match="no pairs that overlap; expected those of overlap_graph"):
        of(batched_graph([structure], [neighbours_of(structure, TRUNK.cutoff)], ELEMENTS))
    assert overlap_graph([structure], OPTIONS["bonds"]) is None
    assert products_of(expansion(network(), structure), 0) is None


@pytest.mark.parametrize("name", OPTIONS)
def test_every_fragment_has_exactly_its_electrons(name):
    near = bent_molecule(edge=6.0)
    far = replace(near, positions=near.positions + 40.0, numbers=np.array([12, 8, 14]))
    both = replace(
        near,
        numbers=np.concatenate([near.numbers, far.numbers]),
        positions=np.concatenate([near.positions, far.positions]),
    )
    found = expansion(network(OPTIONS[name]), both)
    assert found.charges.abs().max() > 1e-3
    for is_far in (False, True):
        of_atoms = found.atoms.multipoles()[(found.graph.positions[:, 0] > 20) == is_far, 0]
        assert of_atoms.abs().max() > 1e-3
        charge = of_atoms.sum()
        if found.bonds is not None:
            charge = charge + found.bonds.multipoles()[(found.bond_positions[:, 0] > 20) == is_far, 0].sum()
        if found.products is not None:
            senders = found.graph.positions[found.pairs.sender]
            of_pairs = found.products.charges(found.pairs)[(senders[:, 0] > 20) == is_far]
            assert of_pairs.abs().max() > 1e-3
            charge = charge + of_pairs.sum()
        assert charge.abs() < 1e-12
    if found.bonds is None and found.products is None:
        torch.testing.assert_close(found.atoms.multipoles()[:, 0], found.charges, atol=1e-12, rtol=0)


def test_an_atom_alone_keeps_its_electrons_and_learns_its_shape():
    alone = Structure.from_symbols(["O"], [[3.0, 3, 3]], 6 * np.eye(3), is_periodic=False)
    found = expansion(network(), alone)
    assert found.atoms.multipoles()[0, 0].abs() < 1e-12
    assert found.atoms.coefficients[0, :, 0].abs().max() > 1e-3
    assert len(found.bond_positions) == 0


def test_nothing_jumps_where_a_bond_ends():
    """A hydrogen is moved through the bond cutoff and the trunk's: the density changes as little as it moves."""
    model, points = OrbitalDensity(network(), ABOUT, "0"), np.random.default_rng(0).uniform(0, 6, (50, 3))

    def density(distance):
        structure = Structure.from_symbols(
            ["O", "H"], [[1.0, 3, 3], [1.0 + distance, 3, 3]], 6 * np.eye(3), is_periodic=False
        )
        return model.fields([structure])[0].at_points(points)

    for cutoff in (BONDS.cutoff, TRUNK.cutoff):
        steps = [density(cutoff + step) for step in (-2e-3, -1e-3, 0.0, 1e-3, 2e-3)]
        second = np.abs(np.diff(steps, n=2, axis=0)).max()
        assert second < 3e-5


def test_orbitals_may_touch_and_cells_may_be_tiny():
    model = OrbitalDensity(network(), ABOUT, "0")
    tiny = Structure.from_symbols(["Si"], [[0.1, 0.2, 0.3]], np.diag([1.9, 2.1, 2.3]))
    touching = Structure.from_symbols(["O", "H"], [[1, 1, 1], [1, 1, 1.1]], 4 * np.eye(3))
    for structure in (tiny, touching):
        (field,) = model.fields([structure])
        assert np.isfinite(field.on_grid((8, 8, 8))).all()


def test_an_element_that_it_was_not_trained_on_is_refused_by_name():
    with pytest.raises(UnsupportedByModel, match="found Na"):
        OrbitalDensity(network(), ABOUT, "0").fields([distorted_crystal(("Na", "O", "H", "H"))])


def test_electrons_of_a_product_are_halved_between_its_two_atoms():
    structure = bent_molecule()
    found = expansion(network(OPTIONS["a product in the place of bonds"]), structure)
    charges, pairs = found.products.charges(found.pairs), found.pairs
    expected = found.charges.clone()
    for charge, sender, receiver in zip(charges, pairs.sender, pairs.receiver, strict=True):
        expected[sender] -= charge / 2
        expected[receiver] -= charge / 2
    torch.testing.assert_close(found.atoms.multipoles()[:, 0], expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("structure", [distorted_crystal(), bent_molecule()], ids=["crystal", "molecule"])
def test_farther_pairs_than_the_cutoff_hold_no_electrons(structure):
    products = expansion(network(OPTIONS["products"]), structure).products

    def electrons(cutoff):
        graph = batched_graph([structure], [neighbours_of(structure, cutoff)], ELEMENTS)
        return float(products.charges(Pairs.of(graph)).sum().detach())

    cutoff = PRODUCT.pair_cutoff
    assert electrons(1.3 * cutoff) == pytest.approx(electrons(cutoff), abs=1e-11)
    assert abs(electrons(0.1 * cutoff) - electrons(cutoff)) > 1e-3


SPACING = 0.05
"""Of the values of a weight that a gradient is tested by."""


@pytest.mark.parametrize("name", ["bonds", "products"])
def test_the_gradient_is_that_of_the_density(name):
    """∂ρ/∂w of a handful of weights, against differences."""
    net = network(OPTIONS[name]).double()
    structure = bent_molecule(edge=5.0)
    points = np.random.default_rng(1).uniform(1, 4, (30, 3))

    def total():
        values, found = torch.zeros(len(points), dtype=torch.float64), expansion(net, structure)
        products = products_of(found, 0)
        for part in [*centres_of(found, 0), *([products] if products else [])]:
            values = values + part.decoder(structure).at_points(points)
        return (values * torch.linspace(-1, 1, len(points), dtype=torch.float64)).sum()

    total().backward()
    parameters = [net.atom_radial.logits, net.bond_radial.logits, net.atom_orbitals.by_species, net.transfer.bias]
    if net.config.product:
        parameters = [net.product_radial.logits, net.product_orbitals.mixing.weight, net.product_orbitals.by_species]
    for parameter in parameters:
        place = parameter.grad.abs().flatten().argmax()
        expected = float(parameter.grad.flatten()[place])
        values = {}
        for step in (-2, -1, 1, 2):
            with torch.no_grad():
                parameter.view(-1)[place] += step * SPACING
                values[step] = float(total().detach())
                parameter.view(-1)[place] -= step * SPACING
        # Wide steps, of fourth order: tables of the decoder are of single precision.
        slope = (8 * (values[1] - values[-1]) - (values[2] - values[-2])) / (12 * SPACING)
        assert slope == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize("name", ["bonds", "products"])
def test_a_checkpoint_brings_the_model_back(tmp_path, name):
    net, structure = network(OPTIONS[name]), bent_molecule(edge=5.0)
    file = tmp_path / "toy.safetensors"
    sha256 = Checkpoint({"model": net.config.as_dict(), "about": ABOUT}, net.state_dict()).write(file)
    back = OrbitalDensity.read(file, sha256)
    assert back.info.weights_sha256 == sha256
    assert back.info.elements == ("H", "O", "Mg", "Si")
    expected = OrbitalDensity(net, ABOUT, "").fields([structure])[0].on_grid((6, 6, 6))
    np.testing.assert_array_equal(back.fields([structure])[0].on_grid((6, 6, 6)), expected)


def test_another_checkpoint_is_refused(tmp_path):
    sha256 = Checkpoint({"model": OPTIONS["bonds"].as_dict()}, {}).write(tmp_path / "x.safetensors")
    with pytest.raises(UnusableWeights, match="no orbital model"):
        OrbitalDensity.read(tmp_path / "x.safetensors", sha256)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"atoms": {"highest_degree": 4}}, "degree 4; expected at most 3"),
        ({"atoms": {"n_radial": 1}}, "two exponents"),
        ({"atoms": {"smallest_exponent": 7.0}}, "smallest exponent < largest"),
        ({"atoms": {"width": 7.0}}, "found width"),
        ({"bonds": {"cutoff": 5.0}}, "bonds up to 5.0 Å"),
        ({"colour": {}}, "found colour"),
        ({"product": {"rank": 0}}, "found 0 products"),
        ({"product": {"rule": 1}}, "found rule"),
        ({"product": {"basis": {"highest_degree": 1}}}, "lacks something"),
        ({"product": {"basis": BASIS | {"highest_degree": 4}}}, "degree 4; expected at most 3"),
        ({"product": {"basis": BASIS | {"largest_exponent": 3.5}}}, "up to 3.5 bohr⁻²; expected at most half"),
        ({"product": {"basis": BASIS | {"smallest_exponent": 0.05}}}, "from 0.05 bohr⁻²; expected at least 0.1"),
    ],
)
def test_a_configuration_of_nonsense_is_refused(change, match):
    table = OPTIONS["products"].as_dict()
    for key, value in change.items():
        table[key] = table.get(key, {}) | value
    with pytest.raises(ValueError, match=match):
        OrbitalConfig.from_dict(table)


def test_a_configuration_survives_its_table():
    for config in OPTIONS.values():
        assert OrbitalConfig.from_dict(config.as_dict()) == config
    assert "product" not in OPTIONS["bonds"].as_dict()
    with pytest.raises(ValueError, match="lacks something: 'trunk'"):
        OrbitalConfig.from_dict({"atoms": {}})
