"""What a worker counts, and how it is asked for."""

import urllib.request

import pytest

from jobs.ledger import Claim
from tests.end_to_end.processes import free_port
from tests.jobs.builders import ticket
from workers.metrics import WorkerMetrics


@pytest.fixture
def metrics():
    return WorkerMetrics()


def value(metrics: WorkerMetrics, name: str, model: str = "m", **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, {"model": model, **labels})


def test_a_batch_is_counted_by_its_size_and_fill(metrics):
    tickets = [ticket(f"k{n}", f"m{n}", cost=30.0) for n in range(3)]
    metrics.count_batch(tickets, [Claim("claimed", attempt=1, waited=0.2)] * 3, budget=100.0)
    assert value(metrics, "rhocast_batch_tasks_sum") == 3
    assert value(metrics, "rhocast_batch_fill_sum") == pytest.approx(0.9)
    assert value(metrics, "rhocast_task_wait_seconds_count") == 3
    assert value(metrics, "rhocast_task_wait_seconds_sum") == pytest.approx(0.6)


def test_only_what_was_taken_is_counted(metrics):
    tickets = [ticket(f"k{n}", f"m{n}", cost=10.0) for n in range(4)]
    claims = [Claim("claimed", attempt=2, waited=9.0), Claim("stale"), Claim("alone"), Claim("exhausted")]
    metrics.count_batch(tickets, claims, budget=100.0)
    assert value(metrics, "rhocast_batch_tasks_sum") == 1
    assert value(metrics, "rhocast_batch_fill_sum") == pytest.approx(0.1)
    assert value(metrics, "rhocast_task_wait_seconds_count") is None  # a second attempt has waited for another reason
    assert value(metrics, "rhocast_tasks_total", outcome="WorkerLost") == 1


def test_a_batch_of_which_nothing_is_left_is_none(metrics):
    metrics.count_batch([ticket("k", "m")], [Claim("stale")], budget=1.0)
    assert value(metrics, "rhocast_batch_tasks_count") is None


def test_metrics_are_served_on_a_port_of_their_own(metrics, settings):
    metrics.count_end("m", "succeeded")
    metrics.count_seconds("m", 1.5)
    metrics.count_split("m")
    port = free_port()
    chosen = settings.model_copy(update={"worker_metrics_port": port})
    with metrics.served(chosen):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            text = answer.read().decode()
        assert 'rhocast_tasks_total{model="m",outcome="succeeded"} 1.0' in text
        assert 'rhocast_model_seconds_total{model="m"} 1.5' in text
        assert 'rhocast_batch_splits_total{model="m"} 1.0' in text
        with WorkerMetrics().served(chosen):  # a port that is taken stops no worker
            pass
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics")


def test_without_a_port_nothing_is_served(metrics, settings):
    assert settings.worker_metrics_port == 0
    with metrics.served(settings):
        pass
