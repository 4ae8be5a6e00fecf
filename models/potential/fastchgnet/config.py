"""What decides the shape of a FastCHGNet."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from models.potential.chgnet.config import Config


@dataclass(frozen=True)
class FastConfig:
    """What builds a network with direct heads.

    Attributes:
        trunk: Sizes of the CHGNet that they stand on.
        is_antisymmetric: Whether both atoms of a bond feel opposite forces along it, so that forces sum to zero.
    """

    trunk: Config
    is_antisymmetric: bool = True

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> "FastConfig":
        """The configuration in tables that `as_dict` made.

        Raises:
            TypeError: If a key is missing or unknown.
        """
        return cls(**{**table, "trunk": Config(**table["trunk"])})

    def as_dict(self) -> dict[str, Any]:
        """Tables of numbers."""
        return asdict(self)
