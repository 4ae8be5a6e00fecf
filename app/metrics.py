"""Numbers for Prometheus: what this process has answered, and how the queues and the store stand.

Each process exports its own counters; a worker has a /metrics of its own (`workers.metrics`). What is read off the
store (queues, live workers) is the same from every web process: take one of them, do not add them up. No label can
take more values than there are routes, models and classes of errors.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import redis
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from jobs.artifacts import ArtifactStore
from jobs.directory import Directory
from jobs.records import relaxation_lane
from jobs.transport import Transport
from rhocast.schemas import Priority

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_FOLDER_SECONDS = 60.0  # a folder of a million files takes seconds to add up


@dataclass(frozen=True)
class Exchange:
    """A request that was answered.

    Attributes:
        method: HTTP method, as it was sent.
        route: Template of the path; empty if no route has it.
        status: HTTP status.
        problem: Class of the error; empty for none.
        seconds: Time until the answer was sent.
    """

    method: str
    route: str
    status: int
    problem: str
    seconds: float


class WebMetrics:
    """Counters of one web process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "rhocast_http_requests", "Requests answered", ["method", "route", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "rhocast_http_request_seconds",
            "Time from a request to the end of its answer",
            ["method", "route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._problems = Counter(
            "rhocast_http_problems", "Requests answered by an error, by its class", ["code"], registry=self.registry
        )
        self._tasks = Counter(
            "rhocast_cache_lookups",
            "Tasks that were asked for: hit (was computed before), join (waits or runs), miss (new)",
            ["model", "outcome"],
            registry=self.registry,
        )

    def count(self, exchange: Exchange) -> None:
        """Counts a request."""
        method = exchange.method if exchange.method in _METHODS else "other"
        route = exchange.route or "none"
        self._requests.labels(method, route, str(exchange.status)).inc()
        self._seconds.labels(method, route).observe(exchange.seconds)
        if exchange.problem:
            self._problems.labels(exchange.problem).inc()

    def count_task(self, model: str, outcome: str) -> None:
        """Counts a task that was asked for.

        Args:
            model: Name of its model.
            outcome: hit, join or miss.
        """
        self._tasks.labels(model, outcome).inc()


class StoreMetrics(Collector):
    """How queues, workers and artifacts stand, looked up when it is asked for.

    Args:
        directory: Models and live workers.
        transport: Queues.
        artifacts: Folder of results.
    """

    def __init__(self, directory: Directory, transport: Transport, artifacts: ArtifactStore) -> None:
        self._directory = directory
        self._transport = transport
        self._artifacts = artifacts
        self._n_bytes = 0
        self._counted_at = float("-inf")

    def collect(self) -> Iterator[Metric]:
        """The gauges of this moment; of a store that does not answer, that alone."""
        try:
            found = [*self._workers(), *self._queues()]
        except redis.RedisError:
            found = []
        up = GaugeMetricFamily("rhocast_store_up", "1 if the job store answers", value=float(bool(found)))
        yield up
        yield from found
        yield GaugeMetricFamily("rhocast_artifact_bytes", "Size of all results kept", value=self._folder_bytes())
        yield GaugeMetricFamily(
            "rhocast_artifact_free_bytes", "Free disk where results are kept", value=self._artifacts.free_bytes()
        )

    def _workers(self) -> Iterator[Metric]:
        workers = GaugeMetricFamily("rhocast_workers", "Live workers that serve a model", labels=["model"])
        for name, entry in self._directory.entries().items():
            workers.add_metric([name], entry.n_workers)
        yield workers
        n_expanders = self._directory.n_expanders()
        yield GaugeMetricFamily("rhocast_expanders", "Live processes that make jobs of batches", value=n_expanders)

    def _queues(self) -> Iterator[Metric]:
        labels = ["model", "priority"]
        waiting = GaugeMetricFamily("rhocast_queue_waiting", "Tasks that wait for a worker", labels=labels)
        in_hand = GaugeMetricFamily("rhocast_queue_in_hand", "Tasks that a worker holds", labels=labels)
        oldest = GaugeMetricFamily("rhocast_queue_oldest_seconds", "Age of the task that waits longest", labels=labels)
        dead = GaugeMetricFamily("rhocast_queue_dead_letters", "Messages that were given up", labels=labels)
        infos = [entry.info for entry in self._directory.entries().values()]
        lanes = [info.name for info in infos] + [relaxation_lane(info.name) for info in infos if info.can_relax]
        for lane in lanes:
            for priority in Priority:
                queue = Transport.queue_name(lane, priority)
                state = self._transport.state(queue)
                names = [lane, str(priority)]
                waiting.add_metric(names, state.n_waiting)
                in_hand.add_metric(names, state.n_in_hand)
                oldest.add_metric(names, state.oldest_seconds)
                dead.add_metric(names, self._transport.dead_letters(queue))
        yield from (waiting, in_hand, oldest, dead)

    def _folder_bytes(self) -> int:
        if time.monotonic() - self._counted_at > _FOLDER_SECONDS:
            self._n_bytes, self._counted_at = self._artifacts.n_bytes(), time.monotonic()
        return self._n_bytes
