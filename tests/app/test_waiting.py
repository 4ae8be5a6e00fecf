"""Waiting without asking again and again."""

import asyncio
import time

import pytest
import redis

from app.waiting import Waiter
from jobs.connection import connect


def test_a_notice_wakes_who_waits_for_it_and_nobody_else(store):
    async def told() -> tuple[bool, bool]:
        waiter = Waiter(store.url, "notices")
        waiter.start()
        with (
            waiter.notices(["mine", "also mine"]) as mine,
            waiter.notices(["other"]) as other,
            connect(store.url) as client,
        ):
            for _ in range(100):  # until the subscription stands
                client.publish("notices", "mine")
                await asyncio.sleep(0.02)
                if mine.is_set():
                    break
            result = mine.is_set(), other.is_set()
        assert not waiter._events
        await waiter.stop()
        return result

    assert asyncio.run(told()) == (True, False)


def test_a_pause_ends_with_a_notice_or_with_its_time():
    async def pauses() -> list[float]:
        event, lengths = asyncio.Event(), []
        for seconds, is_set in ((60.0, True), (0.05, False), (60.0, False)):
            if is_set:
                event.set()
            start = time.monotonic()
            await Waiter.pause(event, seconds)
            assert not event.is_set()
            lengths.append(time.monotonic() - start)
        return lengths

    noticed, short, looked_up_anyway = asyncio.run(pauses())
    assert noticed < 0.04
    assert 0.04 < short < 0.4
    assert 0.4 < looked_up_anyway < 3


def test_a_waiter_that_never_started_stops():
    asyncio.run(Waiter("unix:///nowhere", "notices").stop())


def test_a_store_that_is_down_is_asked_again(monkeypatch):
    tries = []

    def refusing(url: str, **_: object) -> None:
        tries.append(url)
        raise redis.ConnectionError("down")

    monkeypatch.setattr("app.waiting.redis.asyncio.Redis.from_url", refusing)
    monkeypatch.setattr("app.waiting._LOOK_ANYWAY_SECONDS", 0.01)

    async def listen() -> None:
        waiter = Waiter("unix:///nowhere", "notices")
        waiter.start()
        await asyncio.sleep(0.2)
        await waiter.stop()

    asyncio.run(listen())
    assert len(tries) > 2
    assert set(tries) == {"unix:///nowhere"}


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        ("wait=5", 5.0),
        ("respond-async, wait=10", 10.0),
        ('wait="2"', 2.0),
        ("wait = 0.5", 0.5),
        ("wait=100000", 60.0),
        ("wait=" + "9" * 400, 60.0),
        ("", 0.0),
        ("return=minimal", 0.0),
        ("await=5", 0.0),
        ("wait=-5", 0.0),
    ],
)
def test_patience_is_read_from_the_prefer_header(prefer, seconds):
    from app.routes.predictions import _wait_seconds

    assert _wait_seconds(prefer, 60.0) == seconds
