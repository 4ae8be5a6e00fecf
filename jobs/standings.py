"""How far many jobs are, read in a few round trips: what everybody who waits is told."""

import json
from collections.abc import Sequence

import redis

from jobs.records import Standing, TaskStatus, job_status
from jobs.transport import Transport
from rhocast.schemas import JobStatus, Progress


def standings(client: redis.Redis, prefix: str, transport: Transport, job_ids: Sequence[str]) -> dict[str, Standing]:
    """How far jobs are, without those that do not exist: three round trips, however many jobs.

    Args:
        client: Client of the store.
        prefix: Prefix of every key in it.
        transport: Queues in which their tasks wait.
        job_ids: The jobs.
    """
    pipeline = client.pipeline(transaction=False)
    for job_id in job_ids:
        pipeline.hmget(f"{prefix}:job:{job_id}", "tasks", "cancelled")
    rows = dict(zip(job_ids, pipeline.execute(), strict=True))
    jobs = {job_id: (json.loads(row[0]), row[1] is not None) for job_id, row in rows.items() if row[0] is not None}
    keys = sorted({key for keys, _ in jobs.values() for key in keys})
    for key in keys:
        pipeline.hmget(f"{prefix}:task:{key}", "status", "message", "queue", "progress")
    tasks = dict(zip(keys, pipeline.execute(), strict=True))
    status = {key: TaskStatus(_text(row[0])) if row[0] is not None else None for key, row in tasks.items()}
    waiting = [key for key in keys if status[key] == TaskStatus.QUEUED]
    places = transport.places([(_text(tasks[key][1]), _text(tasks[key][2])) for key in waiting])
    place = dict(zip(waiting, places, strict=True))
    found: dict[str, Standing] = {}
    for job_id, (keys, is_cancelled) in jobs.items():
        job = job_status([status[key] for key in keys], is_cancelled=is_cancelled)
        counted = [place[key] or 0 for key in keys if key in place] if job == JobStatus.QUEUED else []
        told = [tasks[key][3] for key in keys if tasks[key][3] is not None] if job == JobStatus.RUNNING else []
        progress = Progress.model_validate_json(told[0]) if told else None
        found[job_id] = Standing(status=job, position=max(counted, default=0) or None, progress=progress)
    return found


def _text(value: bytes | None) -> str:
    """Text of a value in the store."""
    return value.decode() if value is not None else ""
