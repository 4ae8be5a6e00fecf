"""`rhocast batch` over real processes, each of which is killed once: every result once, nothing finished twice."""

import csv
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.supervisor import Child
from tests.end_to_end.processes import Stack, wait_until

pytestmark = [pytest.mark.processes, pytest.mark.timeout(300)]

N_FILES = 120
POSCAR = "H\n1.0\n9 0 0\n0 9 0\n0 0 9\nH\n1\nCartesian\n{x:.3f} 0 0\n"


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    settings = {"SLOW_SECONDS": "0.4", "RHOCAST_WORKER_THREADS": "8", "RHOCAST_LEASE_SECONDS": "2"}
    made = Stack(tmp_path / "service", settings).start()
    made.expander.keep_alive()
    yield made
    made.stop()


@pytest.fixture
def command(tmp_path: Path, stack: Stack) -> list[str]:
    """The client on a folder of files, one of which is no structure."""
    for index in range(N_FILES):
        path = tmp_path / "in" / f"{index % 7}" / f"{index:03}.vasp"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(POSCAR.format(x=0.001 * index))
    (tmp_path / "in" / "bad.cif").write_text("nothing")
    rhocast = str(Path(sys.executable).parent / "rhocast")
    folders = [str(tmp_path / "in"), "-o", str(tmp_path / "out")]
    return [rhocast, "batch", *folders, "--want", "energy", "--model", "slow", "--url", str(stack.client.base_url)]


def finished(stack: Stack) -> dict[bytes, bytes]:
    """When each computation that has ended did, by what it was asked."""
    keys = [key for key in stack.redis.scan_iter("e2e:task:*", count=1000) if not key.endswith(b":jobs")]
    rows = {key: stack.redis.hmget(key, "model", "status", "finished") for key in keys}
    return {key: row[2] for key, row in rows.items() if row[:2] == [b"slow", b"succeeded"]}


def restart(child: Child) -> None:
    child.keep_alive()
    wait_until(lambda: child.keep_alive() or child.process is not None, 10, "it is started again")


@contextmanager
def started(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A client that does not outlive the block."""
    with subprocess.Popen(command, env=os.environ) as client:
        try:
            yield client
        finally:
            client.kill()


def test_each_file_is_answered_once_whoever_is_killed(stack: Stack, command: list[str], tmp_path: Path) -> None:
    with started(command):
        wait_until(lambda: stack.redis.zcard("e2e:jobs") > 0, 240, "the batch is being expanded")
        stack.kill(stack.expander)
        restart(stack.expander)
        wait_until(lambda: len(finished(stack)) >= 8, 240, "some are done")
    seen = finished(stack)
    with started(command) as client:
        wait_until(lambda: len(finished(stack)) >= N_FILES // 3, 240, "a third is done")
        stack.kill(stack.worker)
        seen |= finished(stack)
        restart(stack.worker)
        wait_until(lambda: len(finished(stack)) >= 2 * N_FILES // 3, 240, "two thirds are done")
        stack.kill(stack.web)
        seen |= finished(stack)
        restart(stack.web)
        assert client.wait(100) == 3  # one file is no structure

    names = {path.relative_to(tmp_path / "in").as_posix() for path in (tmp_path / "in").rglob("*.vasp")}
    answers = {path.relative_to(tmp_path / "out").as_posix(): path for path in (tmp_path / "out").rglob("*.vasp.json")}
    assert set(answers) == {f"{name}.json" for name in names}
    jobs = [json.loads(path.read_text()) for path in answers.values()]
    assert len({job["id"] for job in jobs}) == N_FILES
    assert {job["result"]["potential"]["energy"] for job in jobs} == {1.0}
    (error,) = (json.loads(line) for line in (tmp_path / "out" / "errors.jsonl").read_text().splitlines())
    assert (error["file"], error["error"]["code"]) == ("bad.cif", "UnsupportedFormat")
    with (tmp_path / "out" / "summary.csv").open() as table:
        assert Counter(row["status"] for row in csv.DictReader(table)) == {"succeeded": N_FILES, "failed": 1}

    after = finished(stack)
    assert {key: after[key] for key in seen} == seen
    tasks = [task for task in stack.tasks() if task[b"model"] == b"slow"]
    assert [task[b"completions"] for task in tasks] == [b"1"] * N_FILES
    assert sum(int(task[b"attempts"]) - 1 for task in tasks) <= 8  # what the killed worker had in hand
