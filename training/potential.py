"""Learning energies, forces, stresses and moments: CHGNet's losses for a network with direct heads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import huber_loss

from models.device import moved
from models.potential.chgnet.graph import bond_graph
from models.potential.chgnet.rows import Owners, summed
from models.potential.fastchgnet.heads import HeadInput
from models.potential.fastchgnet.network import FastNetwork
from training.balance import StepCost, counts_of
from training.labels import FloatArray, LabelledStructure

GPA = 160.21766208
"""GPa of 1 eV/Å³."""

HUBER_DELTA = 0.1
"""Error in eV/atom, eV/Å, GPa or Bohr magnetons above which the loss grows linearly, as in CHGNet."""

STEP_COST = StepCost(per_atom=0.95, per_edge=0.020, per_angle=0.024)
"""As `python -m benchmarks.fastchgnet` fits it, of a step that learns trunk and heads."""


AT_ONCE = 64
"""Structures of one batch where nothing is learned."""


@dataclass(frozen=True)
class LossWeights:
    """What each of the losses counts.

    Attributes:
        energy: Of the energy in eV/atom.
        forces: In eV/Å.
        stress: In GPa.
        magmoms: In Bohr magnetons.
    """

    energy: float = 1.0
    forces: float = 1.0
    stress: float = 0.1
    magmoms: float = 0.1


CHGNETS_WEIGHTS = LossWeights()
"""Those that CHGNet was trained with."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What a network says of a batch, or what is known of it; NaN where nothing is known.

    Attributes:
        energies: eV/atom, [n_structures].
        magmoms: Bohr magnetons, [n_atoms].
        forces: eV/Å, [n_atoms, 3].
        stresses: GPa, [n_structures, 3, 3].
        structure_of_atom: Index of each atom's structure, [n_atoms].
    """

    energies: Tensor
    magmoms: Tensor
    forces: Tensor
    stresses: Tensor
    structure_of_atom: Tensor

    def errors(self, known: "Answers") -> dict[str, Tensor]:
        """Differences from what is known, by the names of `LossWeights`; without what is not known."""
        pairs = {
            "energy": (self.energies, known.energies),
            "forces": (self.forces, known.forces),
            "stress": (self.stresses, known.stresses),
            "magmoms": (self.magmoms, known.magmoms),
        }
        return {name: (said - true)[torch.isfinite(true)] for name, (said, true) in pairs.items()}


def known_of(examples: Sequence[LabelledStructure]) -> Answers:
    """The labels of a batch."""
    n_atoms = [one.structure.n_atoms for one in examples]
    energies = [np.nan if one.energy is None else one.energy / one.structure.n_atoms for one in examples]
    magmoms = [np.full(len(one.forces), np.nan) if one.magmoms is None else one.magmoms for one in examples]
    stresses = [np.full((3, 3), np.nan) if one.stress is None else one.stress * GPA for one in examples]
    return Answers(
        torch.tensor(energies, dtype=torch.float64),
        torch.from_numpy(np.concatenate(magmoms)),
        torch.from_numpy(np.concatenate([one.forces for one in examples])),
        torch.from_numpy(np.array(stresses)),
        torch.repeat_interleave(torch.arange(len(examples)), torch.tensor(n_atoms)),
    )


@dataclass(frozen=True, eq=False)
class TrunkAnswers:
    """What a trunk that does not learn has to say of one structure, once and for all.

    Attributes:
        there: What the heads look at.
        energies: Energies of the atoms in eV, [n_atoms].
        magmoms: Bohr magnetons, [n_atoms].
    """

    there: HeadInput
    energies: Tensor
    magmoms: Tensor

    @classmethod
    def of(cls, network: FastNetwork, examples: Sequence[LabelledStructure]) -> "TrunkAnswers":
        """The answers for a batch."""
        config, device = network.config.trunk, next(network.parameters()).device
        graph = bond_graph([one.structure for one in examples], config.cutoff, config.angle_cutoff)
        energies, magmoms, there = network.trunk_answers(graph.to(device))
        return cls(there, energies, magmoms)

    @classmethod
    def joined(cls, parts: Sequence["TrunkAnswers"]) -> "TrunkAnswers":
        """Those of a batch, from those of its members."""
        energies, magmoms = (torch.cat([getattr(one, name) for one in parts]) for name in ("energies", "magmoms"))
        return cls(HeadInput.joined([one.there for one in parts]), energies, magmoms)

    def parts(self) -> list["TrunkAnswers"]:
        """Those of each member of a batch."""
        owners = self.there.structure_of_atom
        chosen = [(index, owners == index) for index in range(len(self.there.volumes))]
        return [TrunkAnswers(self.there.part(index), self.energies[own], self.magmoms[own]) for index, own in chosen]

    def with_heads(self, network: FastNetwork) -> Answers:
        """The answers with what a network's heads say."""
        forces, stresses = network.heads(self.there)
        owners, n_structures = self.there.structure_of_atom, len(self.there.volumes)
        energies = summed(self.energies[:, None], Owners(owners, n_structures))[:, 0] / torch.bincount(owners)
        return Answers(energies, self.magmoms.double(), forces, stresses * GPA, owners)


@dataclass(eq=False)
class PotentialTask:
    """Energies, forces, stresses and moments of labelled structures.

    Attributes:
        network: What learns.
        examples: What it learns from.
        held_out: What is held out while it learns.
        weights: What each loss counts.
        is_trunk_frozen: Whether the heads learn alone; the trunk then answers once.
    """

    network: FastNetwork
    examples: list[LabelledStructure]
    held_out: list[LabelledStructure]
    weights: LossWeights = CHGNETS_WEIGHTS
    is_trunk_frozen: bool = False
    costs: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        self.network.chgnet.requires_grad_(not self.is_trunk_frozen)
        config = self.network.config.trunk
        graphs = (bond_graph([one.structure], config.cutoff, config.angle_cutoff) for one in self.examples)
        self.costs = STEP_COST.of(np.array([counts_of(graph) for graph in graphs]))
        self._mean_atoms = float(np.mean([one.structure.n_atoms for one in self.examples]))
        self._answers = self._once(self.examples)
        self._held_out_answers = self._once(self.held_out)

    def _once(self, examples: Sequence[LabelledStructure]) -> list[TrunkAnswers]:
        """What a frozen trunk says of each, in main memory; nothing of one that learns."""
        if not self.is_trunk_frozen:
            return []
        with torch.no_grad():
            batches = (examples[first : first + AT_ONCE] for first in range(0, len(examples), AT_ONCE))
            return [part for batch in batches for part in moved(TrunkAnswers.of(self.network, batch), "cpu").parts()]

    @property
    def n_examples(self) -> int:
        return len(self.examples)

    @property
    def n_held_out(self) -> int:
        return len(self.held_out)

    def loss(self, indices: Sequence[int], rng: np.random.Generator) -> Tensor:
        """Mean loss of these examples; every atom's force and moment counts alike, and every structure's other labels.

        Args:
            indices: Which examples.
            rng: Not needed: nothing is drawn.
        """
        chosen = [self.examples[index] for index in indices]
        of_trunk = [self._answers[index] for index in indices] if self.is_trunk_frozen else []
        errors = _errors(self.network, chosen, of_trunk)
        shares = {"energy": 1.0, "forces": 3 * self._mean_atoms, "stress": 9.0, "magmoms": self._mean_atoms}
        losses = [
            getattr(self.weights, name) / (share * len(chosen)) * _huber(errors[name]) for name, share in shares.items()
        ]
        return torch.stack(losses).sum()

    def evaluate(self, network: nn.Module) -> Mapping[str, float]:
        """Mean absolute errors on what is held out, in meV/atom, meV/Å, GPa and Bohr magnetons."""
        errors = self.errors_of(cast(FastNetwork, network))
        units = {"energy": 1000.0, "forces": 1000.0, "stress": 1.0, "magmoms": 1.0}
        means = {name: float(all_of.abs().mean()) for name, all_of in errors.items() if len(all_of)}
        return {f"validation_{name}": units[name] * mean for name, mean in means.items()}

    def errors_of(self, network: FastNetwork) -> dict[str, Tensor]:
        """Errors of a network on what is held out, by the names of `LossWeights`."""
        found = []
        with torch.no_grad():
            for first in range(0, len(self.held_out), AT_ONCE):
                batch = self.held_out[first : first + AT_ONCE]
                known = self._held_out_answers[first : first + AT_ONCE]
                found.append(_errors(network, batch, known))
        return {name: torch.cat([errors[name] for errors in found]) for name in found[0]}


def _errors(
    network: FastNetwork, examples: Sequence[LabelledStructure], of_trunk: Sequence[TrunkAnswers]
) -> dict[str, Tensor]:
    """Errors of a network on a batch, by the names of `LossWeights`.

    Args:
        network: The network.
        examples: The batch.
        of_trunk: What its trunk is known to say of each; nothing if it is to be asked.
    """
    device = next(network.parameters()).device
    said = moved(TrunkAnswers.joined(of_trunk), device) if of_trunk else TrunkAnswers.of(network, examples)
    return said.with_heads(network).errors(moved(known_of(examples), device))


def _huber(errors: Tensor) -> Tensor:
    """Sum of Huber losses."""
    return huber_loss(errors, torch.zeros_like(errors), reduction="sum", delta=HUBER_DELTA)
