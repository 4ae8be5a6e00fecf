"""Real parts for every test: a store, a worker, an application."""

import os
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.factory import create_app
from jobs.connection import connect
from jobs.embedded import EmbeddedStore
from jobs.ledger import Ledger
from jobs.settings import Settings
from tests.bucket_server import BucketServer
from workers.process import WorkerProcess

# Without a GPU Triton's kernels are tested by its interpreter; it must be asked for before anything imports Triton.
if not Path("/dev/nvidiactl").exists():
    os.environ["TRITON_INTERPRET"] = "1"

pytest_plugins = ["tests.elsewhere"]

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStore]:
    """A real Valkey, shared by all tests; each test has a namespace of its own."""
    with EmbeddedStore(tmp_path_factory.mktemp("store")) as started:
        yield started


@pytest.fixture
def settings(store: EmbeddedStore, tmp_path: Path) -> Settings:
    return Settings(
        redis_url=store.url,
        data=tmp_path,
        namespace=f"test-{uuid.uuid4().hex[:8]}",
        device="cpu",
        min_free_bytes=0,
        auth="none",
    )


@pytest.fixture(scope="session")
def bucket_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BucketServer]:
    """An S3 server on this machine."""
    with BucketServer(tmp_path_factory.mktemp("s3")) as started:
        yield started


@pytest.fixture
def bucket_url(bucket_server: BucketServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """A prefix that no other test has, in a bucket that the environment leads to."""
    for name, value in bucket_server.environment.items():
        monkeypatch.setenv(name, value)
    bucket = f"test-{uuid.uuid4().hex[:8]}"
    (bucket_server.folder / bucket).mkdir()
    return f"s3://{bucket}/results"


@pytest.fixture
def ledger(settings: Settings) -> Iterator[Ledger]:
    client = connect(settings.redis_url)
    yield Ledger(client, settings)
    client.close()


class LiveService:
    """The application, and a worker beside it in this process.

    Args:
        settings: Settings of both.
        models: Loaded models.
    """

    def __init__(self, settings: Settings, models: list) -> None:
        self.settings = settings
        self._worker = WorkerProcess(settings, models)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._tick)
        self.client = TestClient(create_app(settings), raise_server_exceptions=False)

    def _tick(self) -> None:
        while not self._stop.wait(0.1):
            self._worker.tick()

    def __enter__(self) -> "LiveService":
        self._worker.start()
        self._worker.tick()
        self._thread.start()
        self.client.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.client.__exit__(None, None, None)
        self._stop.set()
        self._thread.join()
        self._worker.stop()


@pytest.fixture(scope="session")
def live(store: EmbeddedStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    """The service with its shipped models, shared by tests that only ask it things."""
    from models.catalog import load_model

    settings = Settings(
        redis_url=store.url,
        data=tmp_path_factory.mktemp("live"),
        namespace="live",
        device="cpu",
        min_free_bytes=0,
        auth="none",
    )
    with LiveService(settings, [load_model(name, "cpu") for name in ("promolecule", "chgnet")]) as service:
        yield service
