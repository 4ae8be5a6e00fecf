"""The life of a worker process: warm up, advertise, work, drain."""

import os
import secrets
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import dramatiq
import numpy as np
import redis
import structlog

from jobs.artifacts import artifact_store
from jobs.connection import connect
from jobs.directory import HEARTBEAT_SECONDS, Directory
from jobs.ledger import Ledger
from jobs.records import relaxation_lane
from jobs.settings import Settings
from jobs.termination import Termination
from jobs.transport import Ticket, Transport
from models.interface import DensityModel, Potential
from rhocast.errors import RhocastError
from rhocast.model_info import Property
from rhocast.schemas import Priority
from rhocast.structure import Structure
from workers.batcher import Batcher, Budgets
from workers.desk import Desk
from workers.engine import Engine
from workers.metrics import WorkerMetrics
from workers.relaxer import Relaxer
from workers.turns import Turns

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
        self._artifacts = artifact_store(settings)
        self._ledger = Ledger(self._client, settings)
        self.metrics = WorkerMetrics()
        turns = Turns()
        self._batcher = self._new_batcher(turns)
        self._relaxer = self._new_relaxer(turns)
        self._readers = self._new_readers()
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
        self._relaxer.start()
        for reader in self._readers:
            reader.start()
            for thread in reader.workers:
                # A new message wakes them whatever this is: only the threads that ask Redis must look often.
                thread.timeout = _IDLE_THREAD_SECONDS
        log.info("worker_ready", worker=self.name, models=list(self._models))

    def tick(self) -> None:
        """Does the chores that are due; to be called a few times a second."""
        for chore in self._chores:
            chore.run_if_due()

    def stop(self) -> None:
        """Takes no more work, finishes the predictions in hand, returns the rest to the queues, relaxations too."""
        log.info("worker_draining", worker=self.name)
        self._directory.withdraw(self.name)
        self._relaxer.stop()
        patience = int(self._settings.drain_seconds * 1000)
        with ThreadPoolExecutor(len(self._readers)) as together:
            list(together.map(lambda reader: reader.stop(timeout=patience), self._readers))
        self._batcher.stop()
        self._client.close()
        log.info("worker_stopped", worker=self.name)

    def _new_batcher(self, turns: Turns) -> Batcher:
        budgets = Budgets(self._settings.batch_budget)
        engine = Engine(self._models, self._ledger, self._artifacts, self.name, budgets, self.metrics)

        def run(tickets: Sequence[Ticket]) -> list[bool]:
            with turns:
                return engine.run(tickets)

        return Batcher(run, budgets, self._settings.batch_wait_milliseconds / 1000)

    def _new_relaxer(self, turns: Turns) -> Relaxer:
        desk = Desk(self._ledger, self._artifacts, self.name, self.metrics)
        return Relaxer(potentials(self._models), desk, Budgets(self._settings.batch_budget), turns)

    def _new_readers(self) -> list[dramatiq.Worker]:
        """One reader for predictions, and one for the relaxations of each priority, so that none waits for another's.

        A thread waits for the end of what it has read, and that of a relaxation is far.
        """
        models, lanes = list(self._models), [relaxation_lane(name) for name in potentials(self._models)]
        readers = [self._new_reader(self._ledger.transport, models, self._batcher.handle, tuple(Priority))]
        for priority in Priority if lanes else ():
            # Dramatiq has one reader for each of its brokers.
            transport = Transport(self._client, self._settings)
            readers.append(self._new_reader(transport, lanes, self._relaxer.handle, (priority,)))
        return readers

    def _new_reader(
        self, transport: Transport, lanes: Sequence[str], handle: Callable[[Ticket], bool], read: Sequence[Priority]
    ) -> dramatiq.Worker:
        transport.serve(lanes, handle)
        reader = dramatiq.Worker(
            transport.broker,
            queues={transport.queue_name(lane, priority) for lane in lanes for priority in read},
            worker_timeout=self._settings.poll_milliseconds,
            worker_threads=self._settings.worker_threads,
        )
        reader.queue_prefetch = self._settings.worker_threads
        return reader

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


def potentials(models: Mapping[str, DensityModel | Potential]) -> dict[str, Potential]:
    """Those of some models with which a structure can relax, by name."""
    return {
        name: model for name, model in models.items() if not isinstance(model, DensityModel) and model.info.can_relax
    }


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
