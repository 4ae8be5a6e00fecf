"""What decides the shape of an orbital model; everything else is weights."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from models.network import TrunkConfig


@dataclass(frozen=True)
class BasisConfig:
    """Gaussian functions on one kind of centre.

    Attributes:
        highest_degree: L; functions have degrees 0 to L.
        n_radial: Exponents of each degree.
        smallest_exponent: bohr⁻²; what learned exponents stay above. It decides how far a centre reaches.
        largest_exponent: bohr⁻²; what learned exponents stay below.
        is_learned: Whether each element learns exponents of its own, or all keep the even-tempered ones.
    """

    highest_degree: int
    n_radial: int
    smallest_exponent: float
    largest_exponent: float
    is_learned: bool = True

    def __post_init__(self) -> None:
        if self.highest_degree < 0 or self.n_radial < 2:
            raise ValueError(f"found {self}; expected degrees from 0 on and two exponents at least")
        if not 0 < self.smallest_exponent < self.largest_exponent:
            raise ValueError(f"found {self}; expected 0 < smallest exponent < largest exponent")


@dataclass(frozen=True)
class BondConfig:
    """Virtual centres in the middle of pairs.

    Attributes:
        basis: Their functions.
        cutoff: Å; longest pair that has one. Its functions fade smoothly to nothing there.
    """

    basis: BasisConfig
    cutoff: float


@dataclass(frozen=True)
class OrbitalConfig:
    """Shape of an orbital model.

    Attributes:
        trunk: The equivariant network.
        atoms: Functions on atoms; their highest degree is at most the trunk's.
        bonds: Virtual centres, or None for functions on atoms alone.

    Raises:
        ValueError: If the parts do not fit together.
    """

    trunk: TrunkConfig
    atoms: BasisConfig
    bonds: BondConfig | None

    def __post_init__(self) -> None:
        degrees = [self.atoms.highest_degree, *([self.bonds.basis.highest_degree] if self.bonds else [])]
        if max(degrees) > self.trunk.l_max:
            raise ValueError(
                f"found functions of degree {max(degrees)}; expected at most {self.trunk.l_max}, the trunk's"
            )
        if self.bonds and self.bonds.cutoff > self.trunk.cutoff:
            raise ValueError(
                f"found bonds up to {self.bonds.cutoff} Å; expected at most the trunk's cutoff, {self.trunk.cutoff} Å"
            )

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> "OrbitalConfig":
        """The configuration in a table of TOML or JSON; a table without `bonds` has none.

        Raises:
            ValueError: If a table has a key that it should not have, lacks one, or has a value that makes no sense.
        """
        bonds = table.get("bonds")
        _refuse_unknown(table, {"trunk", "atoms", "bonds"})
        try:
            return cls(
                trunk=TrunkConfig.from_dict(table["trunk"]),
                atoms=_basis(table["atoms"]),
                bonds=None if bonds is None else BondConfig(_basis(bonds["basis"]), bonds["cutoff"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"found a table of an orbital model that lacks something: {error}") from error

    def as_dict(self) -> dict[str, Any]:
        """Tables of numbers and lists, for TOML or JSON."""
        tables = {"trunk": self.trunk.as_dict(), "atoms": asdict(self.atoms)}
        return tables | ({"bonds": asdict(self.bonds)} if self.bonds else {})


def _basis(table: Mapping[str, Any]) -> BasisConfig:
    _refuse_unknown(table, {one.name for one in fields(BasisConfig)})
    return BasisConfig(**table)


def _refuse_unknown(table: Mapping[str, Any], known: set[str]) -> None:
    if unknown := sorted(set(table) - known):
        raise ValueError(f"found {', '.join(unknown)} in an orbital model; expected {', '.join(sorted(known))}")
