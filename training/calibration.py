r"""Calibration: what makes a model say how far its densities are expected to be from the reference.

The mixture of `models.uncertainty` is fitted on the atoms that a network has learned from; how errors follow from it,
on structures that were held out (`training.cases` says what an atom's error is).

Where structures are few and their elements many, those held out do not tell how errors of each element follow. So
networks may be trained that have not learned from a part of the training split each, and say how they err there
(`training.crossing`): each sees that part by a mixture of its own, and u means to all the same.
"""

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import ceil
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GroupKFold
from torch import Tensor

from models.checkpoint import Checkpoint
from models.uncertainty import GAUGE, AtomTraits, Calibration, Gauge, Learned, Mixture
from training.assembly import learned_samples
from training.cases import (
    Case,
    Network,
    cases_of,
    elements_of_network,
    network_of_checkpoint,
    traits_of_samples,
)
from training.config import TrainingConfig
from training.dataset import DATA, NoData, Sample, covered, elements_of, samples

FloatArray = NDArray[np.float64]

Worst = tuple[float, ...]
"""Of the strangest atom of a structure: largest u, and largest excesses of crowding, [3]."""

COVERAGE = 0.9
"""Share of structures whose error shall be below the upper bound."""

FAMILIAR = 0.95
"""Share of held-out structures all of whose atoms shall be familiar."""

FEWEST_HELD_OUT = 9
"""Structures that can say by themselves what is familiar; with fewer, those learned from are asked too."""

KEPT_VARIANCE = 0.99
ATOMS_PER_DIRECTION = 50
"""Directions of the features hold this part of their variance, and there are so many atoms for each at least."""

FLOOR_OF_COVARIANCE = 0.01
"""Of each direction's variance: atoms that are equal by symmetry would make a component without any width."""

MOST_COMPONENTS = 10
MOST_FOLDS = 4
FEWEST_RANKED = 10
"""Structures that a rank correlation takes."""

ATOMS_OF_AN_OFFSET = 1
"""Atoms of an element whose own mean counts as much as that of all elements."""

SMALLEST_ERROR = 1e-6
"""Electrons; errors are compared in their logarithms."""


def fit_mixture(features: FloatArray, groups: Sequence[str]) -> Mixture:
    """The mixture of some atoms, with the number of components that gives groups left out the largest likelihood.

    Not by the BIC of all: atoms of one structure are alike, often equal, and it takes them for so many witnesses.

    Args:
        features: [n_atoms, n_features].
        groups: Group of each atom, [n_atoms].
    """
    centre = features.mean(0)
    _, sizes, axes = np.linalg.svd(features - centre, full_matrices=False)
    held = np.cumsum(sizes**2) / max(float(np.sum(sizes**2)), np.finfo(float).tiny)
    n_kept = max(1, min(int(np.searchsorted(held, KEPT_VARIANCE)) + 1, len(features) // ATOMS_PER_DIRECTION))
    spread = np.maximum(sizes[:n_kept] / np.sqrt(len(features)), np.finfo(np.float32).eps)
    directions = axes[:n_kept].T / spread
    kept = (features - centre) @ directions
    fitted = _mixture(kept, _n_components(kept, groups))
    arrays = (centre, directions, fitted.means_, fitted.precisions_cholesky_, np.log(np.asarray(fitted.weights_)))
    return Mixture(*(torch.from_numpy(np.ascontiguousarray(one)) for one in arrays))


def _n_components(kept: FloatArray, groups: Sequence[str]) -> int:
    n_folds = min(MOST_FOLDS, len(set(groups)))
    if n_folds < 2:
        return 1
    folds = list(GroupKFold(n_folds).split(kept, groups=groups))
    most = min(MOST_COMPONENTS, *(len(learned) for learned, _ in folds))
    likelihoods = [
        sum(_mixture(kept[learned], n).score_samples(kept[left_out]).sum() for learned, left_out in folds)
        for n in range(1, most + 1)
    ]
    return int(np.argmax(likelihoods)) + 1


def _mixture(kept: FloatArray, n_components: int) -> GaussianMixture:
    mixture = GaussianMixture(n_components, reg_covar=FLOOR_OF_COVARIANCE, random_state=0, max_iter=500)
    kept = kept if len(kept) > 1 else np.repeat(kept, 2, axis=0)  # the library refuses a single sample
    with warnings.catch_warnings():
        # Fewer different atoms than components: the likelihood of those left out speaks against so many.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return mixture.fit(kept)


def learned_from(traits: Sequence[AtomTraits], groups: Sequence[str], n_species: int) -> Learned:
    """The surroundings of some structures.

    Args:
        traits: Of the atoms of each.
        groups: Group of each.
        n_species: Elements of the model.
    """
    features = np.concatenate([one.features.double().numpy() for one in traits])
    mixture = fit_mixture(features, [group for one, group in zip(traits, groups, strict=True) for _ in one.species])
    species, crowding = torch.cat([one.species for one in traits]), torch.cat([one.crowding for one in traits])
    index = species[:, None].expand_as(crowding)
    nothing = torch.full((n_species, crowding.shape[1]), torch.inf, dtype=torch.float64)
    lowest = nothing.scatter_reduce(0, index, crowding, "amin")
    return Learned(mixture, lowest, (-nothing).scatter_reduce(0, index, crowding, "amax"))


def strangest_left_out(traits: Sequence[AtomTraits], groups: Sequence[str], n_species: int) -> list[Worst]:
    """How strange the strangest atom of each structure is to what is learned from other groups; empty for one group.

    Very few validation structures do not show how far apart structures of a set may lie; those learned from do, when
    their groups are left out in turns. Where validation structures are not so few they know better: each element has
    bounds of its own, which widen when the only groups that have it are left out.

    Args:
        traits: Of the atoms of each structure learned from.
        groups: Group of each.
        n_species: Elements of the model.
    """
    n_folds = min(MOST_FOLDS, len(set(groups)))
    found: list[Worst] = []
    for fold in GroupKFold(n_folds).split(groups, groups=groups) if n_folds > 1 else []:
        kept, left_out = ([int(index) for index in indices] for indices in fold)
        learned = learned_from([traits[index] for index in kept], [groups[index] for index in kept], n_species)
        # An element that nobody else has is refused, not strange.
        known = torch.isfinite(learned.lowest[:, 0])
        there = [traits[index] for index in left_out if bool(known[traits[index].species].all())]
        found += [_strangest(learned, one, learned.mixture.negative_log_likelihoods(one.features)) for one in there]
    return found


def _strangest(learned: Learned, traits: AtomTraits, likelihoods: Tensor) -> Worst:
    return (float(likelihoods.max()), *learned.excesses(traits).amax(0).tolist())


@dataclass(frozen=True, eq=False)
class Seen:
    """A case as something learned sees it that has not learned from it: what does not change with the calibration.

    Attributes:
        case: The case.
        likelihoods: u of its atoms, [n_atoms].
        worst: Of its strangest atom.
    """

    case: Case
    likelihoods: Tensor
    worst: Worst

    @classmethod
    def of(cls, learned: Learned, case: Case) -> "Seen":
        likelihoods = learned.mixture.negative_log_likelihoods(case.traits.features)
        return cls(case, likelihoods, _strangest(learned, case.traits, likelihoods))

    def expected_nmae(self, gauge: Gauge) -> float:
        """Also of a structure with unfamiliar atoms."""
        return float(gauge.electrons(self.case.traits, self.likelihoods).sum()) / self.case.n_electrons


def fit_gauge(
    learned: Learned, cases: Sequence[Case], left_out: Sequence[Worst] = (), crossed: Sequence[Seen] = ()
) -> Gauge:
    """The gauge: ln e by least squares, and its bound from what every group shows when it is left out.

    Args:
        learned: Surroundings that the network has learned from.
        cases: Held-out structures.
        left_out: How strange structures learned from are to the others (`strangest_left_out`).
        crossed: Structures learned from, as networks see them that have not (`training.crossing`). Those that are
            unfamiliar then are no witnesses, nor do they say what is: an element whose other structures are left out as
            well is stranger there than it is to the network itself.
    """
    known = _Known(learned, [Seen.of(learned, case) for case in cases], left_out, crossed)
    gauge = known.gauge()
    judged = known.judged_by_others(gauge)
    factor = conformal_quantile([error / expected for error, expected in judged], COVERAGE)
    rank = cast(float, spearmanr(judged)[0]) if len(judged) >= FEWEST_RANKED else None
    return replace(gauge, calibration=replace(gauge.calibration, factor=factor, rank=rank))


@dataclass(frozen=True, eq=False)
class _Known:
    """All that a gauge follows from; names as of `fit_gauge`."""

    learned: Learned
    held_out: Sequence[Seen]
    left_out: Sequence[Worst]
    crossed: Sequence[Seen]

    def gauge(self) -> Gauge:
        """The gauge without its bound."""
        worst = [*self.left_out, *(one.worst for one in self.held_out)]
        familiar, *margins = (_rarely_exceeded(some) for some in zip(*worst, strict=True))
        crossed = _familiar(self.crossed, (familiar, *margins))
        seen = [*self.held_out, *crossed]
        slope, offsets = _relation(seen, familiar, len(self.learned.lowest))
        calibration = Calibration(slope, familiar, None, COVERAGE, len(seen), len(crossed))
        tensors = torch.from_numpy(offsets), torch.tensor(margins, dtype=torch.float64)
        gauge = Gauge(self.learned, *tensors, calibration)
        # Logarithms give a typical error; the expected one is the mean's.
        missing = sum(one.case.nmae for one in seen) / sum(one.expected_nmae(gauge) for one in seen)
        return replace(gauge, offsets=gauge.offsets + np.log(missing))

    def judged_by_others(self, whole: Gauge) -> list[tuple[float, float]]:
        """NMAE of each structure, and what the others say of it, its own group left out; empty if there is one group.

        Args:
            whole: The gauge of all.
        """
        bounds = (whole.calibration.familiar, *whole.margins.tolist())
        seen = [*self.held_out, *_familiar(self.crossed, bounds)]
        judged: list[tuple[float, float]] = []
        for group in sorted({one.case.group for one in seen}):
            others = self._without(group)
            if others.held_out:
                gauge = others.gauge()
                judged += [(one.case.nmae, one.expected_nmae(gauge)) for one in seen if one.case.group == group]
        return judged

    def _without(self, group: str) -> "_Known":
        held_out, crossed = ([one for one in some if one.case.group != group] for some in (self.held_out, self.crossed))
        return replace(self, held_out=held_out, crossed=crossed)


def _familiar(seen: Sequence[Seen], bounds: Worst) -> list[Seen]:
    return [one for one in seen if all(worst <= bound for worst, bound in zip(one.worst, bounds, strict=True))]


def conformal_quantile(scores: Sequence[float], coverage: float) -> float | None:
    """What a further score does not exceed with this probability at least, if all are exchangeable; None if too few.

    The ⌈(n + 1) c⌉-th smallest of n (Vovk, Gammerman, Shafer, *Algorithmic Learning in a Random World*, 2005).

    Args:
        scores: Scores of n structures.
        coverage: c.
    """
    place = ceil((len(scores) + 1) * coverage)
    return sorted(scores)[place - 1] if place <= len(scores) else None


def _rarely_exceeded(worst: Sequence[float]) -> float:
    """What the worst atom of a familiar structure does not exceed; the largest, if structures are few."""
    found = conformal_quantile(worst, FAMILIAR)
    return max(worst) if found is None else found


def _relation(seen: Sequence[Seen], familiar: float, n_species: int) -> tuple[float, FloatArray]:
    """s, and a of each element: its own as far as it has atoms, else the common one."""
    likelihoods = np.concatenate([one.likelihoods.numpy() for one in seen]).clip(max=familiar)
    errors = np.concatenate([one.case.errors for one in seen])
    species = np.concatenate([one.case.traits.species.numpy() for one in seen])
    logarithms = np.log(np.maximum(errors, SMALLEST_ERROR))
    variance = float(likelihoods.var())
    # Never falling: what is less familiar is not for that reason better known.
    common = float(np.mean((likelihoods - likelihoods.mean()) * logarithms))
    slope = max(0.0, common / variance) if variance else 0.0
    left = logarithms - slope * likelihoods
    n_atoms, sums = (np.bincount(species, one, n_species) for one in (None, left - left.mean()))
    return slope, left.mean() + sums / (n_atoms + ATOMS_OF_AN_OFFSET)


def seen_left_out(network: Network, kept: Sequence[Sample], left_out: Sequence[Sample]) -> list[Seen]:
    """What a network says of structures that it has not learned from; without those of elements that it never met.

    Args:
        network: The network.
        kept: What it has learned from.
        left_out: The structures.
    """
    traits, groups = traits_of_samples(network, kept), [sample.group for sample in kept]
    learned = learned_from(traits, groups, len(elements_of_network(network)))
    return [Seen.of(learned, case) for case in cases_of(network, covered(left_out, sorted(elements_of(kept))))]


def calibrated(
    checkpoint: Checkpoint, config: TrainingConfig, data: Path = DATA, crossed: Sequence[Seen] = ()
) -> Checkpoint:
    """The same weights with a gauge of their own: mixture from the training split, errors from the validation split.

    Args:
        checkpoint: Weights of a density model, with a gauge or without.
        config: What they were trained with.
        data: Folder of reference data.
        crossed: Structures of the training split, as networks see them that have not learned from them.

    Raises:
        NoData: If there is no structure to learn or to calibrate from.
    """
    network, weights = network_of_checkpoint(checkpoint, config.architecture), checkpoint.outside(GAUGE)
    network.load_state_dict(weights)
    elements = elements_of_network(network)
    there = learned_samples(config, (), data)
    held_out = covered(samples(config.sets, "validation", data), elements)
    if not held_out:
        raise NoData(f"found no validation structure of {', '.join(config.sets)} to calibrate on; make more data")
    traits, groups = traits_of_samples(network, there), [sample.group for sample in there]
    learned = learned_from(traits, groups, len(elements))
    few = len(held_out) < FEWEST_HELD_OUT
    left_out = strangest_left_out(traits, groups, len(elements)) if few else []
    gauge = fit_gauge(learned, cases_of(network, held_out), left_out, crossed)
    tensors = {f"{GAUGE}.{name}": tensor for name, tensor in gauge.tensors().items()}
    return Checkpoint({**checkpoint.config, GAUGE: asdict(gauge.calibration)}, weights | tensors)
