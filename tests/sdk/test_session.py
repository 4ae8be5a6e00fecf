import asyncio
import base64
import gc
import hashlib
import io
import warnings

import pytest

from rhocast import Client
from rhocast.errors import ClientError, ConnectionFailed, DamagedDownload, RhocastError, ServiceUnavailable
from rhocast.retrying import RetryPolicy
from rhocast.schemas import Health
from rhocast.session import Session, done, each
from rhocast.transport import USER_AGENT, Call

HEALTH = {"status": "ok", "version": "1"}
LOOK = Call("GET", "/healthz")


@pytest.fixture
def session(transport):
    made = Session(transport, RetryPolicy(), progress=False)
    yield made
    made.close()


def digest(content: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:"


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
def test_an_overloaded_server_is_asked_again(server, session, transport, status):
    server.answer(b"busy", status)
    server.answer(HEALTH)
    assert session.ask(LOOK, Health).status == "ok"
    assert len(server.seen) == 2
    assert len(transport.pauses) == 1


def test_retry_after_is_honoured(server, session, transport):
    server.answer(b"busy", 503, retry_after="7")
    server.answer(HEALTH)
    session.ask(LOOK, Health)
    assert 7.0 <= transport.pauses[0] <= 7.5


def test_a_wish_beyond_the_policy_is_an_error_at_once(server, session, transport):
    server.problem("ServiceUnavailable", 503, "found the store down", retry_after="3600")
    with pytest.raises(ServiceUnavailable, match="found the store down"):
        session.ask(LOOK, Health)
    assert transport.pauses == []


@pytest.mark.parametrize("status", [400, 404, 409, 422, 500, 507])
def test_other_errors_are_not_repeated(server, session, status):
    server.answer(b"no", status)
    with pytest.raises(RhocastError, match=f"found HTTP {status}"):
        session.ask(LOOK, Health)
    assert len(server.seen) == 1


def test_a_broken_connection_is_made_anew(server, session):
    server.answer(HEALTH)
    server.hang_up()
    server.answer(HEALTH)
    session.ask(LOOK, Health)
    assert session.ask(LOOK, Health).status == "ok"
    assert len(server.seen) == 3


def test_a_server_that_never_comes_back_is_given_up(server, session, transport):
    server.answer(HEALTH)
    session.ask(LOOK, Health)
    for _ in range(6):
        server.hang_up()
    with pytest.raises(ConnectionFailed, match="found no server that answers"):
        session.ask(LOOK, Health)
    assert len(transport.pauses) == 5


def test_patience_bounds_the_repetitions(server, session):
    server.answer(b"busy", 503)
    with pytest.raises(ServiceUnavailable):
        session.ask(LOOK, Health, patience=0.0)
    assert len(server.seen) == 1


def test_requests_say_who_asks(server, session):
    server.answer(HEALTH)
    session.ask(LOOK, Health)
    assert server.seen[0].headers["user-agent"] == USER_AGENT
    assert USER_AGENT.startswith("rhocast/")


@pytest.mark.parametrize("status", [301, 404, 502, 599])
def test_an_error_that_is_no_problem_document_still_says_what_came(server, transport, status):
    session = Session(transport, RetryPolicy(attempts=1))
    server.answer(b"<html><h1>Some  gateway</h1></html>", status)
    with pytest.raises(RhocastError, match=rf"found HTTP {status} .* \(Some gateway\)") as caught:
        session.ask(LOOK, Health)
    assert caught.value.status == status


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"", b"\xff\xfe", b'{"status": "fine"}'])
def test_an_answer_that_is_none_of_ours_is_no_service(server, session, body):
    server.answer(body)
    with pytest.raises(ConnectionFailed, match="that is no rhocast health"):
        session.ask(LOOK, Health)


def test_what_a_newer_server_adds_is_ignored(server, session):
    server.answer(HEALTH | {"mood": "good"})
    assert session.ask(LOOK, Health).version == "1"


def test_a_download_arrives_whole(server, session):
    content = bytes(range(256)) * 1000
    server.answer(content, repr_digest=digest(content))
    target = io.BytesIO()
    session.download(LOOK, target)
    assert target.getvalue() == content


def test_a_download_without_a_hash_is_taken(server, session):
    server.answer(b"abc")
    target = io.BytesIO()
    session.download(LOOK, target)
    assert target.getvalue() == b"abc"


def test_a_damaged_download_is_refused(server, session):
    server.answer(b"damaged", repr_digest=digest(b"whole"))
    with pytest.raises(DamagedDownload, match=r"found a file of 7 bytes with SHA-256 .*; expected .*download it again"):
        session.download(LOOK, io.BytesIO())


def test_a_download_that_breaks_off_starts_again(server, session):
    server.answer(HEALTH)
    session.ask(LOOK, Health)
    server.break_off(b"first part, and longer than the second")
    server.answer(b"second", repr_digest=digest(b"second"))
    target = io.BytesIO()
    session.download(LOOK, target)
    assert target.getvalue() == b"second"


def test_an_error_instead_of_a_file_is_that_error(server, session):
    server.problem("ServiceUnavailable", 500, "found no disk")
    with pytest.raises(ServiceUnavailable, match="found no disk"):
        session.download(LOOK, io.BytesIO())


def test_a_closed_client_says_so(client):
    client.close()
    with pytest.raises(ClientError, match="found that this client was closed"):
        client.models()


def test_a_coroutine_that_waits_for_an_event_loop_is_no_part_of_a_blocking_client():
    with pytest.raises(RuntimeError, match="a coroutine of a blocking client was suspended"):
        done(asyncio.sleep(0))


def test_what_each_yields_can_be_left_early():
    left = []

    async def counted():
        try:
            for number in range(5):
                yield number
        finally:
            left.append("closed")

    assert list(each(counted())) == [0, 1, 2, 3, 4]
    some = each(counted())
    assert next(some) == 0
    some.close()
    assert left == ["closed", "closed"]


def test_a_client_that_is_forgotten_closes_its_connections(server):
    server.answer({"models": []})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Client(server.url).models() == []
        gc.collect()
