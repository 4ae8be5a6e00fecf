"""What a field says of itself as coefficients, evaluated by the SDK, is the field."""

import io

import numpy as np
import pytest
import torch

from models.basis import gaussian, harmonics
from models.decoder.orbital import RealSpaceDecoder
from models.density.orbital.model import OrbitalDensity
from models.density.promolecule import Promolecule
from models.interface import ExpandedField
from rhocast.density import DensityExpansion, FreeAtoms, Gaussians
from rhocast.density.expansion_npz import read_expansion, write_expansion
from rhocast.density.harmonics import HIGHEST_DEGREE, solid_harmonics
from rhocast.density.radial import RadialCubic
from rhocast.structure import Structure
from tests.models.contract import SHAPE, bent_molecule, distorted_crystal
from tests.models.decoder.brute_force import CELLS, Example, fractional_grid
from tests.models.density.test_orbital import ABOUT, OPTIONS, network

STRUCTURES = {
    "crystal": distorted_crystal(),
    "molecule": bent_molecule(edge=6.0),
    "one atom in a tiny cell": Structure.from_symbols(["Si"], [[0.1, 0.2, 0.3]], np.diag([1.9, 2.1, 2.3])),
    "an atom alone": Structure.from_symbols(["O"], [[3.0, 3, 3]], 6 * np.eye(3), is_periodic=False),
}


def through_a_file(expansion: DensityExpansion) -> DensityExpansion:
    stream = io.BytesIO()
    write_expansion(expansion, stream)
    assert stream.tell() < 40_000
    return read_expansion(stream)


@pytest.fixture(params=["promolecule", *OPTIONS])
def model(request):
    if request.param == "promolecule":
        return Promolecule()
    return OrbitalDensity(network(OPTIONS[request.param]), ABOUT, "0")


@pytest.mark.parametrize("name", STRUCTURES)
def test_a_file_of_coefficients_is_the_field_to_a_millionth_of_the_largest_value(model, name):
    field = model.fields([STRUCTURES[name]])[0]
    assert isinstance(field, ExpandedField)
    found, expected = through_a_file(field.expansion()), field.on_grid(SHAPE)
    tolerance = 1e-6 * expected.max()
    np.testing.assert_allclose(found.on_grid(SHAPE).values, expected, atol=tolerance)
    points = np.random.default_rng(0).uniform(-4, 9, (300, 3))
    np.testing.assert_allclose(found.at_points(points), field.at_points(points), atol=tolerance)
    assert found.n_electrons == pytest.approx(field.n_electrons, abs=1e-10)


@pytest.mark.parametrize("name", STRUCTURES)
def test_free_atoms_are_the_promolecules_own_splines(name):
    field = Promolecule().fields([STRUCTURES[name]])[0]
    points = np.random.default_rng(0).uniform(-4, 9, (300, 3))
    np.testing.assert_allclose(field.expansion().at_points(points), field.at_points(points), atol=1e-13)


@pytest.mark.parametrize("name", ["bonds", "products"])
def test_the_dipole_of_a_field_is_that_of_its_grid(name):
    structure = bent_molecule(edge=11.0)
    field = OrbitalDensity(network(OPTIONS[name]), ABOUT, "0").fields([structure])[0]
    shape, points = (64, 64, 64), fractional_grid((64, 64, 64)) @ structure.cell
    values, atoms = field.on_grid(shape), Promolecule().fields([structure])[0].on_grid(shape)
    expected = -(values - atoms).ravel() @ points * structure.volume / values.size
    assert np.abs(expected).max() > 0.05
    np.testing.assert_allclose(field.expansion().dipole, expected, atol=2e-4)


def nothing() -> FreeAtoms:
    """Free atoms without electrons: only the functions are left."""
    return FreeAtoms({"H": RadialCubic(np.zeros(2), np.zeros(2), 1.0)}, {"H": 1.0})


@pytest.mark.parametrize("highest_degree", [0, 3, HIGHEST_DEGREE])
@pytest.mark.parametrize("name", CELLS)
def test_functions_are_a_plain_lattice_sum_with_scipys_harmonics(name, highest_degree):
    example = Example(CELLS[name], True, highest_degree)
    structure = Structure.from_symbols(["H"] * 3, example.positions, example.cell)
    functions = Gaussians(np.tile(example.exponents, (3, 1)), example.coefficients)
    points = fractional_grid((4, 5, 3)) @ example.cell
    found, expected = DensityExpansion(structure, nothing(), functions).at_points(points), example.values(points)
    # The plain sum does not end where the decoders end, at 10⁻⁶ of a function's largest value.
    np.testing.assert_allclose(found, expected, atol=5e-6 * np.abs(expected).max())
    decoder = RealSpaceDecoder(example.cell, True, example.positions, example.orbitals(), torch.float64)
    # What is left is the decoder's: its tables are good to 10⁻⁶ up to l = 4.
    np.testing.assert_allclose(found, decoder.at_points(points).numpy(), atol=3e-6 * np.abs(expected).max())


def test_conventions_are_the_networks():
    vectors = np.random.default_rng(0).standard_normal((50, 3))
    expected = harmonics.solid_harmonics(torch.from_numpy(vectors), HIGHEST_DEGREE).numpy().T
    np.testing.assert_allclose(solid_harmonics(vectors, HIGHEST_DEGREE), expected, atol=1e-12)
    example = Example(CELLS["sheared"], True, 4)
    functions = Gaussians(np.tile(example.exponents, (3, 1)), example.coefficients)
    orbitals: gaussian.Orbitals = example.orbitals()
    np.testing.assert_allclose(functions.multipoles, orbitals.multipoles().numpy(), rtol=1e-11)
    np.testing.assert_allclose(functions.radii, orbitals.radii().numpy(), rtol=1e-12)
