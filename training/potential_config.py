"""The TOML file of a training of a potential with direct heads."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from training.config import FASTCHGNET, read_tables
from training.loop import Schedule
from training.potential import CHGNETS_WEIGHTS, LossWeights

TEACHER = "teacher"
"""Word for the teacher's labels, in the place of the names of sets."""


@dataclass(frozen=True)
class PotentialConfig:
    """Everything that decides a training of direct heads on CHGNet.

    Attributes:
        name: Name of the model.
        about: What it says of itself: `description`, `level_of_theory`, `domains`, `energy_reference`, `licence`.
        labels: "teacher", or sets of reference data, whose DFT gives forces and stresses and no energies.
        start: CHGNet of the catalogue that it starts from, or the file of weights of an earlier training.
        is_trunk_frozen: Whether the heads learn alone.
        is_antisymmetric: Whether forces of a structure sum to zero.
        weights: What each loss counts.
        schedule: How to learn.
        n_training: Structures to learn from, for learning curves; all if None.
        n_watched: Structures of the validation split to look at after each epoch.

    Raises:
        ValueError: If nothing is watched, or the schedule has an end that potentials do not have.
    """

    name: str
    about: Mapping[str, Any]
    labels: tuple[str, ...]
    start: str
    is_trunk_frozen: bool
    schedule: Schedule
    is_antisymmetric: bool = True
    weights: LossWeights = CHGNETS_WEIGHTS
    n_training: int | None = None
    n_watched: int = 200

    def __post_init__(self) -> None:
        if self.n_watched < 1:
            raise ValueError(f"found {self.n_watched} structures to watch; expected one at least")
        if self.schedule.n_finishing:
            raise ValueError(f"found n_finishing {self.schedule.n_finishing}; expected none: it is for densities")

    @property
    def architecture(self) -> str:
        return FASTCHGNET

    @classmethod
    def read(cls, file: Path) -> "PotentialConfig":
        """The configuration in a file.

        Raises:
            BadConfig: If the file is no TOML, has a key that it should not have, lacks one, or asks for nonsense.
        """
        return read_tables(file, cls.from_dict)

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> "PotentialConfig":
        """The configuration in tables."""
        known = {one.name for one in fields(cls)} | {"architecture"}
        if unknown := sorted(set(table) - known):
            raise ValueError(f"found {', '.join(unknown)}; expected {', '.join(sorted(known))}")
        rest = {name: value for name, value in table.items() if name != "architecture"}
        return cls(
            **rest
            | {
                "about": {"name": table["name"]} | table["about"],
                "labels": tuple(table["labels"]),
                "weights": LossWeights(**table.get("weights", {})),
                "schedule": Schedule(**table["schedule"]),
            }
        )

    def as_dict(self) -> dict[str, Any]:
        """Tables of numbers, strings and lists."""
        return {
            "architecture": FASTCHGNET,
            **{one.name: getattr(self, one.name) for one in fields(self)},
            "about": dict(self.about),
            "labels": list(self.labels),
            "weights": asdict(self.weights),
            "schedule": self.schedule.as_dict(),
        }
