"""A service in this process, reached without a socket."""

from collections.abc import Generator
from contextlib import contextmanager

from starlette.testclient import TestClient

from rhocast.transport import Call, Reply


class InProcess:
    """Calls to an application that runs in this process, and how many there were.

    Args:
        client: Client of the application.
    """

    url = "http://testserver"

    def __init__(self, client: TestClient) -> None:
        self._client = client
        self.calls: list[Call] = []

    def send(self, call: Call) -> Reply:
        self.calls.append(call)
        headers = {"Content-Type": "application/json", **call.headers}
        response = self._client.request(call.method, call.path, content=call.body, headers=headers)
        return Reply(response.status_code, dict(response.headers.items()), response.content)

    @contextmanager
    def stream(self, call: Call) -> Generator[Reply]:
        reply = self.send(call)
        yield Reply(reply.status, reply.headers, chunks=iter([reply.body]))

    def pause(self, seconds: float) -> None:
        raise AssertionError(f"nothing here asks for a pause of {seconds} s")

    def close(self) -> None:
        pass
