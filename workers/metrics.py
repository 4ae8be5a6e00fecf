"""Numbers for Prometheus: what one worker has done. Each worker has a /metrics of its own, on a port of its own."""

import contextlib
from collections.abc import Generator, Sequence

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, start_http_server

from jobs.ledger import Claim
from jobs.settings import Settings
from jobs.transport import Ticket

_WAITED = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000)
_TASKS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_FILL = (0.01, 0.03, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)

log = structlog.get_logger()


class WorkerMetrics:
    """Counters of one worker process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        model = ["model"]
        self._tasks = Counter(
            "rhocast_tasks",
            "Tasks that ended, by outcome: succeeded, or the class of the error",
            ["model", "outcome"],
            registry=self.registry,
        )
        self._waited = Histogram(
            "rhocast_task_wait_seconds",
            "Time from a request to the first attempt at its task",
            model,
            buckets=_WAITED,
            registry=self.registry,
        )
        self._seconds = Counter(
            "rhocast_model_seconds", "Time in which a model computed and its results were stored", model,
            registry=self.registry,
        )  # fmt: skip
        self._sizes = Histogram(
            "rhocast_batch_tasks", "Tasks in a batch", model, buckets=_TASKS, registry=self.registry
        )
        self._fill = Histogram(
            "rhocast_batch_fill", "Cost of a batch, of its budget", model, buckets=_FILL, registry=self.registry
        )
        self._splits = Counter(
            "rhocast_batch_splits", "Batches that did not fit the memory of the device", model, registry=self.registry
        )

    def count_batch(self, tickets: Sequence[Ticket], claims: Sequence[Claim], budget: float) -> None:
        """Counts a batch that is about to run.

        Args:
            tickets: What is in it, all of one model.
            claims: What became of the attempts to take each.
            budget: Cost that one batch may have.
        """
        taken = [(ticket, claim) for ticket, claim in zip(tickets, claims, strict=True) if claim.outcome == "claimed"]
        for ticket, claim in taken:
            if claim.attempt == 1:
                self._waited.labels(ticket.model).observe(claim.waited)
        for ticket in [ticket for ticket, claim in zip(tickets, claims, strict=True) if claim.outcome == "exhausted"]:
            self.count_end(ticket.model, "WorkerLost")
        if taken:
            model = taken[0][0].model
            self._sizes.labels(model).observe(len(taken))
            self._fill.labels(model).observe(sum(ticket.cost for ticket, _ in taken) / budget)

    def count_end(self, model: str, outcome: str) -> None:
        """Counts the end of a task.

        Args:
            model: Name of the model.
            outcome: succeeded, or the class of the error.
        """
        self._tasks.labels(model, outcome).inc()

    def count_seconds(self, model: str, seconds: float) -> None:
        """Adds time for which a model was busy."""
        self._seconds.labels(model).inc(seconds)

    def count_split(self, model: str) -> None:
        """Counts a batch that ran out of memory."""
        self._splits.labels(model).inc()

    @contextlib.contextmanager
    def served(self, settings: Settings) -> Generator[None]:
        """Answers /metrics meanwhile, in a thread, if the settings give a port.

        Args:
            settings: Where.
        """
        if not settings.worker_metrics_port:
            yield
            return
        try:
            server, thread = start_http_server(
                settings.worker_metrics_port, settings.worker_metrics_host, self.registry
            )
        except OSError as error:  # a worker that cannot be watched is better than none
            log.warning("no_metrics", port=settings.worker_metrics_port, error=str(error))
            yield
            return
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
