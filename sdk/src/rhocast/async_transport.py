"""Transports that are awaited: HTTP for an event loop, and a blocking one in the same dress."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import httpx2

from rhocast.transport import Call, HttpLine, Reply, Transport


@dataclass(frozen=True)
class Stream:
    """An answer whose body comes in pieces.

    Attributes:
        status: HTTP status.
        headers: Headers, their names in small letters.
        chunks: The body in pieces.
    """

    status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]

    async def read(self) -> Reply:
        """All of the answer."""
        return Reply(self.status, self.headers, b"".join([chunk async for chunk in self.chunks]))


class AsyncTransport(Protocol):
    """What carries calls, and what passes the time between them."""

    @property
    def url(self) -> str:
        """Address of the server, without a slash at its end."""
        ...

    async def send(self, call: Call) -> Reply:
        """The answer to a call; ConnectionFailed if there is none."""
        ...

    def stream(self, call: Call) -> AbstractAsyncContextManager[Stream]:
        """The answer to a call, its body in pieces."""
        ...

    async def pause(self, seconds: float) -> None:
        """Lets some seconds pass."""
        ...

    async def close(self) -> None:
        """Frees connections."""
        ...


class AsyncHttpTransport:
    """Calls over HTTP in an event loop.

    Args:
        url: Address of the server.
        timeout: Silence in s after which a server counts as gone.
        api_key: Key that goes with every call, to this server alone. Empty for none.

    Raises:
        ConnectionFailed: If the address is no HTTP URL.
        ClientError: If the key is no key.
    """

    def __init__(self, url: str, timeout: float = 30.0, api_key: str = "") -> None:
        self._line = HttpLine(url, timeout, api_key)
        self._client = httpx2.AsyncClient(headers=self._line.headers, trust_env=self._line.trust_env)

    @property
    def url(self) -> str:
        return self._line.url

    async def send(self, call: Call) -> Reply:
        """The answer to a call.

        Args:
            call: What to ask.

        Raises:
            ConnectionFailed: If none comes.
        """
        async with self.stream(call) as reply:
            return await reply.read()

    @asynccontextmanager
    async def stream(self, call: Call) -> AsyncGenerator[Stream]:
        """The answer to a call, its body in pieces.

        Args:
            call: What to ask.

        Raises:
            ConnectionFailed: If no answer comes, or it breaks off.
        """
        with self._line.failures_named():
            async with self._client.stream(**self._line.request(call)) as response:
                yield Stream(response.status_code, dict(response.headers.items()), response.aiter_bytes())

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def close(self) -> None:
        await self._client.aclose()


class Blocking:
    """A transport that blocks, in the dress of one that is awaited: its coroutines end without ever being suspended.

    So what a client does is written once, as coroutines; `rhocast.session.done` runs them where there is no event loop.

    Args:
        transport: What carries the calls.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    @property
    def url(self) -> str:
        return self._transport.url

    async def send(self, call: Call) -> Reply:
        return self._transport.send(call)

    @asynccontextmanager
    async def stream(self, call: Call) -> AsyncGenerator[Stream]:
        with self._transport.stream(call) as reply:
            yield Stream(reply.status, reply.headers, _awaited(reply))

    async def pause(self, seconds: float) -> None:
        self._transport.pause(seconds)

    async def close(self) -> None:
        self._transport.close()


async def _awaited(reply: Reply) -> AsyncGenerator[bytes]:
    for chunk in reply.chunks:
        yield chunk
