"""The TOML file of one training: data, model, schedule."""

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from models.density.orbital.config import OrbitalConfig
from models.network import TrunkConfig
from rhocast.elements import ATOMIC_NUMBERS
from training.loop import Schedule


class BadConfig(Exception):
    """A configuration file does not say what it should."""


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that decides a training.

    Attributes:
        name: Name of the model.
        about: What the model says of itself: `description`, `level_of_theory`, `domains`.
        sets: Sets of reference data.
        n_points: Points of each structure in a step.
        n_training: Structures to learn from, for learning curves; all if None.
        model: Shape of the model.
        schedule: How to learn.
        coulomb_weight: λ of the Coulomb energy of the error in the loss, in electrons per eV (`training.coulomb`).

    Raises:
        ValueError: If the weight is negative.
    """

    name: str
    about: Mapping[str, Any]
    sets: tuple[str, ...]
    n_points: int
    n_training: int | None
    model: OrbitalConfig
    schedule: Schedule
    coulomb_weight: float = 0.0

    def __post_init__(self) -> None:
        if self.coulomb_weight < 0:
            raise ValueError(f"found coulomb_weight {self.coulomb_weight}; expected zero or more")

    @classmethod
    def read(cls, file: Path) -> "TrainingConfig":
        """The configuration in a file.

        Raises:
            BadConfig: If the file is no TOML, has a key that it should not have, lacks one, or asks for nonsense.
        """
        try:
            with file.open("rb") as stream:
                table = tomllib.load(stream)
            return cls.from_dict(table)
        except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
            raise BadConfig(f"{file}: {error}") from error

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> "TrainingConfig":
        """The configuration in tables; `model.trunk` may name a `preset`, and elements by symbol."""
        unknown = sorted(set(table) - {one.name for one in fields(cls)})
        if unknown:
            raise ValueError(f"found {', '.join(unknown)}; expected {', '.join(one.name for one in fields(cls))}")
        model = dict(table["model"])
        model["trunk"] = _trunk(model["trunk"])
        return cls(
            name=table["name"],
            about={"name": table["name"]} | table["about"],
            sets=tuple(table["sets"]),
            n_points=table["n_points"],
            n_training=table.get("n_training"),
            model=OrbitalConfig.from_dict(model),
            schedule=Schedule(**table["schedule"]),
            coulomb_weight=table.get("coulomb_weight", 0.0),
        )

    def as_dict(self) -> dict[str, Any]:
        """Tables of numbers, strings and lists."""
        # A weight of zero is left out, so that trainings from before there was one go on.
        weight = {"coulomb_weight": self.coulomb_weight} if self.coulomb_weight else {}
        return weight | {
            "name": self.name,
            "about": dict(self.about),
            "sets": list(self.sets),
            "n_points": self.n_points,
            "n_training": self.n_training,
            "model": self.model.as_dict(),
            "schedule": asdict(self.schedule),
        }


def _trunk(table: Mapping[str, Any]) -> dict[str, Any]:
    table = dict(table)
    elements = [one if isinstance(one, int) else ATOMIC_NUMBERS[one] for one in table.pop("elements")]
    preset = table.pop("preset", None)
    base = TrunkConfig.preset(preset, tuple(sorted(elements))).as_dict() if preset else {"elements": sorted(elements)}
    return base | table
