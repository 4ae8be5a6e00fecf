"""Canonical form of a structure: equal structures give equal input, equal keys, and one computation.

The user's cell and orientation stay (the grid is tied to them); positions are rounded to 1e-8 Å, wrapped into the
cell and sorted by (Z, x, y, z). The permutation stays with the job, and every answer comes back
in the user's order.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from rhocast.structure import FloatArray, IntArray, Structure

RESOLUTION = 1e-8  # Å: coarser would move atoms of a large cell by enough to change forces


@dataclass(frozen=True)
class CanonicalStructure:
    """A structure as models see it.

    Attributes:
        structure: Rounded, wrapped, sorted.
        order: Canonical atom k is the user's atom `order[k]`, [n_atoms].
    """

    structure: Structure
    order: IntArray


def canonical(structure: Structure) -> CanonicalStructure:
    """The canonical form of a structure."""
    cell = _rounded(structure.cell)
    rounded = Structure(structure.numbers, _rounded(structure.positions), cell, structure.is_periodic)
    positions = _rounded(rounded.wrapped_positions)
    order = np.lexsort((positions[:, 2], positions[:, 1], positions[:, 0], structure.numbers)).astype(np.int64)
    return CanonicalStructure(Structure(structure.numbers[order], positions[order], cell, structure.is_periodic), order)


def restored(values: FloatArray, order: IntArray) -> FloatArray:
    """Per-atom values in the user's order, from values in canonical order."""
    result = np.empty_like(values)
    result[order] = values
    return result


def structure_record(structure: Structure) -> dict[str, Any]:
    """The structure as JSON: numbers, and positions and cell in Å."""
    return {
        "numbers": structure.numbers.tolist(),
        "positions": structure.positions.tolist(),
        "cell": structure.cell.tolist(),
        "is_periodic": structure.is_periodic,
    }


def structure_from_record(record: dict[str, Any]) -> Structure:
    return Structure(
        np.array(record["numbers"], dtype=np.int64),
        np.array(record["positions"], dtype=float).reshape(-1, 3),
        np.array(record["cell"], dtype=float),
        bool(record["is_periodic"]),
    )


def content_key(structure: Structure, what: dict[str, Any]) -> str:
    """Hash of a canonical structure and of everything else that decides the result.

    Args:
        structure: Canonical structure.
        what: Model, hash of its weights, code version and settings, JSON-serialisable.
    """
    digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode())
    digest.update(structure.numbers.astype("<i8").tobytes())
    for array in (structure.positions, structure.cell):
        digest.update(np.rint(array / RESOLUTION).astype("<i8").tobytes())
    digest.update(b"periodic" if structure.is_periodic else b"molecule")
    return digest.hexdigest()


def _rounded(array: FloatArray) -> FloatArray:
    return np.rint(array / RESOLUTION) * RESOLUTION + 0.0  # + 0.0: no negative zeros
