import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.append(str(Path(__file__).parent))
import potential_task

from models.potential.chgnet.graph import bond_graph
from rhocast.structure import Structure
from training.labels import LabelledStructure
from training.loop import learning_curve
from training.potential import GPA, LossWeights, PotentialTask

RNG = np.random.default_rng(0)
BOTH = pytest.mark.parametrize("is_frozen", [True, False], ids=["frozen", "unfrozen"])


def only(name: str) -> LossWeights:
    return replace(LossWeights(0, 0, 0, 0), **{name: 1.0})


def answers_of(network, example: LabelledStructure) -> dict[str, np.ndarray]:
    """Energy per atom, forces, stress in GPa and moments, structure by structure."""
    with torch.no_grad():
        energies, magmoms, forces, stresses = network(bond_graph([example.structure], 6.0, 3.0))
    found = {"energy": energies.mean(), "forces": forces, "stress": stresses[0] * GPA, "magmoms": magmoms}
    return {name: one.double().numpy() for name, one in found.items()}


def huber(errors: np.ndarray) -> np.ndarray:
    """CHGNet's loss, written out."""
    size = np.abs(errors)
    return np.where(size < 0.1, size**2 / 2, 0.1 * (size - 0.05))


@BOTH
@pytest.mark.parametrize("name", ["energy", "forces", "stress", "magmoms"])
def test_each_loss_is_a_mean_over_what_is_known(is_frozen, name):
    """All crystals have four atoms here, so means over structures and over atoms agree."""
    task = potential_task.task(is_frozen)
    task.weights = only(name)
    total = 0.0
    for example in task.examples:
        label = {"energy": None if example.energy is None else example.energy / 4, "forces": example.forces}
        label |= {"stress": None if example.stress is None else example.stress * GPA, "magmoms": example.magmoms}
        if label[name] is not None:
            total += huber(answers_of(task.network, example)[name] - label[name]).mean()
    assert total > 0
    assert float(task.loss(range(5), RNG).detach()) == pytest.approx(total / 5, rel=1e-5)


def test_losses_are_weighted_and_summed():
    task = potential_task.task()
    parts = []
    for name, weight in (("energy", 1.0), ("forces", 1.0), ("stress", 0.1), ("magmoms", 0.1)):
        task.weights = only(name)
        parts.append(weight * float(task.loss([0, 3], RNG).detach()))
    task.weights = LossWeights()
    assert float(task.loss([0, 3], RNG).detach()) == pytest.approx(sum(parts), rel=1e-6)


def test_a_batch_loses_what_its_members_lose():
    """Also with structures of different sizes: processes may divide a batch as they like."""
    there = potential_task.examples()
    crystal = there[0].structure
    positions = np.vstack([crystal.positions, crystal.positions + crystal.cell[0]])
    doubled = Structure(np.tile(crystal.numbers, 2), positions, crystal.cell * [[2], [1], [1]])
    forces, magmoms = np.tile(there[0].forces, (2, 1)), np.tile(there[0].magmoms, 2)
    larger = replace(there[0], structure=doubled, forces=forces, magmoms=magmoms)
    task = PotentialTask(potential_task.network(), [*there, larger], there[:1])
    alone = [float(task.loss([index], RNG).detach()) for index in range(6)]
    assert float(task.loss(range(6), RNG).detach()) == pytest.approx(np.mean(alone), rel=1e-5)


def test_a_frozen_trunk_gets_no_gradient_and_gives_the_same_loss():
    frozen, whole = potential_task.task(is_trunk_frozen=True), potential_task.task()
    losses = [task.loss([0, 1, 4], RNG) for task in (frozen, whole)]
    torch.testing.assert_close(*(loss.detach() for loss in losses), rtol=1e-5, atol=0)
    for loss in losses:
        loss.backward()
    assert all(one.grad is None for one in frozen.network.chgnet.parameters())
    for name, one in frozen.network.heads.named_parameters():
        torch.testing.assert_close(one.grad, whole.network.heads.get_parameter(name).grad, rtol=1e-3, atol=1e-6)
    assert sum(one.grad is not None for one in whole.network.chgnet.parameters()) > 50


@BOTH
def test_errors_are_those_of_the_network_on_what_is_held_out(is_frozen):
    task = potential_task.task(is_frozen)
    answers = [answers_of(task.network, one) for one in task.held_out]
    found = task.evaluate(task.network)
    of_forces = [one["forces"] - known.forces for one, known in zip(answers, task.held_out, strict=True)]
    assert found["validation_forces"] == pytest.approx(1000 * np.abs(of_forces).mean(), rel=1e-4)
    of_energies = [one["energy"] - known.energy / 4 for one, known in zip(answers, task.held_out, strict=True)]
    assert found["validation_energy"] == pytest.approx(1000 * np.abs(of_energies).mean(), rel=1e-4)
    of_stresses = [one["stress"] - GPA * known.stress for one, known in zip(answers, task.held_out, strict=True)]
    assert found["validation_stress"] == pytest.approx(np.abs(of_stresses).mean(), rel=1e-4)


def test_what_nobody_knows_is_no_error():
    there = potential_task.examples()
    task = PotentialTask(potential_task.network(), there, [there[2]])
    assert task.evaluate(task.network).keys() == {"validation_forces"}
    task.weights = only("energy")
    assert float(task.loss([2], RNG).detach()) == 0


@BOTH
def test_it_learns(is_frozen, tmp_path):
    potential_task.train(tmp_path, 25, is_frozen)
    curve = list(learning_curve(tmp_path))
    assert curve[-1]["training_loss"] < 0.8 * curve[0]["training_loss"]


def test_larger_crystals_cost_more():
    costs = potential_task.task().costs
    assert costs.shape == (5,)
    assert costs[2] > costs[0] > 0  # lithium fluoride has many more angles than rock salt


@pytest.mark.processes
@BOTH
def test_two_processes_go_along_the_gradients_of_one(is_frozen, tmp_path):
    potential_task.train(tmp_path / "one", 2, is_frozen)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    script = str(Path(__file__).parent / "potential_task.py")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    subprocess.run(
        [*command, script, str(tmp_path / "two"), "2", str(is_frozen)],
        check=True,
        env=environment,
        timeout=170,
        capture_output=True,
    )
    one, two = (torch.load(tmp_path / name / potential_task.GRADIENTS, weights_only=True) for name in ("one", "two"))
    assert one.keys() == two.keys()
    largest = max(gradient.abs().max() for gradient in one.values())
    for name, gradient in one.items():
        torch.testing.assert_close(two[name], gradient, atol=1e-4 * float(largest), rtol=0)
    losses = [[row["training_loss"] for row in learning_curve(tmp_path / name)] for name in ("one", "two")]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
