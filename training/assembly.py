"""A training put together from its configuration: data, network, task."""

from pathlib import Path

import numpy as np

from models.density.orbital.network import OrbitalNetwork
from models.density.promolecule import Promolecule
from training.config import TrainingConfig
from training.dataset import DATA, Sample, covered, refuse_untaught, samples
from training.density import DensityExample, DensityTask


def density_task(config: TrainingConfig, data: Path = DATA, n_validation: int | None = None) -> DensityTask:
    """The densities that a configuration learns, with a network of first weights.

    Args:
        config: Configuration.
        data: Folder of reference data.
        n_validation: Validation structures to look at after each epoch; all if None.

    Raises:
        NoData: If data are not there, or not for all elements.
    """
    seed, elements = config.schedule.seed, config.model.trunk.elements
    promolecule, network = Promolecule(), OrbitalNetwork(config.model, seed)
    chosen = chosen_samples(samples(config.sets, "train", data), config.n_training, seed)
    refuse_untaught(chosen, elements)
    examples = [DensityExample.of(sample, config.model.trunk.cutoff, promolecule) for sample in chosen]
    held_out = covered(samples(config.sets, "validation", data), elements)
    validation = chosen_samples(held_out, n_validation, seed)
    return DensityTask(network, examples, validation, config.n_points, promolecule, config.coulomb_weight)


def chosen_samples(there: list[Sample], n: int | None, seed: int) -> list[Sample]:
    """The first n of the samples in a seeded order, so that a smaller choice is a part of a larger one; all if None."""
    if n is None:
        return there
    order = np.random.default_rng(seed).permutation(len(there))
    return [there[index] for index in sorted(order[:n])]
