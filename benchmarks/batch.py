"""`python -m benchmarks.batch [N]`: N small crystals by `rhocast batch`, with CHGNet and the promolecule.

Client, worker, web server and expander are killed once each (SIGKILL) on the way. In the end each file has one
answer, and no task that was finished at a kill was computed again: its time of completion is the same as then.
"""

import argparse
import csv
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import redis
from ase import Atoms
from ase.io import write

from app.supervisor import Child
from benchmarks.machine import machine_line
from jobs.embedded import EmbeddedStore
from reference.sets.crystals import structure_set
from rhocast.schemas import Job

PORT = 8767
NAMESPACE = "bench"
LEASE_SECONDS = 10
TASKS_IN_HAND = 64
SEED = 20


def write_crystals(folder: Path, n_files: int) -> None:
    """Crystals as files, half of them POSCAR, half CIF, in folders of a hundred."""
    for index, found in zip(range(n_files), structure_set().structures(SEED), strict=False):
        place = folder / f"{index // 100:03}"
        place.mkdir(parents=True, exist_ok=True)
        name, format = (f"{index:05}.vasp", "vasp") if index % 2 else (f"{index:05}.cif", "cif")
        write(place / name, Atoms(found.numbers, positions=found.positions, cell=found.cell, pbc=True), format=format)


class Service:
    """Store, web server, expander and worker; each but the store is started again when it dies.

    Args:
        folder: Where their data goes.
    """

    def __init__(self, folder: Path) -> None:
        self.store = EmbeddedStore(folder / "store").start()
        environment = {
            **os.environ,
            "RHOCAST_DATA": str(folder),
            "RHOCAST_REDIS_URL": self.store.url,
            "RHOCAST_NAMESPACE": NAMESPACE,
            "RHOCAST_MODELS": "promolecule,chgnet",
            "RHOCAST_LEASE_SECONDS": str(LEASE_SECONDS),
            "RHOCAST_MIN_FREE_BYTES": "0",
        }
        web = ["-m", "app.web", "--port", str(PORT)]
        programs = {"web": web, "expander": ["-m", "app.batches"], "worker": ["-m", "workers"]}
        quiet = ["sh", "-c", f'exec "$@" >>{folder / "log"} 2>&1', "sh", sys.executable]
        self.children = {name: Child(name, [*quiet, *program], environment) for name, program in programs.items()}
        self.redis = redis.Redis.from_url(self.store.url)
        self._stopped = threading.Event()
        self._keeper = threading.Thread(target=self._keep_alive)

    def __enter__(self) -> "Service":
        self._keeper.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._keeper.join()
        for child in self.children.values():
            child.stop(30)
        self.redis.close()
        self.store.stop()

    def _keep_alive(self) -> None:
        while not self._stopped.wait(0.1):
            for child in self.children.values():
                child.keep_alive()

    def kill(self, name: str) -> None:
        process = self.children[name].process
        if process is not None:
            os.kill(process.pid, signal.SIGKILL)

    def tasks(self) -> dict[str, tuple[bytes, bytes, bytes]]:
        """State, attempts and time of completion of each computation."""
        keys = [key for key in self.redis.scan_iter(f"{NAMESPACE}:task:*", count=5000) if not key.endswith(b":jobs")]
        pipeline = self.redis.pipeline(transaction=False)
        for key in keys:
            pipeline.hmget(key, "model", "status", "attempts", "finished")
        rows = zip(keys, pipeline.execute(), strict=True)
        return {key.decode(): tuple(row[1:]) for key, row in rows if row[0] != b"batches"}

    def finished(self) -> dict[str, bytes]:
        """When each computation that has ended did."""
        return {key: row[2] for key, row in self.tasks().items() if row[0] == b"succeeded"}


def main() -> None:
    """Runs it and prints what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("n_files", nargs="?", type=int, default=2000)
    n_files = parser.parse_args().n_files
    print(machine_line(), flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_crystals(folder / "in", n_files)
        with Service(folder / "service") as service:
            command = [
                str(Path(sys.executable).parent / "rhocast"), "batch", str(folder / "in"), "-o", str(folder / "out"),
                "--model", "promolecule,chgnet", "--url", f"http://127.0.0.1:{PORT}",
            ]  # fmt: skip
            _wait(lambda: service.redis.hlen(f"{NAMESPACE}:models") == 2, 120)
            started = time.monotonic()
            before = _with_kills(service, command, n_files)
            seconds = time.monotonic() - started
            _check(service, before, folder, n_files)
            print(f"{n_files} structures in {seconds:.0f} s, all kills included: {n_files / seconds:.1f} structures/s")


def _with_kills(service: Service, command: list[str], n_files: int) -> dict[str, bytes]:
    """Runs the client to its end; returns when each task that was finished at a kill had been finished."""
    before: dict[str, bytes] = {}
    client = subprocess.Popen(command)
    for victim, share in (("expander", 0.05), ("client", 0.3), ("worker", 0.5), ("web", 0.7)):
        _wait(lambda share=share: len(service.finished()) >= share * 2 * n_files, 3600)
        if victim == "client":
            client.kill()
            client.wait()
            client = subprocess.Popen(command)
        else:
            service.kill(victim)
        found = service.finished()
        before |= {key: found[key] for key in found if key not in before}
        print(f"killed the {victim} with {len(found)} of {2 * n_files} computations finished", flush=True)
    if client.wait() != 0:
        raise RuntimeError(f"the client ended with {client.returncode}")
    return before


def _check(service: Service, before: dict[str, bytes], folder: Path, n_files: int) -> None:
    """Raises if a file has no answer or two, or if something finished was computed again."""
    names = sorted(path.relative_to(folder / "in").as_posix() for path in (folder / "in").rglob("*.*"))
    answers = sorted(path.relative_to(folder / "out").as_posix() for path in (folder / "out").rglob("*/*.json"))
    if answers != [f"{name}.json" for name in names]:
        raise RuntimeError(f"{len(answers)} answers for {len(names)} files")
    jobs = [Job.model_validate_json((folder / "out" / answer).read_bytes()) for answer in answers]
    if len({job.id for job in jobs}) != n_files:
        raise RuntimeError("two files have one job")
    with (folder / "out" / "summary.csv").open() as table:
        states = Counter(row["status"] for row in csv.DictReader(table))
    if states != {"succeeded": n_files}:
        raise RuntimeError(f"the summary says {states}")
    after = service.finished()
    if again := [key for key, moment in before.items() if after[key] != moment]:
        raise RuntimeError(f"{len(again)} finished computations were repeated")
    attempts = Counter(int(row[1]) for row in service.tasks().values())
    if sum(attempts.values()) != 2 * n_files or attempts[1] < 2 * n_files - TASKS_IN_HAND:
        raise RuntimeError(f"attempts: {attempts}")
    print(f"{n_files} answers, each once; {len(before)} computations that were finished at a kill: none repeated")
    print(f"computations started twice: {attempts[2]}, those that the killed worker had in hand")


def _wait(is_true: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not is_true():
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited for {seconds:g} s in vain")
        time.sleep(0.2)


if __name__ == "__main__":
    main()
