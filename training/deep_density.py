"""Learning Deep Densities: what the background misses, at points drawn anew."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from models.density.deep_density.background import background_atoms
from models.density.deep_density.model import AddedDensity
from models.density.deep_density.network import DeepDensityNetwork
from models.density.promolecule import AtomTable, PromoleculeField
from models.graph import batched_graph
from models.neighbours import neighbours_of
from training.background import CHARGE_WEIGHT, background_coefficients
from training.dataset import Sample
from training.density import PointExample
from training.metrics import Nmae, Spread, nmae


def fit_background(
    network: DeepDensityNetwork, there: Sequence[Sample], free: AtomTable, charge_weight: float = CHARGE_WEIGHT
) -> None:
    """Gives a network its background, and σ the size of what is left to learn.

    Args:
        network: The network; its buffers are filled.
        there: Samples to learn from.
        free: The free atoms.
        charge_weight: What an electron too many counts in the fit, in Å⁻³.
    """
    coefficients = background_coefficients(there, network.config, free, charge_weight)
    network.background.copy_(torch.from_numpy(coefficients))
    left = [(one.sample.weights, np.abs(one.missing)) for one in point_examples(network, there, free)]
    # Mean square over mean: the size where there is something left, however much vacuum there is.
    squares, errors = (sum(float(weights @ error**power) for weights, error in left) for power in (2, 1))
    network.scale.fill_(squares / errors)


def point_examples(network: DeepDensityNetwork, there: Sequence[Sample], free: AtomTable) -> list[PointExample]:
    """What the background of a network misses in some samples."""
    atoms, cutoff = background_atoms(network, free), network.config.environment.cutoff
    examples = []
    for sample in there:
        points = sample.points
        missing = sample.density - PromoleculeField(sample.structure, atoms).at_points(points)
        examples.append(PointExample(sample, neighbours_of(sample.structure, cutoff), points, missing))
    return examples


def added_densities(network: DeepDensityNetwork, examples: Sequence[PointExample]) -> list[AddedDensity]:
    """What a network adds in each structure of a batch; with gradients of the weights."""
    structures = [example.sample.structure for example in examples]
    graph = batched_graph(structures, [example.neighbours for example in examples], network.config.elements)
    found = network.surroundings(graph.to(network.background.device)).of_structures(graph)
    return [AddedDensity(network, *one) for one in zip(structures, found, strict=True)]


@dataclass(eq=False)
class DeepDensityTask:
    """Densities of some sets, learned at points.

    Attributes:
        network: What learns, with its background.
        examples: What it learns from.
        held_out: What is held out while it learns.
        n_points: Points of each structure in a step.
    """

    network: DeepDensityNetwork
    examples: list[PointExample]
    held_out: list[PointExample]
    n_points: int

    @property
    def n_held_out(self) -> int:
        return len(self.held_out)

    @property
    def n_examples(self) -> int:
        return len(self.examples)

    def loss(self, indices: Sequence[int], rng: np.random.Generator) -> Tensor:
        """Mean NMAE of these examples, estimated at points drawn anew."""
        chosen = [self.examples[index] for index in indices]
        device, losses = self.network.background.device, []
        for example, added in zip(chosen, added_densities(self.network, chosen), strict=True):
            points, missing, shares = example.drawn(self.n_points, rng, device)
            losses.append((shares * (added.at_points(points) - missing).abs()).sum())
        return torch.stack(losses).mean()

    def evaluate(self, network: nn.Module) -> Mapping[str, float]:
        """Errors on the structures that are held out, before densities are clipped and rescaled."""
        spread = Spread.of([error_of(cast(DeepDensityNetwork, network), example) for example in self.held_out])
        return {"validation_nmae": spread.mean, "validation_worst": spread.worst}


def error_of(network: DeepDensityNetwork, example: PointExample) -> Nmae:
    """The error of a network on one structure, before its density is clipped and rescaled."""
    with torch.no_grad():
        (added,) = added_densities(network, [example])
        left = added.at_points(example.points).cpu().numpy() - example.missing
    return nmae(example.sample, example.sample.density + left)
