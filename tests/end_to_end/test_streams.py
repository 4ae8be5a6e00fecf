"""Streams and many requests over a web server that is killed, restarted or told to stop. Real processes."""

import asyncio
import threading
import time
from typing import Any

import httpx2
import pytest

from rhocast import AsyncClient, Client, Structure
from rhocast.retrying import RetryPolicy
from tests.end_to_end.processes import Stack, hydrogen, start_again, wait_until

PATIENT = RetryPolicy(attempts=60, longest_pause=1.0)

pytestmark = [pytest.mark.processes, pytest.mark.timeout(300)]


def url(stack: Stack) -> str:
    return f"http://127.0.0.1:{stack.port}"


def structure(index: int) -> Structure:
    plain = hydrogen(index)
    return Structure.from_symbols(plain["symbols"], plain["positions"], plain["cell"])


class Listening(threading.Thread):
    """Follows a job and notes what it is told."""

    def __init__(self, stack: Stack, job_id: str) -> None:
        super().__init__()
        self._url, self._job_id = url(stack), job_id
        self.states: list[Any] = []
        self.energy: float | None = None

    def run(self) -> None:
        with Client(self._url, progress=False, retries=PATIENT) as client:
            job = client.job(self._job_id)
            for state in job.events(timeout=120):
                self.states.append(state)
            self.energy = job.result().energy


def test_a_density_of_many_planes_says_how_far_it_is(make_stack) -> None:
    stack = make_stack(SLOW_SECONDS="0.6")
    with Client(url(stack), progress=False) as client:
        job = client.submit(structure(1), "density", "uniform", shape=(300, 4, 4))
        states = list(job.events(timeout=60))
        assert job.result().density().n_electrons == pytest.approx(1.0)
    told = [state.progress.done for state in states if state.progress is not None]
    assert {state.progress.total for state in states if state.progress is not None} == {300}
    assert told == sorted(set(told))
    assert set(told) <= {0, 64, 128, 192, 256}
    assert len(told) >= 3
    assert [state.status for state in states if state.progress is not None] == ["running"] * len(told)
    assert states[-1].status == "succeeded"


def answers(stack: Stack) -> bool:
    try:
        return stack.client.get("/healthz").status_code == 200
    except httpx2.TransportError:
        return False


def restarted(stack: Stack) -> None:
    start_again(stack.web)
    wait_until(lambda: answers(stack), 60, "the web is back")


def test_a_stream_survives_the_death_of_the_web_server_and_repeats_nothing(make_stack) -> None:
    stack = make_stack(SLOW_SECONDS="0.5")
    stack.kill(stack.worker)
    (job_id,) = stack.submit([hydrogen(1)])
    listening = Listening(stack, job_id)
    listening.start()
    wait_until(lambda: len(listening.states) == 1, 30, "the place in the queue is told")
    stack.kill(stack.web)
    restarted(stack)
    time.sleep(1)
    assert [state.status for state in listening.states] == ["queued"]
    start_again(stack.worker)
    listening.join(60)
    assert [state.status for state in listening.states] == ["queued", "running", "succeeded"]
    assert [state.position for state in listening.states] == [1, None, None]
    assert listening.energy == 1.0


def test_a_web_server_that_is_told_to_stop_lets_its_streams_go(make_stack) -> None:
    stack = make_stack()
    stack.kill(stack.worker)
    (job_id,) = stack.submit([hydrogen(1)])
    listening = [Listening(stack, job_id) for _ in range(5)]
    for one in listening:
        one.start()
    wait_until(lambda: all(len(one.states) == 1 for one in listening), 30, "all listen")
    start = time.monotonic()
    assert stack.web.process is not None
    stack.web.process.terminate()
    stack.web.process.wait(90)
    assert time.monotonic() - start < 25
    restarted(stack)
    start_again(stack.worker)
    for one in listening:
        one.join(60)
        assert [state.status for state in one.states][-1] == "succeeded"
        assert [state.status for state in one.states].count("queued") == 1


def test_a_hundred_streams_of_one_job_all_hear_its_end(make_stack) -> None:
    stack = make_stack(SLOW_SECONDS="1")

    async def hear() -> list[list[str]]:
        async with AsyncClient(url(stack)) as client:
            job = await client.submit(structure(1), "energy", "slow")

            async def heard() -> list[str]:
                return [str(state.status) async for state in (await client.job(job.id)).events(timeout=60)]

            return await asyncio.gather(*(heard() for _ in range(100)))

    assert {heard[-1] for heard in asyncio.run(hear())} == {"succeeded"}


def test_many_predictions_survive_the_death_of_the_web_server(make_stack, tmp_path) -> None:
    stack = make_stack(SLOW_SECONDS="0.05")
    structures = [structure(index) for index in range(200)]
    with Client(url(stack), progress=False, retries=PATIENT) as client:
        energies = []
        for index, result in enumerate(client.predict_many(structures, "energy", "slow", resume=tmp_path / "manifest")):
            energies.append(result.energy)
            if index == 60:
                stack.kill(stack.web)
                restarted(stack)
        assert energies == [1.0] * 200
        again = client.predict_many(structures, "energy", "slow", resume=tmp_path / "manifest")
        assert [result.energy for result in again] == [1.0] * 200
    assert stack.n_with("succeeded") == 200
    assert [task[b"completions"] for task in stack.tasks()] == [b"1"] * 200


def test_many_predictions_in_an_event_loop_give_what_each_alone_gives(make_stack) -> None:
    stack = make_stack(SLOW_SECONDS="0.01")
    structures: list[Any] = [structure(index) for index in range(30)]
    helium = hydrogen(5, n_helium=1)
    structures[7] = Structure.from_symbols(helium["symbols"], helium["positions"], helium["cell"])

    async def run() -> list[Any]:
        async with AsyncClient(url(stack)) as client:
            return [one async for one in client.predict_many(structures, "energy", "slow", return_errors=True)]

    found = asyncio.run(run())
    assert [one.energy for index, one in enumerate(found) if index != 7] == [1.0] * 29
    assert "found He" in str(found[7])
