"""What the service costs beside its models: jobs/s through ledger and worker, POSTs/s, milliseconds of one request.

Everything runs on this machine, clients included, with real processes: Valkey (AOF), a Dramatiq worker, uvicorn.
"""

import os
import random
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import numpy as np

from app.supervisor import Child
from benchmarks.machine import machine_line
from benchmarks.noop_worker import INFO
from jobs.canonical import canonical, content_key, structure_record
from jobs.connection import connect
from jobs.directory import Directory
from jobs.embedded import EmbeddedStore
from jobs.ledger import Ledger
from jobs.records import JobRecord, TaskInput, TaskOrder
from jobs.settings import Settings
from rhocast.model_info import Property
from rhocast.structure import Structure

N_JOBS = 4000
N_POSTS = 600
N_LATENCIES = 200
PORT = 8765


def structure(index: int) -> Structure:
    """Two atoms in a box, another pair for each index."""
    return Structure.from_symbols(["Si", "C"], [[0, 0, 0], [1.5, 1.5, 1.5 + 1e-4 * index]], np.eye(3) * 6)


def order(index: int) -> tuple[JobRecord, TaskOrder]:
    form = canonical(structure(index))
    record = structure_record(form.structure)
    task = TaskInput(model="noop", weights_sha256=INFO.weights_sha256, structure=record, want=[Property.ENERGY])
    key = content_key(form.structure, {"model": "noop"})
    job = JobRecord(
        id=f"bench{index}",
        created_at=datetime.now(UTC),
        structure=record,
        order=form.order.tolist(),
        want=[Property.ENERGY],
        tasks={"noop": key},
        models={"energy": "noop"},
    )
    return job, TaskOrder(key=key, model="noop", cost=1.0, input=task)


def ledger_throughput(ledger: Ledger) -> tuple[float, float]:
    """Submissions per second, and jobs per second from the first submission to the last result."""
    orders = [order(index) for index in range(N_JOBS)]
    start = time.perf_counter()
    for job, task in orders:
        ledger.submit(job, [task])
    submitted = time.perf_counter() - start
    while ledger.client.zcard(f"{ledger.settings.namespace}:open"):
        time.sleep(0.01)
    return N_JOBS / submitted, N_JOBS / (time.perf_counter() - start)


def drain_throughput(ledger: Ledger, worker: Child) -> float:
    """Jobs per second of a worker that finds a full queue."""
    worker.stop(30)
    for index in range(10 * N_JOBS, 11 * N_JOBS):
        job, task = order(index)
        ledger.submit(job, [task])
    name = f"{ledger.settings.namespace}:open"
    worker.process = None
    worker.keep_alive()
    while ledger.client.zcard(name) == N_JOBS:
        time.sleep(0.002)
    first, start = int(ledger.client.zcard(name)), time.perf_counter()  # type: ignore[arg-type]
    while ledger.client.zcard(name):
        time.sleep(0.01)
    return first / (time.perf_counter() - start)


def body(index: int) -> dict[str, object]:
    one = structure(index)
    plain = {"symbols": one.symbols, "positions": one.positions.tolist(), "cell": one.cell.tolist()}
    return {"structure": plain, "want": ["energy"], "model": ["noop"]}


def post_throughput(client: httpx2.Client, n_clients: int, first: int) -> float:
    """Accepted POSTs per second."""
    start = time.perf_counter()
    with ThreadPoolExecutor(n_clients) as pool:
        replies = list(pool.map(lambda i: client.post("/v1/predictions", json=body(i)), range(first, first + N_POSTS)))
    seconds = time.perf_counter() - start
    if any(reply.status_code not in (200, 202) for reply in replies):
        raise RuntimeError(next(reply.text for reply in replies if reply.status_code not in (200, 202)))
    return N_POSTS / seconds


def latencies(client: httpx2.Client, first: int) -> np.ndarray:
    """Milliseconds from POST to result, one request at a time on an idle service, less the model's own."""
    found = []
    for index in range(first, first + N_LATENCIES):
        time.sleep(random.uniform(0.05, 0.15))
        start = time.perf_counter()
        reply = client.post("/v1/predictions", json=body(index), headers={"Prefer": "wait=10"})
        seconds = time.perf_counter() - start
        if reply.status_code != 200:
            raise RuntimeError(reply.text)
        found.append(1000 * (seconds - reply.json()["compute_seconds"]))
    return np.array(found)


def main() -> None:
    """Prints the figures beside the engine's own."""
    with tempfile.TemporaryDirectory() as folder, EmbeddedStore(Path(folder) / "store") as store:
        settings = Settings(redis_url=store.url, data=Path(folder), namespace="bench")
        environment = {
            **os.environ,
            "RHOCAST_REDIS_URL": store.url,
            "RHOCAST_DATA": folder,
            "RHOCAST_NAMESPACE": "bench",
        }
        web = ["-m", "app.web", "--port", str(PORT)]
        children = [Child("worker", [sys.executable, "-m", "benchmarks.noop_worker"], environment)]
        children.append(Child("web", [sys.executable, *web], environment))
        for child in children:
            child.keep_alive()
        client = connect(store.url)
        ledger = Ledger(client, settings)
        try:
            with httpx2.Client(base_url=f"http://127.0.0.1:{PORT}", timeout=30) as http:
                _wait_ready(http, Directory(client, settings))
                _report(ledger, http, children[0])
        finally:
            for child in children:
                child.stop(10)
            client.close()


def _report(ledger: Ledger, http: httpx2.Client, worker: Child) -> None:
    print(machine_line())
    submits, jobs = ledger_throughput(ledger)
    print(f"ledger + worker      {jobs:7.0f} no-op jobs/s from submission to result; target 1,000")
    print(f"                     {drain_throughput(ledger, worker):7.0f} no-op jobs/s of a worker on a full queue")
    print("                        1,250-1,620 jobs/s: the transport alone, as measured when it was chosen")
    print(f"                     {submits:7.0f} submissions/s by one client")
    sequential, parallel = post_throughput(http, 1, 100_000), post_throughput(http, 8, 200_000)
    print(f"POST /v1/predictions {sequential:7.0f} /s by one client, {parallel:.0f} /s by eight")
    while ledger.client.zcard(f"{ledger.settings.namespace}:open"):
        time.sleep(0.1)
    p50, p90, p99 = np.percentile(latencies(http, 300_000), [50, 90, 99])
    print(
        f"one request          {p50:7.1f} ms p50, {p90:.1f} p90, {p99:.1f} p99 beside the model's time; target 20 p50"
    )


def _wait_ready(http: httpx2.Client, directory: Directory) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            if http.get("/readyz").status_code == 200 and directory.entries():
                return
        except httpx2.TransportError:
            pass
        if time.monotonic() > deadline:
            raise RuntimeError("the service did not come up within 60 s")
        time.sleep(0.2)


if __name__ == "__main__":
    main()
