"""What the analyses of a finished job's density answer over the wire."""

from typing import Annotated, Literal

from pydantic import Field

from rhocast.quantity import Quantity
from rhocast.schemas import Matrix, Schema, Vector

GridQuantity = Literal["density", "difference", "error"]
"""What a density file holds: ρ; ρ less the free atoms; σ, the expected magnitude of its error."""

FieldQuantity = Literal["density", "difference", "error", "potential"]
"""What profiles are made of: the same, and the potential energy of an electron."""

PotentialFormat = Literal["locpot", "cube"]
AxisName = Literal["a", "b", "c"]

_UNITS = "e/Å³; of a potential eV"


class ChargesAnswer(Schema):
    """Charges of the atoms."""

    method: Literal["hirshfeld"] = "hirshfeld"
    symbols: Annotated[list[str], Field(description="Chemical symbols, in the order of the atoms sent")]
    charges: Annotated[list[float], Quantity("e", "Charge of each atom, positive where it has lost electrons")]
    n_unassigned: Annotated[
        float, Quantity("e", "Electrons farther from every atom than its free density reaches; they are in no charge")
    ]


class MomentsAnswer(Schema):
    """Electrons of a density, and moments of a molecule with its ions; exact, without a grid."""

    n_electrons: Annotated[float, Quantity("e", "Integral of the density")]
    dipole: Annotated[Vector | None, Quantity("e·Å", "Dipole, from − to +; null where the cell repeats")] = None
    dipole_in_debye: Annotated[Vector | None, Quantity("D", "The same")] = None
    quadrupole: Annotated[
        Matrix | None, Quantity("e·Å²", "Traceless quadrupole about `origin`; null where the cell repeats")
    ] = None
    origin: Annotated[Vector | None, Quantity("Å", "Centre of the ions' charge")] = None
    reason: Annotated[str | None, Field(description="Why there are no moments")] = None


class VacuumAnswer(Schema):
    """The potential far from all atoms."""

    level: Annotated[float, Quantity("eV", "Planar average of U in the middle of the widest gap between atoms")]
    position: Annotated[float, Quantity("Å", "Distance of that plane from the origin, along the normal")]
    gap: Annotated[float, Quantity("Å", "Distance between the outermost atoms across the vacuum")]
    variation: Annotated[float, Quantity("eV", "Highest less lowest planar average within 1 Å of the middle")]


class ProfileAnswer(Schema):
    """Averages over the lattice planes of two cell vectors, along their normal."""

    quantity: FieldQuantity
    unit: Annotated[str, Field(description="Unit of the values")]
    about: Annotated[str, Field(description="What was averaged, and where it comes from")]
    axis: Annotated[AxisName, Field(description="The cell vector that the planes do not contain")]
    distances: Annotated[list[float], Quantity("Å", "Distance of each plane from the origin, along the normal")]
    values: Annotated[list[float], Quantity(_UNITS, "Average over each plane")]
    windows: Annotated[list[float], Quantity("Å", "Widths of the sliding averages, taken one after the other")]
    averaged: Annotated[list[float] | None, Quantity(_UNITS, "Sliding average of the values")] = None
    height: Annotated[float, Quantity("Å", "Distance after which the planes repeat")]
    area: Annotated[float, Quantity("Å²", "Area of a plane in the cell")]
    vacuum: Annotated[VacuumAnswer | None, Field(description="Vacuum level of a potential")] = None
    no_vacuum_because: Annotated[str | None, Field(description="Why a potential has no vacuum level")] = None


class LineAnswer(Schema):
    """Values along a straight line."""

    quantity: FieldQuantity
    unit: Annotated[str, Field(description="Unit of the values")]
    about: Annotated[str, Field(description="What was followed, and where it comes from")]
    distances: Annotated[list[float], Quantity("Å", "Distance from the start")]
    positions: Annotated[list[Vector], Quantity("Å", "Cartesian positions")]
    values: Annotated[list[float], Quantity(_UNITS, "The quantity there")]


class ComparisonAnswer(Schema):
    """How the density of a job, A, differs from that of another, the reference B."""

    nmae: Annotated[float, Quantity("%", "100 ∫|A − B| / ∫|B|")]
    absolute_difference: Annotated[float, Quantity("e", "∫|A − B|; half of it has to be moved")]
    largest_difference: Annotated[float, Quantity("e/Å³", "Largest |A − B| on the grid")]
    largest_difference_at: Annotated[Vector, Quantity("Å", "Where that is")]
    n_electrons: Annotated[tuple[float, float], Quantity("e", "Integrals of A and of B")]
    shape: Annotated[tuple[int, int, int], Quantity("1", "Points of the grid on which they were compared")]
    dipole_change: Annotated[
        Vector | None, Quantity("e·Å", "Dipole of A minus that of B, from − to +; null where it is undefined")
    ] = None
    dipole_change_in_debye: Annotated[Vector | None, Quantity("D", "The same")] = None
    notes: Annotated[list[str], Field(description="What was done to make them comparable, and what is not given")]


__all__ = [
    "AxisName",
    "ChargesAnswer",
    "ComparisonAnswer",
    "FieldQuantity",
    "GridQuantity",
    "LineAnswer",
    "MomentsAnswer",
    "PotentialFormat",
    "ProfileAnswer",
    "VacuumAnswer",
]
