"""Forces against central differences of the free energy."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from reference.physics.laboratory import Laboratory
from reference.physics.report import Row
from reference.physics.structures import METHANOL, structure
from reference.settings import INSULATOR
from reference.structure import ReferenceStructure

FloatArray = NDArray[np.float64]

STEP = 0.005
"""Å to either side: the third derivative of an O–H bond then costs about 1 meV/Å, and 0.01 Å would cost 5."""

LARGEST_ERROR = 5.0
"""meV/Å."""

MAGNESIA = structure(
    "Mg O",
    np.array([[0.0, 0.0, 0.0], [2.20, 2.06, 2.25]]),
    np.array([[0.02, 2.13, 2.10], [2.15, 0.0, 2.13], [2.11, 2.16, -0.03]]),
    INSULATOR,
    is_periodic=True,
)
"""A primitive cell of MgO, sheared and displaced."""


def along_force(forces: FloatArray, atom: int) -> FloatArray:
    """Unit displacement of one atom along the force on it, [n_atoms, 3]."""
    direction = np.zeros_like(forces)
    direction[atom] = forces[atom] / np.linalg.norm(forces[atom])
    return direction


def along_all(forces: FloatArray) -> FloatArray:
    """Random unit displacement of all atoms at once, [n_atoms, 3]."""
    direction = np.random.default_rng(1).normal(size=forces.shape)
    return direction / np.linalg.norm(direction)


def force_error(laboratory: Laboratory, start: ReferenceStructure, direction: FloatArray) -> tuple[float, float]:
    """Force along a direction minus its central difference, in meV/Å, and the force, in eV/Å.

    Args:
        laboratory: What labels.
        start: Where the force is asked.
        direction: Unit displacement, [n_atoms, 3].
    """
    below, above = (
        laboratory.labels(replace(start, positions=start.positions + sign * STEP * direction)).attributes["free_energy"]
        for sign in (-1, 1)
    )
    force = float((laboratory.labels(start).arrays["forces"] * direction).sum())
    return 1000 * (force + (above - below) / (2 * STEP)), force


def force_rows(laboratory: Laboratory) -> list[Row]:
    """Errors of forces on a displaced molecule and in a displaced crystal."""
    rows = []
    for system, start, atoms in (
        (METHANOL.name, METHANOL.boxed(), {"C": 0, "O": 1, "H of OH": 3}),
        ("displaced MgO, 2 atoms", MAGNESIA, {"O": 1}),
    ):
        forces = laboratory.labels(start).arrays["forces"]
        directions = {name: along_force(forces, atom) for name, atom in atoms.items()} | {"all": along_all(forces)}
        errors = {name: force_error(laboratory, start, direction) for name, direction in directions.items()}
        each = ", ".join(f"{name} {error:.1f} of {1000 * force:.0f}" for name, (error, force) in errors.items())
        worst = max((error for error, _ in errors.values()), key=abs)
        rows.append(
            Row(
                "force − central difference",
                system,
                worst,
                "meV/Å",
                LARGEST_ERROR,
                f"{each}; steps of ± {STEP} Å",
                {"errors (meV/Å) and forces (eV/Å)": errors},
            )
        )
    return rows
