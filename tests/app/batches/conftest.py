"""A process that expands batches, beside the live service."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.batches.process import ExpanderProcess
from app.factory import create_app
from jobs.connection import connect
from jobs.directory import Directory
from jobs.settings import Settings
from models.density.promolecule import Promolecule

JSONL = {"Content-Type": "application/jsonl"}


@pytest.fixture(scope="session")
def expander(live: Any) -> Iterator[ExpanderProcess]:
    """The expander of the live service, in this process."""
    process = ExpanderProcess(live.settings)
    process.start()
    yield process
    process.stop()


@pytest.fixture(scope="session")
def idle(store: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """An application that knows the promolecule and has neither worker nor expander: what it accepts stays as it is."""
    settings = Settings(
        redis_url=store.url,
        data=tmp_path_factory.mktemp("idle"),
        namespace="idle",
        min_free_bytes=0,
        parser_processes=1,
        auth="none",
    )
    with connect(store.url) as client:
        Directory(client, settings).advertise("nobody", [Promolecule().info])
    with TestClient(create_app(settings), raise_server_exceptions=False) as made:
        yield made


@pytest.fixture
def finished_batch(live: Any, expander: ExpanderProcess) -> Callable[..., dict[str, Any]]:
    """Waits for the end of a batch that was accepted."""

    def wait(response: Any, seconds: float = 60) -> dict[str, Any]:
        assert response.status_code == 202, response.text
        return batch_when(live.client, response.json()["id"], "succeeded", seconds)

    return wait


def batch_when(client: TestClient, batch_id: str, status: str, seconds: float = 60) -> dict[str, Any]:
    """A batch as soon as it has a status."""
    deadline = time.monotonic() + seconds
    while (batch := client.get(f"/v1/batches/{batch_id}").json())["status"] != status:
        assert time.monotonic() < deadline, batch
        time.sleep(0.05)
    return batch


def sent_lines(client: TestClient, lines: list[Any], **headers: str) -> Any:
    """The answer to lines of JSONL; text is sent as it is."""
    content = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    return client.post("/v1/batches", content=content.encode(), headers=JSONL | headers)


def read_lines(client: TestClient, batch_id: str, what: str = "output", **query: Any) -> list[dict[str, Any]]:
    """Lines of the output or of the errors of a batch."""
    reply = client.get(f"/v1/batches/{batch_id}/{what}", params=query)
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == "application/jsonl"
    return [json.loads(line) for line in reply.text.splitlines()]
