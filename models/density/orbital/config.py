"""What decides the shape of an orbital model; everything else is weights."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from math import sqrt
from typing import Any

from models.network import TrunkConfig
from rhocast.density.cube import BOHR
from rhocast.density.gaussians import reach

SMALLEST_PRODUCT_EXPONENT = 0.1
"""bohr⁻²; atoms whose functions go down to it overlap up to 13 Å."""


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
class ProductConfig:
    """Products of two fields, Σ_k ψ_k χ_k, each a sum of functions on atoms.

    Attributes:
        rank: Number of products.
        basis: Functions of every field. A product of two has the sum of their exponents, and twice their degree.
    """

    rank: int
    basis: BasisConfig

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"found {self.rank} products; expected one at least, or no table of products")
        if self.basis.smallest_exponent < SMALLEST_PRODUCT_EXPONENT:
            raise ValueError(
                f"found products with exponents from {self.basis.smallest_exponent} bohr⁻²; expected at least "
                f"{SMALLEST_PRODUCT_EXPONENT}: too many pairs of atoms would overlap"
            )

    @property
    def pair_cutoff(self) -> float:
        """Å; atoms that are farther apart do not overlap: no point lies within the decode radius of both."""
        return 2 * BOHR * sqrt(reach(self.basis.highest_degree) / self.basis.smallest_exponent)


@dataclass(frozen=True)
class OrbitalConfig:
    """Shape of an orbital model.

    Attributes:
        trunk: The equivariant network.
        atoms: Functions on atoms; their highest degree is at most the trunk's.
        bonds: Virtual centres, or None for functions on atoms alone.
        product: Products of fields, or None for a density that is linear in its functions.

    Raises:
        ValueError: If the parts do not fit together.
    """

    trunk: TrunkConfig
    atoms: BasisConfig
    bonds: BondConfig | None
    product: ProductConfig | None = None

    def __post_init__(self) -> None:
        others = [part.basis for part in (self.bonds, self.product) if part]
        degrees = [basis.highest_degree for basis in (self.atoms, *others)]
        if max(degrees) > self.trunk.l_max:
            raise ValueError(
                f"found functions of degree {max(degrees)}; expected at most {self.trunk.l_max}, the trunk's"
            )
        if self.bonds and self.bonds.cutoff > self.trunk.cutoff:
            raise ValueError(
                f"found bonds up to {self.bonds.cutoff} Å; expected at most the trunk's cutoff, {self.trunk.cutoff} Å"
            )
        if self.product and self.product.basis.largest_exponent > 0.5 * self.atoms.largest_exponent:
            raise ValueError(
                f"found products with exponents up to {self.product.basis.largest_exponent} bohr⁻²; expected at most "
                f"half of the atoms' {self.atoms.largest_exponent}: those of a product are sums of two"
            )

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> "OrbitalConfig":
        """The configuration in a table of TOML or JSON; one without `bonds` or `product` has none of these.

        Raises:
            ValueError: If a table has a key that it should not have, lacks one, or has a value that makes no sense.
        """
        bonds, product = table.get("bonds"), table.get("product")
        _refuse_unknown(table, {"trunk", "atoms", "bonds", "product"})
        try:
            return cls(
                trunk=TrunkConfig.from_dict(table["trunk"]),
                atoms=_basis(table["atoms"]),
                bonds=None if bonds is None else BondConfig(_basis(bonds["basis"]), bonds["cutoff"]),
                product=None if product is None else _product(product),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"found a table of an orbital model that lacks something: {error}") from error

    def as_dict(self) -> dict[str, Any]:
        """Tables of numbers and lists, for TOML or JSON."""
        tables = {"trunk": self.trunk.as_dict(), "atoms": asdict(self.atoms)}
        options = {"bonds": self.bonds, "product": self.product}
        return tables | {name: asdict(part) for name, part in options.items() if part}


def _basis(table: Mapping[str, Any]) -> BasisConfig:
    _refuse_unknown(table, {one.name for one in fields(BasisConfig)})
    return BasisConfig(**table)


def _product(table: Mapping[str, Any]) -> ProductConfig:
    _refuse_unknown(table, {"rank", "basis"})
    return ProductConfig(table["rank"], _basis(table["basis"]))


def _refuse_unknown(table: Mapping[str, Any], known: set[str]) -> None:
    if unknown := sorted(set(table) - known):
        raise ValueError(f"found {', '.join(unknown)} in an orbital model; expected {', '.join(sorted(known))}")
