r"""How far a predicted density is expected to be from the reference, atom by atom.

A Gaussian mixture knows the surroundings that a network has learned from (Zhu, Batzner, Musaelian, Kozinsky, J. Chem.
Phys. 158, 164111 (2023)); what lies far from them is drawn worse. An atom's share of ∫|Δρ| is then

.. math:: e_i = \exp(a_{Z_i} + s\, \min(u_i, u_{max}))

with u_i the mixture's negative log-likelihood of its features, and a and s fitted on structures that were held out
(`training.calibration`). Every part is the atom's own: sums over atoms are size-consistent, and neither order nor
orientation matter.

Beyond u_max nothing was calibrated: such an atom is unfamiliar. So is one with neighbours nearer or farther, more or
fewer, than its element had in all that was learned from. Features do not say that where elements are many and
structures few: those of a stretched crystal lie between those of others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from math import log, pi
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.checkpoint import Checkpoint
from models.graph import Graph
from models.interface import ExpectedError, FloatArray

GAUGE = "uncertainty"
"""Where a checkpoint keeps the gauge: a table of the configuration, and a prefix of tensors with a dot."""

SMALLEST_DENSITY = 1e-3
"""e/Å³ of other atoms; less is no neighbour."""

LONGEST_DISTANCE = 10.0
"""Å; an atom without edges has its nearest neighbour there, and no edge is longer."""


@dataclass(frozen=True, eq=False)
class AtomTraits:
    """What is looked at of each atom of one structure or of many.

    Attributes:
        species: Index of its element in the model's list, [n_atoms].
        features: Scalar features of the trunk, [n_atoms, n_features].
        crowding: How near the others are, float64, [n_atoms, 2]: ln of their free atoms' density at the atom in e/Å³,
            and ln of the distance of the nearest in Å.
    """

    species: Tensor
    features: Tensor
    crowding: Tensor

    def chosen(self, atoms: Tensor) -> "AtomTraits":
        """Those of some atoms, by their indices."""
        return AtomTraits(self.species[atoms], self.features[atoms], self.crowding[atoms])


def crowding_of(graph: Graph, brought: Sequence[FloatArray]) -> Tensor:
    """Crowding of the atoms of a batch, on the CPU, [n_atoms, 2].

    Args:
        graph: The batch, with edges to all that are near.
        brought: Density in e/Å³ that others bring to the atoms of each structure (`brought_by_others`).
    """
    lengths = torch.linalg.vector_norm(graph.vectors.detach(), dim=1)
    nearest = lengths.new_full((graph.n_atoms,), LONGEST_DISTANCE).scatter_reduce(0, graph.receiver, lengths, "amin")
    densities = torch.from_numpy(np.concatenate(brought)).clamp(min=SMALLEST_DENSITY)
    return torch.log(torch.stack([densities, nearest.cpu()], 1))


@dataclass(frozen=True, eq=False)
class Mixture:
    """A Gaussian mixture in a few directions of the features, all float64.

    Attributes:
        centre: Mean of the features, [n_features].
        directions: Principal directions, each divided by the spread along it, [n_features, n_kept].
        means: [n_components, n_kept].
        precisions: Factors P of the precisions, P Pᵀ = Σ⁻¹, triangular, [n_components, n_kept, n_kept].
        log_weights: Logarithms of the components' weights, [n_components].
    """

    centre: Tensor
    directions: Tensor
    means: Tensor
    precisions: Tensor
    log_weights: Tensor

    def negative_log_likelihoods(self, features: Tensor) -> Tensor:
        r"""u of some atoms, float64, [n_atoms].

        .. math:: u = -\log \sum_k \pi_k\, N(y; \mu_k, \Sigma_k), \qquad y = (x - \bar x)\, D

        Args:
            features: x, [n_atoms, n_features].
        """
        kept = (features.double() - self.centre) @ self.directions
        from_means = torch.einsum("akd,kde->ake", kept[:, None] - self.means, self.precisions)
        log_determinants = torch.log(torch.diagonal(self.precisions, dim1=1, dim2=2)).sum(1)
        log_norms = log_determinants - 0.5 * self.means.shape[1] * log(2 * pi)
        return -torch.logsumexp(self.log_weights + log_norms - 0.5 * from_means.square().sum(2), 1)


@dataclass(frozen=True, eq=False)
class Learned:
    """The surroundings of the atoms that a network has learned from.

    Attributes:
        mixture: Their features.
        lowest: Smallest crowding of each element, [n_species, 2]; infinite for one that there was not.
        highest: Largest.
    """

    mixture: Mixture
    lowest: Tensor
    highest: Tensor

    def excesses(self, traits: AtomTraits) -> Tensor:
        """By how much the crowding of some atoms lies outside that of their elements; 0 inside, [n_atoms, 2]."""
        below = self.lowest[traits.species] - traits.crowding
        above = traits.crowding - self.highest[traits.species]
        return torch.maximum(below, above).clamp(min=0)


@dataclass(frozen=True)
class Calibration:
    """Plain figures of a gauge.

    Attributes:
        slope: s: by how much ln e rises with u; zero or more.
        familiar: u_max: the largest u for which errors are known.
        factor: What is not exceeded over what is expected; None if too few structures were held out to say.
        coverage: Share of structures whose error is meant to be below the bound.
        n_structures: Structures that it was calibrated on.
        n_crossed: How many of them the model has learned from; networks that have not said how they err there.
        rank: Spearman's correlation of their errors with what is expected of them, each group judged by a gauge that
            has not seen it; None if they were too few, or nobody has looked.
    """

    slope: float
    familiar: float
    factor: float | None
    coverage: float
    n_structures: int
    n_crossed: int = 0
    rank: float | None = None


@dataclass(frozen=True, eq=False)
class Gauge:
    """What turns the traits of atoms into expected errors.

    Attributes:
        learned: The surroundings that were learned from.
        offsets: a of each element, for errors in electrons, float64, [n_species].
        margins: Excesses of crowding with which an atom is still familiar, float64, [2].
        calibration: The figures.
    """

    learned: Learned
    offsets: Tensor
    margins: Tensor
    calibration: Calibration

    def errors(self, traits: AtomTraits) -> tuple[Tensor, Tensor]:
        """e in electrons, float64, and whether an atom is unfamiliar, [n_atoms] each."""
        likelihoods = self.learned.mixture.negative_log_likelihoods(traits.features)
        has_familiar_features = likelihoods <= self.calibration.familiar
        has_familiar_crowding = (self.learned.excesses(traits) <= self.margins).all(1)
        return self.electrons(traits, likelihoods), ~(has_familiar_features & has_familiar_crowding)

    def electrons(self, traits: AtomTraits, likelihoods: Tensor) -> Tensor:
        """e in electrons, [n_atoms].

        Args:
            traits: Of some atoms.
            likelihoods: u of their features, [n_atoms].
        """
        seen = likelihoods.clamp(max=self.calibration.familiar)
        return torch.exp(self.offsets[traits.species] + self.calibration.slope * seen)

    def expected_error(self, traits: AtomTraits, n_electrons: float) -> ExpectedError:
        """The error of one structure.

        Args:
            traits: Of its atoms.
            n_electrons: Its valence electrons.
        """
        per_atom, unfamiliar = self.errors(traits)
        value = None if bool(unfamiliar.any()) else float(per_atom.sum()) / n_electrons
        factor = self.calibration.factor
        return ExpectedError(
            value=value,
            upper=None if value is None or factor is None else factor * value,
            coverage=self.calibration.coverage,
            per_atom=per_atom.numpy(),
            unfamiliar=unfamiliar.numpy(),
        )

    def expected_errors(
        self, traits: AtomTraits, structure_of_atom: Tensor, n_electrons: Sequence[float]
    ) -> list[ExpectedError]:
        """The errors of the structures of a batch.

        Args:
            traits: Of all its atoms.
            structure_of_atom: Index of each atom's structure, [n_atoms].
            n_electrons: Valence electrons of each structure.
        """
        return [
            self.expected_error(traits.chosen(torch.nonzero(structure_of_atom == index).squeeze(1)), number)
            for index, number in enumerate(n_electrons)
        ]

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint keeps as tensors."""
        mixture = {one.name: getattr(self.learned.mixture, one.name) for one in fields(Mixture)}
        bounds = {"lowest": self.learned.lowest, "highest": self.learned.highest, "margins": self.margins}
        return {"offsets": self.offsets} | bounds | mixture

    @classmethod
    def of_checkpoint(cls, checkpoint: Checkpoint) -> "Gauge | None":
        """The gauge that stands beside a network's weights; None where nobody has calibrated it."""
        figures = checkpoint.config.get(GAUGE)
        return None if figures is None else cls.of(checkpoint.inside(GAUGE), figures)

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], figures: Mapping[str, Any]) -> "Gauge":
        """The gauge that a checkpoint keeps.

        Args:
            tensors: As `tensors` gave them.
            figures: Those of the calibration.

        Raises:
            ValueError: If something is missing, or there is more than that.
        """
        parts = dict(tensors)
        try:
            offsets, margins, lowest, highest = (
                parts.pop(name) for name in ("offsets", "margins", "lowest", "highest")
            )
            learned = Learned(Mixture(**parts), lowest, highest)
            return cls(learned, offsets, margins, Calibration(**figures))
        except (KeyError, TypeError) as error:
            raise ValueError(f"found a calibration that lacks something or has too much: {error}") from error
