"""Learning a Deep Density, by Adam and by L-BFGS, on densities that are written down."""

import numpy as np
import pytest
import torch

from models.density.deep_density.background import background_atoms
from models.density.deep_density.model import Batch, DeepDensity
from models.density.deep_density.network import deep_density_network
from models.density.promolecule import Promolecule
from tests.models.density.deep_density.toys import ABOUT
from tests.training.deep_samples import CONFIG, water
from training.deep_density import DeepDensityTask, error_of, fit_background, point_examples
from training.finisher import finished
from training.loop import Schedule, Training
from training.metrics import nmae

FREE = Promolecule().table


@pytest.fixture
def task() -> DeepDensityTask:
    there, held_out = [water(seed) for seed in range(6)], [water(seed) for seed in (10, 11)]
    network = deep_density_network(CONFIG)
    fit_background(network, there, FREE)
    examples = [point_examples(network, some, FREE) for some in (there, held_out)]
    return DeepDensityTask(network, *examples, n_points=400)


def test_the_error_is_that_of_the_field_before_it_is_rescaled(task):
    example = task.held_out[0]
    atoms = background_atoms(task.network, FREE)
    (field,) = Batch.of(task.network, [example.sample.structure]).unscaled_fields(task.network, atoms)
    expected = nmae(example.sample, field.at_points(example.sample.points))
    assert error_of(task.network, example).value == pytest.approx(expected.value, rel=1e-6)


def test_the_loss_at_all_points_is_the_mean_error(task):
    task.n_points = 10**6
    losses = [error_of(task.network, task.examples[index]).value for index in (0, 2)]
    assert float(task.loss([0, 2], np.random.default_rng(0)).detach()) == pytest.approx(np.mean(losses), rel=1e-6)


def test_adam_and_then_l_bfgs_learn(tmp_path, task):
    floor = task.evaluate(silent(task))["validation_nmae"]
    schedule = Schedule(40, 2, 0.01, averaging=0.9, falling=0.5, n_finishing=20)
    learned = Training(task, schedule, tmp_path, {}, lambda _: None).run()
    by_adam = task.evaluate(learned)["validation_nmae"]
    task.network.load_state_dict(learned.state_dict())
    told = []
    by_both = task.evaluate(finished(task, schedule, told.append))["validation_nmae"]
    assert by_adam < 0.85 * floor
    assert by_both <= by_adam
    assert told[0]["finishing"] == 10
    assert told[0]["training_loss"] > 0


def silent(task):
    """The task's network, where it adds nothing: its background."""
    network = deep_density_network(CONFIG)
    network.load_state_dict(task.network.state_dict())
    network.scale.fill_(0.0)
    return network


def test_what_l_bfgs_spoils_is_not_kept(task):
    class Misled(DeepDensityTask):
        def loss(self, indices, rng):
            return -super().loss(indices, rng)

    misled = Misled(task.network, task.examples, task.held_out, 200)
    before = {name: tensor.clone() for name, tensor in task.network.state_dict().items()}
    finished(misled, Schedule(1, 3, 0.01, n_finishing=20), lambda _: None)
    for name, tensor in task.network.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)


def test_what_is_learned_is_answered(task):
    model = DeepDensity(task.network, ABOUT, "0")
    example = task.held_out[0]
    field = model.fields([example.sample.structure])[0]
    assert nmae(example.sample, field.at_points(example.points)).value < 2 * error_of(task.network, example).value
