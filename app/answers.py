"""From the ledger's rows to what the user sees, in the user's order of atoms."""

import gzip
import hashlib
import json
import math
from datetime import timedelta
from typing import Any

import numpy as np

from app.problems import problem
from app.relaxed import relaxation_answer, structure_answer, unconverged_warnings
from jobs.artifacts import ArtifactStore
from jobs.canonical import restored, structure_from_record
from jobs.directory import info_from_record
from jobs.records import JobView, TaskRecord
from rhocast.density.grids import spacing_of
from rhocast.errors import ArtifactExpired, JobCancelled, error_from_problem
from rhocast.model_info import ModelInfo, Property
from rhocast.schemas import (
    DENSITY_FORMATS,
    DensityAnswer,
    DownloadFormat,
    Job,
    JobStatus,
    PotentialAnswer,
    Prediction,
    Problem,
    Provenance,
    RelaxationAnswer,
    Uncertainty,
)
from rhocast.structure import Structure

_SCALE_TOLERANCE = 1e-3
_MOST_ATOMS_NAMED = 10
_DENSITY_LINKS = ("density", "charges", "moments", "profile", "potential")


class Answers:
    """Builds answers.

    Args:
        artifacts: Where large results are.
        job_days: How long jobs are kept.
    """

    def __init__(self, artifacts: ArtifactStore, job_days: float) -> None:
        self._artifacts = artifacts
        self._kept = timedelta(days=job_days)

    def job(self, view: JobView, *, with_result: bool = True) -> Job:
        """A job as the wire shows it."""
        record = view.record
        structure = structure_from_record(record.structure)
        status = view.status
        tasks = [task for task in view.tasks.values() if task is not None]
        has_result = with_result and status == JobStatus.SUCCEEDED
        link = f"/v1/jobs/{record.id}"
        links = _DENSITY_LINKS if Property.DENSITY in record.want else ("structure",) if record.relaxation else ()
        result = self._prediction(view, structure) if has_result else None
        return Job(
            id=record.id,
            status=status,
            formula=structure.formula,
            n_atoms=structure.n_atoms,
            want=record.want,
            models=record.models,
            relaxation=record.relaxation,
            priority=record.priority,
            progress=view.progress,
            created_at=record.created_at,
            finished_at=view.finished_at,
            expires_at=record.created_at + self._kept,
            was_cached=view.was_cached,
            compute_seconds=sum(task.seconds or 0.0 for task in tasks) if status == JobStatus.SUCCEEDED else None,
            warnings=[
                *record.warnings,
                *_grid_warnings(view),
                *_unfamiliar_warnings(view),
                *_isolated_warnings(view),
                *(unconverged_warnings(result.relaxation) if result is not None else []),
            ],
            error=self._problem(view),
            result=result,
            links={"self": link} | {name: f"{link}/{name}" for name in links},
        )

    def _problem(self, view: JobView) -> Problem | None:
        if view.status == JobStatus.EXPIRED:
            return problem(ArtifactExpired(f"found the results of job {view.record.id!r} expired; submit it again"))
        if view.status == JobStatus.CANCELLED:
            return problem(
                JobCancelled(f"found job {view.record.id!r} cancelled; submit it again if you want it after all")
            )
        failure = view.failure
        return problem(error_from_problem(failure.code, 500, failure.detail)) if failure is not None else None

    def _prediction(self, view: JobView, structure: Structure) -> Prediction:
        density: DensityAnswer | None = None
        potential: PotentialAnswer | None = None
        relaxation: RelaxationAnswer | None = None
        for name, task in view.tasks.items():
            info = info_from_record(view.record.infos[name])
            if task is None or task.result is None:
                continue
            if Property.DENSITY in info.provides and view.record.models.get("density") == name:
                density = self._density(view, info, task.result, structure)
            else:
                whole = self._whole(task)
                potential = self._potential(view, info, whole, structure)
                relaxation = relaxation_answer(view.record, whole) if view.record.relaxation is not None else None
        return Prediction(
            structure=structure_answer(structure),
            density=density,
            potential=potential,
            relaxation=relaxation,
        )

    def _whole(self, task: TaskRecord) -> dict[str, Any]:
        """A result that may have been too large for the ledger."""
        result = task.result or {}
        if "artifact" not in result:
            return result
        try:
            content = self._artifacts.fetch(result["artifact"]).read_bytes()
        except FileNotFoundError as error:
            raise ArtifactExpired("found that this result is no longer kept; submit the structure again") from error
        return json.loads(gzip.decompress(content))

    def _density(self, view: JobView, info: ModelInfo, result: dict[str, Any], structure: Structure) -> DensityAnswer:
        shape: tuple[int, int, int] = tuple(result["shape"])
        return DensityAnswer(
            n_electrons=result["n_electrons"],
            integral=result["integral"],
            shape=shape,
            spacing=spacing_of(structure.cell, shape),
            grid_chosen_by=view.record.grid_chosen_by,
            scale_factor=result["scale_factor"],
            minimum=result["minimum"],
            maximum=result["maximum"],
            mantissa_bits=result["mantissa_bits"],
            provenance=provenance(info, structure, result["code_version"]),
            uncertainty=_uncertainty(view, info, result),
            rescaling=result.get("rescaling"),
            artifacts={
                name: f"/v1/jobs/{view.record.id}/density?format={name}"
                for name in (*DENSITY_FORMATS, *(["coefficients"] if "coefficients" in result else []))
            },
        )

    @staticmethod
    def _potential(view: JobView, info: ModelInfo, result: dict[str, Any], structure: Structure) -> PotentialAnswer:
        order = np.array(view.record.order, dtype=np.int64)

        def per_atom(name: str) -> Any:
            return restored(np.array(result[name]), order).tolist() if name in result else None

        return PotentialAnswer(
            energy=result["energy"],
            energy_per_atom=result["energy"] / structure.n_atoms,
            energies=per_atom("energies"),
            forces=per_atom("forces"),
            stress=result.get("stress"),
            magmoms=per_atom("magmoms"),
            provenance=provenance(info, structure, result["code_version"]),
            uncertainty=Uncertainty(reason=info.no_uncertainty_because),
        )


def provenance(info: ModelInfo, structure: Structure, code_version: str) -> Provenance:
    """Where an answer comes from, for the elements of this structure."""
    valence = (
        {symbol: info.valence_electrons[symbol] for symbol in dict.fromkeys(structure.symbols)}
        if info.valence_electrons
        else None
    )
    return Provenance(
        model=info.name,
        weights_sha256=info.weights_sha256,
        level_of_theory=info.level_of_theory,
        density_kind=info.density_kind,
        valence_electrons=valence,
        energy_reference=info.energy_reference,
        is_conservative=info.is_conservative,
        code_version=code_version,
        labels=info.labels,
    )


def comment_line(answer: DensityAnswer, density_format: DownloadFormat) -> str:
    """Provenance in one line, for the comment of a density file; coefficients do not speak of the grid."""
    source = answer.provenance
    valence = " ".join(f"{symbol}{count:g}" for symbol, count in (source.valence_electrons or {}).items())
    parts = [
        f"rhocast {source.code_version}",
        f"model {source.model} sha256 {source.weights_sha256[:16]}",
        f"valence {valence}",
    ]
    if density_format != "coefficients":
        grid = "x".join(map(str, answer.shape))
        parts.append(f"grid {grid}, {answer.grid_chosen_by}, scaled by {answer.scale_factor:.8f}")
    return "; ".join([*parts, source.level_of_theory, str(source.density_kind)])


def file_key(view: JobView, task: TaskRecord, density_format: str, comment: str) -> str:
    """Name of a density file: it differs wherever the bytes would."""
    parts = [task.key, density_format, comment, json.dumps(view.record.structure, sort_keys=True)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _uncertainty(view: JobView, info: ModelInfo, result: dict[str, Any]) -> Uncertainty:
    """What a density model expects of its error, in the user's order of atoms; or why it does not."""
    found = result.get("uncertainty")
    if found is None:
        return Uncertainty(reason=info.no_uncertainty_because)
    order = np.array(view.record.order, dtype=np.int64)
    unfamiliar = _places_sent(view, found["unfamiliar"])
    reason = f"the surroundings of {len(unfamiliar)} of {len(order)} atoms are unlike any that the model learned from"
    return Uncertainty(
        value=found["value"],
        upper=found["upper"],
        coverage=found["coverage"],
        per_atom=restored(np.array(found["per_atom"]), order).tolist(),
        unfamiliar_atoms=unfamiliar,
        reason=reason if unfamiliar else None,
    )


def _named(places: list[int]) -> str:
    """Places for a sentence, not too many of them."""
    shown = ", ".join(map(str, places[:_MOST_ATOMS_NAMED]))
    more = f" and {len(places) - _MOST_ATOMS_NAMED} more" if len(places) > _MOST_ATOMS_NAMED else ""
    return f"{shown}{more}, counted from 0"


def _places_sent(view: JobView, atoms: list[int]) -> list[int]:
    """Places in the user's order of some atoms of the canonical one, rising."""
    return sorted(view.record.order[atom] for atom in atoms)


def _isolated_warnings(view: JobView) -> list[str]:
    lines: list[str] = []
    for name, task in view.tasks.items():
        found = (task.result or {}).get("isolated") if task is not None else None
        if found:
            lines.append(
                f"{len(found)} of {len(view.record.order)} atoms have no neighbour within "
                f"{view.record.infos[name]['cutoff']:g} Å (places {_named(_places_sent(view, found))}): {name} feels "
                "no force on them and gives them the energy of an atom alone, which it has not learned; do not trust "
                "it where they matter"
            )
    return lines


def _unfamiliar_warnings(view: JobView) -> list[str]:
    lines: list[str] = []
    for name, task in view.tasks.items():
        found = ((task.result or {}).get("uncertainty") or {}).get("unfamiliar") if task is not None else None
        if not found:
            continue
        lines.append(
            f"the surroundings of {len(found)} of {len(view.record.order)} atoms are unlike any that {name} learned "
            f"from, so nobody knows the error there (places {_named(_places_sent(view, found))}): look at the "
            "structure, compare with model promolecule, or run DFT"
        )
    return lines


def _grid_warnings(view: JobView) -> list[str]:
    lines: list[str] = []
    for name, task in view.tasks.items():
        factor = (task.result or {}).get("scale_factor", 1.0) if task is not None else 1.0
        if math.fabs(factor - 1.0) > _SCALE_TOLERANCE:
            spacing = view.record.infos[name].get("recommended_spacing")
            advice = f"a spacing of {spacing:g} Å would do" if spacing else "choose a smaller spacing"
            lines.append(
                f"the sum over this grid was off by {abs(factor - 1):.1e} before it was scaled to the electron count: "
                f"{advice}"
            )
    return lines
