"""A chiral molecule in two orientations: everything turns with it, by matrices that share no code with GPAW.

It is turned twice: with its box, which GPAW's grid then follows, so that only orders and signs of harmonics are at
stake and the limit is that of the SCF; and in a box of its own, as the sets have it, which adds what the other grid
and the other periodic images do.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from reference.harmonics import real_harmonics, turning
from reference.physics.interpolation import difference, grid_points, interpolated
from reference.physics.laboratory import Laboratory
from reference.physics.report import Row
from reference.physics.structures import FLUOROMETHANOL, ROTATION
from reference.record import RawLabels
from reference.structure import ReferenceStructure

FloatArray = NDArray[np.float64]

MULTIPOLES = (0, 1, 2)


@dataclass(frozen=True)
class AtomicMatrix:
    """Density matrix of one atom.

    Attributes:
        degrees: l of each radial projector.
        matrix: e, symmetric, with 2l + 1 rows for each projector.
    """

    degrees: tuple[int, ...]
    matrix: FloatArray

    def turned(self, rotation: FloatArray) -> FloatArray:
        by = turning(self.degrees, rotation)
        return by @ self.matrix @ by.T

    def coupled(self, coupling: FloatArray) -> dict[int, FloatArray]:
        """Components of all products of two projectors, by their degree L: [n_pairs, 2L + 1].

        Args:
            coupling: GPAW's own coefficients, [9, 9, 25].
        """
        first = np.cumsum([0, *(2 * degree + 1 for degree in self.degrees)])
        found: dict[int, list[FloatArray]] = {}
        for i, l_i in enumerate(self.degrees):
            for j, l_j in enumerate(self.degrees):
                block = self.matrix[first[i] : first[i + 1], first[j] : first[j + 1]]
                for total in range(abs(l_i - l_j), l_i + l_j + 1, 2):
                    coefficients = coupling[_of(l_i), _of(l_j), _of(total)]
                    found.setdefault(total, []).append(np.einsum("ij,ijk->k", block, coefficients))
        return {total: np.array(rows) for total, rows in found.items()}


def _of(degree: int) -> slice:
    return slice(degree**2, (degree + 1) ** 2)


def atomic_matrices(labels: RawLabels) -> list[AtomicMatrix]:
    """Full density matrices, from the upper triangles of a record and the l of the data sets."""
    arrays = labels.arrays
    found = []
    for triangle, degrees in zip(
        pairwise(arrays["atomic_density_matrix_offsets"]), pairwise(arrays["projector_offsets"]), strict=True
    ):
        of_atom = tuple(int(degree) for degree in arrays["projector_degrees"][slice(*degrees)])
        size = sum(2 * degree + 1 for degree in of_atom)
        matrix = np.zeros((size, size))
        matrix[np.triu_indices(size)] = arrays["atomic_density_matrices"][slice(*triangle)]
        found.append(AtomicMatrix(of_atom, matrix + np.triu(matrix, 1).T))
    return found


def wrong_conventions(degree: int) -> list[FloatArray]:
    """Every exchange of two functions of one degree and every change of one sign, as matrices [2l+1, 2l+1]."""
    n = 2 * degree + 1
    signs = [np.diag(np.where(np.arange(n) == i, -1.0, 1.0)) for i in range(n)]
    exchanges = [np.eye(n)[_exchanged(n, i, j)] for i in range(n) for j in range(i)]
    return signs + exchanges


def _exchanged(n: int, i: int, j: int) -> NDArray[np.int64]:
    order = np.arange(n)
    order[[i, j]] = j, i
    return order


def coupled_errors(before: RawLabels, after: RawLabels) -> dict[int, tuple[float, float]]:
    """By degree L: how far coupled products are from their turned selves at most, and how far at least if one function
    of that degree had another sign or place. In electrons."""
    found = {}
    coupling = before.arrays["coupling"]
    pairs = [
        (old.coupled(coupling), new.coupled(coupling))
        for old, new in zip(atomic_matrices(before), atomic_matrices(after), strict=True)
    ]
    for degree in range(5):
        old, new = (np.concatenate([pair[i][degree] for pair in pairs if degree in pair[i]]) for i in range(2))
        by = turning((degree,), ROTATION)
        wrong = [
            np.abs(new - old @ (convention @ by @ convention.T).T).max() for convention in wrong_conventions(degree)
        ]
        found[degree] = (float(np.abs(new - old @ by.T).max()), float(min(wrong)))
    return found


def errors(before: RawLabels, after: RawLabels) -> dict[str, tuple[float, str, float]]:
    """By quantity: largest component that did not turn with the molecule, its unit, the largest component of all."""
    by = turning(MULTIPOLES, ROTATION)
    old, new = before.arrays, after.arrays
    matrices = list(zip(atomic_matrices(before), atomic_matrices(after), strict=True))
    off = max(np.abs(now.matrix - then.turned(ROTATION)).max() for then, now in matrices)
    return {
        "forces": (
            1000 * float(np.abs(new["forces"] - old["forces"] @ ROTATION.T).max()),
            "meV/Å",
            1000 * float(np.abs(old["forces"]).max()),
        ),
        "multipoles": (
            float(np.abs(new["multipoles"] - old["multipoles"] @ by.T).max()),
            "bohr^l",
            float(np.abs(old["multipoles"][:, 1:]).max()),
        ),
        "atomic density matrices": (float(off), "e", max(float(np.abs(then.matrix).max()) for then, _ in matrices)),
    }


def density_difference(
    before: tuple[ReferenceStructure, RawLabels], after: tuple[ReferenceStructure, RawLabels]
) -> float:
    """NMAE in % between the densities where both boxes are."""
    (old, old_labels), (new, new_labels) = before, after
    density = old_labels.arrays["density"]
    points = grid_points(density.shape, old.cell, step=2)
    turned = (points - old.positions[0]) @ ROTATION.T + new.positions[0]
    fractions = turned @ np.linalg.inv(new.cell)
    inside = np.all((fractions >= 0) & (fractions < 1), axis=1)
    there = interpolated(new_labels.arrays["density"], new.cell, turned[inside])
    return difference(there, density[::2, ::2, ::2].ravel()[inside])


def harmonics_rows(labels: RawLabels) -> list[Row]:
    """GPAW's own harmonics to l = 4 against ours."""
    values = np.concatenate([real_harmonics(degree, labels.arrays["directions"]) for degree in range(5)])
    off = float(np.abs(values - labels.arrays["harmonics"]).max())
    return [Row("real harmonics to l = 4, GPAW's own against ours", "40 directions", off, "", 1e-12, "25 functions")]


OFF = "largest component that does not turn"

LIMITS = {"with its box": {"forces": 1.0, "multipoles": 1e-5, "atomic density matrices": 1e-4, "density": 0.01}}
"""In the units of the rows: what an SCF leaves. Only turned with its box is a molecule free of what grid and periodic
images do."""


def turned_rows(laboratory: Laboratory) -> list[Row]:
    """What does not turn with a chiral molecule."""
    start, own = FLUOROMETHANOL.boxed(), FLUOROMETHANOL.turned(ROTATION).boxed()
    whole = replace(start, positions=start.positions @ ROTATION.T, cell=start.cell @ ROTATION.T)
    before = laboratory.labels(start)
    rows = harmonics_rows(before)
    for name, structure in (("with its box", whole), ("in its own box", own)):
        after = laboratory.labels(structure)
        system, limits = f"{FLUOROMETHANOL.name} turned by 78° {name}", LIMITS.get(name, {})
        by_density = density_difference((start, before), (structure, after))
        rows.append(Row("density", system, by_density, "% NMAE", limits.get("density"), "that does not turn"))
        for quantity, (off, unit, scale) in errors(before, after).items():
            remark = f"{OFF}; of all: {scale:.3g} {unit}"
            rows.append(Row(quantity, system, off, unit, limits.get(quantity), remark))
        coupled = coupled_errors(before, after)
        each = ", ".join(f"L = {total}: {off:.0e} ({wrong:.0e})" for total, (off, wrong) in coupled.items() if total)
        worst = max(off for off, _ in coupled.values())
        remark = f"{OFF}; {each}; in brackets the least with one function's sign or place wrong"
        limit = limits.get("atomic density matrices")
        rows.append(Row("coupled density matrices to L = 4", system, worst, "e", limit, remark, {"by L": coupled}))
    return rows
