"""How calls reach a server. `HttpTransport` is the real one; tests and other carriers write their own."""

import re
import sys
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx2

from rhocast import __version__
from rhocast.errors import ClientError, ConnectionFailed

USER_AGENT = f"rhocast/{__version__} python/{sys.version_info.major}.{sys.version_info.minor}"
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True)
class Call:
    """One request, whoever carries it.

    Attributes:
        method: HTTP method.
        path: Path on the server, with its query.
        body: JSON unless a header says otherwise, empty for none.
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


def authorization(api_key: str) -> dict[str, str]:
    """The header that carries an API key; none for an empty one.

    Args:
        api_key: The key; space around it, as a file leaves it, does not count.

    Raises:
        ClientError: If it is no key.
    """
    key = api_key.strip()
    if re.fullmatch(r"[\w.~+/=-]*", key, re.ASCII) is None:
        raise ClientError(
            f"found an API key of {len(key)} characters, some of which are in no key; expected letters, digits, _ and "
            "- after 'rho_'; copy it again, alone"
        )
    return {"Authorization": f"Bearer {key}"} if key else {}


class HttpLine:
    """Where calls go over HTTP and what goes with each: the same whether an answer is waited for or awaited.

    Args:
        url: Address of the server.
        timeout: Silence in s after which a server counts as gone.
        api_key: Key that goes with every call, to this server alone: redirections are not followed. Empty for none.

    Raises:
        ConnectionFailed: If the address is no HTTP URL.
        ClientError: If the key is no key.
    """

    def __init__(self, url: str, timeout: float = 30.0, api_key: str = "") -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConnectionFailed(f"found the address {url!r}; expected a URL such as http://127.0.0.1:8000")
        self.url = url.rstrip("/")
        self.headers = {"User-Agent": USER_AGENT} | authorization(api_key)
        # A proxy named in the environment cannot reach this machine's own loopback address.
        self.trust_env = parts.hostname not in _LOOPBACK
        self._timeout = timeout

    def request(self, call: Call) -> dict[str, Any]:
        """A call in the words of httpx2."""
        return {
            "method": call.method,
            "url": self.url + call.path,
            "content": call.body or None,
            "headers": {**({"Content-Type": "application/json"} if call.body else {}), **call.headers},
            "timeout": httpx2.Timeout(self._timeout, read=self._timeout + call.seconds),
        }

    @contextmanager
    def failures_named(self) -> Generator[None]:
        """Turns what httpx2 raises inside the block into ConnectionFailed."""
        try:
            yield
        except (httpx2.RequestError, httpx2.InvalidURL) as error:
            reason = str(error) or type(error).__name__
            raise ConnectionFailed(
                f"found no server that answers at {self.url} ({reason}); expected a running rhocast service; "
                "start one with `rhocast serve`, or name another by --url or RHOCAST_URL"
            ) from error


class HttpTransport:
    """Calls over HTTP.

    Args:
        url: Address of the server.
        timeout: Silence in s after which a server counts as gone.
        api_key: Key that goes with every call, to this server alone: redirections are not followed. Empty for none.

    Raises:
        ConnectionFailed: If the address is no HTTP URL.
        ClientError: If the key is no key.
    """

    def __init__(self, url: str, timeout: float = 30.0, api_key: str = "") -> None:
        self._line = HttpLine(url, timeout, api_key)
        self._client = httpx2.Client(headers=self._line.headers, trust_env=self._line.trust_env)

    @property
    def url(self) -> str:
        return self._line.url

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
        with self._line.failures_named(), self._client.stream(**self._line.request(call)) as response:
            yield Reply(response.status_code, dict(response.headers.items()), chunks=response.iter_bytes())

    def pause(self, seconds: float) -> None:
        time.sleep(seconds)

    def close(self) -> None:
        self._client.close()
