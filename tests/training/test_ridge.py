from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from models.basis.gaussian import Orbitals
from models.basis.harmonics import degrees
from models.decoder.orbital import RealSpaceDecoder
from models.density.orbital.config import BasisConfig, BondConfig, OrbitalConfig
from models.density.orbital.radial import RadialFunctions
from models.density.promolecule import Promolecule
from models.network import TrunkConfig
from rhocast.structure import Structure
from tests.models.contract import bent_molecule, distorted_crystal
from tests.training.analytic_samples import grid_points, sample_of
from training import ridge
from training.ridge import CentreFunctions, floor_of, ridge_fit, starting_functions

BOHR = 0.529177210903
TRUNK = TrunkConfig((1, 8, 12, 14), cutoff=3.0, n_layers=1, n_channels=4, l_max=4, n_hidden=8)
ATOMS = BasisConfig(3, 4, 0.4, 4.0)
BONDS = BondConfig(BasisConfig(2, 3, 0.4, 2.0), 1.3)
SOFT = BasisConfig(3, 4, 0.3, 2.0)
"""Functions that a grid of `SHAPE` resolves."""
PROMOLECULE = Promolecule()
MOLECULE = bent_molecule(edge=7.0)
SHAPE = (30, 30, 30)


def starting_exponents(config: BasisConfig) -> np.ndarray:
    """bohr⁻²: evenly spaced in what the logistic function takes to its logarithm's place between the bounds."""
    places = (np.arange(config.n_radial) + 0.5) / config.n_radial
    return config.smallest_exponent * (config.largest_exponent / config.smallest_exponent) ** places


def polynomial_gaussian(points, centre, exponent) -> np.ndarray:
    """Functions of degrees 0 to 3 with one exponent, by their Cartesian polynomials, in e/Å³."""
    x, y, z = (points - centre).T / BOHR
    polynomial = 1 + 0.5 * x - 0.3 * z + 0.4 * x * y - 0.2 * (y**2 - z**2) + 0.3 * x * y * z
    return polynomial * np.exp(-exponent * (x**2 + y**2 + z**2))


@pytest.mark.parametrize("structure", [bent_molecule(edge=5.0), distorted_crystal()], ids=["molecule", "crystal"])
def test_a_density_in_the_basis_is_reproduced(structure):
    config = OrbitalConfig(TRUNK, ATOMS, None)
    _, first, second, _ = starting_exponents(ATOMS)
    cells = np.array(list(np.ndindex(7, 7, 7))) - 3 if structure.is_periodic else np.zeros((1, 3))

    def density(points):
        total = np.zeros(len(points))
        for image in cells @ structure.cell:
            total += polynomial_gaussian(points, structure.positions[0] + image, first)
            total -= 0.7 * polynomial_gaussian(points, structure.positions[1] + image, second)
        return total

    shape = (20, 20, 20) if structure.is_periodic else SHAPE
    sample = sample_of(structure, shape, density(grid_points(structure.cell, shape)), 1)
    fit = ridge_fit(starting_functions(structure, config), sample, sample.density)
    elsewhere = np.random.default_rng(0).uniform(size=(500, 3)) @ structure.cell
    np.testing.assert_allclose(
        fit.at_points(elsewhere), density(elsewhere), rtol=0, atol=1e-6 * np.abs(sample.density).max()
    )


@pytest.mark.parametrize("structure", [MOLECULE, distorted_crystal()], ids=["molecule", "crystal"])
def test_functions_are_those_that_the_decoder_adds_up(structure):
    radial = RadialFunctions(ATOMS, 1)
    functions = CentreFunctions.starting(structure.positions, radial)
    coefficients = torch.from_numpy(np.random.default_rng(0).standard_normal((structure.n_atoms, 16, 4)))
    of_gaussians = torch.einsum("mjk,amk->ajm", radial.combinations().detach()[0][degrees(3)], coefficients)
    orbitals = Orbitals(functions.exponents, of_gaussians)
    decoder = RealSpaceDecoder(structure.cell, structure.is_periodic, structure.positions, orbitals, torch.float64)
    # In a crystal also points outside the cell; in a molecule's box some lie beyond every decode radius.
    points = np.random.default_rng(1).uniform(-1, 2, size=(400, 3)) @ structure.cell
    expected = decoder.at_points(points).numpy()
    found = functions.values(structure, points) @ coefficients.flatten().numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    np.testing.assert_array_equal(found == 0, expected == 0)
    assert structure.is_periodic or (expected == 0).any()
    assert functions.n_functions == len(coefficients.flatten())


def lopsided_sample(shape=SHAPE):
    """Water whose electrons sit beside the atoms, where no function is centred."""
    points = grid_points(MOLECULE.cell, shape)
    (field,) = PROMOLECULE.fields([MOLECULE])
    density = field.at_points(points)
    for place in MOLECULE.positions + np.array([0.2, -0.3, 0.25]):
        density += 0.5 * np.exp(-np.square(points - place).sum(1) / 0.35)
    return sample_of(MOLECULE, shape, density, 10)


def test_the_floor_falls_with_the_degree_and_with_bonds():
    sample = lopsided_sample()
    configs = [OrbitalConfig(TRUNK, replace(SOFT, highest_degree=degree), None) for degree in range(4)]
    configs.append(replace(configs[-1], bonds=BONDS))
    floors = [floor_of(sample, starting_functions(MOLECULE, config), PROMOLECULE) for config in configs]
    assert [floor.n_functions for floor in floors] == [12, 48, 108, 192, 192 + 2 * 27]
    for worse, better in pairwise(floors):
        assert better.held_out.value < 0.9 * worse.held_out.value
        assert better.fitted.value < 0.9 * worse.fitted.value


def test_a_few_points_of_a_whole_grid_stand_for_all(monkeypatch):
    functions = starting_functions(MOLECULE, OrbitalConfig(TRUNK, replace(SOFT, highest_degree=2), None))
    sample = lopsided_sample()
    half = floor_of(sample, functions, PROMOLECULE)
    monkeypatch.setattr(ridge, "MOST_FITTED", 3000)
    few = floor_of(sample, functions, PROMOLECULE)
    assert (half.n_fitted, few.n_fitted) == (13500, pytest.approx(3000, abs=2))
    assert few.held_out.value == pytest.approx(half.held_out.value, rel=0.1)
    assert few.fitted.value == pytest.approx(half.fitted.value, rel=0.1)


def test_reweighted_fits_lower_the_absolute_error_and_raise_the_squared_one():
    sample = lopsided_sample()
    functions = starting_functions(MOLECULE, OrbitalConfig(TRUNK, replace(SOFT, highest_degree=2), None))
    (field,) = PROMOLECULE.fields([MOLECULE])
    missing = sample.density - field.at_points(sample.points)
    squares, absolute = (
        np.abs(ridge_fit(functions, sample, missing, n).at_points(sample.points) - missing) for n in (0, 2)
    )
    assert absolute.sum() < 0.97 * squares.sum()
    assert np.square(squares).sum() < np.square(absolute).sum()


def test_a_density_that_is_the_promolecule_needs_nothing():
    sample = lopsided_sample()
    functions = starting_functions(MOLECULE, OrbitalConfig(TRUNK, ATOMS, None))
    assert not ridge_fit(functions, sample, np.zeros_like(sample.density)).coefficients.any()


def test_functions_sit_on_atoms_and_in_the_middle_of_close_pairs():
    config = OrbitalConfig(TRUNK, ATOMS, BONDS)
    atoms, bonds = starting_functions(MOLECULE, config)
    np.testing.assert_array_equal(atoms.positions, MOLECULE.positions)
    oxygen, *hydrogens = MOLECULE.positions
    expected = [(oxygen + hydrogen) / 2 for hydrogen in hydrogens]
    np.testing.assert_allclose(bonds.positions[np.argsort(-bonds.positions[:, 0])], expected)
    np.testing.assert_allclose(bonds.exponents[1], starting_exponents(BONDS.basis), rtol=1e-5)
    # A chain along a short cell vector: each atom is bonded to its own image, half of a cell away on either side.
    chain = Structure.from_symbols(["H"], [[0.1, 2, 2]], np.diag([1.2, 8, 8]))
    _, bonds = starting_functions(chain, config)
    np.testing.assert_allclose(np.mod(bonds.positions, [1.2, 8, 8]), [[0.7, 2, 2]])
    alone = Structure.from_symbols(["H"], [[0, 0, 0]], 8 * np.eye(3), is_periodic=False)
    assert len(starting_functions(alone, config)) == 1
