"""How calls reach a server. `HttpTransport` is the real one; tests and other carriers write their own."""

import sys
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlsplit

import httpx2

from rhocast import __version__
from rhocast.errors import ConnectionFailed

USER_AGENT = f"rhocast/{__version__} python/{sys.version_info.major}.{sys.version_info.minor}"
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True)
class Call:
    """One request, whoever carries it.

    Attributes:
        method: HTTP method.
        path: Path on the server, with its query.
        body: JSON, empty for none.
        headers: Headers beside those of the transport.
        seconds: Time in s that the server may take for its answer beyond the transport's own patience.
    """

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    seconds: float = 0.0


@dataclass(frozen=True)
class Reply:
    """The answer to a call.

    Attributes:
        status: HTTP status.
        headers: Headers, their names in small letters.
        body: All of the body; empty while it is being streamed.
        chunks: The body in pieces, for an answer that is streamed.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    chunks: Iterator[bytes] = field(default_factory=lambda: iter(()))


class Transport(Protocol):
    """What carries calls, and what passes the time between them."""

    @property
    def url(self) -> str:
        """Address of the server, without a slash at its end."""
        ...

    def send(self, call: Call) -> Reply:
        """The answer to a call; ConnectionFailed if there is none."""
        ...

    def stream(self, call: Call) -> AbstractContextManager[Reply]:
        """The answer to a call, its body in pieces."""
        ...

    def pause(self, seconds: float) -> None:
        """Lets some seconds pass."""
        ...

    def close(self) -> None:
        """Frees connections."""
        ...


class HttpTransport:
    """Calls over HTTP.

    Args:
        url: Address of the server.
        timeout: Silence in s after which a server counts as gone.

    Raises:
        ConnectionFailed: If the address is no HTTP URL.
    """

    def __init__(self, url: str, timeout: float = 30.0) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConnectionFailed(f"found the address {url!r}; expected a URL such as http://127.0.0.1:8000")
        self.url = url.rstrip("/")
        self._timeout = timeout
        # A proxy named in the environment cannot reach this machine's own loopback address.
        trust_env = parts.hostname not in _LOOPBACK
        self._client = httpx2.Client(headers={"User-Agent": USER_AGENT}, timeout=timeout, trust_env=trust_env)

    def send(self, call: Call) -> Reply:
        """The answer to a call.

        Args:
            call: What to ask.

        Raises:
            ConnectionFailed: If none comes.
        """
        with self.stream(call) as reply:
            return Reply(reply.status, reply.headers, b"".join(reply.chunks))

    @contextmanager
    def stream(self, call: Call) -> Generator[Reply, None, None]:
        """The answer to a call, its body in pieces.

        Args:
            call: What to ask.

        Raises:
            ConnectionFailed: If no answer comes, or it breaks off.
        """
        headers = {**call.headers, **({"Content-Type": "application/json"} if call.body else {})}
        timeout = httpx2.Timeout(self._timeout, read=self._timeout + call.seconds)
        try:
            with self._client.stream(
                call.method, self.url + call.path, content=call.body or None, headers=headers, timeout=timeout
            ) as response:
                yield Reply(response.status_code, dict(response.headers.items()), chunks=response.iter_bytes())
        except (httpx2.RequestError, httpx2.InvalidURL) as error:
            reason = str(error) or type(error).__name__
            raise ConnectionFailed(
                f"found no server that answers at {self.url} ({reason}); expected a running rhocast service; "
                "start one with `rhocast serve`, or name another by --url or RHOCAST_URL"
            ) from error

    def pause(self, seconds: float) -> None:
        time.sleep(seconds)

    def close(self) -> None:
        self._client.close()
