from dataclasses import replace

import numpy as np
import pytest
import torch

from models.basis.gaussian import Orbitals
from models.density.orbital.config import BasisConfig, BondConfig, OrbitalConfig, ProductConfig
from models.density.orbital.model import Centres, orbital_fields
from models.density.orbital.network import OrbitalNetwork
from models.density.promolecule import Promolecule
from models.network import TrunkConfig
from reference.soft_density import wave_vector_indices, wave_vectors
from rhocast.errors import UnsupportedByModel
from rhocast.structure import Structure
from tests.models.contract import bent_molecule, distorted_crystal
from tests.models.decoder.brute_force import SHEARED, Example
from tests.training.analytic_samples import grid_points, sample_of
from training.coulomb import Waves, coulomb_error, electrons_in_waves
from training.density import DensityExample, DensityTask, batch_loss, errors_of

HARTREE, BOHR = 27.211386245988, 0.529177210903
PROMOLECULE = Promolecule()
CONFIG = OrbitalConfig(
    TrunkConfig((1, 8, 12, 14), cutoff=3.0, n_layers=1, n_channels=4, l_max=3, n_hidden=8),
    BasisConfig(3, 3, 0.3, 3.0),
    BondConfig(BasisConfig(2, 2, 0.4, 2.0), 2.5),
)


CONFIGS = {"bonds": CONFIG, "products": replace(CONFIG, product=ProductConfig(2, BasisConfig(1, 2, 0.3, 1.5)))}


def strong_network(seed: int = 0, config: OrbitalConfig = CONFIG) -> OrbitalNetwork:
    """A network that adds much."""
    network = OrbitalNetwork(config, seed)
    with torch.no_grad():
        network.atom_orbitals.by_species *= 10
        network.atom_orbitals.alone += torch.linspace(-5, 5, 12).view(4, 3)
    return network


def sample_like(network: OrbitalNetwork, structure: Structure, shape):
    (field,) = orbital_fields(network, PROMOLECULE, [structure])
    return sample_of(structure, shape, field.on_grid(shape).ravel(), field.n_electrons)


@pytest.mark.parametrize("is_periodic", [True, False], ids=["crystal", "molecule"])
def test_waves_of_orbitals_are_sums_over_a_fine_grid(is_periodic):
    cell = SHEARED if is_periodic else np.diag([9.0, 10.0, 11.0])
    example = Example(cell, is_periodic, highest_degree=3, exponents=(0.9, 2.2))
    if not is_periodic:
        example.positions = np.array([[4.4, 5.0, 5.1], [5.0, 5.2, 6.0], [4.0, 4.6, 5.5]])
    shape = (18, 20, 22) if is_periodic else (40, 44, 48)
    indices = wave_vector_indices(cell)[::7]
    grid = example.values(grid_points(cell, shape)).reshape(shape)
    expected = np.fft.fftn(grid)[tuple((indices % shape).T)] * abs(np.linalg.det(cell)) / grid.size
    vectors = torch.from_numpy(wave_vectors(cell, indices))
    found = electrons_in_waves(torch.from_numpy(example.positions), example.orbitals(), vectors)
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def test_waves_of_the_promolecule_are_those_of_its_grid_and_begin_with_its_electrons():
    structure, shape = distorted_crystal(("Na", "Si", "Si", "Mg")), (48, 54, 60)
    indices = wave_vector_indices(structure.cell)
    found = PROMOLECULE.electrons_in_waves(structure, wave_vectors(structure.cell, indices))
    (field,) = PROMOLECULE.fields([structure])
    assert found[0] == pytest.approx(field.n_electrons, abs=1e-6)
    expected = np.fft.fftn(field.on_grid(shape))[tuple((indices % shape).T)] * structure.volume / np.prod(shape)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_waves_of_a_molecule_are_those_of_its_periodic_images():
    molecule, vectors = (
        bent_molecule(edge=5.0),
        wave_vectors(5 * np.eye(3), np.array([[0, 0, 0], [1, 0, 0], [1, -2, 1]])),
    )
    crystal = Structure(molecule.numbers, molecule.positions, molecule.cell, is_periodic=True)
    (field,) = PROMOLECULE.fields([crystal])
    waves = np.exp(-1j * vectors @ grid_points(molecule.cell, (60, 60, 60)).T)
    expected = waves @ field.on_grid((60, 60, 60)).ravel() * (5 / 60) ** 3
    np.testing.assert_allclose(PROMOLECULE.electrons_in_waves(molecule, vectors), expected, rtol=0, atol=1e-5)


def test_an_element_without_a_free_atom_is_refused_by_name():
    with pytest.raises(UnsupportedByModel, match="found Tc"):
        PROMOLECULE.electrons_in_waves(distorted_crystal(("Tc", "Si", "O", "O")), np.zeros((1, 3)))


def test_the_energy_of_one_wave_by_hand():
    """Δρ = A cos G·r has the potential 4π A cos(G·r) / G², so that E = V · ½ · ½ · 4π A² / G², in atomic units."""
    structure = distorted_crystal()
    sample = sample_of(structure, (20, 24, 28), np.zeros(20 * 24 * 28), 20)
    waves, amplitude, place = Waves.of(sample, PROMOLECULE), 0.03, 4
    missing = torch.zeros_like(waves.missing)
    missing[place] = amplitude * structure.volume / 2
    wave_number = float(waves.vectors[place].norm())
    in_atomic_units = (
        (structure.volume / BOHR**3) / 4 * 4 * np.pi * (amplitude * BOHR**3) ** 2 / (wave_number * BOHR) ** 2
    )
    found = coulomb_error(Waves(waves.vectors, missing, waves.energies), [])
    assert float(found) == pytest.approx(in_atomic_units * HARTREE / 20, rel=1e-9)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("structure", [distorted_crystal(), bent_molecule(edge=11.0)], ids=["crystal", "molecule"])
def test_the_exact_density_has_no_error(structure, config):
    network = strong_network(0, config)
    shape = (48, 54, 60) if structure.is_periodic else (96, 96, 96)
    example = DensityExample.of(sample_like(network, structure, shape), CONFIG.trunk.cutoff, PROMOLECULE)
    (exact,), (other,) = errors_of(network, [example]), errors_of(strong_network(1, config), [example])
    assert exact.coulomb < 1e-8 * other.coulomb
    assert exact.nmae.value < 1e-6
    assert other.nmae.value > 0.01
    assert other.coulomb > 1e-4


def test_its_gradient_is_that_of_the_energy():
    generator = torch.Generator().manual_seed(0)
    vectors = torch.from_numpy(wave_vectors(SHEARED, wave_vector_indices(SHEARED)[1:]))
    missing = torch.randn(len(vectors), dtype=torch.complex128, generator=generator)
    waves = Waves(vectors, missing, 1 / vectors.square().sum(1))
    positions = np.array([[0.1, 0.2, 0.3], [1.5, 2.0, 1.0]])

    def energy(logarithms, coefficients):
        return coulomb_error(waves, [Centres(positions, Orbitals(logarithms.exp(), coefficients))])

    logarithms = torch.tensor([[-0.5, 0.7], [0.1, 1.0]], dtype=torch.float64, requires_grad=True)
    coefficients = torch.randn(2, 2, 16, dtype=torch.float64, generator=generator).requires_grad_()
    assert torch.autograd.gradcheck(energy, (logarithms, coefficients))


def test_the_gradient_of_the_loss_goes_through_products():
    """Along the weights of products, against a difference."""
    network, structure = strong_network(1, CONFIGS["products"]), distorted_crystal()
    sample = sample_like(strong_network(0, CONFIGS["products"]), structure, (12, 14, 16))
    example = DensityExample.of(sample, CONFIG.trunk.cutoff, PROMOLECULE)

    def loss():
        return batch_loss(network, [example], len(sample.density), np.random.default_rng(0), 3.0)

    loss().backward()
    for parameter in (network.product_orbitals.mixing.weight, network.product_radial.logits):
        gradient, step = parameter.grad.clone(), 3e-3 / parameter.grad.norm()
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter.add_(sign * step * gradient)
                values.append(float(loss()))
                parameter.sub_(sign * step * gradient)
        expected = float(gradient.square().sum())
        assert (values[0] - values[1]) / (2 * float(step)) == pytest.approx(expected, rel=0.01)
        assert expected > 0


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_the_loss_is_the_nmae_and_its_weight_times_the_energy(config):
    network, structure = strong_network(1, config), distorted_crystal()
    sample = sample_like(strong_network(), structure, (16, 18, 20))
    example = DensityExample.of(sample, CONFIG.trunk.cutoff, PROMOLECULE)
    n_points = len(sample.density)  # all of them, so that the NMAE is not an estimate

    def loss(weight):
        return float(batch_loss(network, [example], n_points, np.random.default_rng(0), weight).detach())

    (error,) = errors_of(network, [example])
    assert loss(0.0) == pytest.approx(error.nmae.value, rel=1e-9)
    assert loss(3.0) - loss(0.0) == pytest.approx(3 * error.coulomb, rel=1e-6)
    task = DensityTask(network, [example], [sample], n_points, PROMOLECULE, 3.0)
    assert float(task.loss([0], np.random.default_rng(0)).detach()) == pytest.approx(loss(3.0))
    figures = task.evaluate(network)
    assert figures["validation_nmae"] == pytest.approx(error.nmae.value)
    assert figures["validation_coulomb"] == pytest.approx(error.coulomb)
