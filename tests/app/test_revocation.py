"""An answer under way ends when its key is revoked, whatever it is: a stream, a long wait, a download."""

import asyncio
import time

import pytest
from fastapi import Depends, FastAPI
from fastapi.responses import Response, StreamingResponse

from app.access import Caller, caller
from app.revocation import EndsWithItsKey
from jobs.connection import connect
from jobs.keys import Keys
from jobs.settings import Settings


class Asked:
    """One request to an application, message by message."""

    def __init__(self, app, path: str, plain: str) -> None:
        self.messages: list[dict] = []
        headers = [(b"x-api-key", plain.encode())] if plain else []
        self.scope = {
            "type": "http", "method": "GET", "path": path, "headers": headers, "query_string": b"",
            "server": ("10.0.0.1", 80), "app": app,
        }  # fmt: skip
        self._app = app

    async def answer(self, seconds: float) -> float:
        """Seconds until the answer ended."""
        started = time.monotonic()

        async def receive():
            await asyncio.sleep(60)

        async def send(message):
            self.messages.append(message)

        await asyncio.wait_for(self._app(self.scope, receive, send), seconds)
        return time.monotonic() - started


@pytest.fixture
def keys(ledger) -> Keys:
    return Keys(ledger.client, ledger.settings)


@pytest.fixture
def app(ledger, settings):
    """An application whose answers take their time."""

    class FewServices:
        def __init__(self) -> None:
            self.settings: Settings = settings.model_copy(update={"auth": "keys"})
            self.keys = Keys(connect(settings.redis_url), settings)

    made = FastAPI(dependencies=[Depends(caller)])
    made.add_middleware(EndsWithItsKey)
    made.state.services = FewServices()

    async def ticks():
        while True:
            yield b"tick\n"
            await asyncio.sleep(0.05)

    @made.get("/stream")
    def stream() -> Response:
        return StreamingResponse(ticks())

    @made.get("/file")
    def file() -> Response:
        return StreamingResponse(ticks(), headers={"Content-Length": "1000000"})

    @made.get("/wait")
    async def wait(seconds: float = 30) -> str:
        await asyncio.sleep(seconds)
        return "done"

    @made.get("/short")
    async def short() -> str:
        await asyncio.sleep(1.3)
        return "done"

    yield made
    made.state.services.keys._client.close()


def revoked_meanwhile(app, keys, path: str) -> tuple[Asked, float]:
    """A request whose key is revoked after half a second."""
    key, plain = keys.create("alice")
    asked = Asked(app, path, plain)

    async def both() -> float:
        asyncio.get_running_loop().call_later(0.5, keys.revoke, key.id)
        return await asked.answer(10)

    return asked, asyncio.run(both())


def test_a_stream_ends_within_two_seconds(app, keys):
    asked, seconds = revoked_meanwhile(app, keys, "/stream")
    assert 0.5 < seconds < 2.5
    assert asked.messages[0]["status"] == 200
    assert asked.messages[-1] == {"type": "http.response.body", "body": b"", "more_body": False}
    assert sum(message.get("body") == b"tick\n" for message in asked.messages) >= 5


def test_a_wait_ends_with_a_refusal(app, keys):
    asked, seconds = revoked_meanwhile(app, keys, "/wait")
    assert seconds < 2.5
    assert asked.messages[0]["status"] == 401
    assert b"revoked meanwhile; expected a good one" in asked.messages[1]["body"]


def test_a_file_of_a_promised_length_stays_incomplete(app, keys):
    asked, seconds = revoked_meanwhile(app, keys, "/file")
    assert seconds < 2.5
    assert asked.messages[-1]["body"] == b"tick\n"
    assert asked.messages[-1]["more_body"]


def test_an_answer_with_a_good_key_is_left_alone(app, keys):
    _, plain = keys.create("alice")
    asked = Asked(app, "/short", plain)
    asyncio.run(asked.answer(10))
    assert [message.get("body") for message in asked.messages] == [None, b'"done"']


def test_an_answer_that_somebody_else_breaks_off_is_broken_off(app, keys):
    _, plain = keys.create("alice")
    with pytest.raises(TimeoutError):
        asyncio.run(Asked(app, "/wait", plain).answer(0.2))


def test_many_answers_of_one_key_cost_one_look_a_second(app, keys, monkeypatch):
    _, plain = keys.create("alice")
    looks = []
    look = Keys.good
    monkeypatch.setattr(Keys, "good", lambda self, digest: looks.append(digest) or look(self, digest))

    async def together():
        await asyncio.gather(*(Asked(app, "/short", plain).answer(20) for _ in range(30)))

    asyncio.run(together())
    at_the_door = 30
    assert at_the_door < len(looks) <= at_the_door + 3


def test_of_two_keys_only_the_revoked_one_loses_its_answer(app, keys):
    _, kept = keys.create("bob")
    revoked, plain = keys.create("alice")
    one, other = Asked(app, "/wait", kept), Asked(app, "/wait", plain)
    one.scope["query_string"] = b"seconds=2.5"

    async def both():
        asyncio.get_running_loop().call_later(0.3, keys.revoke, revoked.id)
        await asyncio.gather(one.answer(10), other.answer(10))

    asyncio.run(both())
    assert [one.messages[0]["status"], other.messages[0]["status"]] == [200, 401]


def test_where_no_key_is_asked_for_nothing_is_watched():
    async def app(scope, receive, send):
        await asyncio.sleep(1.2)
        await send({"type": "http.response.start", "status": 204, "headers": []})

    asked = Asked(EndsWithItsKey(app), "/", "")
    asyncio.run(asked.answer(5))
    assert asked.messages[0]["status"] == 204


def test_what_is_no_request_passes():
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["type"])

    asyncio.run(EndsWithItsKey(app)({"type": "lifespan"}, None, None))
    assert seen == ["lifespan"]


def test_a_caller_without_a_key_is_one_of_this_machine():
    assert Caller().is_admin
    assert Caller().owner == ""
