"""Relaxations through real processes: they are told of, they stop nobody, and no death of a worker loses one."""

import signal
import time
from typing import Any

import pytest

from rhocast import Client
from tests.end_to_end.processes import Stack, hydrogen, wait_until

pytestmark = [pytest.mark.processes, pytest.mark.timeout(300)]

STEPS = 12


def submitted(stack: Stack, n: int) -> list[str]:
    """Relaxations that never converge: the forces of the slow model push atoms away from the origin."""
    return [_submitted(stack, {**hydrogen(index + 1)}) for index in range(n)]


def _submitted(stack: Stack, structure: dict[str, Any]) -> str:
    body = {"structure": structure, "model": ["slow"], "relax_cell": False, "steps": STEPS, "fmax": 1e-6}
    reply = stack.client.post("/v1/relaxations", json=body)
    assert reply.status_code == 202, reply.text
    return reply.json()["id"]


def are_done(stack: Stack, ids: list[str]) -> bool:
    return {job["status"] for job in stack.jobs(ids)} == {"succeeded"}


def begun(stack: Stack, ids: list[str]) -> bool:
    return all((job["progress"] or {"done": 0})["done"] > 1 for job in stack.jobs(ids))


def test_a_relaxation_tells_how_far_it_is_and_predictions_go_before_its_end(make_stack) -> None:
    stack = make_stack(SLOW_SECONDS="0.3")
    (job_id,) = submitted(stack, 1)
    wait_until(lambda: begun(stack, [job_id]), 20, "it has begun")
    body = {"structure": hydrogen(50), "want": ["energy"], "model": ["slow"]}
    reply = stack.client.post("/v1/predictions", json=body, headers={"Prefer": "wait=10"})
    assert reply.json()["status"] == "succeeded"
    assert stack.jobs([job_id])[0]["status"] == "running"
    with Client(f"http://127.0.0.1:{stack.port}", progress=False) as client:
        told = [state.progress for state in client.job(job_id).events() if state.progress is not None]
        result = client.job(job_id).wait()
    assert {one.total for one in told} == {STEPS}
    assert [one.done for one in told] == sorted({one.done for one in told})
    assert len(told) > 3
    assert result.relaxation.n_steps == STEPS
    assert not result.relaxation.is_converged
    assert (result.relaxed.positions != result.structure.positions).any()


def test_a_worker_killed_in_the_middle_of_relaxations_loses_none(make_stack) -> None:
    stack = make_stack(SLOW_SECONDS="0.3")
    ids = submitted(stack, 5)
    wait_until(lambda: begun(stack, ids), 20, "all have begun")
    stack.kill(stack.worker)
    stack.worker.keep_alive()
    time.sleep(1)
    stack.worker.keep_alive()
    wait_until(lambda: are_done(stack, ids), 120, "all are done")
    assert [task[b"attempts"] for task in stack.tasks()] == [b"2"] * 5
    assert [task[b"completions"] for task in stack.tasks()] == [b"1"] * 5
    assert {job["result"]["relaxation"]["n_steps"] for job in stack.jobs(ids)} == {STEPS}


def test_a_worker_told_to_stop_gives_its_relaxations_to_the_next_at_once(make_stack) -> None:
    stack = make_stack(SLOW_SECONDS="0.3")
    ids = submitted(stack, 5)
    wait_until(lambda: begun(stack, ids), 20, "all have begun")
    assert stack.worker.process is not None
    stack.worker.process.send_signal(signal.SIGTERM)
    assert stack.worker.process.wait(STEPS * 0.3) == 0
    assert {job["status"] for job in stack.jobs(ids)} == {"queued"}
    stack.worker.keep_alive()
    time.sleep(1.1)
    stack.worker.keep_alive()
    wait_until(lambda: are_done(stack, ids), 60, "all are done")
    assert [task[b"attempts"] for task in stack.tasks()] == [b"1"] * 5
