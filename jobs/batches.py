"""Batches: many requests that were sent at once.

What was sent lies in the artifact folder. Taking it apart is a task of its own, with a message, a lease and a number
of attempts like any other; each item that can be answered becomes an ordinary job, whose id follows from the item.
Of each item the store keeps one character, so that a batch of 50,000 is counted by reading 50 kB:

    .  waits to be looked at     q  queued      s  succeeded     c  cancelled
    i  refused (invalid)         r  running     f  failed or expired
"""

import time
import uuid
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import Field

from jobs.ledger import Ledger
from jobs.records import BatchItem, Failure, Row, TaskRecord, TaskStatus, timestamp
from jobs.scripts import registered
from jobs.transport import Transport
from rhocast.batch_schemas import BatchCounts, BatchStatus
from rhocast.errors import BatchNotFound, Conflict
from rhocast.schemas import Priority, Problem

SOURCE = "batches"
"""Stands where a task names its model: the queue of expansions is named by it."""

QUEUE = Transport.queue_name(SOURCE, Priority.BULK)

_OPEN = "qr"
_CHUNK = 1000  # items that one script looks at: a few milliseconds in which the store does nothing else


class BatchRecord(Row):
    """A batch as the store holds it.

    Attributes:
        id: Public name.
        created_at: When it was accepted.
        n_items: How many items it has.
        settings: What is asked of every item (`BatchSettings` as JSON).
        warnings: What the user should know of the upload.
        owner: Name of the API key that asked for it; empty where the service is open.
        key: Digest of that key, whose account pays for the items.
        request_id: Id of the request that asked for it, as the logs have it.
    """

    id: str
    created_at: datetime
    n_items: int
    settings: dict[str, Any] = Field(default={})
    warnings: list[str] = Field(default=[])
    owner: str = ""
    key: str = ""
    request_id: str = ""


class BatchView(Row):
    """A batch with the present state of its items, one character each (`jobs.batches`).

    Attributes:
        record: The batch.
        states: States of its items, in their order.
        expansion: The task that takes it apart; None once that has expired.
        cancelled_at: When it was cancelled.
        latest: When the last of those that have ended did.
    """

    record: BatchRecord
    states: str
    expansion: TaskRecord | None
    cancelled_at: datetime | None = None
    latest: datetime | None = None

    @property
    def status(self) -> BatchStatus:
        if self.cancelled_at is not None:
            return BatchStatus.CANCELLED
        if self.failure is not None:
            return BatchStatus.FAILED
        if "." in self.states or (self.expansion is not None and self.expansion.status != TaskStatus.SUCCEEDED):
            return BatchStatus.VALIDATING
        return BatchStatus.RUNNING if set(_OPEN) & set(self.states) else BatchStatus.SUCCEEDED

    @property
    def counts(self) -> BatchCounts:
        found = Counter(self.states)
        return BatchCounts(
            total=len(self.states),
            queued=found["."] + found["q"],
            running=found["r"],
            succeeded=found["s"],
            failed=found["f"],
            cancelled=found["c"],
            invalid=found["i"],
        )

    @property
    def finished_at(self) -> datetime | None:
        if self.cancelled_at is not None or not self.status.is_final:
            return self.cancelled_at
        expanded_at = self.expansion.finished_at if self.expansion is not None else None
        return max(moment for moment in (self.record.created_at, self.latest, expanded_at) if moment is not None)

    @property
    def failure(self) -> Failure | None:
        return self.expansion.error if self.expansion is not None else None


class Batches:
    """Batches in the store.

    Args:
        ledger: Where their jobs and the tasks of their expansion are.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._client = ledger.client
        self._prefix = ledger.settings.namespace
        self._ttl = int(ledger.settings.job_days * 86_400)
        self._scripts = registered(self._client, "settle_batch", "refuse_item", "cancel_batch")

    def _key(self, batch_id: str) -> str:
        return f"{self._prefix}:batch:{batch_id}"

    def create(self, record: BatchRecord, idempotency_key: str = "", body_hash: str = "") -> str:
        """Accepts a batch and queues its expansion; returns its id, or that of the same batch sent before.

        Args:
            record: The batch.
            idempotency_key: The client's key, empty for none.
            body_hash: Hash of what was sent.

        Raises:
            IdempotencyConflict: If the key was used for something else.
        """
        message = uuid.uuid4().hex
        request: dict[str, Any] = {
            "id": record.id,
            "record": record.model_dump_json(),
            "n_items": record.n_items,
            "now": record.created_at.timestamp(),
            "ttl": self._ttl,
            "owner": record.owner,
            "model": SOURCE,
            "queue": QUEUE,
            "queues": self._ledger.transport.namespace,
            "message": message,
            "envelope": Transport.envelope(message, record.id, 0.0, QUEUE),
        }
        return self._ledger.accepted("create_batch", request, idempotency_key, body_hash)

    def view(self, batch_id: str) -> BatchView:
        """A batch, its states brought up to date with its jobs.

        Raises:
            BatchNotFound: If there is no such batch.
        """
        found = self._found(batch_id)
        if found is None:
            raise no_batch(batch_id)
        return found

    def _found(self, batch_id: str) -> BatchView | None:
        self._settle(batch_id)
        pipeline = self._client.pipeline(transaction=False)
        pipeline.hmget(self._key(batch_id), "record", "cancelled", "finished")
        pipeline.get(f"{self._key(batch_id)}:states")
        (record, cancelled, finished), states = pipeline.execute()
        if record is None or states is None:
            return None
        return BatchView(
            record=BatchRecord.model_validate_json(record),
            states=states.decode(),
            expansion=self._ledger.tasks([batch_id]).get(batch_id),
            cancelled_at=timestamp(float(cancelled)) if cancelled else None,
            latest=timestamp(float(finished)) if finished else None,
        )

    def _settle(self, batch_id: str) -> None:
        states = self.states(batch_id)
        pipeline = self._client.pipeline(transaction=False)
        for first in range(0, len(states), _CHUNK):
            if set(_OPEN) & set(states[first : first + _CHUNK]):
                arguments = [batch_id, first, first + _CHUNK - 1]
                self._scripts["settle_batch"](keys=[self._prefix], args=arguments, client=pipeline)
        pipeline.execute()

    def states(self, batch_id: str, first: int = 0, last: int = -1) -> str:
        """States of some items as they were last seen, the last one included; empty if there are none."""
        found = self._client.getrange(f"{self._key(batch_id)}:states", first, last)
        return found.decode()  # type: ignore[union-attr]

    def page(self, limit: int, before: float | None = None, owner: str | None = None) -> list[BatchView]:
        """Newest batches first.

        Args:
            limit: Most batches.
            before: Moment (seconds since 1970) before which they were created, if one is given.
            owner: Whose batches; everybody's if None.
        """
        top = f"({before!r}" if before is not None else "+inf"
        index = f"{self._prefix}:batches" if owner is None else f"{self._prefix}:batches:{owner}"
        ids = self._client.zrevrangebyscore(index, top, "-inf", start=0, num=limit)
        found = [self._found(batch_id.decode()) for batch_id in ids]  # type: ignore[union-attr]
        return [view for view in found if view is not None]

    def refuse(self, item: BatchItem, problem: Problem) -> None:
        """Records that an item gets no job, and why; one that has a job or was cancelled stays as it is."""
        error = problem.model_dump_json(exclude_none=True)
        self._scripts["refuse_item"](keys=[self._key(item.batch)], args=[item.index, error, self._ttl])

    def refusals(self, batch_id: str, indices: Sequence[int]) -> dict[int, Problem]:
        """Why items were refused, by their place."""
        if not indices:
            return {}
        rows = self._client.hmget(f"{self._key(batch_id)}:errors", list(map(str, indices)))
        return {
            index: Problem.model_validate_json(row)
            for index, row in zip(indices, rows, strict=True)  # type: ignore[arg-type]
            if row is not None
        }

    def cancel(self, batch_id: str) -> None:
        """Cancels what of a batch has not ended. Should this die in the middle, another call does the rest.

        Raises:
            BatchNotFound: If there is no such batch.
            Conflict: If every item has ended, or was cancelled before.
        """
        self._settle(batch_id)
        outcome = self._scripts["cancel_batch"](keys=[self._key(batch_id)], args=[time.time()]).decode()
        if outcome != "cancelled":
            status = self.view(batch_id).status
            raise Conflict(
                f"found batch {batch_id!r} already {status}; expected one that waits or runs; its results stay"
            )
        states = self.states(batch_id)
        waiting = [BatchItem(batch=batch_id, index=k).job_id for k, state in enumerate(states) if state in _OPEN]
        for first in range(0, len(waiting), _CHUNK):
            self._ledger.cancel_all(waiting[first : first + _CHUNK])
        self._settle(batch_id)


def no_batch(batch_id: str) -> BatchNotFound:
    """What is answered for a batch that does not exist, and for one of somebody else: nobody can tell which it is."""
    return BatchNotFound(f"found no batch {batch_id!r}; expected one of yours that is still kept; see /v1/batches")
