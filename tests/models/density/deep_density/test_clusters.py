"""Compiled clusters against the same written plainly in torch, in float64: values, and gradients of all weights."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from models.density.deep_density.clusters import KNOTS_PER_SHELL, shells_at_knots
from models.density.deep_density.network import ClusterNetwork, Probes, Surroundings
from models.radial import gaussian_shells
from tests.models.density.deep_density.toys import CONFIGS

CONFIG = CONFIGS["clusters"]
CUTOFF = 2.5


def network_of(highest_degree: int, n_hidden: int) -> ClusterNetwork:
    assert CONFIG.clusters is not None
    config = replace(
        CONFIG,
        environment=replace(CONFIG.environment, highest_degree=highest_degree),
        clusters=replace(CONFIG.clusters, n_hidden=n_hidden),
    )
    network = ClusterNetwork(config, seed=1)
    with torch.no_grad():
        network.biases.copy_(0.3 * torch.randn(network.biases.shape, generator=torch.Generator().manual_seed(2)))
    return network


def pairs(counts: list[int]) -> Probes:
    """Pairs of four atoms, three of one element, with nine points; one point is on a nucleus, one at the cutoff."""
    rng = np.random.default_rng(3)
    directions = rng.standard_normal((sum(counts), 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    lengths = rng.uniform(0, CUTOFF, len(directions))
    lengths[:2] = 0, CUTOFF
    vectors = torch.from_numpy(directions * lengths[:, None])
    points = torch.from_numpy(rng.integers(0, 9, len(vectors)))
    return Probes(9, points, vectors, torch.tensor([2, 0, 3, 1]), counts)


def found(network: ClusterNetwork, probes: Probes, compiled: bool) -> list[np.ndarray]:
    """Values at the points, and gradients of some function of them by the atoms' layers and every weight."""
    kind = torch.float32 if compiled else torch.float64
    network = copy.deepcopy(network).to(kind)
    shape = (4, (network.config.environment.highest_degree + 1) ** 2, network.clusters.n_hidden)
    layers = torch.randn(shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    layers = (layers / shape[1] ** 0.5).to(kind).requires_grad_()
    there = Surroundings(torch.tensor([1, 2, 1, 1]), torch.zeros(4, 0), layers)
    values = network.added(there, replace(probes, vectors=probes.vectors.to(kind)))
    (values / network.scale).sin().sum().backward()
    weights = [network.radial, network.hidden, network.biases, network.last, layers]
    gradients = [one.grad for one in weights if one.grad is not None]
    assert len(gradients) == len(weights)
    return [(values / network.scale).detach().double().numpy(), *(one.double().numpy() for one in gradients)]


@pytest.mark.parametrize("highest_degree", range(6))
@pytest.mark.parametrize("counts", [[70, 5, 129, 64], [3, 0, 0, 1], [2, 11, 0, 8]])
def test_values_and_gradients_are_those_of_torch(highest_degree, counts):
    network, probes = network_of(highest_degree, n_hidden=5 + 8 * highest_degree), pairs(counts)
    for one, other in zip(found(network, probes, True), found(network, probes, False), strict=True):
        assert np.abs(other).max() > 1e-3
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * max(1, np.abs(other).max()))


def test_what_is_computed_is_compiled(monkeypatch):
    monkeypatch.setattr(ClusterNetwork, "_values", None)
    found(network_of(2, 8), pairs([3, 4, 5, 6]), compiled=True)


@pytest.mark.parametrize("n_shells", [4, 20])
def test_splines_are_the_shells_up_to_the_cutoff(n_shells):
    table = shells_at_knots(CUTOFF, n_shells).double().numpy()
    lengths = np.linspace(0, CUTOFF, 4001)
    places = lengths * n_shells * KNOTS_PER_SHELL / CUTOFF
    rows, t = places.astype(int), (places % 1)[:, None]
    basis = [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]
    spline = sum(weight * table[rows + step] for step, weight in enumerate(basis)) / 6
    shells = gaussian_shells(torch.from_numpy(lengths), CUTOFF, n_shells).numpy()
    np.testing.assert_allclose(spline, shells, rtol=0, atol=2e-6 * shells.max())


@pytest.mark.parametrize("length", [CUTOFF * (1 + 1e-6), 3 * CUTOFF, 1e6])
def test_beyond_the_cutoff_nothing_is_added(length):
    network, counts = network_of(2, 8), [1, 0, 2, 0]
    vectors = torch.tensor([[length, 0, 0], [0, length, 0], [0, 0, length]])
    there = Surroundings(torch.tensor([1, 2, 1, 1]), torch.zeros(4, 0), torch.ones(4, 9, 8))
    values = network.added(there, Probes(3, torch.arange(3), vectors, torch.tensor([2, 0, 3, 1]), counts))
    assert values.tolist() == [0, 0, 0]
