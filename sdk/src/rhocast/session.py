"""A conversation without an event loop: its coroutines are run where they are called, and block."""

import weakref
from collections.abc import AsyncGenerator, Coroutine, Generator
from typing import Any, BinaryIO, Protocol, TypeVar

from rich.console import Console

from rhocast.async_transport import Blocking
from rhocast.conversation import Conversation
from rhocast.progress import is_shown
from rhocast.retrying import RetryPolicy
from rhocast.transport import Call, Reply, Transport
from rhocast.wire import LONGEST_POLL, Answer

_SEEN_POLL = 1.0

T = TypeVar("T")


def done(steps: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns that is never suspended, since its transport blocks.

    Args:
        steps: The coroutine.

    Raises:
        RuntimeError: If it is suspended all the same.
    """
    try:
        steps.send(None)
    except StopIteration as end:
        return end.value
    finally:
        steps.close()
    raise RuntimeError("a coroutine of a blocking client was suspended")


def each(items: AsyncGenerator[T]) -> Generator[T]:
    """What an asynchronous generator yields that is never suspended."""
    try:
        while True:
            try:
                item = done(anext(items))  # type: ignore[arg-type]
            except StopAsyncIteration:
                return
            yield item
    finally:
        done(items.aclose())


class Downloads(Protocol):
    """Where files of results come from."""

    @property
    def progress(self) -> bool | None:
        """Whether waiting shows a spinner; None leaves it to RHOCAST_PROGRESS."""
        ...

    def download(self, call: Call, target: BinaryIO) -> None:
        """Writes the file that answers a call."""
        ...


class Session:
    """Calls with retries. Shared by a client and the jobs and results that came from it.

    Args:
        transport: What carries the calls; it is closed when nobody holds the session any more.
        policy: When a call is repeated.
        progress: Whether waiting shows a spinner; None leaves it to RHOCAST_PROGRESS.
    """

    def __init__(self, transport: Transport, policy: RetryPolicy, progress: bool | None = None) -> None:
        self.progress = progress
        self.conversation = Conversation(Blocking(transport), policy)
        self.close = weakref.finalize(self, _close, self.conversation)

    @property
    def url(self) -> str:
        return self.conversation.url

    @property
    def longest_poll(self) -> float:
        """Seconds that the server is asked to wait for the end of a job: fewer where somebody sees how far it is."""
        return _SEEN_POLL if is_shown(self.progress, Console(stderr=True)) else LONGEST_POLL

    def pause(self, seconds: float) -> None:
        done(self.conversation.transport.pause(seconds))

    def ask(self, call: Call, schema: type[Answer], patience: float | None = None) -> Answer:
        """The object that answers a call, as `Conversation.ask` has it."""
        return done(self.conversation.ask(call, schema, patience))

    def reply(self, call: Call, patience: float | None = None) -> Reply:
        """The reply to a call, as `Conversation.reply` has it."""
        return done(self.conversation.reply(call, patience))

    def download(self, call: Call, target: BinaryIO) -> None:
        """Writes the file that answers a call, as `Conversation.download` does."""
        done(self.conversation.download(call, target))


def _close(conversation: Conversation) -> None:
    done(conversation.close())
