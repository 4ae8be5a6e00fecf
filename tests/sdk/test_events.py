"""Following a job, over streams that break."""

import json
import re

import pytest

from rhocast.errors import ConnectionFailed, JobNotFound, ServiceUnavailable, WaitTimeout
from rhocast.events import EventReader
from tests.sdk.conftest import ImpatientTransport


def read(*chunks: bytes) -> list[tuple[str, str]]:
    reader = EventReader("http://here")
    return [(event.id, event.data) for chunk in chunks for event in reader.read(chunk)]


STREAM = (
    "event: queued\ndata: {\ndata:}\nid: 1\n\n: ping\n\nretry: 5\nid:2\ndata: Å\n\nevent: empty\n\ndata: cut".encode()
)


class TestReading:
    @pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
    def test_events_come_out_of_pieces_of_any_size(self, size):
        pieces = [STREAM[k : k + size] for k in range(0, len(STREAM), size)]
        assert read(*pieces) == [("1", "{\n}"), ("2", "Å")]

    def test_lines_may_end_as_windows_ends_them(self):
        assert read(STREAM.replace(b"\n", b"\r\n")) == [("1", "{\n}"), ("2", "Å")]

    def test_an_id_holds_until_there_is_another(self):
        assert read(b"id: 7\ndata: a\n\ndata: b\n\n") == [("7", "a"), ("7", "b")]

    def test_a_line_without_end_is_no_stream(self, monkeypatch):
        monkeypatch.setattr("rhocast.events._LONGEST_LINE", 10)
        with pytest.raises(ConnectionFailed, match="found a line of more than 10 bytes from http://here"):
            read(b"data: 12345678")


@pytest.fixture
def told(job_record):
    """A stream with some states of the job."""

    def made(*statuses: str) -> bytes:
        events = []
        for status in statuses:
            name, _, position = status.partition("-")
            record = job_record(name, result=None) | ({"position": int(position)} if position else {})
            events.append(f"event: {name}\nid: {status}\ndata: {json.dumps(record)}\n\n")
        return "".join(events).encode()

    return made


@pytest.fixture
def job(server, client, job_record):
    server.answer(job_record("queued"), 202)
    made = client.job("j1")
    server.seen.clear()
    return made


def test_a_job_is_followed_to_its_end(server, job, told, transport):
    server.answer(told("queued-3", "queued-1", "running", "succeeded"))
    states = list(job.events(timeout=60))
    assert [(state.status, state.position) for state in states] == [
        ("queued", 3),
        ("queued", 1),
        ("running", None),
        ("succeeded", None),
    ]
    assert job.state is states[-1]
    (seen,) = server.seen
    assert re.fullmatch(r"/v1/jobs/j1/events\?wait=(60\.000|59\.\d+)", seen.path)
    assert seen.headers["accept"] == "text/event-stream"
    assert "last-event-id" not in seen.headers
    assert transport.pauses == []


def test_the_result_is_fetched_after_the_last_event(server, job, told, job_record):
    server.answer(told("succeeded"))
    server.answer(job_record())
    list(job.events())
    assert job.result().energy == -10.8


def test_a_stream_that_breaks_off_goes_on_where_it_stood(server, job, told, transport):
    server.break_off(told("queued-2"))
    server.hang_up()
    server.answer(b"busy", 503, retry_after="2")
    server.answer(told("running"))
    server.answer(b": ping\n\n")
    server.answer(told("failed"))
    assert [state.status for state in job.events()] == ["queued", "running", "failed"]
    ids = [seen.headers.get("last-event-id") for seen in server.seen]
    assert ids == [None, "queued-2", "queued-2", "queued-2", "running", "running"]
    assert len(transport.pauses) == 5
    assert transport.pauses[2] >= 2


def test_streams_that_bring_nothing_are_given_up(server, job, transport):
    for _ in range(6):
        server.answer(b"")
    with pytest.raises(ConnectionFailed, match=r"the events of job 'j1' end again and again; .*wait\(\) asks without"):
        list(job.events())
    assert len(transport.pauses) == 5


def test_a_server_that_stays_away_is_given_up(server, job):
    for _ in range(6):
        server.hang_up()
    with pytest.raises(ConnectionFailed, match="found no server that answers"):
        list(job.events())


def test_a_server_that_stays_overloaded_says_why(server, job):
    for _ in range(6):
        server.problem("ServiceUnavailable", 503, "found the store down")
    with pytest.raises(ServiceUnavailable, match="found the store down"):
        list(job.events())


def test_a_job_that_is_no_longer_kept_has_no_events(server, job):
    server.problem("JobNotFound", 404, "found no job 'j1'")
    with pytest.raises(JobNotFound, match="found no job 'j1'"):
        list(job.events())
    assert len(server.seen) == 1


def test_events_of_something_else_are_none_of_ours(server, transport, job):
    for _ in range(6):
        server.answer(b"data: hello\n\n")
    with pytest.raises(ConnectionFailed, match=r"that is no rhocast job \(hello\)"):
        list(job.events())


def test_who_listens_no_longer_is_told_how_to_pick_the_job_up_again(server, job, told):
    server.answer(told("queued-1"))
    states = job.events(timeout=0.05)
    assert next(states).status == "queued"
    import time

    time.sleep(0.06)
    with pytest.raises(WaitTimeout, match=r"found job 'j1' still queued; .*\.job\('j1'\)\.wait\(\)"):
        next(states)


def test_without_any_time_nothing_is_asked(server, job):
    with pytest.raises(WaitTimeout, match="still queued"):
        next(job.events(timeout=0))
    assert server.seen == []


def test_who_stops_listening_closes_the_stream(server, job, told):
    server.answer(told("queued-1", "running"))
    states = job.events()
    next(states)
    states.close()
    assert job.status == "queued"


def test_silence_is_waited_for_longer_than_the_server_s_heartbeat(server, told, job_record):
    from rhocast import Client

    waited: list[float] = []

    class Noting(ImpatientTransport):
        def stream(self, call):
            waited.append(call.seconds)
            return super().stream(call)

    server.answer(job_record("queued"))
    server.answer(told("succeeded"))
    with Client(transport=Noting(server.url)) as client:
        list(client.job("j1").events())
    assert waited[-1] >= 15
