"""What the client costs: structures a second of `predict_many`, milliseconds of a wait and of an ASE step.

Everything runs on this machine with real processes: Valkey (AOF), a web server, a worker.
"""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import numpy as np

from app.supervisor import Child
from benchmarks.machine import machine_line
from benchmarks.service import structure
from jobs.embedded import EmbeddedStore
from rhocast import AsyncClient, Client

N_STRUCTURES = 400
N_WAITS = 60
N_STEPS = 30
PORT = 8767
SILENT = ("sh", "-c", 'exec "$@" >/dev/null 2>&1', "sh")
"""Words before a command that keep its log from the figures."""
URL = f"http://127.0.0.1:{PORT}"


@contextmanager
def service(worker: list[str], **settings: str) -> Generator[None]:
    """A service with one worker, ready."""
    with tempfile.TemporaryDirectory() as folder, EmbeddedStore(Path(folder) / "store") as store:
        environment = {**os.environ, "RHOCAST_REDIS_URL": store.url, "RHOCAST_DATA": folder, **settings}
        children = [
            Child("worker", [*SILENT, sys.executable, *worker], environment),
            Child("web", [*SILENT, sys.executable, "-m", "app.web", "--port", str(PORT)], environment),
        ]
        for child in children:
            child.keep_alive()
        try:
            deadline = time.monotonic() + 120
            while not _is_ready():
                if time.monotonic() > deadline:
                    raise RuntimeError("the service did not come up within 120 s")
                time.sleep(0.2)
            yield
        finally:
            for child in children:
                child.stop(10)


def _is_ready() -> bool:
    try:
        return httpx2.get(f"{URL}/readyz", trust_env=False).status_code == 200
    except httpx2.TransportError:
        return False


class Fresh:
    """Structures that the service has not seen."""

    def __init__(self) -> None:
        self._n_given = 0

    def __call__(self, n: int) -> list[object]:
        first = self._n_given
        self._n_given += n
        return [structure(index) for index in range(first, first + n)]


def rate(run: Callable[[], int]) -> float:
    start = time.perf_counter()
    return run() / (time.perf_counter() - start)


def many(fresh: Fresh, concurrency: int, priority: str) -> float:
    """Structures a second of `Client.predict_many`."""
    structures = fresh(N_STRUCTURES)
    with Client(URL, progress=False) as client:
        asked = client.predict_many(structures, "energy", "noop", concurrency=concurrency, priority=priority)
        return rate(lambda: sum(1 for _ in asked))


def many_awaited(fresh: Fresh, concurrency: int) -> float:
    """Structures a second of `AsyncClient.predict_many`."""
    structures = fresh(N_STRUCTURES)

    async def run() -> int:
        async with AsyncClient(URL) as client:
            asked = client.predict_many(structures, "energy", "noop", concurrency=concurrency)
            return len([one async for one in asked])

    return rate(lambda: asyncio.run(run()))


def waits(fresh: Fresh, ended: Callable[..., object]) -> np.ndarray:
    """Milliseconds from submission to the end of a job as the client learns of it."""
    found = []
    with Client(URL, progress=False) as client:
        for one in fresh(N_WAITS):
            start = time.perf_counter()
            ended(client.submit(one, "energy", "noop"))
            found.append(1000 * (time.perf_counter() - start))
    return np.array(found)


def steps(calculator: object) -> np.ndarray:
    """Milliseconds of each step of molecular dynamics of eight atoms."""
    from ase import units
    from ase.build import bulk
    from ase.md.verlet import VelocityVerlet

    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    atoms.rattle(0.05, seed=0)
    atoms.calc = calculator  # type: ignore[assignment]
    dynamics = VelocityVerlet(atoms, timestep=units.fs)
    dynamics.run(2)
    found = []
    for _ in range(N_STEPS):
        start = time.perf_counter()
        dynamics.run(1)
        found.append(1000 * (time.perf_counter() - start))
    return np.array(found)


def _print_steps() -> None:
    import warnings

    import torch

    from rhocast.ase import RhocastCalculator

    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of CHGNet's own calculator
        from chgnet.model.dynamics import CHGNetCalculator

        alone = np.median(steps(CHGNetCalculator(use_device="cpu")))
    with (
        service(["-m", "workers"], RHOCAST_MODELS="chgnet", OMP_NUM_THREADS="1"),
        Client(URL, progress=False) as client,
    ):
        served = np.median(steps(RhocastCalculator("chgnet", client=client)))
    print(f"ASE step     {served:7.1f} ms with the service, {alone:.1f} ms with CHGNet's own calculator (medians)")


def main() -> None:
    """Prints the figures."""
    print(machine_line())
    fresh = Fresh()
    with service(["-m", "benchmarks.noop_worker"]):
        many(fresh, 4, "interactive")
        for concurrency in (1, 4, 16, 64):
            urgent, bulk = (many(fresh, concurrency, priority) for priority in ("interactive", "bulk"))
            awaited = many_awaited(fresh, concurrency)
            print(f"predict_many {urgent:7.0f} structures/s with {concurrency} under way", end="")
            print(f", {bulk:.0f} as bulk work, {awaited:.0f} in an event loop")
        for name, ended in (("wait", lambda job: job.wait()), ("events", lambda job: list(job.events()))):
            p50, p90 = np.percentile(waits(fresh, ended), [50, 90])
            print(f"{name:12} {p50:7.1f} ms p50, {p90:.1f} p90 from submission to the end")
    _print_steps()


if __name__ == "__main__":
    main()
