"""One batch from claim to result."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import structlog

from jobs.artifacts import ArtifactStore
from jobs.canonical import structure_from_record
from jobs.grids import write_grid
from jobs.ledger import End, Ledger
from jobs.records import TaskInput
from jobs.transport import Ticket
from jobs.version import code_version
from models.interface import (
    DensityField,
    DensityModel,
    ExpandedField,
    ExpectedError,
    FloatArray,
    GaugedField,
    GridShape,
    OutOfMemory,
    Potential,
    PotentialPrediction,
    RescaledField,
)
from rhocast.density.zarr_archive import planes_of_slabs
from rhocast.errors import InvalidField, PredictionFailed, ServiceUnavailable, TooLarge
from rhocast.structure import Structure
from workers.batcher import Budgets
from workers.desk import Desk, failure, require_weights
from workers.metrics import WorkerMetrics

log = structlog.get_logger()


@dataclass(frozen=True)
class _Work:
    ticket: Ticket
    input: TaskInput
    structure: Structure


class Engine:
    """Runs batches of tickets on loaded models.

    Args:
        models: Loaded models by name.
        ledger: Where tasks are claimed and ended.
        artifacts: Where grids go.
        worker: Name of this worker.
        budgets: Lowered when a batch does not fit the device.
        metrics: Where batches and tasks are counted.
    """

    def __init__(
        self,
        models: Mapping[str, DensityModel | Potential],
        ledger: Ledger,
        artifacts: ArtifactStore,
        worker: str,
        budgets: Budgets,
        metrics: WorkerMetrics,
    ) -> None:
        self._models = models
        self._desk = Desk(ledger, artifacts, worker, metrics)
        self._artifacts = artifacts
        self._budgets = budgets
        self._metrics = metrics

    def run(self, tickets: Sequence[Ticket]) -> list[bool]:
        """Runs a batch; for each ticket: whether its message is to be acknowledged (else it is dead-lettered)."""
        claims = self._desk.claim(tickets, self._budgets.of(tickets[0].model), is_shared=len(tickets) > 1)
        works = [
            _Work(ticket, claim.input, structure_from_record(claim.input.structure))
            for ticket, claim in zip(tickets, claims, strict=True)
            if claim.input is not None
        ]
        self._finish(works)
        return [
            self.run([ticket])[0] if claim.outcome == "alone" else claim.outcome != "exhausted"
            for ticket, claim in zip(tickets, claims, strict=True)
        ]

    def _finish(self, works: Sequence[_Work]) -> None:
        groups: dict[tuple[str, ...], list[_Work]] = defaultdict(list)
        for work in works:
            groups[tuple(sorted(work.input.want))].append(work)
        for group in groups.values():
            self._desk.finish(group[0].input.model, self._ends(group))

    def _ends(self, works: Sequence[_Work]) -> list[End]:
        """Ends of works of one model and one set of properties; a bad one never takes its neighbours with it."""
        start = time.perf_counter()
        try:
            results = self._timed(works)
        except OutOfMemory:
            return self._split(works)
        except ServiceUnavailable as error:
            return self._handed_back(works, error)
        except Exception as error:  # noqa: BLE001  (whatever a model raises belongs to the structure that caused it)
            if len(works) > 1:
                return [end for work in works for end in self._ends([work])]
            return [self._failed(works[0], error, time.perf_counter() - start)]
        seconds = (time.perf_counter() - start) / len(works)
        return [End(work.ticket.key, seconds, result=result) for work, result in zip(works, results, strict=True)]

    def _handed_back(self, works: Sequence[_Work], error: ServiceUnavailable) -> list[End]:
        """No ends: where results cannot be kept for now, no structure is to blame, and tasks wait in their queue."""
        for work in works:
            self._desk.hand_back(work.ticket.key, was_claimed=True)
        log.warning("results_not_kept", model=works[0].input.model, tasks=len(works), error=error.detail)
        return []

    def _split(self, works: Sequence[_Work]) -> list[End]:
        self._metrics.count_split(works[0].input.model)
        self._budgets.lower(works[0].input.model, sum(work.ticket.cost for work in works))
        if len(works) > 1:
            half = len(works) // 2
            return self._ends(works[:half]) + self._ends(works[half:])
        work = works[0]
        error = TooLarge(
            f"found that {work.structure.n_atoms} atoms and a grid of {work.input.grid or 'no'} points do not fit the "
            f"memory of the device for {work.input.model}; expected less; choose a coarser grid or fewer atoms"
        )
        return [self._failed(work, error, 0.0)]

    @staticmethod
    def _failed(work: _Work, error: Exception, seconds: float) -> End:
        return End(work.ticket.key, seconds, error=failure(error, work.input.model, work.ticket.key))

    def _timed(self, works: Sequence[_Work]) -> list[dict[str, Any]]:
        start = time.perf_counter()
        try:
            return self._compute(works)
        finally:
            self._metrics.count_seconds(works[0].input.model, time.perf_counter() - start)

    def _compute(self, works: Sequence[_Work]) -> list[dict[str, Any]]:
        model = self._models[works[0].input.model]
        for work in works:
            require_weights(model.info, work.input)
        structures = [work.structure for work in works]
        if isinstance(model, DensityModel):
            fields = model.fields(structures)
            return [self._stored_density(work, field) for work, field in zip(works, fields, strict=True)]
        predictions = model.predict(structures, frozenset(works[0].input.want))
        return [self._stored_potential(work, answer) for work, answer in zip(works, predictions, strict=True)]

    def _stored_density(self, work: _Work, field: DensityField) -> dict[str, Any]:
        shape = work.input.grid
        if shape is None:
            raise InvalidField("found a density task without a grid; expected one; this is a defect of the service")
        written: dict[str, Any] = {}

        def fill(path: Any) -> None:
            bits, volume = work.input.mantissa_bits, work.structure.volume
            report = self._desk.report(work.ticket.key)
            grid = write_grid(path, shape, finite_slabs(field, shape, report), field.n_electrons, volume, bits)
            written.update(asdict(grid))

        name = f"{work.ticket.key}.zarr.zip"
        self._artifacts.write(name, fill)
        if isinstance(field, ExpandedField):
            written["coefficients"] = f"{work.ticket.key}.coefficients.npz"
            self._artifacts.write(written["coefficients"], field.expansion().write)
        if isinstance(field, GaugedField) and (expected := field.expected_error()) is not None:
            written["uncertainty"] = _uncertainty_record(expected)
        if isinstance(field, RescaledField):
            written["rescaling"] = {"factor": field.factor, "n_clipped": field.n_clipped}
        return {
            "n_electrons": field.n_electrons,
            "artifact": name,
            "shape": list(shape),
            "mantissa_bits": work.input.mantissa_bits,
            "code_version": code_version(),
            **written,
        }

    def _stored_potential(self, work: _Work, answer: PotentialPrediction) -> dict[str, Any]:
        for name in ("energy", "energies", "forces", "stress", "magmoms"):
            value = getattr(answer, name)
            if value is not None and not np.isfinite(value).all():
                raise PredictionFailed(
                    f"found {name} that are no numbers; expected finite ones; report it with the structure"
                )
        result: dict[str, Any] = {"energy": answer.energy, "code_version": code_version()}
        if answer.energies is not None:
            result["energies"] = answer.energies.tolist()
        for name in ("forces", "stress", "magmoms"):
            if name in work.input.want and (value := getattr(answer, name)) is not None:
                result[name] = value.tolist()
        stored = self._desk.stored(work.ticket.key, result)
        return stored | {"isolated": list(answer.isolated)} if answer.isolated else stored


def _uncertainty_record(expected: ExpectedError) -> dict[str, Any]:
    """An expected error as JSON; four digits of each atom's are more than anyone knows."""
    return {
        "value": expected.value,
        "upper": expected.upper,
        "coverage": expected.coverage,
        "per_atom": [float(f"{error:.4g}") for error in expected.per_atom],
        "unfamiliar": np.flatnonzero(expected.unfamiliar).tolist(),
    }


def finite_slabs(field: DensityField, shape: GridShape, report: Callable[[int, int], None]) -> Iterator[FloatArray]:
    """Values of a field in e/Å³, slab by slab as they are stored, so that memory is that of one slab.

    Args:
        field: The field.
        shape: Points along each cell vector.
        report: Told how many planes are stored, and of how many; not of a grid of one slab, which takes a moment.

    Raises:
        PredictionFailed: If a value is no number.
    """
    slabs = planes_of_slabs(shape)
    for first, last in slabs:
        if len(slabs) > 1:
            report(first, shape[0])
        values = field.on_planes(shape, first, last)
        if n_bad := np.count_nonzero(~np.isfinite(values)):
            raise PredictionFailed(
                f"found {n_bad} values that are no numbers in planes {first} to {last} of the density; "
                "expected finite ones; report it with the structure"
            )
        yield values
