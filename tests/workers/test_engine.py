"""One batch: results are stored, a bad structure never takes its neighbours with it, memory is respected."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import structlog

from jobs import bucket
from jobs.artifacts import ArtifactStore
from jobs.bucket import BucketStore
from jobs.canonical import canonical, content_key, structure_record
from jobs.grids import read_grid
from jobs.ledger import Ledger
from jobs.records import TaskInput, TaskOrder, TaskRecord, TaskStatus
from jobs.transport import Ticket
from models.density.promolecule import Promolecule
from models.interface import ExpectedError, PotentialPrediction
from rhocast.density import DensityExpansion
from rhocast.model_info import Property
from rhocast.structure import Structure
from tests.jobs.builders import job, ticket
from tests.workers.fakes import SHA, CountingPotential, Uniform, UniformField
from workers.batcher import Budgets
from workers.desk import SMALL_RESULT_BYTES
from workers.engine import Engine
from workers.metrics import WorkerMetrics

CELL = [[5.0, 0, 0], [0, 6.0, 0], [0, 0, 7.0]]


def structure(*symbols: str) -> Structure:
    return Structure.from_symbols(symbols, [[0.5 * index, 0.3, 0.1 * index] for index in range(len(symbols))], CELL)


@pytest.fixture
def artifacts(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts", min_free_bytes=0)


def message_of(ledger: Ledger, key: str) -> str:
    """The message that names a task now."""
    message = ledger.client.hget(f"{ledger.settings.namespace}:task:{key}", "message")
    assert isinstance(message, bytes)
    return message.decode()


@pytest.fixture
def submit(ledger: Ledger) -> Callable[..., Ticket]:
    def submit(
        atoms: Structure,
        model: str = "counting",
        want: tuple[Property, ...] = (Property.ENERGY,),
        weights: str = SHA,
        shape: tuple[int, int, int] = (4, 5, 6),
    ) -> Ticket:
        form = canonical(atoms).structure
        grid = shape if Property.DENSITY in want else None
        task = TaskInput(
            model=model, weights_sha256=weights, structure=structure_record(form), want=list(want), grid=grid
        )
        key = content_key(form, {"model": model, "want": want})
        order = TaskOrder(key=key, model=model, cost=10.0, input=task)
        ledger.submit(job(order), [order])
        return ticket(key, message_of(ledger, key), model=model, cost=10.0)

    return submit


@pytest.fixture
def make_engine(ledger: Ledger, artifacts: ArtifactStore):
    def make(*models, budget: float = 1000.0) -> tuple[Engine, Budgets]:
        budgets = Budgets(budget)
        return Engine(
            {model.info.name: model for model in models}, ledger, artifacts, "w", budgets, WorkerMetrics()
        ), budgets

    return make


def ended(ledger: Ledger, *tickets: Ticket) -> list[TaskRecord]:
    tasks = ledger.tasks([one.key for one in tickets])
    return [tasks[one.key] for one in tickets]


def test_a_batch_is_one_call_and_its_results_are_recorded(ledger, submit, make_engine) -> None:
    model = CountingPotential()
    tickets = [submit(structure("H")), submit(structure("Si", "H"))]
    assert make_engine(model)[0].run(tickets) == [True, True]
    assert model.batches == [2]
    assert [task.result["energy"] for task in ended(ledger, *tickets) if task.result] == [1.0, 15.0]


def test_structures_that_want_different_things_run_in_calls_of_their_own(ledger, submit, make_engine) -> None:
    model = CountingPotential()
    tickets = [submit(structure("H")), submit(structure("Si"), want=(Property.ENERGY, Property.FORCES))]
    make_engine(model)[0].run(tickets)
    assert model.batches == [1, 1]
    energy_only, both = (task.result or {} for task in ended(ledger, *tickets))
    assert "forces" not in energy_only
    assert np.allclose(both["forces"], structure("Si").positions)


class SharingPotential(CountingPotential):
    """Each atom has its atomic number for energy, and hydrogen is isolated."""

    def predict(self, structures: Sequence[Structure], want: frozenset[Property]) -> list[PotentialPrediction]:
        return [
            PotentialPrediction(
                float(one.numbers.sum()),
                energies=one.numbers.astype(float),
                isolated=tuple(np.flatnonzero(one.numbers == 1).tolist()),
            )
            for one in structures
        ]


def test_energies_of_atoms_and_which_are_isolated_are_stored(ledger, submit, make_engine) -> None:
    tickets = [submit(structure("H", "Si")), submit(structure("Si"))]
    make_engine(SharingPotential())[0].run(tickets)
    lonely, whole = (one.result for one in ended(ledger, *tickets))
    assert (lonely["energies"], lonely["isolated"]) == ([1.0, 14.0], [0])
    assert whole["energies"] == [14.0]
    assert "isolated" not in whole


def test_one_bad_structure_does_not_fail_its_neighbours(ledger, submit, make_engine) -> None:
    tickets = [submit(structure("H")), submit(structure("He", "H")), submit(structure("Si"))]
    assert make_engine(CountingPotential())[0].run(tickets) == [True, True, True]
    good, bad, fine = ended(ledger, *tickets)
    assert (good.status, bad.status, fine.status) == (TaskStatus.SUCCEEDED, TaskStatus.FAILED, TaskStatus.SUCCEEDED)
    assert bad.error is not None
    assert bad.error.code == "UnsupportedByModel"


def test_a_batch_that_does_not_fit_is_split_and_the_budget_lowered(ledger, submit, make_engine) -> None:
    model = CountingPotential(capacity=2)
    tickets = [submit(structure(*["H"] * n)) for n in range(1, 8)]
    engine, budgets = make_engine(model)
    engine.run(tickets)
    assert {task.status for task in ended(ledger, *tickets)} == {TaskStatus.SUCCEEDED}
    assert max(model.batches) == 2
    assert budgets.of("counting") < 70.0


def test_a_structure_that_does_not_fit_by_itself_fails_with_the_limit(ledger, submit, make_engine) -> None:
    tickets = [submit(structure("He", "He")), submit(structure("H"))]
    make_engine(CountingPotential())[0].run(tickets)
    large, small = ended(ledger, *tickets)
    assert small.status == TaskStatus.SUCCEEDED
    assert large.error is not None
    assert large.error.code == "TooLarge"
    assert "2 atoms" in large.error.detail


def test_a_defect_of_a_model_is_an_error_of_its_structure(ledger, submit, make_engine, monkeypatch) -> None:
    def raising(*_: object) -> None:
        raise ZeroDivisionError("by nought")

    model = CountingPotential()
    monkeypatch.setattr(model, "predict", raising)
    one = submit(structure("H"))
    make_engine(model)[0].run([one])
    error = ended(ledger, one)[0].error
    assert error is not None
    assert error.code == "PredictionFailed"
    assert "ZeroDivisionError: by nought" in error.detail


def test_a_task_that_was_in_hand_at_a_crash_does_not_share_a_batch(ledger, submit, make_engine) -> None:
    suspect, other = submit(structure("H")), submit(structure("Si"))
    ledger.claim([suspect], "a worker that died", is_shared=False)
    model = CountingPotential()
    assert make_engine(model)[0].run([suspect, other]) == [True, True]
    assert model.batches == [1, 1]
    assert {task.status for task in ended(ledger, suspect, other)} == {TaskStatus.SUCCEEDED}


def test_a_message_whose_task_is_exhausted_is_not_acknowledged(ledger, submit, make_engine) -> None:
    one = submit(structure("H"))
    for _ in range(3):
        ledger.claim([one], "a worker that died", is_shared=False)
    assert make_engine(CountingPotential())[0].run([one]) == [False]


def test_a_message_for_a_finished_task_does_nothing(ledger, submit, make_engine) -> None:
    one = submit(structure("H"))
    model = CountingPotential()
    engine, _ = make_engine(model)
    assert [engine.run([one]), engine.run([one])] == [[True], [True]]
    assert model.batches == [1]


def test_a_density_is_stored_with_its_exact_electron_count(ledger, artifacts, submit, make_engine) -> None:
    one = submit(structure("H", "Si"), "uniform", (Property.DENSITY,))
    make_engine(Uniform())[0].run([one])
    result = ended(ledger, one)[0].result
    assert result is not None
    values = read_grid(artifacts.path(result["artifact"]))
    assert values.shape == (4, 5, 6)
    assert values.mean() * structure("H").volume == pytest.approx(2.0, rel=1e-12)
    assert result["scale_factor"] == pytest.approx(1.0)
    assert result["integral"] == pytest.approx(2.0, rel=1e-12)


@pytest.mark.parametrize(("n_planes", "told"), [(64, []), (65, [(0, 65), (64, 65)]), (128, [(0, 128), (64, 128)])])
def test_planes_are_told_as_they_are_stored_where_there_is_more_than_one_slab(
    ledger, submit, make_engine, monkeypatch, n_planes, told
) -> None:
    monkeypatch.setattr("workers.reports._EVERY_SECONDS", 0.0)
    one = submit(structure("H"), "uniform", (Property.DENSITY,), shape=(n_planes, 2, 2))
    found = []

    class WatchedField(UniformField):
        def on_planes(self, shape, first, last):
            task = ledger.tasks([one.key])[one.key]
            if task.progress is not None:
                found.append((task.progress.done, task.progress.total))
            return super().on_planes(shape, first, last)

    model = Uniform()
    monkeypatch.setattr(model, "fields", lambda all_of_them: [WatchedField(each, 1.0) for each in all_of_them])
    make_engine(model)[0].run([one])
    assert found == told
    (task,) = ended(ledger, one)
    assert (task.status, task.progress) == (TaskStatus.SUCCEEDED, None)


def test_coefficients_are_stored_beside_the_grid(ledger, artifacts, submit, make_engine) -> None:
    model = Promolecule()
    one = submit(structure("H", "Si"), "promolecule", (Property.DENSITY,), model.info.weights_sha256)
    make_engine(model)[0].run([one])
    result = ended(ledger, one)[0].result
    assert result is not None
    found = DensityExpansion.read(artifacts.path(result["coefficients"]))
    values = read_grid(artifacts.path(result["artifact"])) / result["scale_factor"]
    np.testing.assert_allclose(found.on_grid((4, 5, 6)).values, values, rtol=2**-12)


def test_an_expected_error_is_stored_in_the_order_of_the_task(ledger, submit, make_engine) -> None:
    expected = ExpectedError(None, None, 0.9, np.array([0.0123456, 2.0]), np.array([False, True]))
    one = submit(structure("H", "Si"), "uniform", (Property.DENSITY,))
    make_engine(Uniform(expected=expected))[0].run([one])
    result = ended(ledger, one)[0].result or {}
    assert result["uncertainty"] == {
        "value": None,
        "upper": None,
        "coverage": 0.9,
        "per_atom": [0.01235, 2.0],
        "unfamiliar": [1],
    }


def test_a_density_without_coefficients_expected_error_and_rescaling_has_none(ledger, submit, make_engine) -> None:
    one = submit(structure("H", "Si"), "uniform", (Property.DENSITY,))
    make_engine(Uniform())[0].run([one])
    assert {"coefficients", "uncertainty", "rescaling"}.isdisjoint(ended(ledger, one)[0].result or {})


def test_how_a_density_was_rescaled_is_stored(ledger, submit, make_engine, monkeypatch) -> None:
    one = submit(structure("H", "Si"), "uniform", (Property.DENSITY,))
    monkeypatch.setattr(UniformField, "factor", 0.99, raising=False)
    monkeypatch.setattr(UniformField, "n_clipped", 0.05, raising=False)
    make_engine(Uniform())[0].run([one])
    assert (ended(ledger, one)[0].result or {})["rescaling"] == {"factor": 0.99, "n_clipped": 0.05}


def test_a_half_written_grid_of_a_dead_worker_is_replaced(ledger, artifacts, submit, make_engine) -> None:
    one = submit(structure("H"), "uniform", (Property.DENSITY,))
    artifacts.write(f"{one.key}.zarr.zip", lambda path: path.write_bytes(b"rubbish"))
    make_engine(Uniform())[0].run([one])
    assert read_grid(artifacts.path(f"{one.key}.zarr.zip")).shape == (4, 5, 6)


def test_numbers_that_are_not_numbers_fail(ledger, submit, make_engine, monkeypatch) -> None:
    density = submit(structure("H"), "uniform", (Property.DENSITY,))
    make_engine(Uniform(is_broken=True))[0].run([density])
    error = ended(ledger, density)[0].error
    assert error is not None
    assert "120 values that are no numbers in planes 0 to 4" in error.detail
    potential = submit(structure("Si"), want=(Property.ENERGY, Property.FORCES))
    model = CountingPotential()
    answer = model.predict

    def with_nan(structures, want):
        answers = answer(structures, want)
        answers[0].forces[0, 0] = np.nan
        return answers

    monkeypatch.setattr(model, "predict", with_nan)
    make_engine(model)[0].run([potential])
    error = ended(ledger, potential)[0].error
    assert error is not None
    assert "forces that are no numbers" in error.detail


def test_a_large_result_goes_to_the_blob_store(ledger, artifacts, submit, make_engine) -> None:
    n = SMALL_RESULT_BYTES // 40
    rng = np.random.default_rng(0)
    many = Structure(np.ones(n, dtype=np.int64), rng.random((n, 3)) * 100, np.eye(3) * 100.0)
    one = submit(many, want=(Property.ENERGY, Property.FORCES))
    make_engine(CountingPotential())[0].run([one])
    result = ended(ledger, one)[0].result
    assert result is not None
    assert list(result) == ["artifact"]
    assert artifacts.holds(result["artifact"])


def test_a_batch_whose_results_cannot_be_kept_goes_back_to_the_queue(
    ledger, submit, bucket_server, bucket_url, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(bucket, "_RETRY_SECONDS", 0.5)
    store = BucketStore(bucket_url, tmp_path / "copies", 0, 10**9)
    engine = Engine({"uniform": Uniform()}, ledger, store, "w", Budgets(1000.0), WorkerMetrics())
    tickets = [submit(structure(symbol), "uniform", (Property.DENSITY,)) for symbol in ("H", "Si")]
    with bucket_server.refusing(), structlog.testing.capture_logs() as lines:
        for _ in range(5):  # more often than a task may kill a worker
            assert engine.run(tickets) == [True, True]
            tickets = [replace(one, message_id=message_of(ledger, one.key)) for one in tickets]
    assert [line["tasks"] for line in lines if line["event"] == "results_not_kept"] == [2] * 5
    assert {task.status for task in ended(ledger, *tickets)} == {TaskStatus.QUEUED}
    assert engine.run(tickets) == [True, True]
    for task in ended(ledger, *tickets):
        assert task.status == TaskStatus.SUCCEEDED
        assert bucket_server.path(bucket_url, task.result["artifact"]).stat().st_size > 0


def test_a_bucket_that_is_not_there_is_the_reason_of_the_failure(ledger, submit, bucket_url, tmp_path) -> None:
    store = BucketStore("s3://no-such-bucket/results", tmp_path / "copies", 0, 10**9)
    one = submit(structure("H"), "uniform", (Property.DENSITY,))
    Engine({"uniform": Uniform()}, ledger, store, "w", Budgets(1000.0), WorkerMetrics()).run([one])
    error = ended(ledger, one)[0].error
    assert error is not None
    assert error.code == "ServerError"
    assert "found no bucket for s3://no-such-bucket/results" in error.detail


def test_a_task_made_for_other_weights_is_refused(ledger, submit, make_engine) -> None:
    one = submit(structure("H"), weights="1" * 64)
    make_engine(CountingPotential())[0].run([one])
    error = ended(ledger, one)[0].error
    assert error is not None
    assert "got new weights" in error.detail


def test_a_density_task_without_a_grid_is_a_defect_that_is_said(ledger, submit, make_engine) -> None:
    one = submit(structure("H"), "uniform", (Property.ENERGY,))
    make_engine(Uniform())[0].run([one])
    error = ended(ledger, one)[0].error
    assert error is not None
    assert "without a grid" in error.detail


def test_what_a_batch_did_is_counted_and_told(ledger, submit, make_engine) -> None:
    engine, _ = make_engine(CountingPotential(capacity=2), budget=100.0)
    tickets = [submit(structure(*["H"] * n)) for n in range(1, 4)] + [submit(structure("He", "H"))]
    with structlog.testing.capture_logs() as lines:
        engine.run(tickets)
        engine.run(tickets)  # delivered twice: nothing is done, told or counted again
    value = engine._metrics.registry.get_sample_value
    labels = {"model": "counting"}
    assert value("rhocast_tasks_total", labels | {"outcome": "succeeded"}) == 3
    assert value("rhocast_tasks_total", labels | {"outcome": "UnsupportedByModel"}) == 1
    assert value("rhocast_batch_tasks_sum", labels) == 4
    assert value("rhocast_batch_fill_sum", labels) == pytest.approx(0.4)
    assert value("rhocast_batch_splits_total", labels) >= 1
    assert value("rhocast_task_wait_seconds_count", labels) == 4
    told = {line["task"]: line["outcome"] for line in lines if line["event"] == "task_ended"}
    assert told == dict.fromkeys([one.key for one in tickets[:3]], "succeeded") | {tickets[3].key: "UnsupportedByModel"}


def test_the_time_of_a_model_is_counted_once_however_often_a_batch_is_tried(ledger, submit, make_engine) -> None:
    engine, _ = make_engine(CountingPotential(seconds=0.05))
    tickets = [submit(structure("H")), submit(structure("Si")), submit(structure("He", "H"))]
    started = time.perf_counter()
    engine.run(tickets)
    passed = time.perf_counter() - started
    counted = engine._metrics.registry.get_sample_value("rhocast_model_seconds_total", {"model": "counting"})
    assert 0.1 <= counted <= passed


def test_a_task_that_is_given_up_is_told_and_counted(ledger, submit, make_engine) -> None:
    one = submit(structure("H"))
    for _ in range(3):
        ledger.claim([one], "a worker that died", is_shared=False)
    engine, _ = make_engine(CountingPotential())
    with structlog.testing.capture_logs() as lines:
        engine.run([one])
    assert lines == [
        {"event": "task_given_up", "log_level": "error", "model": "counting", "outcome": "WorkerLost", "task": one.key}
    ]
    labels = {"model": "counting", "outcome": "WorkerLost"}
    assert engine._metrics.registry.get_sample_value("rhocast_tasks_total", labels) == 1
