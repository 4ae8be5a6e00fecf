"""Real processes for end-to-end tests: Valkey, uvicorn, a worker, each of which a test may kill."""

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import redis

from app.supervisor import Child
from jobs.embedded import EmbeddedStore

ROOT = Path(__file__).parents[2]
LEASE_SECONDS = 5


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(is_true: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)


class Stack:
    """Store, web and one worker with the slow model of the tests; an expander for those who start it.

    Args:
        folder: Where their data goes.
        environment: Settings beyond the defaults of these tests.
    """

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.store = EmbeddedStore(folder / "store").start()
        self.port = free_port()
        self.environment = {
            **os.environ,
            "RHOCAST_DATA": str(folder),
            "RHOCAST_REDIS_URL": self.store.url,
            "RHOCAST_NAMESPACE": "e2e",
            "RHOCAST_LEASE_SECONDS": str(LEASE_SECONDS),
            "RHOCAST_RECONCILE_SECONDS": "2",
            "RHOCAST_BATCH_WAIT_MILLISECONDS": "50",
            "RHOCAST_BATCH_BUDGET": "1e9",
            "RHOCAST_MIN_FREE_BYTES": "0",
            **environment,
        }
        web = ["-m", "app.web", "--port", str(self.port), "--grace", "60"]
        self.web = Child("web", [sys.executable, *web], self.environment)
        self.expander = Child("expander", [sys.executable, "-m", "app.batches"], self.environment)
        self.worker = Child("worker", [sys.executable, "-m", "tests.end_to_end.slow_worker"], self.environment)
        self.client = httpx2.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)
        self.redis = redis.Redis.from_url(self.store.url)

    def start(self) -> "Stack":
        self.web.keep_alive()
        self.worker.keep_alive()
        wait_until(self.is_ready, 60, "the stack is ready")
        return self

    def stop(self) -> None:
        self.client.close()
        self.web.stop(10)
        self.expander.stop(10)
        self.worker.stop(10)
        self.redis.close()
        self.store.stop()

    def is_ready(self) -> bool:
        try:
            return self.client.get("/readyz").status_code == 200
        except httpx2.TransportError:
            return False

    def kill(self, child: Child) -> None:
        assert child.process is not None
        os.kill(child.process.pid, signal.SIGKILL)
        child.process.wait()

    def submit(self, structures: Sequence[dict[str, Any]]) -> list[str]:
        """Ids of the jobs of some structures, posted eight at a time."""

        def post(structure: dict[str, Any]) -> str:
            body = {"structure": structure, "want": ["energy"], "model": ["slow"]}
            reply = self.client.post("/v1/predictions", json=body)
            assert reply.status_code in (200, 202), reply.text
            return reply.json()["id"]

        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(post, structures))

    def jobs(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        return [self.client.get(f"/v1/jobs/{job_id}").json() for job_id in ids]

    def tasks(self) -> list[dict[bytes, bytes]]:
        """Every task in the store."""
        keys = [key for key in self.redis.scan_iter("e2e:task:*", count=1000) if not key.endswith(b":jobs")]
        return [self.redis.hgetall(key) for key in keys]  # type: ignore[misc]

    def n_with(self, status: str) -> int:
        return sum(task[b"status"] == status.encode() for task in self.tasks())


def start_again(child: Child) -> None:
    """Starts a process that was killed; its supervisor waits a moment before."""

    def runs() -> bool:
        child.keep_alive()
        return child.process is not None

    child.keep_alive()
    wait_until(runs, 30, "it is started again")


def hydrogen(index: int, n_helium: int = 0) -> dict[str, Any]:
    """A cell of hydrogen, another one for each index; helium makes the slow model misbehave."""
    helium = [[2.0 * k + 1.0, 5.0, 5.0] for k in range(n_helium)]
    return {
        "symbols": ["H", *["He"] * n_helium],
        "positions": [[0.001 * index, 0.0, 0.0], *helium],
        "cell": [[9.0, 0.0, 0.0], [0.0, 9.0, 0.0], [0.0, 0.0, 9.0]],
    }
