import numpy as np
import pytest
import torch

from models.catalog import load_model
from models.potential.chgnet.derivatives import forces_and_stresses
from models.potential.chgnet.graph import bond_graph
from models.potential.chgnet.network import Network
from tests.models.potential_contract import distorted_rock_salt


@pytest.fixture
def network() -> Network:
    """A network whose weights are trained, in float64."""
    return load_model("chgnet").network.double().requires_grad_().train()


def loss(network: Network) -> torch.Tensor:
    """A number made of forces, stresses, energies and moments, differentiable in the weights."""
    graph = bond_graph([distorted_rock_salt(), distorted_rock_salt("Mg", "O", 2.1)], 6.0, 3.0)
    graph.vectors.requires_grad_()
    energies, moments = network(graph)
    forces, stresses = forces_and_stresses(energies, graph, create_graph=True)
    return forces.square().sum() + stresses.square().sum() + energies.square().sum() / 100 + moments.sum()


def test_a_loss_of_forces_and_stresses_reaches_every_weight(network):
    loss(network).backward()
    without = [name for name, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert without == []


def test_the_derivative_of_that_loss_is_that_of_finite_differences(network):
    loss(network).backward()
    generator = torch.Generator().manual_seed(3)
    step = 1e-6
    for name in ("trunk.angles.weight", "trunk.bond_convolutions.1.perceptron.parts.2", "last_convolution.out.weight"):
        weight = network.get_parameter(name)
        direction = torch.randn(weight.shape, dtype=torch.float64, generator=generator)
        slope = float((weight.grad * direction).sum())
        losses = []
        for sign in (1, -1):
            with torch.no_grad():
                weight += sign * step * direction
            losses.append(float(loss(network).detach()))
            with torch.no_grad():
                weight -= sign * step * direction
        assert slope == pytest.approx((losses[0] - losses[1]) / (2 * step), rel=1e-5, abs=1e-6)


def test_forces_are_the_same_while_training_and_after():
    network = load_model("chgnet").network
    graph = bond_graph([distorted_rock_salt()], 6.0, 3.0)
    graph.vectors.requires_grad_()
    answers = []
    for is_training in (True, False):
        network.requires_grad_(is_training).train(is_training)
        forces, _ = forces_and_stresses(network(graph)[0], graph)
        answers.append(forces.detach().numpy())
    np.testing.assert_allclose(answers[0], answers[1], rtol=0, atol=1e-6)
