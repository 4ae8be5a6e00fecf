"""The TOML file of one training: data, model, schedule."""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from models.density.deep_density.config import DeepDensityConfig
from models.density.orbital.config import OrbitalConfig
from models.network import TrunkConfig
from rhocast.elements import ATOMIC_NUMBERS
from training.loop import Schedule

Built = TypeVar("Built")

ORBITAL, DEEP_DENSITY, FASTCHGNET = "orbital", "deep-density", "fastchgnet"

OF_ORBITALS = ("coulomb_weight", "element_likeness", "element_noise")
"""Numbers that decide how orbitals are learned, and nothing else is; 0 where a file does not have them."""


class BadConfig(Exception):
    """A configuration file does not say what it should."""


def read_tables(file: Path, build: Callable[[Mapping[str, Any]], Built]) -> Built:
    """What is built from the tables of a TOML file.

    Args:
        file: The file.
        build: Builds it; its KeyError, TypeError and ValueError are what is wrong with the file.

    Raises:
        BadConfig: If the file is no TOML, has a key that it should not have, lacks one, or asks for nonsense.
    """
    try:
        with file.open("rb") as stream:
            return build(tomllib.load(stream))
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        raise BadConfig(f"{file}: {error}") from error


def architecture_of(file: Path) -> str:
    """The architecture that a configuration file names, whatever it is.

    Raises:
        BadConfig: If the file is no TOML.
    """
    return read_tables(file, lambda table: str(table.get("architecture", ORBITAL)))


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
        architecture: Kind of the model, "orbital" or "deep-density".
        element_likeness: How far elements start alike if their free atoms are, from 0 to 1 (`training.elements`).
        element_noise: By how much elements are blurred in each step.
        n_crossed: Parts of the training split of which each is left out once, so that what is expected of errors is
            learned there too (`training.crossing`); none if 0. It changes no weight.

    Raises:
        ValueError: If one of the last makes no sense, or is given for a model that is not learned so.
    """

    name: str
    about: Mapping[str, Any]
    sets: tuple[str, ...]
    n_points: int
    n_training: int | None
    model: OrbitalConfig | DeepDensityConfig
    schedule: Schedule
    coulomb_weight: float = 0.0
    architecture: str = ORBITAL
    element_likeness: float = 0.0
    element_noise: float = 0.0
    n_crossed: int = 0

    def __post_init__(self) -> None:
        if self.n_crossed < 0 or self.n_crossed == 1:
            raise ValueError(f"found n_crossed {self.n_crossed}; expected 0, or 2 parts and more")
        for name in OF_ORBITALS:
            value = getattr(self, name)
            if value < 0:
                raise ValueError(f"found {name} {value}; expected zero or more")
            if value and self.architecture != ORBITAL:
                raise ValueError(f"found {name} for {self.architecture}; expected none: only orbitals learn by it")
        if self.element_likeness > 1:
            raise ValueError(f"found element_likeness {self.element_likeness}; expected one at most")

    @property
    def orbitals(self) -> OrbitalConfig:
        """The model, if it is an orbital one.

        Raises:
            BadConfig: If it is another.
        """
        if not isinstance(self.model, OrbitalConfig):
            raise BadConfig(f"found {self.name}, a {self.architecture} model; expected an orbital model")
        return self.model

    @property
    def deep_density(self) -> DeepDensityConfig:
        """The model, if it is a Deep Density.

        Raises:
            BadConfig: If it is another.
        """
        if not isinstance(self.model, DeepDensityConfig):
            raise BadConfig(f"found {self.name}, an {self.architecture} model; expected a Deep Density")
        return self.model

    @classmethod
    def read(cls, file: Path) -> "TrainingConfig":
        """The configuration in a file.

        Raises:
            BadConfig: If the file is no TOML, has a key that it should not have, lacks one, or asks for nonsense.
        """
        return read_tables(file, cls.from_dict)

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> "TrainingConfig":
        """The configuration in tables; `model.trunk` may name a `preset`, and elements may be symbols."""
        unknown = sorted(set(table) - {one.name for one in fields(cls)})
        if unknown:
            raise ValueError(f"found {', '.join(unknown)}; expected {', '.join(one.name for one in fields(cls))}")
        architecture = table.get("architecture", ORBITAL)
        if architecture not in MODELS:
            raise ValueError(f"found architecture {architecture!r}; expected one of {', '.join(MODELS)}")
        return cls(
            name=table["name"],
            about={"name": table["name"]} | table["about"],
            sets=tuple(table["sets"]),
            n_points=table["n_points"],
            n_training=table.get("n_training"),
            model=MODELS[architecture](table["model"]),
            schedule=Schedule(**table["schedule"]),
            architecture=architecture,
            n_crossed=table.get("n_crossed", 0),
            **{name: table.get(name, 0.0) for name in OF_ORBITALS},
        )

    def as_dict(self) -> dict[str, Any]:
        """What decides the weights, in tables of numbers, strings and lists."""
        # What was not there once is left out where it says nothing, so that trainings from before go on.
        later: dict[str, Any] = {name: getattr(self, name) for name in OF_ORBITALS if getattr(self, name)}
        later |= {} if self.architecture == ORBITAL else {"architecture": self.architecture}
        return later | {
            "name": self.name,
            "about": dict(self.about),
            "sets": list(self.sets),
            "n_points": self.n_points,
            "n_training": self.n_training,
            "model": self.model.as_dict(),
            "schedule": self.schedule.as_dict(),
        }


def _orbital(table: Mapping[str, Any]) -> OrbitalConfig:
    return OrbitalConfig.from_dict({**table, "trunk": _trunk(table["trunk"])})


def _deep_density(table: Mapping[str, Any]) -> DeepDensityConfig:
    return DeepDensityConfig.from_dict({**table, "elements": _numbers(table["elements"])})


MODELS: dict[str, Callable[[Mapping[str, Any]], OrbitalConfig | DeepDensityConfig]] = {
    ORBITAL: _orbital,
    DEEP_DENSITY: _deep_density,
}
"""How to read the shape of a model, by the name of its architecture."""


def _trunk(table: Mapping[str, Any]) -> dict[str, Any]:
    table = dict(table)
    elements = _numbers(table.pop("elements"))
    preset = table.pop("preset", None)
    base = TrunkConfig.preset(preset, tuple(elements)).as_dict() if preset else {"elements": elements}
    return base | table


def _numbers(elements: Sequence[int | str]) -> list[int]:
    """Atomic numbers, rising, of elements by symbol or number."""
    return sorted(one if isinstance(one, int) else ATOMIC_NUMBERS[one] for one in elements)
