"""What is acknowledged is done once, whoever dies meanwhile. Real uvicorn, worker and Valkey; lease 5 s."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.end_to_end.processes import LEASE_SECONDS, Stack, hydrogen, start_again, wait_until

pytestmark = [pytest.mark.processes, pytest.mark.timeout(300)]

N_JOBS = 400


def assert_each_done_once(stack: Stack, ids: list[str]) -> None:
    jobs = stack.jobs(ids)
    assert {job["status"] for job in jobs} == {"succeeded"}
    assert {job["result"]["potential"]["energy"] for job in jobs} == {1.0}
    assert [task[b"completions"] for task in stack.tasks()] == [b"1"] * len(ids)
    assert stack.redis.zcard("e2e:open") == 0


def test_a_worker_killed_with_64_jobs_running_loses_none_and_repeats_none(make_stack) -> None:
    stack = make_stack(SLOW_SECONDS="0.5")
    # All wait before the first runs: three seconds' work is left then, however slow this machine is.
    stack.kill(stack.worker)
    ids = stack.submit([hydrogen(index) for index in range(N_JOBS)])
    start_again(stack.worker)
    wait_until(lambda: stack.n_with("running") == 64, 30, "64 jobs run")
    stack.kill(stack.worker)
    start_again(stack.worker)
    wait_until(lambda: stack.n_with("succeeded") == N_JOBS, 200, "all are done")
    assert_each_done_once(stack, ids)
    assert max(int(task[b"attempts"]) for task in stack.tasks()) == 2


def test_a_killed_valkey_comes_back_with_everything_it_acknowledged(make_stack) -> None:
    stack = make_stack(SLOW_SECONDS="0.5")
    ids = stack.submit([hydrogen(index) for index in range(N_JOBS)])
    wait_until(lambda: stack.n_with("running") > 0, 30, "some run")
    os.kill(stack.store.pid, signal.SIGKILL)
    os.waitid(os.P_PID, stack.store.pid, os.WEXITED | os.WNOWAIT)
    reply = stack.client.post("/v1/energy", json={"structure": hydrogen(9999), "model": ["slow"]})
    assert reply.status_code == 503
    assert reply.json()["code"] == "ServiceUnavailable"
    assert int(reply.headers["Retry-After"]) > 0
    time.sleep(1)
    stack.store.keep_alive()
    wait_until(stack.is_ready, 60, "the stack is ready again")
    wait_until(lambda: stack.n_with("succeeded") == N_JOBS, 120, "all are done")
    assert_each_done_once(stack, ids)


def test_a_job_that_kills_its_worker_is_given_up_after_three_deliveries_and_takes_nobody_with_it(make_stack) -> None:
    stack = make_stack(SLOW_SECONDS="0.2", RHOCAST_LEASE_SECONDS="2")
    neighbours = stack.submit([hydrogen(index) for index in range(20)])
    poison = stack.submit([hydrogen(0, n_helium=3)])
    neighbours += stack.submit([hydrogen(index) for index in range(20, 60)])
    deadline = time.monotonic() + 200
    while stack.jobs(poison)[0]["status"] != "failed":
        assert time.monotonic() < deadline, stack.jobs(poison)
        stack.worker.keep_alive()
        time.sleep(0.1)
    job = stack.jobs(poison)[0]
    assert job["error"]["code"] == "WorkerLost"
    assert "died at each of 3 attempts" in job["error"]["detail"]
    wait_until(lambda: stack.n_with("succeeded") == 60, 60, "the neighbours are done")
    assert {job["status"] for job in stack.jobs(neighbours)} == {"succeeded"}
    attempts = {task[b"status"]: int(task[b"attempts"]) for task in stack.tasks()}
    assert attempts[b"failed"] == 3
    wait_until(lambda: stack.redis.zcard("e2e:queue:slow.interactive.XQ") == 1, 10, "its message is dead-lettered")


def test_a_hundred_identical_requests_are_one_computation(make_stack) -> None:
    stack = make_stack(SLOW_SECONDS="0.5")
    ids = stack.submit([hydrogen(1)] * 100)
    wait_until(lambda: all(job["status"] == "succeeded" for job in stack.jobs(ids[-1:])), 30, "it is done")
    assert len(set(ids)) == 100
    assert {job["result"]["potential"]["energy"] for job in stack.jobs(ids)} == {1.0}
    (task,) = stack.tasks()
    assert (task[b"attempts"], task[b"completions"]) == (b"1", b"1")
    assert stack.jobs(stack.submit([hydrogen(1)]))[0]["was_cached"]


def test_a_worker_told_to_stop_finishes_what_it_holds_and_leaves_the_rest(make_stack) -> None:
    stack = make_stack(SLOW_SECONDS="1.0", RHOCAST_WORKER_THREADS="4")
    stack.submit([hydrogen(index) for index in range(12)])
    wait_until(lambda: stack.n_with("running") == 4, 30, "four run")
    assert stack.worker.process is not None
    stack.worker.process.send_signal(signal.SIGTERM)
    assert stack.worker.process.wait(20) == 0
    assert stack.n_with("running") == 0
    assert stack.n_with("queued") > 0
    assert stack.client.get("/readyz").status_code == 503
    stack.worker.keep_alive()
    time.sleep(1.1)
    stack.worker.keep_alive()
    wait_until(lambda: stack.n_with("succeeded") == 12, LEASE_SECONDS + 30, "the next worker does the rest")


def test_a_web_server_killed_in_the_middle_of_a_posted_request_gives_the_same_job_again(make_stack) -> None:
    stack = make_stack(SLOW_SECONDS="0.05")
    headers = {"Idempotency-Key": "once"}
    body = {"structure": hydrogen(1), "want": ["energy"], "model": ["slow"]}
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(stack.client.post, "/v1/predictions", json=body, headers=headers)
        job_id = first.result().json()["id"]
    stack.kill(stack.web)
    stack.web.keep_alive()
    time.sleep(1)
    stack.web.keep_alive()
    wait_until(stack.is_ready, 60, "the web is back")
    again = stack.client.post("/v1/predictions", json=body, headers=headers | {"Prefer": "wait=10"})
    assert again.json()["id"] == job_id
    assert again.json()["status"] == "succeeded"
