"""Learning densities: what one sample becomes, and the loss of a batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.density.orbital.model import centres_of, orbital_fields
from models.density.orbital.network import OrbitalNetwork
from models.density.promolecule import Promolecule
from models.graph import Neighbours, batched_graph
from models.neighbours import neighbours_of
from training.dataset import Sample
from training.metrics import Nmae, Spread, nmae

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DensityExample:
    """A sample with what does not change while a network learns.

    Attributes:
        sample: The reference.
        neighbours: Edges of its graph.
        points: Cartesian positions of the density's points in Å, [n_points, 3].
        missing: What the promolecule lacks at the points in e/Å³, [n_points].
    """

    sample: Sample
    neighbours: Neighbours
    points: FloatArray
    missing: FloatArray

    @classmethod
    def of(cls, sample: Sample, cutoff: float, promolecule: Promolecule) -> "DensityExample":
        """The example of a sample.

        Args:
            sample: The reference.
            cutoff: Of the network's edges, in Å.
            promolecule: The floor.
        """
        (floor,) = promolecule.fields([sample.structure])
        points = sample.points
        missing = sample.density - floor.at_points(points)
        return cls(sample, neighbours_of(sample.structure, cutoff), points, missing)

    def drawn(self, n_points: int, rng: np.random.Generator) -> tuple[FloatArray, Tensor, Tensor]:
        """Some of the points, what the promolecule lacks there, and the share of the error that each stands for.

        Args:
            n_points: How many; all, if there are no more.
            rng: Source of the choice.
        """
        n_there = len(self.points)
        chosen = rng.choice(n_there, min(n_points, n_there), replace=False)
        shares = self.sample.weights[chosen] * (n_there / len(chosen) / self.sample.n_electrons)
        return self.points[chosen], torch.from_numpy(self.missing[chosen]), torch.from_numpy(shares)


def batch_loss(
    network: OrbitalNetwork, examples: Sequence[DensityExample], n_points: int, rng: np.random.Generator
) -> Tensor:
    """Mean NMAE of a batch, estimated at points drawn anew.

    Args:
        network: What learns.
        examples: The batch.
        n_points: Points of each structure.
        rng: Source of the choice of points.
    """
    graph = batched_graph(
        [example.sample.structure for example in examples],
        [example.neighbours for example in examples],
        network.config.trunk.elements,
    )
    expansion = network(graph)
    losses = []
    for index, example in enumerate(examples):
        points, missing, shares = example.drawn(n_points, rng)
        values = torch.zeros(len(points), dtype=torch.float64)
        for centres in centres_of(expansion, index):
            values = values + centres.decoder(example.sample.structure).at_points(points)
        losses.append((shares * (values - missing).abs()).sum())
    return torch.stack(losses).mean()


def errors(network: OrbitalNetwork, promolecule: Promolecule, samples: Sequence[Sample]) -> list[Nmae]:
    """NMAE of each sample at all its points."""
    found = []
    for sample in samples:
        (field,) = orbital_fields(network, promolecule, [sample.structure])
        found.append(nmae(sample, field.at_points(sample.points)))
    return found


@dataclass(eq=False)
class DensityTask:
    """Densities of some sets.

    Attributes:
        network: What learns.
        examples: What it learns from.
        validation: What is held out while it learns.
        n_points: Points of each structure in a step.
    """

    network: OrbitalNetwork
    examples: list[DensityExample]
    validation: list[Sample]
    n_points: int
    promolecule: Promolecule = field(default_factory=Promolecule)

    @property
    def n_examples(self) -> int:
        return len(self.examples)

    def loss(self, indices: Sequence[int], rng: np.random.Generator) -> Tensor:
        """Mean NMAE of these examples at points drawn anew."""
        return batch_loss(self.network, [self.examples[index] for index in indices], self.n_points, rng)

    def evaluate(self, network: nn.Module) -> Mapping[str, float]:
        """Errors on the validation structures."""
        spread = Spread.of(errors(cast(OrbitalNetwork, network), self.promolecule, self.validation))
        return {"validation_nmae": spread.mean, "validation_worst": spread.worst}
