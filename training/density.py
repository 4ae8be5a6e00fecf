"""Learning densities: what one sample becomes, and the loss of a batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.density.orbital.model import added_at_points, centres_of, products_of
from models.density.orbital.network import Expansion, OrbitalNetwork, expanded
from models.density.promolecule import Promolecule
from models.graph import Neighbours
from models.neighbours import neighbours_of
from training.coulomb import Waves, coulomb_error
from training.dataset import Sample
from training.elements import blurred
from training.metrics import Nmae, Spread, nmae

FloatArray = NDArray[np.float64]

MEASURED_TOGETHER = 8
"""Structures that one pass measures."""


@dataclass(frozen=True, eq=False)
class PointExample:
    """A sample with what does not change while a network learns.

    Attributes:
        sample: The reference.
        neighbours: Edges of its graph.
        points: Cartesian positions of the density's points in Å, [n_points, 3].
        missing: What the network's floor lacks at the points in e/Å³, [n_points].
    """

    sample: Sample
    neighbours: Neighbours
    points: FloatArray
    missing: FloatArray

    def drawn(self, n_points: int, rng: np.random.Generator, device: torch.device) -> tuple[FloatArray, Tensor, Tensor]:
        """Some of the points, what the floor lacks there, and the share of the error that each stands for.

        Args:
            n_points: How many; all, if there are no more.
            rng: Source of the choice.
            device: Where the tensors are wanted.
        """
        n_there = len(self.points)
        chosen = rng.choice(n_there, min(n_points, n_there), replace=False)
        shares = self.sample.weights[chosen] * (n_there / len(chosen) / self.sample.n_electrons)
        missing = torch.from_numpy(self.missing[chosen])
        return self.points[chosen], missing.to(device), torch.from_numpy(shares).to(device)


@dataclass(frozen=True, eq=False)
class DensityExample(PointExample):
    """The same for orbitals, whose floor is the promolecule.

    Attributes:
        waves: What the promolecule lacks in waves.
    """

    waves: Waves

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
        return cls(sample, neighbours_of(sample.structure, cutoff), points, missing, Waves.of(sample, promolecule))


def batch_loss(
    network: OrbitalNetwork,
    examples: Sequence[DensityExample],
    n_points: int,
    rng: np.random.Generator,
    coulomb_weight: float = 0.0,
) -> Tensor:
    r"""Mean loss of a batch, NMAE + λ E/N, the first estimated at points drawn anew.

    Args:
        network: What learns.
        examples: The batch.
        n_points: Points of each structure.
        rng: Source of the choice of points.
        coulomb_weight: λ in electrons per eV: what a Coulomb energy of the error of 1 eV per electron counts
            (`training.coulomb.coulomb_error`), where an NMAE of 1 counts 1.
    """
    expansion = _expansion(network, examples)
    drawn = [example.drawn(n_points, rng, torch.device("cpu")) for example in examples]
    points, missing, shares = zip(*drawn, strict=True)
    added = added_at_points(expansion, [example.sample.structure for example in examples], points)
    error = (added - torch.cat(missing).to(added.device)).abs()
    loss = (torch.cat(shares).to(added.device) * error).sum()
    if coulomb_weight:
        loss = loss + coulomb_weight * torch.stack(_coulomb_errors(expansion, examples)).sum()
    return loss / len(examples)


def _expansion(network: OrbitalNetwork, examples: Sequence[DensityExample]) -> Expansion:
    structures = [example.sample.structure for example in examples]
    return expanded(network, structures, [example.neighbours for example in examples])


def _coulomb_errors(expansion: Expansion, examples: Sequence[DensityExample]) -> list[Tensor]:
    """Coulomb energy of the error of each structure of a batch in eV per electron."""
    return [
        coulomb_error(example.waves, centres_of(expansion, index), products_of(expansion, index))
        for index, example in enumerate(examples)
    ]


@dataclass(frozen=True)
class DensityError:
    """How far the density of one structure is from its reference.

    Attributes:
        nmae: NMAE at all its points.
        coulomb: Coulomb energy of the error in eV per electron.
    """

    nmae: Nmae
    coulomb: float


def errors_of(network: OrbitalNetwork, examples: Sequence[DensityExample]) -> list[DensityError]:
    """The error of a network on each of some structures."""
    batches = [examples[first:][:MEASURED_TOGETHER] for first in range(0, len(examples), MEASURED_TOGETHER)]
    return [error for batch in batches for error in _errors_of_batch(network, batch)]


def _errors_of_batch(network: OrbitalNetwork, examples: Sequence[DensityExample]) -> list[DensityError]:
    with torch.no_grad():
        expansion = _expansion(network, examples)
        points = [example.points for example in examples]
        added = added_at_points(expansion, [example.sample.structure for example in examples], points)
        of_each = added.cpu().split([len(one) for one in points])
        coulomb = [float(energy) for energy in _coulomb_errors(expansion, examples)]
    return [
        DensityError(nmae(example.sample, (example.sample.density - example.missing) + one.numpy()), energy)
        for example, one, energy in zip(examples, of_each, coulomb, strict=True)
    ]


@dataclass(eq=False)
class DensityTask:
    """Densities of some sets.

    Attributes:
        network: What learns.
        examples: What it learns from.
        validation: What is held out while it learns.
        n_points: Points of each structure in a step.
        promolecule: The floor.
        coulomb_weight: Of the Coulomb energy of the error in the loss, in electrons per eV.
        element_noise: By how much elements are blurred in each step.
    """

    network: OrbitalNetwork
    examples: list[DensityExample]
    validation: list[Sample]
    n_points: int
    promolecule: Promolecule = field(default_factory=Promolecule)
    coulomb_weight: float = 0.0
    element_noise: float = 0.0

    def __post_init__(self) -> None:
        cutoff = self.network.config.trunk.cutoff
        self._held_out = [DensityExample.of(sample, cutoff, self.promolecule) for sample in self.validation]

    @property
    def n_examples(self) -> int:
        return len(self.examples)

    @property
    def n_held_out(self) -> int:
        return len(self.validation)

    def loss(self, indices: Sequence[int], rng: np.random.Generator) -> Tensor:
        """Mean loss of these examples, with NMAE at points drawn anew."""
        chosen = [self.examples[index] for index in indices]
        with blurred(self.network.trunk, self.element_noise, rng):
            return batch_loss(self.network, chosen, self.n_points, rng, self.coulomb_weight)

    def evaluate(self, network: nn.Module) -> Mapping[str, float]:
        """Errors on the validation structures; the Coulomb energy of the error in eV per electron, on average."""
        errors = errors_of(cast(OrbitalNetwork, network), self._held_out)
        spread = Spread.of([error.nmae for error in errors])
        return {
            "validation_nmae": spread.mean,
            "validation_worst": spread.worst,
            "validation_coulomb": float(np.mean([error.coulomb for error in errors])),
        }
