"""The state of a job is read off its tasks."""

from datetime import UTC, datetime

import pytest

from jobs.records import Failure, JobView, TaskRecord, TaskStatus, timestamp
from rhocast.schemas import JobStatus
from tests.jobs.builders import job, order

Q, R, S, F = TaskStatus.QUEUED, TaskStatus.RUNNING, TaskStatus.SUCCEEDED, TaskStatus.FAILED
ENDED = datetime(2030, 1, 1, tzinfo=UTC)


def view(*statuses: TaskStatus | None, is_cancelled: bool = False) -> JobView:
    tasks: dict[str, TaskRecord | None] = {}
    for index, status in enumerate(statuses):
        error = Failure(code="X", detail="why") if status == F else None
        tasks[f"m{index}"] = (
            TaskRecord(key="k", model="m", status=status, error=error, finished_at=ENDED if status in (S, F) else None)
            if status
            else None
        )
    return JobView(
        record=job(order()), cancelled_at=timestamp(1e9) if is_cancelled else None, was_cached=False, tasks=tasks
    )


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ((Q, Q), "queued"),
        ((Q, S), "queued"),
        ((Q, R), "running"),
        ((R, S), "running"),
        ((S, S), "succeeded"),
        ((S, F), "failed"),
        ((R, F), "failed"),
        ((S, None), "expired"),
        ((F, None), "failed"),
    ],
)
def test_the_least_advanced_task_decides_unless_one_failed(statuses, expected: str) -> None:
    assert view(*statuses).status == expected
    assert view(*reversed(statuses)).status == expected


def test_a_cancelled_job_stays_cancelled_whatever_its_tasks_do() -> None:
    assert view(S, F, is_cancelled=True).status == JobStatus.CANCELLED
    assert view(S, is_cancelled=True).finished_at == timestamp(1e9)


def test_a_job_ends_when_its_last_task_does() -> None:
    assert view(S, S).finished_at == ENDED
    assert view(S, Q).finished_at is None


def test_the_failure_of_a_job_is_that_of_its_task() -> None:
    assert view(S, F).failure == Failure(code="X", detail="why")
    assert view(S, S).failure is None
