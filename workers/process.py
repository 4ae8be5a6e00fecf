"""The life of a worker process: warm up, advertise, work, drain."""

import os
import signal
import socket
import threading
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
from models.interface import DensityModel, Potential
from rhocast.errors import RhocastError
from rhocast.model_info import Property
from rhocast.structure import Structure
from workers.batcher import Batcher, Budgets
from workers.engine import Engine

_STORE_PATIENCE_SECONDS = 120
_PRUNE_EVERY_SECONDS = 3600.0
_FCC = np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])

log = structlog.get_logger()


def run(settings: Settings, models: Sequence[DensityModel | Potential]) -> None:
    """Serves models until SIGTERM or SIGINT, then finishes what is in hand.

    Args:
        settings: Settings with the address of the store.
        models: Loaded models.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    name = f"{socket.gethostname()}-{os.getpid()}"
    client = connect(settings.redis_url, patience=_STORE_PATIENCE_SECONDS)
    ledger = Ledger(client, settings)
    artifacts = ArtifactStore(settings.artifacts_folder, settings.min_free_bytes)
    by_name = {model.info.name: model for model in models}

    budgets = Budgets(settings.batch_budget)
    engine = Engine(by_name, ledger, artifacts, name, budgets)
    batcher = Batcher(engine.run, budgets, settings.batch_wait_milliseconds / 1000)
    ledger.transport.serve(list(by_name), batcher.handle)
    worker = dramatiq.Worker(
        ledger.transport.broker,
        queues=set(ledger.transport.queue_names(list(by_name))),
        worker_timeout=settings.poll_milliseconds,
        worker_threads=settings.worker_threads,
    )
    worker.queue_prefetch = settings.worker_threads
    for model in models:
        warm_up(model)
    batcher.start()
    worker.start()

    directory = Directory(client, settings)
    chores = [
        _Chore(HEARTBEAT_SECONDS, lambda: directory.advertise(name, [model.info for model in models])),
        _Chore(settings.reconcile_seconds, lambda: _reconcile(ledger, client, settings)),
        _Chore(_PRUNE_EVERY_SECONDS, lambda: artifacts.prune(settings.job_days * 86_400)),
    ]
    log.info("worker_ready", worker=name, models=list(by_name))
    while not stop.wait(timeout=0.2):
        for chore in chores:
            chore.run_if_due()
    log.info("worker_draining", worker=name)
    directory.withdraw(name)
    worker.stop(timeout=int(settings.drain_seconds * 1000))
    batcher.stop()
    log.info("worker_stopped", worker=name)


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


def _reconcile(ledger: Ledger, client: redis.Redis, settings: Settings) -> None:
    """One worker at a time looks for tasks without a message."""
    if client.set(f"{settings.namespace}:reconciling", "1", nx=True, px=int(settings.reconcile_seconds * 900)):
        found = ledger.reconcile(older_than=2 * settings.reconcile_seconds)
        if found:
            log.warning("messages_restored", count=found)
