"""A training put together from its configuration: data, network, task."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from models.density.deep_density.network import deep_density_network
from models.density.orbital.network import OrbitalNetwork
from models.density.promolecule import Promolecule
from training.config import DEEP_DENSITY, TrainingConfig
from training.dataset import DATA, Sample, covered, refuse_untaught, samples
from training.deep_density import DeepDensityTask, fit_background, point_examples
from training.density import DensityExample, DensityTask
from training.elements import start_alike

Labelled = TypeVar("Labelled")

POINTS_WATCHED = 4000
"""Points of a held-out structure that a network is measured on after each epoch; whole grids would take longer than
what is learned between."""


def density_task(
    config: TrainingConfig,
    data: Path = DATA,
    n_validation: int | None = None,
    device: str = "cpu",
    left_out: Collection[str] = (),
) -> DensityTask:
    """The densities that a configuration of orbitals learns, with a network of first weights.

    Args:
        config: Configuration.
        data: Folder of reference data.
        n_validation: Validation structures to look at after each epoch; all if None.
        device: Where the network is, as torch names it.
        left_out: Groups of the training split that it does not learn from.

    Raises:
        NoData: If data are not there, or not for all elements.
        BadConfig: If it is a configuration of another model.
    """
    seed, elements = config.schedule.seed, config.orbitals.trunk.elements
    promolecule, network = Promolecule(), OrbitalNetwork(config.orbitals, seed).to(device)
    start_alike(network.trunk, config.element_likeness, promolecule.table, seed)
    chosen = learned_samples(config, elements, data, left_out)
    examples = [DensityExample.of(sample, config.orbitals.trunk.cutoff, promolecule) for sample in chosen]
    held_out = covered(samples(config.sets, "validation", data), elements)
    watched = _watched(chosen_samples(held_out, n_validation, seed), seed)
    return DensityTask(
        network, examples, watched, config.n_points, promolecule, config.coulomb_weight, config.element_noise
    )


def deep_density_task(
    config: TrainingConfig, data: Path = DATA, device: str = "cpu", left_out: Collection[str] = ()
) -> DeepDensityTask:
    """The densities that a configuration of Deep Density learns, with a fitted background and first weights.

    Args:
        config: Configuration.
        data: Folder of reference data.
        device: Where the network is, as torch names it.
        left_out: Groups of the training split that it does not learn from.

    Raises:
        NoData: If data are not there, or not for all elements.
        BadConfig: If it is a configuration of another model.
    """
    seed, model = config.schedule.seed, config.deep_density
    free, network = Promolecule().table, deep_density_network(model, seed).to(device)
    chosen = learned_samples(config, model.elements, data, left_out)
    fit_background(network, chosen, free)
    watched = _watched(covered(samples(config.sets, "validation", data), model.elements), seed)
    examples, held_out = (point_examples(network, there, free) for there in (chosen, watched))
    return DeepDensityTask(network, examples, held_out, config.n_points)


def task_of(
    config: TrainingConfig, data: Path = DATA, device: str = "cpu", left_out: Collection[str] = ()
) -> DensityTask | DeepDensityTask:
    """What a configuration learns.

    Args:
        config: Configuration.
        data: Folder of reference data.
        device: Where the network is, as torch names it.
        left_out: Groups of the training split that it does not learn from.

    Raises:
        NoData: If data are not there, or not for all elements.
    """
    if config.architecture == DEEP_DENSITY:
        return deep_density_task(config, data, device, left_out)
    return density_task(config, data, device=device, left_out=left_out)


def learned_samples(
    config: TrainingConfig, elements: Sequence[int], data: Path = DATA, left_out: Collection[str] = ()
) -> list[Sample]:
    """What a configuration learns from.

    Args:
        config: Configuration.
        elements: Atomic numbers of the network.
        data: Folder of reference data.
        left_out: Groups that it does not learn from; a network for others to be measured by may miss an element then.

    Raises:
        NoData: If data are not there, or not for all elements.
    """
    chosen = chosen_samples(samples(config.sets, "train", data), config.n_training, config.schedule.seed)
    refuse_untaught(chosen, elements)
    return [sample for sample in chosen if sample.group not in left_out]


def _watched(held_out: list[Sample], seed: int) -> list[Sample]:
    """What is looked at after each epoch."""
    rng = np.random.default_rng(seed)
    return [sample.thinned(POINTS_WATCHED, rng) for sample in held_out]


def chosen_samples(there: list[Labelled], n: int | None, seed: int) -> list[Labelled]:
    """The first n of the samples in a seeded order, so that a smaller choice is a part of a larger one; all if None."""
    if n is None:
        return there
    order = np.random.default_rng(seed).permutation(len(there))
    return [there[index] for index in sorted(order[:n])]
