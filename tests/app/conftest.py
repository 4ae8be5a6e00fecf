"""Applications for tests that break something: each with its own settings."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.factory import create_app
from jobs.connection import connect
from jobs.directory import Directory
from jobs.settings import Settings
from models.density.promolecule import Promolecule
from tests.app.conversation import newest_job


@pytest.fixture
def client(live: Any) -> TestClient:
    """Client of the live service."""
    return live.client


@pytest.fixture
def nothing_queued(client: TestClient) -> Iterator[None]:
    """Sees to it that the test leaves no job behind."""
    before = newest_job(client)
    yield
    assert newest_job(client) == before


@pytest.fixture
def app_of(settings: Settings) -> Iterator[Callable[..., TestClient]]:
    """Makes an application without workers that knows the promolecule: what it accepts stays queued.

    Call it with the settings that shall differ.
    """
    with ExitStack() as stack:

        def make(**changed: Any) -> TestClient:
            chosen = settings.model_copy(update={"parser_processes": 1} | changed)
            with connect(chosen.redis_url) as store:
                Directory(store, chosen).advertise("nobody", [Promolecule().info])
            return stack.enter_context(TestClient(create_app(chosen), raise_server_exceptions=False))

        yield make
