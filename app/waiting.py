"""Waiting for a job without asking the store again and again."""

import asyncio
import contextlib
from collections import defaultdict

import redis
import redis.asyncio
import structlog

log = structlog.get_logger()

_LOOK_ANYWAY_SECONDS = 0.5  # a notice can be lost while the subscription is renewed


class Waiter:
    """One subscription for the whole application, to notices of ended tasks and cancelled jobs.

    Args:
        url: Address of the store.
        channel: Channel of the notices.
    """

    def __init__(self, url: str, channel: str) -> None:
        self._url = url
        self._channel = channel
        self._events: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._listener: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Starts to listen; to be called in the event loop."""
        self._listener = asyncio.create_task(self._listen())

    async def stop(self) -> None:
        if self._listener is not None:
            self._listener.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._listener

    @contextlib.contextmanager
    def notices(self, names: list[str]):
        """An event that is set when one of some tasks ends or a job is cancelled."""
        event = asyncio.Event()
        for name in names:
            self._events[name].add(event)
        try:
            yield event
        finally:
            for name in names:
                self._events[name].discard(event)
                if not self._events[name]:
                    del self._events[name]

    @staticmethod
    async def pause(event: asyncio.Event, seconds: float) -> None:
        """Waits for a notice, but no longer than some seconds, and looks up now and then in any case."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), min(seconds, _LOOK_ANYWAY_SECONDS))
        event.clear()

    async def _listen(self) -> None:
        while True:
            try:
                async with (
                    redis.asyncio.Redis.from_url(self._url, socket_timeout=None) as client,
                    client.pubsub() as feed,
                ):
                    await feed.subscribe(self._channel)
                    async for notice in feed.listen():
                        if notice["type"] == "message":
                            for event in self._events.get(notice["data"].decode(), ()):
                                event.set()
            except (redis.RedisError, OSError) as error:
                log.warning("notices_interrupted", error=str(error))
                await asyncio.sleep(_LOOK_ANYWAY_SECONDS)
