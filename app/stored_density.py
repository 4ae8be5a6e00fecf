"""The density of a finished job as a worker stored it, and what is made of it in the user's order of atoms."""

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
from fastapi import Depends

from app.access import CallerDep
from app.answers import comment_line, file_key
from app.services import ServicesDep
from jobs.artifacts import ArtifactStore
from jobs.canonical import structure_from_record
from jobs.grids import read_grid
from jobs.records import JobView, TaskRecord
from jobs.version import code_version
from rhocast.analysis_schemas import FieldQuantity, GridQuantity
from rhocast.density import (
    Density,
    DensityExpansion,
    Potential,
    difference_to_promolecule,
    electrostatic_potential,
    expected_error,
)
from rhocast.errors import ArtifactNotFound, TooLarge, error_from_problem
from rhocast.schemas import DENSITY_FORMATS, DensityAnswer, DownloadFormat, JobStatus
from rhocast.structure import Structure

_ABOUT: dict[FieldQuantity, str] = {
    "density": "",
    "difference": "difference to the promolecule (rho - free atoms); ",
    "error": "expected error sigma of the density, spread over each atom as its free density is; ",
    "potential": "",  # it says so itself
}
LARGEST_POTENTIAL = 64_000_000
"""Points on which a potential is solved: some gigabytes."""


@dataclass(frozen=True)
class StoredDensity:
    """Where the density of a finished job lies and what was answered of it; it can be sent to another process.

    Attributes:
        view: The job.
        task: The task that made it.
        answer: What the job says of it.
        grid: Path of the stored grid.
        coefficients: Path of the stored coefficients; None where there are none.
    """

    view: JobView
    task: TaskRecord
    answer: DensityAnswer
    grid: Path
    coefficients: Path | None

    @property
    def job_id(self) -> str:
        return self.view.record.id

    @property
    def structure(self) -> Structure:
        """The user's structure."""
        return structure_from_record(self.view.record.structure)

    def comment(self, format: DownloadFormat, quantity: FieldQuantity = "density") -> str:
        """The comment line of a file: which quantity, and its provenance."""
        return _ABOUT[quantity] + comment_line(self.answer, format)

    def key(self, what: str, quantity: FieldQuantity = "density") -> str:
        """Hash of all that decides what is made of the density.

        Args:
            what: Name of what is made, with everything that was chosen.
            quantity: What it is made of.
        """
        errors = self.answer.uncertainty.per_atom if quantity == "error" else None
        return file_key(self.view, self.task, f"{what} {errors} {code_version()}", self.comment("npz", quantity))

    def sources(self, quantity: FieldQuantity) -> tuple[Path, ...]:
        """What a quantity is made of.

        Args:
            quantity: The quantity.

        Raises:
            ArtifactNotFound: If the job has it not.
        """
        if quantity == "error" and self.answer.uncertainty.per_atom is None:
            raise ArtifactNotFound(
                f"found that the density of job {self.job_id!r} has no expected error of each atom "
                f"({self.answer.uncertainty.reason or 'its model gives none'}); expected a model that gives one; "
                "choose another, or take quantity=density or difference"
            )
        if quantity in ("density", "potential"):
            return (self.grid,)
        return (self.grid, self.kept_coefficients(f"the free atoms that quantity={quantity} needs are with them"))

    def kept_coefficients(self, use: str) -> Path:
        """Path of the coefficients.

        Args:
            use: What they are for, for the error.

        Raises:
            ArtifactNotFound: If there are none.
        """
        if self.coefficients is None:
            raise ArtifactNotFound(
                f"found that the density of job {self.job_id!r} has no coefficients, for its model has none or "
                f"it was made before they were kept; {use}; expected a newer result; submit the structure again, or "
                f"take the density on a grid ({', '.join(DENSITY_FORMATS)})"
            )
        return self.coefficients

    def density(self) -> Density:
        """The density on its grid."""
        return Density(self.structure, read_grid(self.grid), comment=self.comment("npz"))

    def expansion(self) -> DensityExpansion:
        """The density as coefficients.

        Raises:
            ArtifactNotFound: If there are none.
        """
        path = self.kept_coefficients("they are what this is made of")
        stored = DensityExpansion.read(path).reordered(np.argsort(self.view.record.order))
        # The user's positions may lie in other cells than the canonical ones: functions go with their atoms.
        return replace(stored, structure=self.structure, comment=self.comment("coefficients"))

    def on_grid(self, quantity: GridQuantity) -> Density:
        """The density, or what is derived of it, on its grid.

        Args:
            quantity: Which, out of those whose `sources` there are.
        """
        if quantity == "density":
            return self.density()
        free_atoms = self.expansion().free_atoms
        if quantity == "difference":
            made = difference_to_promolecule(self.density(), free_atoms)
        else:
            errors = self.answer.uncertainty.per_atom or []
            made = expected_error(self.structure, self.answer.shape, free_atoms, errors)
        return replace(made, comment=self.comment("npz", quantity))

    def potential(self) -> Potential:
        """The electrostatic potential of the density and its ions."""
        return electrostatic_potential(self.density(), self.answer.provenance.valence_electrons or {})

    def field(self, quantity: FieldQuantity) -> Density | Potential:
        """Any of these.

        Args:
            quantity: Which.
        """
        return self.potential() if quantity == "potential" else self.on_grid(quantity)

    def refuse_large_potential(self) -> None:
        """Refusal of a potential that takes too much memory.

        Raises:
            TooLarge: If it is solved on too many points.
        """
        n_points = int(np.prod(self.answer.shape)) * (1 if self.structure.is_periodic else 8)
        if n_points > LARGEST_POTENTIAL:
            raise TooLarge(
                f"found a potential that is solved on {n_points:.3g} points (of a molecule eight times its grid's); "
                f"expected at most {LARGEST_POTENTIAL:.3g}; submit with a larger spacing, or download the density and "
                "run `rhocast analyse potential` where there is memory"
            )


def stored_density(artifacts: ArtifactStore, view: JobView, answer: DensityAnswer | None) -> StoredDensity:
    """Where the density of a finished job lies.

    Args:
        artifacts: Where results are.
        view: The job.
        answer: What it says of its density.

    Raises:
        ArtifactNotFound: If it has none.
    """
    task = view.tasks.get(view.record.models.get("density", ""))
    if answer is None or task is None or task.result is None:
        raise ArtifactNotFound(
            f"found that job {view.record.id!r} has no density (it wanted {', '.join(view.record.want)}); "
            "submit one that wants it"
        )
    coefficients = task.result.get("coefficients")
    kept = artifacts.path(coefficients) if coefficients is not None else None
    return StoredDensity(view, task, answer, artifacts.path(task.result["artifact"]), kept)


async def density_of_job(job_id: str, services: ServicesDep, caller: CallerDep) -> StoredDensity:
    """The density of a job that somebody asks for.

    Args:
        job_id: The job.
        services: What the application has.
        caller: Who asks.

    Raises:
        JobNotFound: If there is none that they may see.
        JobNotFinished: If it has not ended.
        ArtifactNotFound: If it has no density.
        RhocastError: Why it failed.
    """
    view = caller.require_seen(await asyncio.to_thread(services.ledger.view, job_id))
    services.ledger.require_finished(view)
    job = await asyncio.to_thread(services.answers.job, view)
    if job.status != JobStatus.SUCCEEDED and job.error is not None:
        raise error_from_problem(job.error.code, job.error.status, job.error.detail)
    return stored_density(services.artifacts, view, job.result.density if job.result else None)


StoredDensityDep = Annotated[StoredDensity, Depends(density_of_job)]
