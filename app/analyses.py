"""What is learned from the density of a finished job: how each answer is made, and kept as JSON."""

import json
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.kept_files import Recipe
from app.stored_density import StoredDensity
from rhocast.analysis_schemas import (
    AxisName,
    ChargesAnswer,
    ComparisonAnswer,
    FieldQuantity,
    LineAnswer,
    MomentsAnswer,
    ProfileAnswer,
    VacuumAnswer,
)
from rhocast.density import (
    Potential,
    compare,
    hirshfeld_charges,
    line_profile,
    macroscopic_average,
    planar_average,
    vacuum_level,
)
from rhocast.density.comparison import DEBYE_PER_E_ANGSTROM
from rhocast.errors import InvalidField
from rhocast.schemas import Schema, Vector

FloatArray = NDArray[np.float64]


class Line(NamedTuple):
    """Which line: its ends in Å, or in cell vectors, and how many points it has."""

    start: Vector
    end: Vector
    is_fractional: bool
    n_points: int


def charges_recipe(stored: StoredDensity) -> Recipe:
    """How `charges` is made.

    Raises:
        ArtifactNotFound: If the free atoms are not kept.
    """
    coefficients = stored.kept_coefficients("the free atoms that charges need are with them")
    return _recipe(stored.key("charges"), (stored.grid, coefficients), charges, stored)


def moments_recipe(stored: StoredDensity) -> Recipe:
    """How `moments` is made.

    Raises:
        ArtifactNotFound: If the density has no coefficients.
    """
    return _recipe(stored.key("moments"), (stored.kept_coefficients("moments are theirs"),), moments, stored)


def profile_recipe(stored: StoredDensity, quantity: FieldQuantity, axis: AxisName, windows: list[float]) -> Recipe:
    """How `profile` is made.

    Raises:
        ArtifactNotFound: If the job lacks the quantity.
        TooLarge: If it takes too much memory.
    """
    key = _key_of_field(stored, quantity, "profile", [axis, windows])
    return _recipe(key, stored.sources(quantity), profile, stored, quantity, axis, windows)


def line_recipe(stored: StoredDensity, quantity: FieldQuantity, line: Line) -> Recipe:
    """How `values_on_line` is made.

    Raises:
        ArtifactNotFound: If the job lacks the quantity.
        TooLarge: If it takes too much memory.
    """
    key = _key_of_field(stored, quantity, "line", line)
    return _recipe(key, stored.sources(quantity), values_on_line, stored, quantity, line)


def comparison_recipe(stored: StoredDensity, reference: StoredDensity) -> Recipe:
    """How `comparison` is made."""
    key = stored.key(f"comparison with {reference.key('reference')}")
    return _recipe(key, (stored.grid, reference.grid), comparison, stored, reference)


def _key_of_field(stored: StoredDensity, quantity: FieldQuantity, name: str, chosen: Any) -> str:
    if quantity == "potential":
        stored.refuse_large_potential()
    return stored.key(f"{name} {quantity} {json.dumps(chosen)}", quantity)


def _recipe(
    key: str, sources: tuple[Path, ...], answer: Callable[..., Schema], stored: StoredDensity, *chosen: Any
) -> Recipe:
    return Recipe(stored.job_id, key, f"{answer.__name__}.json", sources, write_answer, (answer, stored, *chosen))


def write_answer(path: Path, answer: Callable[..., Schema], *arguments: Any) -> None:
    """Writes an answer as JSON.

    Args:
        path: Where to.
        answer: Gives it.
        arguments: What that takes.
    """
    path.write_text(answer(*arguments).model_dump_json(), encoding="utf-8")


def charges(stored: StoredDensity) -> ChargesAnswer:
    """Hirshfeld charges of the atoms, in the order in which they were sent."""
    density = stored.density()
    found = hirshfeld_charges(density, stored.expansion().free_atoms)
    return ChargesAnswer(
        symbols=density.structure.symbols, charges=found.charges.tolist(), n_unassigned=found.n_unassigned
    )


def moments(stored: StoredDensity) -> MomentsAnswer:
    """Number of electrons, and of a molecule dipole and quadrupole."""
    expansion = stored.expansion()
    if expansion.structure.is_periodic:
        reason = "dipole and quadrupole of a cell that repeats are undefined"
        return MomentsAnswer(n_electrons=expansion.n_electrons, reason=reason)
    dipole = expansion.dipole
    valence = expansion.free_atoms.valence_of(expansion.structure)
    return MomentsAnswer(
        n_electrons=expansion.n_electrons,
        dipole=_vector(dipole),
        dipole_in_debye=_vector(dipole * DEBYE_PER_E_ANGSTROM),
        quadrupole=_matrix(expansion.quadrupole()),
        origin=_vector(np.average(expansion.structure.positions, axis=0, weights=valence)),
    )


def profile(stored: StoredDensity, quantity: FieldQuantity, axis: AxisName, windows: list[float]) -> ProfileAnswer:
    """Planar average, its sliding average where windows are given, and of a potential the vacuum level.

    Raises:
        InvalidField: If a window is wider than the cell is high.
    """
    field, number = stored.field(quantity), "abc".index(axis)
    found = averaged = planar_average(field, number)
    for window in windows:
        averaged = macroscopic_average(averaged, window)
    vacuum, why_none = _vacuum(field, number) if isinstance(field, Potential) else (None, None)
    return ProfileAnswer(
        quantity=quantity,
        unit=_unit(quantity),
        about=field.comment,
        axis=axis,
        distances=found.distances.tolist(),
        values=found.values.tolist(),
        windows=windows,
        averaged=averaged.values.tolist() if windows else None,
        height=found.height,
        area=found.area,
        vacuum=vacuum,
        no_vacuum_because=why_none,
    )


def values_on_line(stored: StoredDensity, quantity: FieldQuantity, line: Line) -> LineAnswer:
    """Values along a line.

    Raises:
        InvalidField: If it has no length, or leaves a molecule's box.
    """
    field = stored.field(quantity)
    ends = np.array([line.start, line.end])
    start, end = (ends @ field.structure.cell if line.is_fractional else ends).tolist()
    found = line_profile(field, start, end, line.n_points)
    return LineAnswer(
        quantity=quantity,
        unit=_unit(quantity),
        about=field.comment,
        distances=found.distances.tolist(),
        positions=[_vector(position) for position in found.positions],
        values=found.values.tolist(),
    )


def comparison(stored: StoredDensity, reference: StoredDensity) -> ComparisonAnswer:
    """How a density differs from that of another job.

    Raises:
        InvalidStructure: If the cells differ.
        InvalidField: If the numbers of electrons differ.
    """
    found = compare(stored.density(), reference.density())
    values, shape = np.abs(found.difference.values), found.difference.shape
    where = np.array(np.unravel_index(values.argmax(), shape)) / shape @ reference.structure.cell
    change, debye = found.dipole_change, found.dipole_change_in_debye
    return ComparisonAnswer(
        nmae=found.nmae,
        absolute_difference=found.absolute_difference,
        largest_difference=float(values.max()),
        largest_difference_at=_vector(where),
        n_electrons=found.n_electrons,
        shape=shape,
        dipole_change=None if change is None else _vector(change),
        dipole_change_in_debye=None if debye is None else _vector(debye),
        notes=list(found.notes),
    )


def _vacuum(potential: Potential, axis: int) -> tuple[VacuumAnswer | None, str | None]:
    """Vacuum level, or why there is none."""
    try:
        level, position, gap, variation = astuple(vacuum_level(potential, axis))
    except InvalidField as error:
        return None, error.detail
    return VacuumAnswer(level=level, position=position, gap=gap, variation=variation), None


def _unit(quantity: FieldQuantity) -> str:
    return "eV" if quantity == "potential" else "e/Å³"


def _vector(vector: FloatArray) -> Vector:
    x, y, z = vector.tolist()
    return x, y, z


def _matrix(matrix: FloatArray) -> tuple[Vector, Vector, Vector]:
    a, b, c = (_vector(row) for row in matrix)
    return a, b, c
