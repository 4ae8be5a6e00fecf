"""The ledger: what was asked, what is being computed, what was answered.

Every change of state is one Lua script (`jobs/lua`), so that no crash leaves half of one: a job, its tasks and their
messages appear together. Should a message be lost all the same, `reconcile` finds the task that waits for it.
"""

import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis

from jobs.records import (
    BatchItem,
    Failure,
    JobRecord,
    JobView,
    Standing,
    TaskInput,
    TaskOrder,
    TaskRecord,
    TaskStatus,
    no_job,
    timestamp,
)
from jobs.scripts import registered
from jobs.settings import Settings
from jobs.standings import standings
from jobs.transport import Ticket, Transport
from rhocast.errors import Conflict, IdempotencyConflict, JobCancelled, JobNotFinished
from rhocast.schemas import Priority, Progress


@dataclass(frozen=True)
class Claim:
    """What became of an attempt to take a task: claimed, alone, stale or exhausted. A task may need no input."""

    outcome: str
    input: TaskInput | None = None
    attempt: int = 0
    waited: float = 0.0  # seconds since it was asked for


@dataclass(frozen=True)
class End:
    """How a task ended: with a result or with a failure."""

    key: str
    seconds: float
    result: dict[str, Any] | None = None
    error: Failure | None = None


class Ledger:
    """Jobs and tasks in Redis.

    Args:
        client: Client of the store.
        settings: Namespace, lifetimes, limits.
    """

    def __init__(self, client: redis.Redis, settings: Settings) -> None:
        self.client = client
        self.settings = settings
        self.transport = Transport(client, settings)
        self._prefix = settings.namespace
        self._scripts = registered(client, "submit", "claim", "finish", "cancel", "progress", "requeue", "create_batch")

    @property
    def channel(self) -> str:
        """Channel of notices: the key of each task that starts, gets on or ends, the id of each cancelled job."""
        return f"{self._prefix}:notices"

    @property
    def _ttl(self) -> int:
        return int(self.settings.job_days * 86_400)

    def _task(self, key: str) -> str:
        return f"{self._prefix}:task:{key}"

    # --- the web's side ------------------------------------------------------------------------------------------

    def submit(
        self,
        record: JobRecord,
        orders: Sequence[TaskOrder],
        idempotency_key: str = "",
        body_hash: str = "",
        item: BatchItem | None = None,
    ) -> str:
        """Accepts a job and queues its new tasks; returns the job's id.

        Args:
            record: The job.
            orders: Its tasks.
            idempotency_key: The client's key, empty for none; a repeated request gets the first one's job.
            body_hash: Hash of the request, by which a repetition is told from another request.
            item: Item of a batch that the job is for; nothing happens if it has its job already, or was cancelled.

        Raises:
            IdempotencyConflict: If the key was used for another request.
        """
        tasks = [self._task_request(order, record.priority) for order in orders]
        request: dict[str, Any] = {
            "job": record.id,
            "record": record.model_dump_json(),
            "now": record.created_at.timestamp(),
            "ttl": self._ttl,
            "owner": record.owner,
            "request_id": record.request_id,
            "urgent": record.priority == Priority.INTERACTIVE,
            "queues": self.transport.namespace,
            "tasks": tasks,
        }
        if item is not None:
            request |= {"batch": item.batch, "index": item.index}
        return self.accepted("submit", request, idempotency_key, body_hash)

    def accepted(self, script: str, request: dict[str, Any], idempotency_key: str, body_hash: str) -> str:
        """Runs a script that accepts something; returns the id of that, or of what the same request gave before.

        Args:
            script: Its name.
            request: What it is given.
            idempotency_key: The client's key, empty for none.
            body_hash: Hash of the request, by which a repetition is told from another request.

        Raises:
            IdempotencyConflict: If the key was used for another request.
        """
        if idempotency_key:
            request |= {
                "idempotency_key": idempotency_key,
                "idempotency_body": body_hash,
                "idempotency_ttl": int(self.settings.idempotency_hours * 3600),
            }
        reply = json.loads(self._scripts[script](keys=[self._prefix], args=[json.dumps(request)]))
        if reply["outcome"] == "replayed" and reply["body"] != body_hash:
            raise IdempotencyConflict(
                f"found another request under the Idempotency-Key {idempotency_key!r} (its job is {reply['job']}); "
                "expected the same request again; use a new key for a new request"
            )
        return str(reply["job"])

    @staticmethod
    def _task_request(order: TaskOrder, priority: Priority) -> dict[str, str | float]:
        queue, message = Transport.queue_name(order.lane, priority), uuid.uuid4().hex
        return {
            "key": order.key,
            "model": order.model,
            "cost": order.cost,
            "queue": queue,
            "message": message,
            "envelope": Transport.envelope(message, order.key, order.cost, queue),
            "input": order.input.model_dump_json(),
        }

    def view(self, job_id: str) -> JobView:
        """A job and the present state of its tasks.

        Raises:
            JobNotFound: If there is no such job.
        """
        views = self.views([job_id])
        if not views:
            raise no_job(job_id)
        return views[0]

    def views(self, job_ids: Sequence[str]) -> list[JobView]:
        """Jobs with the state of their tasks, in the order asked for, without those that do not exist."""
        pipeline = self.client.pipeline(transaction=False)
        for job_id in job_ids:
            pipeline.hmget(f"{self._prefix}:job:{job_id}", "record", "cancelled", "cached")
        rows = [row for row in pipeline.execute() if row[0] is not None]
        records = [JobRecord.model_validate_json(row[0]) for row in rows]
        tasks = self.tasks(sorted({key for record in records for key in record.tasks.values()}))
        return [
            JobView(
                record=record,
                cancelled_at=timestamp(float(cancelled)) if cancelled is not None else None,
                was_cached=cached == b"1",
                tasks={model: tasks.get(key) for model, key in record.tasks.items()},
            )
            for record, (_, cancelled, cached) in zip(records, rows, strict=True)
        ]

    def tasks(self, keys: Sequence[str]) -> dict[str, TaskRecord]:
        """The tasks that exist, by key."""
        pipeline = self.client.pipeline(transaction=False)
        for key in keys:
            pipeline.hmget(
                self._task(key), "model", "status", "attempts", "progress", "seconds", "finished", "result", "error"
            )
        return {
            key: TaskRecord(
                key=key,
                model=model.decode(),
                status=TaskStatus(status.decode()),
                attempts=int(attempts or 0),
                progress=Progress.model_validate_json(progress) if progress else None,
                seconds=float(seconds) if seconds else None,
                finished_at=timestamp(float(finished)) if finished else None,
                result=json.loads(result) if result else None,
                error=Failure.model_validate_json(error) if error else None,
            )
            for key, (model, status, attempts, progress, seconds, finished, result, error) in zip(
                keys, pipeline.execute(), strict=True
            )
            if status is not None
        }

    def standings(self, job_ids: Sequence[str]) -> dict[str, Standing]:
        """How far jobs are, without those that do not exist: three round trips, however many jobs."""
        return standings(self.client, self._prefix, self.transport, job_ids)

    def page(self, limit: int, before: float | None = None, owner: str | None = None) -> list[JobView]:
        """Newest jobs first.

        Args:
            limit: Most jobs.
            before: Moment (seconds since 1970) before which they were created, if one is given.
            owner: Whose jobs; everybody's if None.
        """
        top = f"({before!r}" if before is not None else "+inf"
        index = f"{self._prefix}:jobs" if owner is None else f"{self._prefix}:jobs:{owner}"
        ids = self.client.zrevrangebyscore(index, top, "-inf", start=0, num=limit)
        return self.views([_text(job_id) for job_id in ids])  # type: ignore[union-attr]

    def cancel(self, job_id: str) -> None:
        """Cancels a job; a computation that nobody else waits for is not started.

        Raises:
            JobNotFound: If there is no such job.
            JobCancelled: If it was cancelled before.
            Conflict: If it has ended.
        """
        outcome = self._scripts["cancel"](keys=[self._prefix], args=[job_id, time.time()]).decode()
        if outcome == "gone":
            self.view(job_id)
        if outcome == "repeated":
            raise JobCancelled(
                f"found job {job_id!r} already cancelled; expected one that waits or runs; nothing is left to do"
            )
        if outcome == "finished":
            raise Conflict(
                f"found job {job_id!r} already ended; expected one that waits or runs; its results stay as they are"
            )

    def cancel_all(self, job_ids: Sequence[str]) -> None:
        """Cancels those of some jobs that have not ended, in one round trip."""
        pipeline = self.client.pipeline(transaction=False)
        for job_id in job_ids:
            self._scripts["cancel"](keys=[self._prefix], args=[job_id, time.time()], client=pipeline)
        pipeline.execute()

    def forget(self, key: str) -> None:
        """Drops a finished task, so that the next submission computes it again."""
        self.client.delete(self._task(key))

    def require_finished(self, view: JobView) -> None:
        """Raises JobNotFinished while a job waits or runs."""
        if not view.status.is_final:
            raise JobNotFinished(
                f"found job {view.record.id!r} {view.status}; expected it to have ended; ask again later"
            )

    # --- the worker's side ---------------------------------------------------------------------------------------

    def claim(self, tickets: Sequence[Ticket], worker: str, is_shared: bool) -> list[Claim]:
        """Takes tasks for a worker, in one round trip.

        Args:
            tickets: Messages in hand.
            worker: Name of the worker.
            is_shared: Whether they will run in one batch; a task that was in hand when a worker died is then not
                given out ("alone"), because it may be the one that kills.
        """
        lost = Failure(
            code="WorkerLost",
            detail=f"found that the worker died at each of {self.settings.max_deliveries} attempts at this structure; "
            "expected it to be computable; report it with the structure",
        ).model_dump_json()
        pipeline = self.client.pipeline(transaction=False)
        for ticket in tickets:
            self._scripts["claim"](
                keys=[self._task(ticket.key), f"{self._prefix}:open"],
                args=[
                    ticket.key,
                    ticket.message_id,
                    worker,
                    time.time(),
                    self.settings.max_deliveries,
                    int(is_shared),
                    lost,
                    self._ttl,
                    self.channel,
                ],
                client=pipeline,
            )
        return [
            Claim(
                reply[0].decode(),
                TaskInput.model_validate_json(reply[1]) if reply[1] else None,
                int(reply[2]),
                max(0.0, time.time() - float(reply[3])),
            )
            if reply[0] == b"claimed"
            else Claim(reply[0].decode())
            for reply in pipeline.execute()
        ]

    def progress(self, key: str, done: int, total: int, worker: str) -> None:
        """Tells who waits how far a task is; nothing happens if it is no longer in the worker's hands.

        Args:
            key: The task.
            done: Planes of its grid that are written, or steps that are made.
            total: All there are.
            worker: Name of the worker.
        """
        progress = Progress(done=done, total=total).model_dump_json()
        self._scripts["progress"](keys=[self._task(key)], args=[key, worker, progress, self.channel])

    def finish(self, ends: Sequence[End]) -> list[str | None]:
        """Records how tasks ended, in one round trip; returns the ids of the requests that asked for each.

        The first end of a task is the one that counts; None stands for one that came later.
        """
        pipeline = self.client.pipeline(transaction=False)
        for end in ends:
            status, name, value = (
                (TaskStatus.FAILED, "error", end.error.model_dump_json())
                if end.error is not None
                else (TaskStatus.SUCCEEDED, "result", json.dumps(end.result))
            )
            self._scripts["finish"](
                keys=[self._task(end.key), f"{self._prefix}:open"],
                args=[end.key, status, name, value, time.time(), end.seconds, self._ttl, self.channel],
                client=pipeline,
            )
        return [reply.decode().strip() if isinstance(reply, bytes) else None for reply in pipeline.execute()]

    # --- housekeeping --------------------------------------------------------------------------------------------

    def reconcile(self, older_than: float) -> int:
        """Sends a new message for each open task that lost its own; returns how many.

        Args:
            older_than: Age in seconds below which a task is left alone: its message may be on the way.
        """
        found = 0
        keys = self.client.zrangebyscore(f"{self._prefix}:open", "-inf", time.time() - older_than)
        for key in map(_text, keys):  # type: ignore[arg-type]
            row = self.client.hmget(self._task(key), "message", "queue")
            if row[0] is None:  # type: ignore[index]
                self.client.zrem(f"{self._prefix}:open", key)
            elif not self.transport.holds(*map(_text, row)):  # type: ignore[arg-type]
                found += self.resend(key)
        return found

    def resend(self, key: str, *, is_unharmed: bool = False) -> bool:
        """Gives an open task a new message in place of its own, which counts no more; returns whether it was open.

        Args:
            key: The task.
            is_unharmed: Whether the worker that has it hands it back and is well: that was no attempt to blame it for.
        """
        message, queue, cost = map(_text, self.client.hmget(self._task(key), "message", "queue", "cost"))  # type: ignore[arg-type]
        replacement = uuid.uuid4().hex
        envelope = self.transport.envelope(replacement, key, float(cost or 0), queue)
        arguments = [message, replacement, self.transport.namespace, queue, envelope, int(is_unharmed)]
        return bool(self._scripts["requeue"](keys=[self._task(key)], args=arguments))


def _text(value: bytes | str | None) -> str:
    """Text of a value in the store."""
    return value.decode() if isinstance(value, bytes) else value or ""
