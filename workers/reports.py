"""What a worker tells of a task while it runs."""

import time

import redis
import structlog

from jobs.ledger import Ledger

_EVERY_SECONDS = 0.5

log = structlog.get_logger()


class ProgressReport:
    """Tells how far a task is: at once, then about twice a second however often it is called.

    A store that does not answer costs the report, not the task.

    Args:
        ledger: Where it is told.
        key: The task.
        worker: Name of the worker that has it.
    """

    def __init__(self, ledger: Ledger, key: str, worker: str) -> None:
        self._ledger = ledger
        self._key = key
        self._worker = worker
        self._due = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        """Tells it, if the last report is long enough ago.

        Args:
            done: Planes of its grid that are written, or steps that are made.
            total: All there are.
        """
        if time.monotonic() < self._due:
            return
        try:
            self._ledger.progress(self._key, done, total, self._worker)
        except redis.RedisError as error:
            log.warning("progress_untold", task=self._key, error=str(error))
        self._due = time.monotonic() + _EVERY_SECONDS
