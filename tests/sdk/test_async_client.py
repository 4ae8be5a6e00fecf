"""The client for an event loop does what the other one does; what they share is tested there."""

import asyncio
import base64
import hashlib
import inspect
import io
import json

import numpy as np
import pytest

from rhocast import AsyncClient, Client, Density
from rhocast.async_client import AsyncJob, AsyncResult
from rhocast.async_transport import AsyncHttpTransport
from rhocast.density import write_npz
from rhocast.density.expansion_npz import write_expansion
from rhocast.errors import (
    ClientError,
    ConnectionFailed,
    DamagedDownload,
    JobCancelled,
    JobNotFinished,
    ServiceUnavailable,
    WaitTimeout,
)
from rhocast.job import Job
from rhocast.result import Result
from rhocast.retrying import RetryPolicy
from tests.sdk.density.expansions import molecule


class ImpatientTransport(AsyncHttpTransport):
    """HTTP whose pauses are noted and not made."""

    def __init__(self, url: str) -> None:
        super().__init__(url, 5.0)
        self.pauses: list[float] = []

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)


@pytest.fixture
def talk(server):
    """Runs a conversation with the scripted server."""

    def run(conversation):
        async def whole():
            async with AsyncClient(transport=ImpatientTransport(server.url)) as client:
                return await conversation(client)

        return asyncio.run(whole())

    return run


def npz(result) -> bytes:
    stream = io.BytesIO()
    write_npz(Density(result.structure, np.full((2, 2, 3), 0.2)), stream)
    return stream.getvalue()


def digest(content: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:"


@pytest.mark.parametrize(
    "method", ["predict", "submit", "relax", "submit_relaxation", "predict_many", "job", "jobs", "models"]
)
def test_both_clients_take_the_same_arguments(method):
    one, other = (inspect.signature(getattr(kind, method)).parameters for kind in (Client, AsyncClient))
    assert {name: (found.kind, found.default) for name, found in one.items()} == {
        name: (found.kind, found.default) for name, found in other.items()
    }


@pytest.mark.parametrize(("one", "other"), [(Job, AsyncJob), (Result, AsyncResult)])
def test_jobs_and_results_have_the_same_methods(one, other):
    def public(kind) -> dict[str, list[str]]:
        methods = inspect.getmembers(kind, inspect.isfunction)
        return {name: list(inspect.signature(found).parameters) for name, found in methods if name[0] != "_"}

    assert public(one) == public(other)


def test_a_structure_is_predicted(server, talk, job_record, poscar):
    server.answer(job_record("queued"), 202)
    server.answer(job_record())

    async def conversation(client):
        result = await client.predict(poscar, "energy", spacing=0.2)
        assert result.energy == -10.8
        assert repr(result).startswith("<AsyncResult of job j1: ")

    talk(conversation)
    sent = json.loads(server.seen[0].body)
    assert (server.seen[0].method, server.seen[0].path) == ("POST", "/v1/predictions")
    assert sent["grid"]["spacing"] == 0.2
    assert server.seen[0].headers["prefer"] == "wait=20.000"
    assert server.seen[0].headers["user-agent"].startswith("rhocast/")
    assert server.seen[1].path.startswith("/v1/jobs/j1?wait=")


def test_a_job_is_submitted_looked_at_cancelled_and_waited_for(server, talk, job_record, poscar):
    cancelled = {"title": "x", "status": 409, "code": "JobCancelled", "detail": "found it cancelled"}
    server.answer(job_record("queued"), 202)
    server.answer(job_record("running"))
    server.answer(job_record("cancelled", error=cancelled))

    async def conversation(client):
        job = await client.submit(poscar, idempotency_key="mine")
        assert repr(job) == "<AsyncJob j1: density, energy, forces, stress, magmoms of Si2, queued>"
        with pytest.raises(JobNotFinished, match=r"found job 'j1' queued; .*call wait\(\)"):
            await job.result()
        assert (await job.refresh()).status == "running"
        assert (await job.cancel()).status == "cancelled"
        with pytest.raises(JobCancelled, match="found it cancelled"):
            await job.wait()

    talk(conversation)
    assert server.seen[0].headers["idempotency-key"] == "mine"
    assert "prefer" not in server.seen[0].headers


def test_jobs_and_models_are_listed(server, talk, job_record, model_record):
    server.answer(job_record("running"))
    server.answer({"jobs": [job_record("running", id="a")], "next": "/v1/jobs?cursor=c"})
    server.answer({"jobs": [job_record("queued", id="b")], "next": None})
    server.answer({"models": [model_record()]})

    async def conversation(client):
        assert (await client.job("j1")).status == "running"
        assert [job.id for job in await client.jobs(2)] == ["a", "b"]
        assert [entry.info.name for entry in await client.models()] == ["promolecule"]

    talk(conversation)


def test_a_job_is_followed(server, talk, job_record):
    server.answer(job_record("queued"))
    events = [f"id: {name}\ndata: {json.dumps(job_record(name, result=None))}\n\n" for name in ("running", "succeeded")]
    server.break_off(events[0].encode())
    server.answer(events[1].encode())
    server.answer(job_record())

    async def conversation(client):
        job = await client.job("j1")
        assert [state.status async for state in job.events()] == ["running", "succeeded"]
        assert (await job.wait()).energy == -10.8

    talk(conversation)
    assert server.seen[2].headers["last-event-id"] == "running"


def test_files_are_downloaded_beside_the_loop(server, talk, job_record, tmp_path):
    async def conversation(client):
        server.answer(job_record())
        result = await (await client.job("j1")).result()
        content = npz(result)
        server.answer(content, repr_digest=digest(content))
        assert np.allclose((await result.density()).values, 0.2)
        assert await result.density() is await result.density()
        server.answer(content, repr_digest=digest(content))
        assert await result.download(tmp_path / "rho.npz") == tmp_path / "rho.npz"
        assert (tmp_path / "rho.npz").read_bytes() == content
        stream = io.BytesIO()
        write_expansion(molecule(), stream)
        server.answer(stream.getvalue())
        assert (await result.expansion()).n_electrons == molecule().n_electrons
        server.answer(b"damaged", repr_digest=digest(b"whole"))
        with pytest.raises(DamagedDownload, match="found a file of 7 bytes"):
            await result.density("cube")

    talk(conversation)


def test_an_overloaded_server_is_asked_again(server, job_record):
    server.answer(b"busy", 503, retry_after="3")
    server.hang_up()
    server.answer(job_record())

    async def run() -> list[float]:
        transport = ImpatientTransport(server.url)
        async with AsyncClient(transport=transport) as client:
            assert (await client.job("j1")).status == "succeeded"
        return transport.pauses

    first, _ = asyncio.run(run())
    assert 3 <= first <= 3.5


def test_an_error_is_the_server_s_own(server, talk):
    for _ in range(6):
        server.problem("ServiceUnavailable", 503, "found the store down")

    async def conversation(client):
        with pytest.raises(ServiceUnavailable, match="found the store down"):
            await client.models()

    talk(conversation)


def test_a_wait_ends(server, talk, job_record, poscar):
    server.answer(job_record("queued"), 202)
    server.answer(job_record("running"))

    async def conversation(client):
        with pytest.raises(WaitTimeout, match="found job 'j1' still running"):
            await client.predict(poscar, timeout=0)

    talk(conversation)


def test_a_closed_client_says_so(server):
    async def run() -> None:
        client = AsyncClient(server.url)
        await client.close()
        with pytest.raises(ClientError, match="found that this client was closed"):
            await client.models()

    asyncio.run(run())


def test_address_and_key_come_from_the_environment(server, monkeypatch, model_record):
    monkeypatch.setenv("RHOCAST_URL", server.url + "/")
    monkeypatch.setenv("RHOCAST_API_KEY", "rho_abc")
    server.answer({"models": [model_record()]})

    async def run() -> None:
        async with AsyncClient(retries=RetryPolicy(attempts=1)) as client:
            assert client.url == server.url
            await client.models()

    asyncio.run(run())
    assert server.seen[0].headers["authorization"] == "Bearer rho_abc"


def test_without_a_server_the_error_names_the_address():
    async def run() -> None:
        async with AsyncClient("http://127.0.0.1:9", retries=RetryPolicy(first_pause=0.01)) as client:
            with pytest.raises(ConnectionFailed, match=r"found no server that answers at http://127\.0\.0\.1:9"):
                await client.models()

    asyncio.run(run())


def test_an_address_that_is_no_url_is_refused():
    with pytest.raises(ConnectionFailed, match="found the address 'here'; expected a URL such as"):
        AsyncClient("here")


def test_a_hundred_conversations_share_the_loop(server, job_record):
    for _ in range(100):
        server.answer(job_record())

    async def run() -> None:
        async with AsyncClient(server.url) as client:
            jobs = await asyncio.gather(*(client.job("j1") for _ in range(100)))
        assert {job.status for job in jobs} == {"succeeded"}

    asyncio.run(run())
