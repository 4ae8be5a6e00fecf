"""Relaxed structures, in the user's order of atoms and in the cells where the user's atoms are."""

from typing import Any

import numpy as np

from jobs.canonical import canonical, restored, structure_from_record
from jobs.records import JobRecord
from rhocast.schemas import PotentialAnswer, RelaxationAnswer, StructureAnswer
from rhocast.structure import Structure
from rhocast.structure_files import STRUCTURE_FILE_NAMES


def structure_answer(structure: Structure) -> StructureAnswer:
    """A structure as the wire shows it."""
    return StructureAnswer(
        symbols=structure.symbols,
        positions=structure.positions.tolist(),
        cell=structure.cell.tolist(),
        is_periodic=structure.is_periodic,
    )


def relaxation_answer(record: JobRecord, result: dict[str, Any]) -> RelaxationAnswer:
    """What is answered of a relaxation.

    Args:
        record: The job.
        result: What a worker stored.
    """
    link = f"/v1/jobs/{record.id}/structure?format="
    return RelaxationAnswer(
        structure=structure_answer(relaxed_structure(record, result)),
        energy_before=result["energy_before"],
        n_steps=result["n_steps"],
        is_converged=result["is_converged"],
        artifacts={format: link + format for format in STRUCTURE_FILE_NAMES},
    )


def relaxed_structure(record: JobRecord, result: dict[str, Any]) -> Structure:
    """The relaxed structure: each atom moved from where it was sent, not from its image in the cell.

    Args:
        record: The job.
        result: What a worker stored, in canonical order, of atoms that were in the cell.
    """
    sent = structure_from_record(record.structure)
    order = np.array(record.order, dtype=np.int64)
    began = restored(canonical(sent).structure.positions, order)
    images = np.rint((sent.positions - began) @ np.linalg.inv(sent.cell))
    cell = np.array(result["cell"])
    positions = restored(np.array(result["positions"]), order)
    return Structure(sent.numbers, positions + images @ cell, cell, sent.is_periodic)


def unconverged_warnings(relaxation: RelaxationAnswer | None) -> list[str]:
    """What a user should know of a relaxation that ended before it was relaxed."""
    if relaxation is None or relaxation.is_converged:
        return []
    return [f"not relaxed: forces are still above fmax after {relaxation.n_steps} steps; go on from this structure"]


def comment_of(relaxation: RelaxationAnswer, potential: PotentialAnswer) -> str:
    """Provenance in one line, for the comment of a structure file."""
    source = potential.provenance
    state = "relaxed" if relaxation.is_converged else "NOT relaxed"
    return (
        f"rhocast {source.code_version}; {state} with {source.model} sha256 {source.weights_sha256[:16]} in "
        f"{relaxation.n_steps} steps; {potential.energy:.6f} eV; {source.level_of_theory}"
    )
