"""The background: free atoms, and what is added to them."""

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from models.density.deep_density.background import background_atoms, shell_charges, shells
from models.density.deep_density.config import BackgroundConfig
from models.density.promolecule import Promolecule, PromoleculeField
from tests.models.contract import bent_molecule
from tests.models.density.deep_density.toys import BACKGROUND, toy

FREE = Promolecule()


def plain_shell(length: float, k: int, config: BackgroundConfig = BACKGROUND) -> float:
    """The formula of one function, up to its norm."""
    spacing = config.cutoff / config.n_radial
    x = length / config.cutoff
    envelope = 1 - 28 * x**6 + 48 * x**7 - 21 * x**8 if x < 1 else 0.0
    width = 1.4 * spacing
    there, mirrored = (((length + sign * k * spacing) / width) ** 2 for sign in (-1, 1))
    return envelope * (np.exp(-there) + np.exp(-mirrored))


def test_shells_are_their_formula():
    lengths = np.linspace(0, 3.5, 50)
    found = shells(torch.from_numpy(lengths), BACKGROUND).numpy()
    expected = np.array([[plain_shell(length, k) for k in range(8)] for length in lengths])
    ratio = found[0, 0] / expected[0, 0]
    np.testing.assert_allclose(found, ratio * expected, atol=1e-12)


def test_charges_of_shells_are_their_integrals():
    norm = float(shells(torch.zeros(1, dtype=torch.float64), BACKGROUND)[0, 0]) / plain_shell(0.0, 0)
    expected = [quad(lambda r, k=k: 4 * np.pi * r**2 * plain_shell(r, k), 0, 3.0, limit=200)[0] for k in range(8)]
    np.testing.assert_allclose(shell_charges(BACKGROUND), norm * np.array(expected), rtol=1e-8)


def test_without_a_fit_the_free_atoms_are_left():
    network = toy("clusters")
    network.background.zero_()
    atoms = background_atoms(network, FREE.table)
    points = np.random.default_rng(0).random((50, 3)) * 13
    found = PromoleculeField(bent_molecule(), atoms).at_points(points)
    np.testing.assert_allclose(found, FREE.fields([bent_molecule()])[0].at_points(points), atol=1e-15)
    np.testing.assert_array_equal(atoms.valence, FREE.table.valence)


def test_atoms_of_the_background_are_free_atoms_and_shells():
    network, water = toy("clusters"), bent_molecule()
    atoms = background_atoms(network, FREE.table)
    rng = np.random.default_rng(1)
    points = np.vstack([water.positions, rng.random((50, 3)) * 13])
    field = PromoleculeField(water, atoms)
    expected = FREE.fields([water])[0].at_points(points)
    for number, position in zip(water.numbers, water.positions, strict=True):
        lengths = torch.from_numpy(np.linalg.norm(points - position, axis=1))
        expected += (shells(lengths, BACKGROUND) @ network.background[(1, 8).index(number)]).numpy()
    np.testing.assert_allclose(field.at_points(points), expected, atol=1e-7)
    added = 2 * network.background[0] + network.background[1]
    assert field.n_electrons - 8 == pytest.approx(float(added.numpy() @ shell_charges(BACKGROUND)), abs=1e-6)
