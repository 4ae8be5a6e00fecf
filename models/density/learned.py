"""What all densities that were learned have in common: how they are read from a checkpoint, and what they say."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from torch import nn

from models.checkpoint import Checkpoint
from models.density.promolecule import RECOMMENDED_SPACING
from models.uncertainty import GAUGE, Gauge
from rhocast.elements import SYMBOLS
from rhocast.errors import UnusableWeights
from rhocast.model_info import Cost, ModelInfo, Property

AnyNetwork = TypeVar("AnyNetwork", bound=nn.Module)


class Domain(NamedTuple):
    """What a network covers, and what it costs.

    Attributes:
        elements: Atomic numbers that it was trained on.
        cutoff: How far an atom sees, in Å.
        max_points: Largest grid.
        cost: On one CPU core, in milliseconds.
        by_name_only: Whether it answers only if it is named.
    """

    elements: tuple[int, ...]
    cutoff: float
    max_points: int
    cost: Cost
    by_name_only: bool = False


def read_learned(
    file: Path, sha256: str, build: Callable[[Mapping[str, Any]], AnyNetwork], kind: str
) -> tuple[AnyNetwork, Mapping[str, Any], Gauge | None]:
    """Network, what it says of itself, and gauge, of a checkpoint that `python -m training` has written.

    Args:
        file: The file.
        sha256: Hash that it must have.
        build: Makes an empty network of a configuration.
        kind: What the file should hold, for the error.

    Raises:
        UnusableWeights: If the file is missing, has another hash, or holds something else.
    """
    checkpoint = Checkpoint.read(file, sha256)
    try:
        network = build(checkpoint.config["model"])
        network.load_state_dict(checkpoint.outside(GAUGE))
        return network, checkpoint.config["about"], Gauge.of_checkpoint(checkpoint)
    except (KeyError, ValueError, RuntimeError) as error:
        raise UnusableWeights(f"found {file.name} that is no {kind} model: {error}") from error


def learned_info(
    domain: Domain, floor: ModelInfo, about: Mapping[str, Any], weights_sha256: str, gauge: Gauge | None
) -> ModelInfo:
    """What a learned model says of itself.

    Args:
        domain: What its network covers.
        floor: Of the promolecule, which it corrects.
        about: `name`, `description`, `level_of_theory` and `domains` of its checkpoint.
        weights_sha256: Hash of the file of weights.
        gauge: What knows how far a density is from the reference.
    """
    elements = tuple(SYMBOLS[number] for number in domain.elements)
    uncalibrated = "it is not calibrated yet; its card has errors on held-out structures"
    return ModelInfo(
        name=about["name"],
        provides=(Property.DENSITY,),
        description=about["description"],
        elements=elements,
        cutoff=domain.cutoff,
        weights_sha256=weights_sha256,
        level_of_theory=about["level_of_theory"],
        licence="CC-BY-4.0",
        density_kind=floor.density_kind,
        valence_electrons={symbol: floor.valence_electrons[symbol] for symbol in elements},
        recommended_spacing=RECOMMENDED_SPACING,
        domains=tuple(about["domains"]),
        by_name_only=domain.by_name_only,
        no_uncertainty_because=None if gauge else uncalibrated,
        max_atoms=2_000,
        max_points=domain.max_points,
        cost=domain.cost,
        labels={"cost_unit": "millisecond on one CPU core"},
    )
