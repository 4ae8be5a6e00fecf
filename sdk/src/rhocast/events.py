"""Following a job: the lines of an event stream, and the stream that goes on where the last one broke off."""

import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass

from pydantic import ValidationError

from rhocast.conversation import Conversation
from rhocast.errors import ConnectionFailed
from rhocast.schemas import Job
from rhocast.transport import Reply
from rhocast.wire import error_of, is_success, job_events

_LONGEST_LINE = 10_000_000


@dataclass(frozen=True)
class ServerEvent:
    """One event of a stream.

    Attributes:
        id: Where it stands in the stream; empty if it does not say.
        data: What it tells.
    """

    id: str
    data: str


class EventReader:
    """Server-sent events (WHATWG HTML, 9.2) out of bytes in any pieces. Comments and the kinds of events are ignored.

    Args:
        url: Address that they come from, for errors.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._rest = b""
        self._data: list[str] = []
        self._id = ""

    def read(self, chunk: bytes) -> Iterator[ServerEvent]:
        """The events that are complete with the next piece.

        Args:
            chunk: The piece.

        Raises:
            ConnectionFailed: If a line has no end: this is no stream of events.
        """
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > _LONGEST_LINE:
            raise ConnectionFailed(
                f"found a line of more than {_LONGEST_LINE} bytes from {self._url}; expected events; check the URL"
            )
        for line in lines:
            event = self._taken(line.rstrip(b"\r").decode("utf-8", "replace"))
            if event is not None:
                yield event

    def _taken(self, line: str) -> ServerEvent | None:
        """The event that ends with a line."""
        if not line:
            data, self._data = self._data, []
            return ServerEvent(self._id, "\n".join(data)) if data else None
        name, _, value = line.partition(":")
        if name == "data":
            self._data.append(value.removeprefix(" "))
        elif name == "id":
            self._id = value.removeprefix(" ")
        return None


async def followed(conversation: Conversation, job_id: str, timeout: float) -> AsyncGenerator[Job]:
    """States of a job as they come, without their results, until it has ended or the time is over.

    A stream that breaks off, or ends before the job does, is asked for again from where it stood.

    Args:
        conversation: Where to ask.
        job_id: The job.
        timeout: Seconds after which listening ends.

    Raises:
        RhocastError: What the server answers instead.
        ConnectionFailed: If no rhocast server answers.
    """
    deadline = time.monotonic() + timeout
    listener = _Listener(conversation, job_id)
    attempts = conversation.attempts(timeout)
    while not listener.has_ended and (left := deadline - time.monotonic()) > 0:
        failure = ConnectionFailed(
            f"found that the events of job {job_id!r} end again and again; expected them to go on until it has ended; "
            "wait() asks without a stream"
        )
        try:
            async with aclosing(listener.states(left)) as states:
                async for state in states:
                    yield state
        except ConnectionFailed as error:
            failure = error
        if listener.is_alive:
            attempts = conversation.attempts(deadline - time.monotonic())
        if listener.refused is not None:
            if not await conversation.has_paused(
                attempts, listener.refused.status, listener.refused.headers.get("retry-after", "")
            ):
                raise error_of(listener.refused, conversation.url)
        elif not listener.has_ended and time.monotonic() < deadline:
            await conversation.pause_or_raise(attempts, failure)


class _Listener:
    """One stream after another, and how far it got.

    Attributes:
        has_ended: Whether there is no more to hear.
        is_alive: Whether the last stream brought anything that can be read.
        refused: What came in place of the last stream.
    """

    def __init__(self, conversation: Conversation, job_id: str) -> None:
        self._conversation = conversation
        self._job_id = job_id
        self._last_id = ""
        self.has_ended = False
        self.is_alive = False
        self.refused: Reply | None = None

    async def states(self, seconds: float) -> AsyncGenerator[Job]:
        """States that one stream brings.

        Args:
            seconds: Longest duration of the stream.
        """
        url = self._conversation.url
        self.is_alive, self.refused = False, None
        async with self._conversation.transport.stream(job_events(self._job_id, seconds, self._last_id)) as reply:
            if not is_success(reply.status):
                self.refused = await reply.read()
                return
            reader = EventReader(url)
            async for chunk in reply.chunks:
                for event in reader.read(chunk):
                    state = _state(event, url)
                    self._last_id, self.has_ended = event.id, state.status.is_final
                    yield state
                    if self.has_ended:
                        return
                self.is_alive = True


def _state(event: ServerEvent, url: str) -> Job:
    try:
        return Job.model_validate_json(event.data, extra="ignore")
    except ValidationError as error:
        raise ConnectionFailed(
            f"found an event of {url} that is no rhocast job ({event.data[:200]}); expected a rhocast service there, "
            "of this version or newer; check the URL"
        ) from error
