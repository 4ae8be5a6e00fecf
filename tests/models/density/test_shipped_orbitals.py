"""The laws for the weights that ship, and that these weights are worth something."""

from functools import cache

import pytest
import torch

from models.basis.harmonics import degrees
from models.catalog import catalog, load_model
from models.density.orbital.model import OrbitalDensity, centres_of
from models.graph import batched_graph
from models.neighbours import neighbours_of
from tests.models.contract import DensityModelContract, bent_molecule, distorted_crystal
from training.dataset import covered, samples
from training.metrics import Spread, nmae

SETS = {
    "orbital-aluminium-small": "aluminium",
    "orbital-crystals-small": "crystals",
    "orbital-organics-small": "organics",
    "orbital-water-small": "water",
}
CRYSTALS = {
    "orbital-aluminium-small": ("Al",) * 4,
    "orbital-crystals-small": ("Mg", "Si", "O", "O"),
    "orbital-organics-small": ("C", "N", "O", "F"),
    "orbital-water-small": ("O", "H", "H", "O"),
}
MOLECULES = {
    "orbital-aluminium-small": ("Al",) * 3,
    "orbital-crystals-small": ("O", "Mg", "Mg"),
    "orbital-organics-small": ("O", "H", "H"),
    "orbital-water-small": ("O", "H", "H"),
}
LARGEST_ERRORS = {
    "orbital-aluminium-small": 0.012,
    "orbital-crystals-small": 0.04,
    "orbital-organics-small": 0.015,
    "orbital-water-small": 0.01,
}
"""NMAE on held-out structures; the cards say how much smaller it is."""


@cache
def orbital(name: str) -> OrbitalDensity:
    model = load_model(name)
    assert isinstance(model, OrbitalDensity)
    return model


class ShippedContract(DensityModelContract):
    """The laws for the weights of one name."""

    name: str
    tolerance = 3e-5
    integral_tolerance = 2e-3

    def __init_subclass__(cls) -> None:
        cls.crystal_symbols, cls.molecule_symbols = CRYSTALS[cls.name], MOLECULES[cls.name]

    @pytest.fixture
    def model(self):
        return orbital(self.name)


class TestShippedAluminium(ShippedContract):
    name = "orbital-aluminium-small"


class TestShippedCrystals(ShippedContract):
    name = "orbital-crystals-small"


class TestShippedOrganics(ShippedContract):
    name = "orbital-organics-small"


class TestShippedWater(ShippedContract):
    name = "orbital-water-small"


def test_each_orbital_model_of_the_catalogue_is_tested_here():
    assert {name for name, entry in catalog().items() if entry.architecture == "orbital"} == SETS.keys()


@pytest.mark.parametrize("name", SETS)
def test_no_degree_is_silent(name):
    """Each l carries a thousandth of the coefficients at least, so that no law passes because something is zero."""
    network = orbital(name).network
    for structure in (bent_molecule(MOLECULES[name]), distorted_crystal(CRYSTALS[name])):
        config = network.config.trunk
        graph = batched_graph([structure], [neighbours_of(structure, config.cutoff)], config.elements)
        for centres in centres_of(network(graph), 0):
            sizes = centres.orbitals.coefficients.abs().sum((0, 1))
            degree = degrees(centres.orbitals.highest_degree)
            for one in degree.unique():
                assert sizes[degree == one].sum() > 1e-3 * sizes.sum()


@pytest.mark.parametrize("name", SETS)
def test_structures_that_it_never_saw_are_predicted_well(name):
    model = orbital(name)
    held_out = covered(samples([SETS[name]], "test"), model.network.config.trunk.elements)[:6]
    with torch.no_grad():
        fields = model.fields([sample.structure for sample in held_out])
    errors = [nmae(sample, field.at_points(sample.points)) for sample, field in zip(held_out, fields, strict=True)]
    assert Spread.of(errors).mean < LARGEST_ERRORS[name]
