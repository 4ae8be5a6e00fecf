"""Learning on a device that is not the CPU gives what learning on the CPU gives."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
import orbital_task
import potential_task

from models.density.deep_density.network import deep_density_network
from models.density.orbital.network import OrbitalNetwork
from models.density.promolecule import Promolecule
from tests.elsewhere import DEVICE, Elsewhere, Place
from tests.training.deep_samples import CONFIG, water
from training.deep_density import DeepDensityTask, fit_background, point_examples
from training.density import DensityTask
from training.finisher import finished
from training.loop import Schedule, Task, Training
from training.potential import PotentialTask


def orbitals(device) -> DensityTask:
    promolecule = Promolecule()
    there = [orbital_task.example(seed, promolecule) for seed in range(3)]
    network = OrbitalNetwork(orbital_task.CONFIG, 1).to(device)
    held_out = [there[0].sample]
    return DensityTask(network, there, held_out, 300, promolecule, coulomb_weight=0.1, element_noise=0.2)


def clusters(device) -> DeepDensityTask:
    samples, free = [water(seed) for seed in range(3)], Promolecule().table
    network = deep_density_network(CONFIG, 1).to(device)
    fit_background(network, samples, free)
    there = point_examples(network, samples, free)
    return DeepDensityTask(network, there, there[:1], 300)


def heads(device, is_trunk_frozen: bool) -> PotentialTask:
    there = potential_task.examples()
    network = potential_task.network().to(device)
    return PotentialTask(network, there, there[:2], is_trunk_frozen=is_trunk_frozen)


TASKS = {
    "orbitals": orbitals,
    "clusters": clusters,
    "heads": lambda device: heads(device, is_trunk_frozen=True),
    "heads and trunk": lambda device: heads(device, is_trunk_frozen=False),
}


@pytest.fixture(params=TASKS)
def task_on(request) -> Callable[[torch.device | str], Task]:
    """A new task with its network on a device."""
    return TASKS[request.param]


def gradients(task: Task) -> dict[str, torch.Tensor]:
    """Loss of two examples, and what it is differentiated to, by weight."""
    loss = task.loss([0, 1], np.random.default_rng(0))
    loss.backward()
    named = {name: one.grad for name, one in task.network.named_parameters() if one.grad is not None}
    return {"loss": loss.detach().cpu()} | {name: one.cpu() for name, one in named.items()}


def test_losses_and_gradients_are_those_of_the_cpu(task_on, elsewhere: Place):
    expected = gradients(task_on("cpu"))
    with elsewhere.scope:
        task = task_on(elsewhere.device)
        assert {one.device.type for one in task.network.parameters()} == {elsewhere.device.type}
        found = gradients(task)
    assert expected.keys() == found.keys()
    assert len(found) > 5
    largest = max(float(one.abs().max()) for one in expected.values())
    for name, one in expected.items():
        np.testing.assert_allclose(found[name].numpy(), one.numpy(), rtol=0, atol=1e-6 * largest, err_msg=name)


def figures_of(task: Task, folder: Path, n_epochs: int, n_finishing: int = 0) -> list[dict[str, float]]:
    """Figures of a training of two steps an epoch, begun or gone on with."""
    told: list[dict[str, float]] = []
    schedule = Schedule(n_epochs, -(-task.n_examples // 2), learning_rate=1e-4, n_finishing=n_finishing)
    training = Training(task, schedule, folder, {}, lambda figures: told.append(dict(figures)))
    network = training.run()
    if n_finishing:
        finished(task, schedule, lambda figures: told.append(dict(figures)))
    assert {one.device.type for one in network.parameters()} == {training.device.type}
    return [{name: figure for name, figure in figures.items() if name != "seconds"} for figures in told]


def test_a_training_goes_as_on_the_cpu_and_ends_with_a_state_that_any_device_reads(task_on, elsewhere: Place, tmp_path):
    expected = figures_of(task_on("cpu"), tmp_path / "here", 2)
    with elsewhere.scope:
        found = figures_of(task_on(elsewhere.device), tmp_path / "there", 2)
        assert figures_of(task_on(elsewhere.device), tmp_path / "here", 2) == []
    assert figures_of(task_on("cpu"), tmp_path / "there", 2) == []
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, rel=1e-4)


def test_finishing_goes_as_on_the_cpu(elsewhere: Place, tmp_path):
    expected = figures_of(clusters("cpu"), tmp_path / "here", 1, n_finishing=10)
    with elsewhere.scope:
        found = figures_of(clusters(elsewhere.device), tmp_path / "there", 1, n_finishing=10)
    assert [one["finishing"] for one in found[1:]] == [10]
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, rel=1e-3)


def test_what_is_left_on_the_cpu_is_refused():
    with Elsewhere():
        there = torch.ones(3).to(DEVICE)
        with pytest.raises(RuntimeError, match="two devices"):
            there + torch.ones(3)
        with pytest.raises(RuntimeError, match="numpy"):
            there.numpy()
        assert (there + 1).cpu().tolist() == [2, 2, 2]
