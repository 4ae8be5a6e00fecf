"""The life of a worker process: warm up, advertise, work, drain."""

import os
import secrets
import socket
import time
from collections.abc import Callable, Sequence

import dramatiq
import numpy as np
import redis
import structlog

from jobs.artifacts import ArtifactStore
from jobs.connection import connect
from jobs.directory import HEARTBEAT_SECONDS, Directory
from jobs.ledger import Ledger
from jobs.settings import Settings
from jobs.termination import Termination
from models.interface import DensityModel, Potential
from rhocast.errors import RhocastError
from rhocast.model_info import Property
from rhocast.structure import Structure
from workers.batcher import Batcher, Budgets
from workers.engine import Engine
from workers.metrics import WorkerMetrics

_STORE_PATIENCE_SECONDS = 120
_PRUNE_EVERY_SECONDS = 3600.0
_TICK_SECONDS = 0.2
_IDLE_THREAD_SECONDS = 1.0
_FCC = np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])

log = structlog.get_logger()


class WorkerProcess:
    """Serves models from the queues.

    Args:
        settings: Settings with the address of the store.
        models: Loaded models.
    """

    def __init__(self, settings: Settings, models: Sequence[DensityModel | Potential]) -> None:
        self.name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._settings = settings
        self._models = {model.info.name: model for model in models}
        self._client = connect(settings.redis_url, patience=_STORE_PATIENCE_SECONDS)
        self._directory = Directory(self._client, settings)
        self._artifacts = ArtifactStore(settings.artifacts_folder, settings.min_free_bytes)
        self._ledger = Ledger(self._client, settings)
        budgets = Budgets(settings.batch_budget)
        self.metrics = WorkerMetrics()
        engine = Engine(self._models, self._ledger, self._artifacts, self.name, budgets, self.metrics)
        self._batcher = Batcher(engine.run, budgets, settings.batch_wait_milliseconds / 1000)
        self._ledger.transport.serve(list(self._models), self._batcher.handle)
        self._reader = dramatiq.Worker(
            self._ledger.transport.broker,
            queues=set(self._ledger.transport.queue_names(list(self._models))),
            worker_timeout=settings.poll_milliseconds,
            worker_threads=settings.worker_threads,
        )
        self._reader.queue_prefetch = settings.worker_threads
        self._chores = [
            _Chore(HEARTBEAT_SECONDS, self._advertise),
            _Chore(settings.reconcile_seconds, self._reconcile),
            _Chore(_PRUNE_EVERY_SECONDS, lambda: self._artifacts.prune(settings.job_days * 86_400)),
        ]

    def start(self) -> None:
        """Warms the models up, then takes work."""
        for model in self._models.values():
            warm_up(model)
        self._batcher.start()
        self._reader.start()
        for thread in self._reader.workers:
            # A new message wakes them whatever this is: only the threads that ask Redis must look often.
            thread.timeout = _IDLE_THREAD_SECONDS
        log.info("worker_ready", worker=self.name, models=list(self._models))

    def tick(self) -> None:
        """Does the chores that are due; to be called a few times a second."""
        for chore in self._chores:
            chore.run_if_due()

    def stop(self) -> None:
        """Takes no more work, finishes what is in hand, returns the rest to the queues."""
        log.info("worker_draining", worker=self.name)
        self._directory.withdraw(self.name)
        self._reader.stop(timeout=int(self._settings.drain_seconds * 1000))
        self._batcher.stop()
        self._client.close()
        log.info("worker_stopped", worker=self.name)

    def _advertise(self) -> None:
        self._directory.advertise(self.name, [model.info for model in self._models.values()])

    def _reconcile(self) -> None:
        """One worker at a time looks for tasks without a message."""
        lock = f"{self._settings.namespace}:reconciling"
        if self._client.set(lock, "1", nx=True, px=int(self._settings.reconcile_seconds * 900)):
            found = self._ledger.reconcile(older_than=2 * self._settings.reconcile_seconds)
            if found:
                log.warning("messages_restored", count=found)


def run(settings: Settings, models: Sequence[DensityModel | Potential]) -> None:
    """Serves models until SIGTERM or SIGINT, then drains.

    Args:
        settings: Settings with the address of the store.
        models: Loaded models.
    """
    termination = Termination()
    worker = WorkerProcess(settings, models)
    with worker.metrics.served(settings):
        worker.start()
        while not termination.wait(_TICK_SECONDS):
            worker.tick()
        worker.stop()


def warm_up(model: DensityModel | Potential) -> None:
    """Runs a model once, so that compilation and first allocations are over before it is advertised."""
    symbol = "Si" if "Si" in model.info.elements else model.info.elements[0]
    pair = Structure.from_symbols([symbol] * 2, [[0, 0, 0], [1.35, 1.35, 1.35]], 2.7 * _FCC)
    if isinstance(model, DensityModel):
        for field in model.fields([pair]):
            field.on_grid((16, 16, 16))
    else:
        model.predict([pair], frozenset(model.info.provides) & {Property.ENERGY, Property.FORCES, Property.STRESS})


class _Chore:
    """Something done now and then; what it raises is logged, and it is tried again at its next turn."""

    def __init__(self, every_seconds: float, do: Callable[[], object]) -> None:
        self._every_seconds = every_seconds
        self._do = do
        self._due = time.monotonic()

    def run_if_due(self) -> None:
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + self._every_seconds
        try:
            self._do()
        except (redis.RedisError, RhocastError, OSError) as error:
            log.warning("chore_failed", error=str(error))
