import socket
import time

import pytest

from rhocast import Client
from rhocast.errors import ConnectionFailed
from rhocast.retrying import RetryPolicy
from rhocast.transport import Call, HttpTransport


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_without_a_server_the_error_names_the_address_and_what_to_do():
    url = f"http://127.0.0.1:{free_port()}"
    with (
        Client(url, retries=RetryPolicy(first_pause=0.01)) as client,
        pytest.raises(ConnectionFailed, match=f"found no server that answers at {url} .*`rhocast serve`"),
    ):
        client.models()


def test_silence_is_no_answer():
    with socket.create_server(("127.0.0.1", 0)) as mute:
        transport = HttpTransport(f"http://127.0.0.1:{mute.getsockname()[1]}", timeout=0.05)
        with pytest.raises(ConnectionFailed, match="timed out"):
            transport.send(Call("GET", "/"))
        transport.close()


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "localhost", "ftp://x", "http://", ""])
def test_an_address_that_is_no_url_is_refused(url):
    with pytest.raises(ConnectionFailed, match=r"found the address .*; expected a URL such as"):
        HttpTransport(url)


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(server, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    server.answer({"models": []})
    with Client(server.url, retries=RetryPolicy(attempts=1)) as client:
        assert client.models() == []


def test_pauses_pass_time():
    transport = HttpTransport("http://127.0.0.1")
    started = time.monotonic()
    transport.pause(0.02)
    assert time.monotonic() - started >= 0.02
    transport.close()
