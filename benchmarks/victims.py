"""The service as `rhocast serve` runs it, whose processes can be killed one by one, and the memory that they take."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import httpx2

ROLES = ("worker", "web", "expander", "store")
NAMESPACE = "chaos"
_WORDS = {"worker": "-m workers", "web": "-m app.web", "expander": "-m app.batches", "store": "unixsocket"}


class Service:
    """A supervised service. What dies is started again by `app.supervisor`, as it would be for anybody.

    Args:
        folder: Where its data goes, and its log.
        port: Where it listens.
        models: Names of those that it serves.
    """

    def __init__(self, folder: Path, port: int, models: str = "promolecule,chgnet") -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.url = f"http://127.0.0.1:{port}"
        self.log = folder / "log"
        self._command = [sys.executable, "-m", "app.supervisor", "--port", str(port)]
        self._environment = {
            **os.environ,
            "RHOCAST_DATA": str(folder),
            "RHOCAST_NAMESPACE": NAMESPACE,
            "RHOCAST_MODELS": models,
            "RHOCAST_DEVICE": "cpu",
            "RHOCAST_LEASE_SECONDS": "10",
            "RHOCAST_RECONCILE_SECONDS": "10",
            "RHOCAST_MIN_FREE_BYTES": "0",
            "OMP_NUM_THREADS": "1",
            "NUMBA_NUM_THREADS": "1",
        }

    def __enter__(self) -> "Service":
        with self.log.open("wb") as log:
            self._supervisor = subprocess.Popen(self._command, stdout=log, stderr=log, env=self._environment)
        deadline = time.monotonic() + 240
        while not self._is_ready():
            if time.monotonic() > deadline or self._supervisor.poll() is not None:
                self.__exit__()
                raise RuntimeError(f"the service did not come up: see {self.log}")
            time.sleep(0.2)
        return self

    def __exit__(self, *_: object) -> None:
        self._supervisor.send_signal(signal.SIGTERM)
        try:
            self._supervisor.wait(150)
        except subprocess.TimeoutExpired:
            self._supervisor.kill()
            raise

    @property
    def store_url(self) -> str:
        return (self.folder / "store" / "address").read_text()

    def _is_ready(self) -> bool:
        try:
            return httpx2.get(f"{self.url}/readyz", trust_env=False).status_code == 200
        except httpx2.TransportError:
            return False

    def kill(self, role: str) -> bool:
        """Whether a process was there to be killed; if so, it is dead."""
        for pid, found in self._roles().items():
            if found == role:
                os.kill(pid, signal.SIGKILL)
                return True
        return False

    def megabytes(self, kind: str = "VmRSS") -> dict[str, float]:
        """Memory of each role, its own processes for parsing and conversion included.

        What was started by a process that is dead, and lives, is `left behind`.

        Args:
            kind: Of /proc/PID/status: VmRSS, all that is resident, or RssAnon, without what is mapped from files.
        """
        found: dict[str, float] = dict.fromkeys((*ROLES, "supervisor", "left behind"), 0.0)
        roles, parents = self._roles(), self._parents()
        for pid in parents:
            ancestor = pid
            while ancestor in parents and ancestor not in roles and ancestor != self._supervisor.pid:
                ancestor = parents[ancestor]
            role = "supervisor" if ancestor == self._supervisor.pid else roles.get(ancestor, "left behind")
            found[role] += _megabytes(pid, kind)
        return found

    def _roles(self) -> dict[int, str]:
        """What each child of the supervisor is."""
        children = [pid for pid, parent in self._parents().items() if parent == self._supervisor.pid]
        lines = {pid: _words(pid, "cmdline") for pid in children}
        return {pid: role for pid, line in lines.items() for role, word in _WORDS.items() if word in line}

    def _parents(self) -> dict[int, int]:
        """Parent of each process of this service, by its environment."""
        mark = f"RHOCAST_DATA={self.folder}"
        pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        parents = {pid: _parent(pid) for pid in pids}
        # The store writes its title over its environment.
        return {
            pid: parent
            for pid, parent in parents.items()
            if self._supervisor.pid in (pid, parent) or mark in _words(pid, "environ").split(" ")
        }


@dataclass
class Watch:
    """Largest memory of each role that is not mapped from files, looked at ten times a second while it is open.

    Attributes:
        service: What is watched.
        peaks: MB of each role.
    """

    service: Service
    peaks: dict[str, float]

    @classmethod
    def on(cls, service: Service) -> "Watch":
        return cls(service, dict.fromkeys(ROLES, 0.0))

    def __enter__(self) -> "Watch":
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(0.1):
            now = self.service.megabytes("RssAnon")
            self.peaks = {role: max(peak, now[role]) for role, peak in self.peaks.items()}


def _words(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _parent(pid: int) -> int:
    found = re.search(r"PPid:\s*(\d+)", _words(pid, "status"))
    return int(found.group(1)) if found else 0


def _megabytes(pid: int, kind: str) -> float:
    found = re.search(rf"{kind}:\s*(\d+) kB", _words(pid, "status"))
    return int(found.group(1)) * 1024 / 1e6 if found else 0.0
