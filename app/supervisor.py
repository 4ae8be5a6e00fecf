"""`python -m app.supervisor`: the whole service on one machine.

Starts the store (unless REDIS_URL names one), workers, the expander of batches and the web server, and starts each
again if it dies. State is in the store and in the artifact folder alone, so nothing here coordinates anything: many
machines run the same processes against one Redis.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence

import structlog

from app.access import require_keys
from jobs import logs
from jobs.artifacts import require_artifact_store
from jobs.embedded import EmbeddedStore
from jobs.settings import Settings
from jobs.termination import Termination
from rhocast.errors import RhocastError, ServiceUnavailable

_STEADY_SECONDS = 30.0
_LONGEST_PAUSE = 30.0
_WEB_GRACE_SECONDS = 15

log = structlog.get_logger()


class Child:
    """A process that is started again when it dies, after a pause that grows while it keeps dying.

    Args:
        name: Name for the log.
        command: Program and arguments.
        environment: Its environment.
    """

    def __init__(self, name: str, command: Sequence[str], environment: dict[str, str]) -> None:
        self.name = name
        self._command = list(command)
        self._environment = environment
        self._pause = 0.5
        self._next_start = 0.0
        self._started = 0.0
        self.process: subprocess.Popen[bytes] | None = None

    def keep_alive(self) -> None:
        """Starts the process if it is not running and its pause is over."""
        if self.process is not None and self.process.poll() is not None:
            lived = time.monotonic() - self._started
            self._pause = 0.5 if lived > _STEADY_SECONDS else min(2 * self._pause, _LONGEST_PAUSE)
            self._next_start = time.monotonic() + self._pause
            log.warning("child_died", child=self.name, code=self.process.returncode, restart_in=self._pause)
            self.process = None
        if self.process is None and time.monotonic() >= self._next_start:
            self._started = time.monotonic()
            self.process = subprocess.Popen(self._command, env=self._environment)
            log.info("child_started", child=self.name, pid=self.process.pid)

    def stop(self, seconds: float) -> None:
        """Asks the process to end and kills it if it does not within some seconds."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            log.warning("child_killed", child=self.name)
            self.process.kill()
            self.process.wait()


def supervise(settings: Settings, host: str, port: int, n_workers: int) -> None:
    """Runs the service until SIGTERM or SIGINT; then the web stops, workers finish what they hold, the store stops.

    Args:
        settings: Settings of the service.
        host: Address that the web server listens on.
        port: Its port.
        n_workers: Worker processes; one a device.

    Raises:
        Unauthorized: If it would listen where a key is needed, and there is none.
        ServerError: If results are to be kept where they cannot be.
    """
    termination = Termination()
    store = None if settings.redis_url else EmbeddedStore(settings.data / "store").start()
    url = store.url if store else settings.redis_url
    try:
        require_artifact_store(settings)
        require_keys(settings, host, url)
    except RhocastError:
        if store is not None:
            store.stop()
        raise
    environment = {**os.environ, "RHOCAST_REDIS_URL": url, "RHOCAST_DATA": str(settings.data.resolve())}
    web = Child("web", _web_command(host, port), environment)
    expander = Child("expander", _expander_command(), environment)
    workers = [
        Child(f"worker-{index}", _worker_command(), environment | _metrics_port(settings, index))
        for index in range(n_workers)
    ]
    log.info("service_started", url=f"http://{host}:{port}", store=url)
    while not termination.wait(0.1):
        if store is not None:
            _keep_alive(store)
        for child in (web, expander, *workers):
            child.keep_alive()
    web.stop(_WEB_GRACE_SECONDS)
    for child in (expander, *workers):
        if child.process is not None:
            child.process.terminate()  # all drain at once
    for child in (expander, *workers):
        child.stop(settings.drain_seconds + 5)
    if store is not None:
        store.stop()


def _keep_alive(store: EmbeddedStore) -> None:
    """Starts the store again if it has died; where that fails, the next round tries again."""
    try:
        store.keep_alive()
    except ServiceUnavailable as error:
        log.error("store_down", error=error.detail)


def _worker_command() -> list[str]:
    return [sys.executable, "-m", "workers"]


def _expander_command() -> list[str]:
    return [sys.executable, "-m", "app.batches"]


def _web_command(host: str, port: int) -> list[str]:
    return [
        sys.executable, "-m", "app.web", "--host", host, "--port", str(port),
        "--grace", str(_WEB_GRACE_SECONDS - 5),
    ]  # fmt: skip


def _metrics_port(settings: Settings, index: int) -> dict[str, str]:
    """Environment of one of several workers, each of which has its /metrics on a port of its own."""
    first = settings.worker_metrics_port
    return {"RHOCAST_WORKER_METRICS_PORT": str(first + index)} if first else {}


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="rhocast serve", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    logs.configure()
    try:
        supervise(Settings(), arguments.host, arguments.port, arguments.workers)
    except RhocastError as error:
        sys.exit(error.detail)


if __name__ == "__main__":
    main()
