"""Labels of one structure, and what only the check of the physics needs: `python -m reference.gpaw_physics [N_K]
OUT.npz < JSON`.

N_K fixes the k-mesh. Like `reference.gpaw_label` it is run by an interpreter that has GPAW, and never imported.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from reference.box_moments import box_moments
from reference.gpaw_label import answer, converged_atoms, labels

REFINEMENT = 4
"""Points of the fine grid for one of the coarse grid: GPAW's own compensation charges are as narrow as 0.15 Å."""


def fine_moments(calc: Any) -> dict[str, np.ndarray]:
    """Charge (e), dipole (e·Å, [3]) and second moment (e·Å², [3, 3]) of GPAW's own compensated density on a fine grid,
    about the middle of an orthorhombic box; and GPAW's own dipole of the whole molecule (e·Å, [3])."""
    density = calc.dft.densities().pseudo_densities(grid_refinement=REFINEMENT)
    charge, dipole, second_moment = box_moments(density.data.sum(0), calc.atoms.cell.lengths())
    return {
        "fine_charge": np.array(charge),
        "fine_dipole": dipole,
        "fine_second_moment": second_moment,
        "molecular_dipole": calc.dft.calculate_dipole(),
    }


def harmonics() -> dict[str, np.ndarray]:
    """GPAW's own real harmonics to l = 4 in a few directions, [25, n], and its own coupling of l ≤ 2, [9, 9, 25]."""
    from gpaw.sphere.gaunt import gaunt  # noqa: PLC0415  # pyright: ignore[reportMissingImports]
    from gpaw.sphere.spherical_harmonics import Y  # noqa: PLC0415  # pyright: ignore[reportMissingImports]

    directions = np.random.default_rng(0).normal(size=(40, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return {
        "directions": directions,
        "harmonics": np.array([Y(index, *directions.T) * np.ones(len(directions)) for index in range(25)]),
        "coupling": gaunt(2)[:9, :9, :25],
    }


def projector_degrees(calc: Any) -> dict[str, np.ndarray]:
    """l of the radial projectors, one atom after the other, and where each atom's begin: rows and columns of a density
    matrix are 2l + 1 for each."""
    degrees = [list(setup.l_j) for setup in calc.dft.setups]
    return {
        "projector_degrees": np.concatenate(degrees).astype(int),
        "projector_offsets": np.cumsum([0, *map(len, degrees)]),
    }


def physics_labels(question: dict[str, Any], n_k: int) -> dict[str, np.ndarray]:
    """What `reference.gpaw_label.labels` gives, and all of the above.

    Args:
        question: What `reference.labelling.question` lists.
        n_k: Points of the k-mesh along each reciprocal vector; 0 takes them from the settings.
    """
    atoms = converged_atoms(question, n_k)
    arrays = labels(question, atoms) | projector_degrees(atoms.calc) | harmonics()
    return arrays if question["is_periodic"] or not _is_orthorhombic(atoms) else arrays | fine_moments(atoms.calc)


def _is_orthorhombic(atoms: Any) -> bool:
    return bool(np.allclose(atoms.cell.array, np.diag(atoms.cell.lengths())))


def main() -> int:
    *n_k, out = sys.argv[1:]
    return answer(Path(out), lambda question: physics_labels(question, int(n_k[0]) if n_k else 0))


if __name__ == "__main__":
    sys.exit(main())
