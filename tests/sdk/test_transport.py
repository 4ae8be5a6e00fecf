import logging
import socket
import time

import pytest

from rhocast import Client
from rhocast.errors import ClientError, ConnectionFailed, QuotaExceeded, RhocastError, Unauthorized
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


def test_the_key_goes_with_every_call(server, monkeypatch):
    for _ in range(3):
        server.answer({"models": []})
    monkeypatch.setenv("RHOCAST_API_KEY", "rho_environment\n")
    for client in (Client(server.url), Client(server.url, api_key="rho_given"), Client(server.url, api_key="")):
        with client:
            client.models()
    assert [seen.headers.get("authorization") for seen in server.seen] == [
        "Bearer rho_environment",
        "Bearer rho_given",
        None,
    ]


def test_the_key_goes_to_no_other_server(server):
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        stranger.settimeout(0.2)
        server.answer(b"", 307, Location=f"http://127.0.0.1:{stranger.getsockname()[1]}/v1/models")
        with (
            Client(server.url, api_key="rho_given", retries=RetryPolicy(attempts=1)) as client,
            pytest.raises(RhocastError, match="found"),
        ):
            client.models()
        with pytest.raises(TimeoutError, match="timed out"):
            stranger.accept()


def test_the_key_is_in_no_line_of_a_log_and_in_no_message(server, caplog):
    caplog.set_level(logging.DEBUG)
    key = "rho_" + "s" * 43
    server.problem("Unauthorized", 401, "found an API key that is not known")
    with (
        Client(server.url, api_key=key) as client,
        pytest.raises(Unauthorized, match="found an API key that is not known") as refusal,
    ):
        client.models()
    assert server.seen[0].headers["authorization"].endswith(key)
    assert key not in caplog.text + str(refusal.getrepr(showlocals=False)) + repr(vars(client))


@pytest.mark.parametrize("key", ["rho_a b", "rho_ä", "rho_a\nX-Evil: 1", "<key>"])
def test_what_is_no_key_is_refused_before_it_is_sent(key):
    with pytest.raises(ClientError, match=r"found an API key of .* characters, some of which are in no key") as refusal:
        Client("http://127.0.0.1:1", api_key=key)
    assert key not in str(refusal.value)


def test_a_client_that_asked_for_too_much_waits_as_long_as_it_is_told(server, transport):
    server.problem("RateLimited", 429, "found too many atoms", Retry_After="7")
    server.answer({"models": []})
    with Client(transport=transport, progress=False) as client:
        assert client.models() == []
    assert 7 <= transport.pauses[0] <= 7.5


def test_a_quota_of_the_day_is_not_waited_for(server, transport):
    server.problem("QuotaExceeded", 429, "found the day used up", Retry_After="30000")
    with (
        Client(transport=transport, progress=False) as client,
        pytest.raises(QuotaExceeded, match="found the day used up"),
    ):
        client.models()
    assert transport.pauses == []
