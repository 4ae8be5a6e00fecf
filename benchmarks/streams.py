"""What 1,000 open event streams cost one web process: memory, processor, and the time from a job's end to its event.

Everything runs on this machine, the listeners included, with real processes: Valkey (AOF) and uvicorn. No worker runs:
tasks are claimed and ended here, so that the clock starts when the ledger has taken the end.
"""

import asyncio
import os
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from app.supervisor import Child
from benchmarks.client import SILENT
from benchmarks.machine import machine_line
from benchmarks.service import order
from jobs.connection import connect
from jobs.embedded import EmbeddedStore
from jobs.ledger import End, Ledger
from jobs.settings import Settings
from jobs.transport import Ticket
from rhocast.schemas import Priority

N_STREAMS = 1000
N_ENDS = 200
IDLE_SECONDS = 20
PORT = 8766
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Stream:
    """One listener, on a socket of its own."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    @classmethod
    async def opened(cls, job_id: str) -> "Stream":
        stream = cls(*await asyncio.open_connection("127.0.0.1", PORT))
        stream.writer.write(f"GET /v1/jobs/{job_id}/events HTTP/1.1\r\nHost: here\r\n\r\n".encode())
        await stream.until(b"event: queued")
        return stream

    async def until(self, words: bytes) -> float:
        """The moment at which a line with some words has come."""
        while words not in (line := await self._reader.readline()):
            if not line:
                raise RuntimeError(f"the stream ended before {words!r}")
        return time.perf_counter()


def submitted(ledger: Ledger, indices: Sequence[int], n_jobs: int = 1) -> list[tuple[str, str]]:
    """Id and task of new jobs, some of them for each structure."""
    found: list[tuple[str, str]] = []
    for index in indices:
        for again in range(n_jobs):
            job, task = order(index)
            found.append((ledger.submit(job.model_copy(update={"id": f"{job.id}-{again}"}), [task]), task.key))
    return found


def end(ledger: Ledger, key: str) -> float:
    """The moment at which the ledger had taken the end of a task."""
    message = ledger.client.hget(f"{ledger.settings.namespace}:task:{key}", "message")
    ticket = Ticket(str(message, "ascii"), key, 1.0, "noop", Priority.INTERACTIVE)  # type: ignore[arg-type]
    ledger.claim([ticket], "benchmark", is_shared=False)
    ledger.finish([End(key, 0.1, result={"energy": 0.0, "code_version": "none"})])
    return time.perf_counter()


class Cost:
    """Memory and processor time of a process.

    Args:
        pid: The process.
    """

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")

    @property
    def megabytes(self) -> float:
        return int((self._folder / "statm").read_text().split()[1]) * _PAGE / 1e6

    @property
    def seconds(self) -> float:
        user, system = (self._folder / "stat").read_text().rsplit(")", 1)[1].split()[11:13]
        return (int(user) + int(system)) / _TICKS

    async def share(self, seconds: float) -> float:
        """Share of one core during the next seconds."""
        before = self.seconds
        await asyncio.sleep(seconds)
        return (self.seconds - before) / seconds


async def measured(ledger: Ledger, cost: Cost) -> None:
    jobs = submitted(ledger, range(N_STREAMS))
    before = cost.megabytes
    start = time.perf_counter()
    streams = await asyncio.gather(*(Stream.opened(job_id) for job_id, _ in jobs))
    print(f"{N_STREAMS} streams open after {time.perf_counter() - start:.1f} s, each told its place in the queue")
    print(f"memory    {1000 * (cost.megabytes - before) / N_STREAMS:7.0f} kB a stream, {cost.megabytes:.0f} MB in all")
    print(f"store     {len(ledger.client.client_list()):7d} connections in all")
    print(f"processor {100 * await cost.share(IDLE_SECONDS):7.1f} % of a core while nothing ends")
    delays = []
    for stream, (_, key) in list(zip(streams, jobs, strict=True))[:N_ENDS]:
        listening = asyncio.create_task(stream.until(b"event: succeeded"))
        await asyncio.sleep(0.02)
        ended = await asyncio.to_thread(end, ledger, key)
        delays.append(1000 * (await listening - ended))
    p50, p90, p99 = np.percentile(delays, [50, 90, 99])
    print(f"delay     {p50:7.1f} ms p50, {p90:.1f} p90, {p99:.1f} p99 from a job's end to its event, one after another")
    for stream in streams:
        stream.writer.close()
    crowd = submitted(ledger, [N_STREAMS], N_STREAMS)
    streams = await asyncio.gather(*(Stream.opened(job_id) for job_id, _ in crowd))
    listening = [asyncio.create_task(stream.until(b"event: succeeded")) for stream in streams]
    await asyncio.sleep(1)
    ended = await asyncio.to_thread(end, ledger, crowd[0][1])
    told = np.array(await asyncio.gather(*listening)) - ended
    print(
        f"crowd     {1000 * np.median(told):7.0f} ms median, {1000 * told.max():.0f} at most, all {N_STREAMS} at once"
    )
    for stream in streams:
        stream.writer.close()


def main() -> None:
    """Prints the figures."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with tempfile.TemporaryDirectory() as folder, EmbeddedStore(Path(folder) / "store") as store:
        settings = Settings(redis_url=store.url, data=Path(folder), namespace="bench")
        ours = {"RHOCAST_REDIS_URL": store.url, "RHOCAST_DATA": folder, "RHOCAST_NAMESPACE": "bench"}
        web = Child("web", [*SILENT, sys.executable, "-m", "app.web", "--port", str(PORT)], {**os.environ, **ours})
        web.keep_alive()
        client = connect(store.url)
        try:
            asyncio.run(_measured_when_ready(Ledger(client, settings), web))
        finally:
            web.stop(10)
            client.close()


async def _measured_when_ready(ledger: Ledger, web: Child) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", PORT)
            break
        except OSError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.2)
    writer.close()
    await asyncio.sleep(2)
    print(machine_line())
    if web.process is None:
        raise RuntimeError("the web server is not running")
    await measured(ledger, Cost(web.process.pid))


if __name__ == "__main__":
    main()
