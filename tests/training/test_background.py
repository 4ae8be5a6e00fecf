"""The closed-form background against a dense least squares that shares no code with it."""

import numpy as np
import pytest

from models.density.deep_density.background import background_atoms
from models.density.deep_density.config import BackgroundConfig
from models.density.deep_density.network import deep_density_network
from models.density.promolecule import Promolecule, PromoleculeField
from rhocast.structure import Structure
from tests.training.deep_samples import CONFIG, water
from training.background import CHARGE_WEIGHT, RIDGE, background_coefficients, design
from training.deep_density import fit_background, point_examples
from training.metrics import nmae

FREE = Promolecule().table


def plain_shells(lengths: np.ndarray, config: BackgroundConfig) -> np.ndarray:
    spacing = config.cutoff / config.n_radial
    centres, width = spacing * np.arange(config.n_radial), 1.4 * spacing
    x = np.minimum(lengths / config.cutoff, 1)[..., None]
    envelope = 1 - 28 * x**6 + 48 * x**7 - 21 * x**8
    both = sum(np.exp(-(((lengths[..., None] - sign * centres) / width) ** 2)) for sign in (-1, 1))
    return envelope * both * np.sqrt(config.n_radial / (1.4 * np.sqrt(np.pi / 2)))


def test_a_fit_is_that_of_dense_least_squares():
    there = [water(seed) for seed in range(3)]
    blocks, targets = [], []
    lengths = np.linspace(0, 3.0, 4001)
    charges = np.trapezoid(
        4 * np.pi * lengths[:, None] ** 2 * plain_shells(lengths, CONFIG.background), lengths, axis=0
    )
    for sample in there:
        distances = np.linalg.norm(sample.points[:, None] - sample.structure.positions, axis=2)
        of_atoms = plain_shells(distances, CONFIG.background)
        values = np.concatenate([of_atoms[:, 1:].sum(1), of_atoms[:, 0]], axis=1)
        missing = sample.density - PromoleculeField(sample.structure, FREE).at_points(sample.points)
        roots = np.sqrt(sample.weights / 8)
        blocks += [roots[:, None] * values, np.sqrt(CHARGE_WEIGHT / 8) * np.concatenate([2 * charges, charges])[None]]
        targets += [roots * missing, np.zeros(1)]
    rows = np.concatenate(blocks)
    ridge = np.sqrt(RIDGE * np.square(rows).sum() / rows.shape[1]) * np.eye(rows.shape[1])
    expected, *_ = np.linalg.lstsq(
        np.concatenate([rows, ridge]), np.concatenate([*targets, np.zeros(len(ridge))]), rcond=None
    )
    found = background_coefficients(there, CONFIG, FREE)
    np.testing.assert_allclose(found.ravel(), expected, atol=1e-6 * np.abs(expected).max())


def test_functions_are_summed_over_images():
    structure = Structure.from_symbols(("O", "H"), [[0.1, 0, 0], [1.0, 0.5, 0.2]], np.diag([2.0, 2.5, 3.1]))
    points = np.array([[0.0, 0.3, 0.2], [1.9, 2.0, 3.0]])
    images = np.array(list(np.ndindex(9, 9, 9))) - 4
    expected = np.zeros((2, 2, 12))
    for species, position in ((1, structure.positions[0]), (0, structure.positions[1])):
        distances = np.linalg.norm(points[:, None] - position - images @ structure.cell, axis=2)
        expected[:, species] = plain_shells(distances, CONFIG.background).sum(1)
    np.testing.assert_allclose(design(structure, points, (1, 8), CONFIG.background), expected.reshape(2, -1), atol=1e-9)


def test_a_background_is_nearer_than_free_atoms_and_keeps_their_electrons():
    there = [water(seed) for seed in range(4)]
    network = deep_density_network(CONFIG)
    before = [nmae(one.sample, one.sample.density - one.missing).value for one in point_examples(network, there, FREE)]
    fit_background(network, there, FREE)
    examples = point_examples(network, there, FREE)
    after = [nmae(one.sample, one.sample.density - one.missing).value for one in examples]
    assert max(after) < 0.3 * min(before)
    atoms = background_atoms(network, FREE)
    assert PromoleculeField(there[0].structure, atoms).n_electrons == pytest.approx(8, abs=0.01)
    missing = np.concatenate([one.missing for one in examples])
    assert float(network.scale) == pytest.approx(np.square(missing).sum() / np.abs(missing).sum(), rel=1e-5)
