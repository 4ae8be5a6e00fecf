"""Densities of known coefficients, kept as a worker keeps them."""

from dataclasses import replace
from datetime import UTC, datetime

from app.stored_density import StoredDensity, stored_density
from jobs.artifacts import ArtifactStore
from jobs.canonical import canonical, structure_record
from jobs.grids import write_grid
from jobs.records import JobRecord, JobView, TaskRecord, TaskStatus
from rhocast.density import DensityExpansion
from rhocast.density.grids import spacing_of
from rhocast.density.zarr_archive import planes_of_slabs
from rhocast.model_info import Property
from rhocast.schemas import DensityAnswer, Provenance, Uncertainty


def kept(
    artifacts: ArtifactStore,
    sent: DensityExpansion,
    shape: tuple[int, int, int] = (8, 9, 10),
    per_atom: list[float] | None = None,
) -> StoredDensity:
    """The density of a finished job.

    Args:
        artifacts: Where it goes.
        sent: The density, in the order of the atoms sent.
        shape: Its grid.
        per_atom: Expected error of each atom, in the same order.
    """
    form = canonical(sent.structure)
    ordered = replace(sent.reordered(form.order), structure=form.structure)
    values = ordered.on_grid(shape).values
    slabs = [values[first:last] for first, last in planes_of_slabs(shape)]
    artifacts.write("k1.coefficients.npz", ordered.write)
    artifacts.write(
        "k1.zarr.zip", lambda path: write_grid(path, shape, slabs, sent.n_electrons, sent.structure.volume, 23)
    )
    record = JobRecord(
        id="j1",
        created_at=datetime(2026, 1, 2, tzinfo=UTC),
        structure=structure_record(sent.structure),
        order=form.order.tolist(),
        want=[Property.DENSITY],
        tasks={"random": "k1"},
        models={"density": "random"},
    )
    result = {"artifact": "k1.zarr.zip", "coefficients": "k1.coefficients.npz"}
    task = TaskRecord(key="k1", model="random", status=TaskStatus.SUCCEEDED, result=result)
    view = JobView(record=record, cancelled_at=None, was_cached=False, tasks={"random": task})
    return stored_density(artifacts, view, _answer(sent, shape, per_atom))


def _answer(sent: DensityExpansion, shape: tuple[int, int, int], per_atom: list[float] | None) -> DensityAnswer:
    valence = {symbol: sent.free_atoms.valence[symbol] for symbol in sent.structure.symbols}
    return DensityAnswer(
        n_electrons=sent.n_electrons,
        integral=sent.n_electrons,
        shape=shape,
        spacing=spacing_of(sent.structure.cell, shape),
        grid_chosen_by="shape as asked",
        scale_factor=1.0,
        minimum=0.0,
        maximum=1.0,
        mantissa_bits=23,
        provenance=Provenance(
            model="random", weights_sha256="ab", level_of_theory="none", code_version="0", valence_electrons=valence
        ),
        uncertainty=Uncertainty(per_atom=per_atom),
    )
