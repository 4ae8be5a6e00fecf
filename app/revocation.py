"""A key that is revoked while it is being answered."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.access import Caller, still_allowed
from app.problems import problem_response
from app.services import Services
from rhocast.errors import Unauthorized

LOOK_SECONDS = 1.0

log = structlog.get_logger()


@dataclass(eq=False)
class _Answer:
    """An answer under way: the task that gives it, the request, and whether it was ended from here."""

    task: asyncio.Task[Any] | None
    scope: Scope
    is_ended: bool = False

    @property
    def caller(self) -> Caller:
        """Who asked; nobody in particular before that is known."""
        return self.scope.get("state", {}).get("caller") or Caller()


class EndsWithItsKey:
    """Ends answers that are under way, streams of events or long waits, when their API key is no longer good.

    One look a second at each key that is being answered, however many answers those are.

    Args:
        app: The application inside.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._under_way: set[_Answer] = set()
        self._watcher: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start: Message = {}

        async def noting(message: Message) -> None:
            nonlocal start
            start = start or message
            await send(message)

        answer = _Answer(asyncio.current_task(), scope)
        self._under_way.add(answer)
        if self._watcher is None or self._watcher.done():
            self._watcher = asyncio.create_task(self._watch())
        try:
            await self.app(scope, receive, noting)
        except asyncio.CancelledError:
            if not answer.is_ended or answer.task is None:
                raise
            answer.task.uncancel()
            await _broken_off(start, scope, receive, send)
        finally:
            self._under_way.discard(answer)

    async def _watch(self) -> None:
        """Looks for as long as anything is under way."""
        while self._under_way:
            await asyncio.sleep(LOOK_SECONDS)
            asked = [answer for answer in self._under_way if answer.caller.key is not None]
            callers = {_digest(answer): answer.caller for answer in asked}
            if not callers:
                continue
            services = asked[0].scope["app"].state.services
            revoked = await asyncio.to_thread(_revoked, services, callers.values())
            for answer in self._under_way.intersection(asked):
                if _digest(answer) in revoked and answer.task is not None:
                    answer.is_ended = True
                    answer.task.cancel()


def _digest(answer: _Answer) -> str:
    key = answer.caller.key
    return key.digest if key is not None else ""


def _revoked(services: Services, callers: Collection[Caller]) -> set[str]:
    """Digests of the keys that are no longer good."""
    return {caller.key.digest for caller in callers if caller.key and not still_allowed(services, caller)}


async def _broken_off(start: Message, scope: Scope, receive: Receive, send: Send) -> None:
    """The end of an answer whose key was revoked meanwhile. A file of a promised length stays incomplete."""
    log.info("answer_broken_off", path=scope["path"])
    if not start:
        error = Unauthorized("found that the API key was revoked meanwhile; expected a good one; ask for a new one")
        await problem_response(error)(scope, receive, send)
    elif not any(name == b"content-length" for name, _ in start["headers"]):
        await send({"type": "http.response.body", "body": b"", "more_body": False})
