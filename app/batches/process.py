"""The life of a process that expands batches: read messages, expand, hand back what is not done."""

import os
import secrets
import socket
import time

import dramatiq
import redis
import structlog

from app.batches.expansion import Expander
from app.factory import services_of
from app.metrics import WebMetrics
from jobs.batches import QUEUE, SOURCE
from jobs.connection import connect
from jobs.directory import HEARTBEAT_SECONDS
from jobs.settings import Settings
from jobs.termination import Termination

_STORE_PATIENCE_SECONDS = 120
_THREADS = 32  # batches in hand at once: some wait for room in a queue, or for the limits of their API keys
_STOP_MILLISECONDS = 20_000

log = structlog.get_logger()


class ExpanderProcess:
    """Expands batches.

    Args:
        settings: Settings with the address of the store.
    """

    def __init__(self, settings: Settings) -> None:
        self.name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._client = connect(settings.redis_url, patience=_STORE_PATIENCE_SECONDS)
        self._services = services_of(settings, self._client, WebMetrics())
        self._expander = Expander(self._services, self.name)
        transport = self._services.ledger.transport
        transport.serve([SOURCE], self._expander.handle)
        self._reader = dramatiq.Worker(transport.broker, queues={QUEUE}, worker_threads=_THREADS)
        self._reader.queue_prefetch = _THREADS
        self._next_heartbeat = time.monotonic()

    def start(self) -> None:
        self._reader.start()
        log.info("expander_ready")

    def tick(self) -> None:
        """Says that this process lives, when that is due; to be called about once a second."""
        if time.monotonic() < self._next_heartbeat:
            return
        self._next_heartbeat = time.monotonic() + HEARTBEAT_SECONDS
        try:
            self._services.directory.advertise_expander(self.name)
        except redis.RedisError as error:
            log.warning("heartbeat_failed", error=str(error))

    def stop(self) -> None:
        """Takes no more batches and hands those in hand back to the queue."""
        self._services.directory.withdraw_expander(self.name)
        self._expander.stop()
        self._reader.stop(timeout=_STOP_MILLISECONDS)
        self._services.close()
        self._client.close()
        log.info("expander_stopped")


def run(settings: Settings) -> None:
    """Expands batches until SIGTERM or SIGINT.

    Args:
        settings: Settings with the address of the store.
    """
    termination = Termination()
    process = ExpanderProcess(settings)
    process.start()
    process.tick()
    while not termination.wait(1.0):
        process.tick()
    process.stop()
