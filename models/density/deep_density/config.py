"""What decides the shape of a Deep Density model; everything else is weights."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from models.basis.harmonics import n_harmonics
from rhocast.elements import SYMBOLS


@dataclass(frozen=True)
class EnvironmentConfig:
    """What is seen of the atoms around a place.

    Attributes:
        cutoff: Å; how far it sees.
        highest_degree: L of the angular channels. Up to 2 it is blind at a cubic site.
        n_channels: M, radial channels of each neighbour.
        n_contracted: M_<, channels that the others are contracted with.
        n_radial: Functions in which distances are seen.
        n_hidden: Width of the layers.
        mean_neighbours: Neighbours on average; a constant, whatever the structure.
        softening: δ in Å: directions fade to nothing nearer than that.
        correlation: 2 where its tensors are multiplied with themselves, so that clusters know of triples; else 1.
    """

    cutoff: float
    highest_degree: int
    n_channels: int
    n_contracted: int
    n_radial: int
    n_hidden: int = 64
    mean_neighbours: float = 20.0
    softening: float = 0.4
    correlation: int = 1

    def __post_init__(self) -> None:
        if self.correlation not in {1, 2}:
            raise ValueError(f"found a correlation of {self.correlation}; expected 1 or 2")
        sizes = (self.cutoff, self.n_contracted, self.n_radial, self.n_hidden, self.mean_neighbours, self.softening)
        if min(sizes) <= 0 or self.highest_degree < 0 or self.n_channels < self.n_contracted:
            raise ValueError(
                f"found {self}; expected sizes above zero, degrees from 0 on, and no more contracted channels than "
                "there are"
            )

    @property
    def n_invariants(self) -> int:
        """Numbers of one place that turning leaves as they are: its scalars and all contractions."""
        return self.n_channels * (1 + (self.highest_degree + 1) * self.n_contracted)

    @property
    def n_harmonics(self) -> int:
        return n_harmonics(self.highest_degree)


@dataclass(frozen=True)
class ClusterConfig:
    """The density that an atom and its surroundings bring.

    Attributes:
        cutoff: Å; how far it reaches.
        n_radial: Functions in which its points' distances are seen.
        n_hidden: Width of the layers.
        decay_length: Å; in which they fall by about e, from twice that on. What is learned is then of one size at all
            distances.
    """

    cutoff: float
    n_radial: int
    n_hidden: int
    decay_length: float

    def __post_init__(self) -> None:
        if min(self.cutoff, self.n_radial, self.n_hidden, self.decay_length) <= 0:
            raise ValueError(f"found {self}; expected sizes above zero")


@dataclass(frozen=True)
class BackgroundConfig:
    """Spherical functions of each element.

    Attributes:
        cutoff: Å; how far they reach.
        n_radial: Their number.
    """

    cutoff: float
    n_radial: int

    def __post_init__(self) -> None:
        if self.cutoff <= 0 or self.n_radial < 2:
            raise ValueError(f"found {self}; expected a cutoff above zero and two functions at least")


@dataclass(frozen=True)
class DeepDensityConfig:
    """Shape of a Deep Density model.

    Attributes:
        elements: Atomic numbers of the elements that it knows, rising.
        environment: What is seen of an atom's surroundings, or of a point's.
        background: The spherical atoms that the network adds to.
        clusters: What each atom brings. None: there are no clusters, and each point looks at its own surroundings.

    Raises:
        ValueError: If the elements are not rising atomic numbers, or something needs clusters that are not there.
    """

    elements: tuple[int, ...]
    environment: EnvironmentConfig
    background: BackgroundConfig
    clusters: ClusterConfig | None = None

    def __post_init__(self) -> None:
        known = range(1, len(SYMBOLS))
        if not self.elements or list(self.elements) != sorted(set(self.elements) & set(known)):
            raise ValueError(
                f"found elements {self.elements}; expected atomic numbers from 1 to {known[-1]}, rising, each once"
            )
        if self.environment.correlation > 1 and self.clusters is None:
            raise ValueError("found a correlation of 2 without clusters; expected 1: points multiply nothing")

    @property
    def probe_cutoff(self) -> float:
        """Å; atoms that are farther from a point than this have no pair with it."""
        return self.clusters.cutoff if self.clusters else self.environment.cutoff

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> "DeepDensityConfig":
        """The configuration in a table of TOML or JSON; one without `clusters` has none.

        Raises:
            ValueError: If a table has a key that it should not have, lacks one, or has a value that makes no sense.
        """
        _refuse_unknown(table, cls)
        clusters = table.get("clusters")
        try:
            return cls(
                elements=tuple(table["elements"]),
                environment=_part(EnvironmentConfig, table["environment"]),
                background=_part(BackgroundConfig, table["background"]),
                clusters=None if clusters is None else _part(ClusterConfig, clusters),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"found a table of a Deep Density model that lacks something: {error}") from error

    def as_dict(self) -> dict[str, Any]:
        """Tables of numbers and lists, for TOML or JSON."""
        tables = {
            "elements": list(self.elements),
            "environment": asdict(self.environment),
            "background": asdict(self.background),
        }
        return tables | ({"clusters": asdict(self.clusters)} if self.clusters else {})


def _part(kind: type, table: Mapping[str, Any]) -> Any:
    _refuse_unknown(table, kind)
    return kind(**table)


def _refuse_unknown(table: Mapping[str, Any], kind: type) -> None:
    known = {one.name for one in fields(kind)}
    if unknown := sorted(set(table) - known):
        raise ValueError(f"found {', '.join(unknown)} in a Deep Density model; expected {', '.join(sorted(known))}")
