"""Waiting for jobs: one subscription and one look at the store serve everybody in this process who waits."""

import asyncio
import contextlib
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable
from types import FrameType

import redis
import redis.asyncio
import structlog

from jobs.ledger import Ledger
from jobs.records import Standing
from rhocast.schemas import JobStatus

log = structlog.get_logger()

_LOOK_ANYWAY_SECONDS = 2.0  # places in queues change without a notice, and a dead connection loses some
_LOOKED_AT_ANYWAY = 100  # jobs of one such look: what a notice tells shall not wait behind a thousand
_PAUSE_SECONDS = 0.5  # after the store did not answer


class Watch:
    """What one listener knows of one job: the newest standing alone, however many there were since it last looked.

    Args:
        job_id: The job.
    """

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self.standing: Standing | None = None
        self.is_over = False
        self._news = asyncio.Event()

    def tell(self, standing: Standing) -> None:
        """Takes note of how far the job is."""
        if standing != self.standing:
            self.standing = standing
            self._news.set()

    def end(self) -> None:
        """Says that nobody watches any more, for the service stops."""
        self.is_over = True
        self._news.set()

    async def news(self, seconds: float) -> bool:
        """Whether there is something new within some seconds; at once if it came since the last call.

        Args:
            seconds: Longest wait, on a clock that does not jump.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()
        was_set = self._news.is_set()
        if not self.is_over:
            self._news.clear()
        return was_set

    async def end_of_job(self, seconds: float) -> None:
        """Returns when the job has ended, the service stops, or some seconds are over."""
        deadline = time.monotonic() + seconds
        while not self.is_over and not (self.standing is not None and self.standing.status.is_final):
            if not await self.news(deadline - time.monotonic()):
                return


class Waiter:
    """Knows how far each job is that somebody in this process waits for.

    A notice marks the jobs of a task; the next look asks for all marked jobs together. A look follows in any case
    whenever the subscription is made anew, and every two seconds.

    Args:
        url: Address of the store.
        ledger: What is looked at.
    """

    def __init__(self, url: str, ledger: Ledger) -> None:
        self._url = url
        self._ledger = ledger
        self._watches: dict[str, set[Watch]] = defaultdict(set)  # by id of the job and by key of each of its tasks
        self._marked: set[str] = set()
        self._is_marked = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []
        self._is_ending = False

    def start(self) -> None:
        """Starts to listen; to be called in the event loop."""
        self._loops = [asyncio.create_task(self._listen()), asyncio.create_task(self._look())]

    async def stop(self) -> None:
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)

    def end_watches(self) -> None:
        """Lets everybody who waits go, also who comes before the door is closed: the service stops."""
        self._is_ending = True
        for watch in self._all():
            watch.end()

    @contextlib.contextmanager
    def watch(self, job_id: str, tasks: Iterable[str]) -> Generator[Watch]:
        """A watch on a job; its standing comes a moment after it began.

        Args:
            job_id: The job.
            tasks: Keys of its tasks.
        """
        watch, names = Watch(job_id), {job_id, *tasks}
        for name in names:
            self._watches[name].add(watch)
        self._mark({job_id})
        if self._is_ending:
            watch.end()
        try:
            yield watch
        finally:
            for name in names:
                self._watches[name].discard(watch)
                if not self._watches[name]:
                    del self._watches[name]

    def _all(self) -> set[Watch]:
        return {watch for watches in self._watches.values() for watch in watches}

    def _mark(self, job_ids: set[str]) -> None:
        self._marked |= job_ids
        self._is_marked.set()

    async def _listen(self) -> None:
        while True:
            try:
                async with (
                    redis.asyncio.Redis.from_url(self._url, socket_timeout=None) as client,
                    client.pubsub() as feed,
                ):
                    await feed.subscribe(self._ledger.channel)
                    async for notice in feed.listen():
                        name = notice["data"].decode() if notice["type"] == "message" else None
                        heard = self._all() if name is None else self._watches.get(name, ())
                        if heard:
                            self._mark({watch.job_id for watch in heard})
            except (redis.RedisError, OSError) as error:
                log.warning("notices_interrupted", error=str(error))
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _look(self) -> None:
        look_anyway = time.monotonic() + _LOOK_ANYWAY_SECONDS
        due: list[str] = []
        while True:
            with contextlib.suppress(TimeoutError):
                # Not wait_for: before Python 3.12 it loses the cancellation that comes together with the event.
                async with asyncio.timeout(0 if due else look_anyway - time.monotonic()):
                    await self._is_marked.wait()
            if time.monotonic() >= look_anyway:
                due = list({watch.job_id for watch in self._all()})
                look_anyway = time.monotonic() + _LOOK_ANYWAY_SECONDS
            marked, self._marked = self._marked.union(due[:_LOOKED_AT_ANYWAY]), set()
            due = due[_LOOKED_AT_ANYWAY:]
            self._is_marked.clear()
            try:
                await self._tell(marked)
            except (redis.RedisError, OSError) as error:
                log.warning("look_failed", error=str(error))
                await asyncio.sleep(_PAUSE_SECONDS)
                self._mark(marked)

    async def _tell(self, job_ids: set[str]) -> None:
        """Tells everybody who watches some jobs how far they are; one that is no longer kept has expired."""
        watched = [job_id for job_id in job_ids if job_id in self._watches]
        if not watched:
            return
        found = await asyncio.to_thread(self._ledger.standings, watched)
        for job_id in watched:
            standing = found.get(job_id, Standing(status=JobStatus.EXPIRED))
            for watch in self._watches.get(job_id, ()):
                watch.tell(standing)


@contextlib.contextmanager
def called_on_termination(call: Callable[[], None]) -> Generator[None]:
    """While the block runs, SIGTERM and SIGINT also make a call in the event loop.

    The web server that catches them waits for the answers under way, and a stream of events is under way for minutes.
    Where nobody catches them, or outside the main thread, nothing is changed.

    Args:
        call: What to call.
    """
    loop = asyncio.get_running_loop()
    replaced: dict[signal.Signals, Callable[[int, FrameType | None], object]] = {}

    def handle(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(call)
        replaced[signal.Signals(number)](number, frame)

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            handler = signal.getsignal(number)
            if callable(handler):
                replaced[number] = handler
                signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in replaced.items():
            signal.signal(number, handler)
