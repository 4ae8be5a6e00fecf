"""What a model says of itself: the facts that requests are checked against and answers are labelled with."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Property(StrEnum):
    """What can be asked for."""

    DENSITY = "density"
    ENERGY = "energy"
    FORCES = "forces"
    STRESS = "stress"
    MAGMOMS = "magmoms"


def _unit(symbol: str) -> dict[str, Any]:
    """Metadata of a field with a unit, which the OpenAPI document shows; this module loads no pydantic for it."""
    return {"json_schema_extra": {"x-unit": symbol}}


@dataclass(frozen=True)
class Cost:
    """Cost of one structure: per_structure + per_edge · n_edges + per_point · n_points.

    Attributes:
        per_structure: Cost of any structure, in arbitrary units (the worker's budget has the same).
        per_edge: Cost of a directed edge within the model's cutoff.
        per_point: Cost of a grid point.
    """

    per_structure: float = field(default=1.0, metadata=_unit("1"))
    per_edge: float = field(default=0.0, metadata=_unit("1"))
    per_point: float = field(default=0.0, metadata=_unit("1"))

    def of(self, n_edges: float, n_points: float) -> float:
        return self.per_structure + self.per_edge * n_edges + self.per_point * n_points


@dataclass(frozen=True)
class ModelInfo:
    """Facts about one model, as workers advertise them and `/v1/models` shows them.

    Attributes:
        name: Name by which requests choose it.
        provides: Properties that it answers.
        description: One sentence.
        elements: Chemical symbols that it covers.
        cutoff: Radius in Å within which it counts neighbours (its cost grows with these edges).
        weights_sha256: Hash of the file its numbers come from.
        level_of_theory: The theory whose results it imitates.
        licence: Licence of the weights.
        energy_reference: What the zero of energy is, for a potential.
        density_kind: Which density it gives, for a density model.
        valence_electrons: Electrons counted for each chemical symbol, for a density model.
        recommended_spacing: Grid spacing in Å at which a sum over grid points is the integral.
        domains: Kinds of structure it was made for: "crystal", "molecule".
        has_spin: Whether it knows of magnetic moments.
        is_conservative: Whether its forces are the derivative of its energy, for a potential.
        by_name_only: Whether it answers only who names it: one that is for a single material, or not for general use.
        no_uncertainty_because: Why `uncertainty` is null; None where the model has a calibrated one.
        max_atoms: Largest structure it takes.
        max_points: Largest grid it takes.
        cost: What a structure costs, for packing batches.
        labels: Further facts for provenance, such as the version of the package that carries the weights.
    """

    name: str
    provides: tuple[Property, ...]
    description: str
    elements: tuple[str, ...]
    cutoff: float = field(metadata=_unit("Å"))
    weights_sha256: str
    level_of_theory: str
    licence: str
    energy_reference: str | None = None
    density_kind: str | None = None
    valence_electrons: dict[str, float] = field(default_factory=dict[str, float], metadata=_unit("e"))
    recommended_spacing: float | None = field(default=None, metadata=_unit("Å"))
    domains: tuple[str, ...] = ("crystal", "molecule")
    has_spin: bool = False
    is_conservative: bool | None = None
    by_name_only: bool = False
    no_uncertainty_because: str | None = "this model has no calibrated uncertainty"
    max_atoms: int = field(default=10_000, metadata=_unit("1"))
    max_points: int = field(default=0, metadata=_unit("1"))
    cost: Cost = field(default_factory=Cost)
    labels: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def can_relax(self) -> bool:
        """Whether structures can relax with it: it gives energy and forces."""
        return {Property.ENERGY, Property.FORCES} <= set(self.provides)
