"""Two densities of one structure: how far apart they are, and their difference."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rhocast.density.box_walls import box_walls
from rhocast.density.electron_count import are_same_count
from rhocast.density.regridding import regridded
from rhocast.density.volumetric import Density
from rhocast.errors import InvalidField, InvalidStructure
from rhocast.structure import Structure

FloatArray = NDArray[np.float64]

DEBYE_PER_E_ANGSTROM = 4.803204712570263
"""1 e·Å in Debye: e/C · c/(m/s) · 10¹¹, CODATA 2018."""
_LARGEST_CELL_DIFFERENCE = 2e-4  # Å; a cube's six decimals of a voxel, times its points
_LARGEST_DISPLACEMENT = 1e-3  # Å; what the decimals of file formats make of one position


@dataclass(frozen=True, eq=False)
class Comparison:
    """How density A differs from density B.

    Attributes:
        difference: ρ_A − ρ_B in e/Å³ with B's atoms, on the finer of the two grids along each axis; a magnetization
            where both have one.
        nmae: Normalised mean absolute error of A against B in percent, `nmae`.
        absolute_difference: ∫|ρ_A − ρ_B| in electrons; half of it has to be moved to turn one into the other.
        n_electrons: Integrals of A and of B.
        dipole_change: Dipole of A minus that of B in e·Å, from − to +, [3]; None where it is undefined.
        notes: What a reader of these numbers should know, one sentence each.
    """

    difference: Density
    nmae: float
    absolute_difference: float
    n_electrons: tuple[float, float]
    dipole_change: FloatArray | None
    notes: tuple[str, ...]

    @property
    def dipole_change_in_debye(self) -> FloatArray | None:
        """`dipole_change` in Debye, [3]."""
        return None if self.dipole_change is None else self.dipole_change * DEBYE_PER_E_ANGSTROM


def nmae(values: FloatArray, reference: FloatArray) -> float:
    r"""Normalised mean absolute error of one density, in percent.

    .. math:: \mathrm{NMAE} = 100\, \frac{\int |\rho - \rho_\mathrm{ref}|\, dr}{\int |\rho_\mathrm{ref}|\, dr}

    as ChargE3Net (Koker et al. 2024), SCDP (Fu et al. 2024) and others report it: over the full grid of one
    structure. For a set, take the mean of its structures' values; a positive reference makes the denominator the
    number of electrons. Two densities of as many electrons that never overlap have 200 %.

    Args:
        values: Density in e/Å³ on any grid.
        reference: Reference density on the same grid.

    Raises:
        InvalidField: If the reference is zero everywhere.
    """
    total = float(np.abs(reference).sum())
    if not total:
        raise InvalidField("found a reference without electrons; expected some density to compare with")
    return 100.0 * float(np.abs(values - reference).sum()) / total


def compare(a: Density, b: Density) -> Comparison:
    """How density A differs from density B, which is the reference.

    Grids of different shapes are first brought to the finer one along each axis by Fourier interpolation
    (`regridded`), which loses nothing of either.

    Args:
        a: A density.
        b: The reference: another density in the same cell, with as many electrons.

    Raises:
        InvalidStructure: If the cells differ.
        InvalidField: If the numbers of electrons differ, or there are none.
    """
    _refuse_other_cell(a.structure, b.structure)
    n_electrons = (a.n_electrons, b.n_electrons)
    if not are_same_count(*n_electrons):
        raise InvalidField(
            f"found {n_electrons[0]:.6g} electrons in A and {n_electrons[1]:.6g} in B; expected as many: densities "
            "of other valences, charges or with core electrons cannot be compared; make both in the same way"
        )
    shape = tuple(np.maximum(a.shape, b.shape).tolist())
    on_grid = (regridded(a, shape), regridded(b, shape))
    difference = _difference(*on_grid)
    displacement = largest_displacement(a.structure, b.structure)
    dipole_change, why_not = _dipole_change(*on_grid, displacement)
    notes = [
        f"{name} was brought from {' × '.join(map(str, density.shape))} to {' × '.join(map(str, shape))} points"
        for name, density in (("A", a), ("B", b))
        if density.shape != shape
    ]
    if displacement > _LARGEST_DISPLACEMENT:
        apart = "are not the same" if np.isinf(displacement) else f"lie up to {displacement:.3f} Å apart"
        notes.append(f"the atoms of A and B {apart}")
    if dipole_change is None:
        notes.append(f"no change of the dipole is given: {why_not}")
    return Comparison(
        difference=difference,
        nmae=nmae(on_grid[0].values, on_grid[1].values),
        absolute_difference=float(np.abs(difference.values).mean()) * b.structure.volume,
        n_electrons=n_electrons,
        dipole_change=dipole_change,
        notes=tuple(notes),
    )


def largest_displacement(a: Structure, b: Structure) -> float:
    """Largest distance in Å of an atom of A to the nearest of its element in B; infinite if their formulas differ.

    Args:
        a: Atoms, in any order.
        b: Atoms in the same cell; where it repeats, the nearest image counts.
    """
    if sorted(a.numbers.tolist()) != sorted(b.numbers.tolist()):
        return float("inf")
    largest = 0.0
    for number, fractional in zip(a.numbers, a.fractional_positions, strict=True):
        away = b.fractional_positions[b.numbers == number] - fractional
        if b.is_periodic:
            away -= np.rint(away)
        largest = max(largest, float(np.linalg.norm(away @ b.cell, axis=1).min()))
    return largest


def _refuse_other_cell(a: Structure, b: Structure) -> None:
    apart = float(np.abs(a.cell - b.cell).max())
    if apart > _LARGEST_CELL_DIFFERENCE:
        raise InvalidStructure(
            f"found cells of A and B whose vectors differ by up to {apart:.4g} Å; expected one cell: a density can be "
            "compared in its own cell only; make both with the same cell, in the same setting and orientation"
        )


def _difference(a: Density, b: Density) -> Density:
    magnetization = None
    if a.magnetization is not None and b.magnetization is not None:
        magnetization = a.magnetization - b.magnetization
    comment = f"difference A - B, A: {a.comment[:120]}, B: {b.comment[:120]}"
    return Density(b.structure, a.values - b.values, magnetization, comment=comment)


def _dipole_change(a: Density, b: Density, displacement: float) -> tuple[FloatArray | None, str]:
    """Change of the dipole in e·Å from B to A, on one grid, or the reason why there is none."""
    if a.structure.is_periodic or b.structure.is_periodic:
        return None, "the dipole of a cell that repeats is undefined"
    if displacement > _LARGEST_DISPLACEMENT:
        return None, "the atoms moved, and the charges of their cores are in neither density"
    walls = box_walls(np.abs(a.values) + np.abs(b.values), b.structure.cell)
    if walls is None:
        return None, "electrons pass the walls of the box; take a larger one"
    difference = a.values - b.values
    moments = np.zeros(3)
    for axis, wall in enumerate(walls):
        n_points = difference.shape[axis]
        along = difference.sum(axis=tuple({0, 1, 2} - {axis}))
        moments[axis] = np.roll(along, -wall) @ (np.arange(n_points) / n_points)
    return -(moments @ b.structure.cell) * b.structure.volume / difference.size, ""
