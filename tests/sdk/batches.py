"""Batches as the wire shows them."""

import json
from typing import Any


def batch_record(status: str = "succeeded", batch_id: str = "b1", **counts: int) -> dict[str, Any]:
    """A batch; what is not counted has succeeded."""
    total = counts.pop("total", 2)
    counts.setdefault("succeeded", total - sum(counts.values()))
    return {
        "id": batch_id,
        "status": status,
        "counts": {"total": total, **counts},
        "created_at": "2026-11-21T10:00:00Z",
        "expires_at": "2026-11-28T10:00:00Z",
    }


def output(*rows: dict[str, Any]) -> bytes:
    """The output of a batch."""
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def row(index: int, custom_id: str | None, job: dict[str, Any] | None, status: str = "succeeded") -> dict[str, Any]:
    """A line of the output; one without a job was refused."""
    error = None if job is not None and status == "succeeded" else refusal("found nonsense")
    return {"index": index, "custom_id": custom_id, "status": status, "job": job, "error": error}


def refusal(detail: str, code: str = "InvalidStructure") -> dict[str, Any]:
    return {"type": "about:blank", "title": "x", "status": 422, "code": code, "detail": detail}
