"""The networks alone: gradients on a nucleus, and what does not fit together."""

import numpy as np
import pytest
import torch

from models.decoder.pairs import PointPairs
from models.density.deep_density.network import ClusterNetwork, Probes, deep_density_network
from models.graph import batched_graph
from models.neighbours import neighbours_of
from tests.models.contract import bent_molecule
from tests.models.density.deep_density.toys import CONFIGS, ELEMENTS, ENVIRONMENT, toy


def surroundings(network):
    structure = bent_molecule()
    return network.surroundings(batched_graph([structure], [neighbours_of(structure, ENVIRONMENT.cutoff)], ELEMENTS))


def probes(vectors) -> Probes:
    """One point, seen from each of the atoms of water, hydrogens first."""
    return Probes(1, torch.zeros(3, dtype=torch.int64), vectors, torch.tensor([1, 2, 0]), [1, 1, 1])


@pytest.mark.parametrize("name", CONFIGS)
def test_gradients_are_finite_on_a_nucleus(name):
    network = toy(name)
    vectors = torch.tensor([[-0.95, 0.0, 0.05], [0.3, -0.8, -0.15], [0.0, 0.0, 0.0]], requires_grad=True)
    network.added(surroundings(network), probes(vectors)).sum().backward()
    assert vectors.grad is not None
    assert torch.isfinite(vectors.grad).all()
    assert vectors.grad[:2].abs().max() > 0
    for parameter in network.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()


def test_equal_seeds_make_equal_networks_and_others_others():
    one, same, other = (deep_density_network(CONFIGS["clusters"], seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["angular"], other["angular"])


def test_clusters_need_a_configuration_and_surroundings_with_clusters():
    with pytest.raises(ValueError, match="found a configuration without clusters"):
        ClusterNetwork(CONFIGS["probe"])
    with pytest.raises(ValueError, match="found surroundings without clusters"):
        toy("clusters").added(surroundings(toy("probe")), probes(torch.zeros(3, 3)))


@pytest.mark.parametrize("name", CONFIGS)
def test_nothing_is_added_where_there_are_no_atoms(name):
    network = toy(name)
    pairs = PointPairs(np.zeros(3, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros((0, 3)))
    empty = Probes.of(pairs, np.array([1, 2, 0]), n_points=2, like=network.scale)
    np.testing.assert_allclose(network.added(surroundings(network), empty).detach().numpy(), 0, atol=1e-7)
