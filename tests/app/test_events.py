"""The stream of a job: what is told, what is told again, and what a listener costs."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
import redis

from app.routes import events
from jobs.ledger import End
from rhocast.errors import InvalidField, JobNotFound
from rhocast.schemas import Job
from tests.app.conversation import finished, posted, refused
from tests.app.samples import rock_salt
from tests.jobs.builders import ticket


def told(text: str) -> list[dict[str, Any]]:
    """Events of a stream, as the WHATWG specification reads them."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            found.append({"event": fields["event"], "id": fields["id"], "job": json.loads(fields["data"])})
    return found


def names(text: str) -> list[str]:
    return [one["id"] for one in told(text)]


def service(client) -> Any:
    return client.app.state.services


def claim(client, job_id: str) -> str:
    """Key of the task of a job, taken for a worker."""
    ledger = service(client).ledger
    (key,) = ledger.view(job_id).record.tasks.values()
    message = ledger.client.hget(f"{ledger.settings.namespace}:task:{key}", "message").decode()
    ledger.claim([ticket(key, message)], "worker", is_shared=False)
    return key


class Listener:
    """Somebody who opens a stream and reads only when a test says so.

    Args:
        client: A started application.
        job_id: The job.
        last_event_id: The last event that was read before.
        acts: What happens elsewhere once an event has been read, by its id; under the empty id, once the stream begins.
    """

    def __init__(
        self, client, job_id: str, last_event_id: str = "", acts: dict[str, Callable[[], Any]] | None = None
    ) -> None:
        self._app = client.app
        self._path = f"/v1/jobs/{job_id}/events"
        self._headers = [(b"last-event-id", last_event_id.encode())]
        self._acts = acts or {}
        self.read = asyncio.Event()
        self.has_left = asyncio.Event()
        self.body: list[bytes] = []
        self.blocked = 0

    async def listen(self) -> None:
        scope = {"type": "http", "method": "GET", "path": self._path, "query_string": b"", "headers": self._headers}
        await self._app(scope | {"asgi": {"version": "3.0", "spec_version": "2.3"}}, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        await self.has_left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        ids = [""]
        if message["type"] == "http.response.body":
            self.body.append(message["body"])
            self.blocked += 1
            await self.read.wait()
            self.blocked -= 1
            ids = names(message["body"].decode())
        for one in ids:
            if one in self._acts:
                await asyncio.to_thread(self._acts[one])


def heard(client, job_id: str, acts: dict[str, Callable[[], Any]], last_event_id: str = "") -> str:
    """A stream to its end, read at once. Acts are of `Listener`: nothing has to come in time."""

    async def conversation() -> str:
        listener = Listener(client, job_id, last_event_id, acts)
        listener.read.set()
        await asyncio.wait_for(listener.listen(), 60)
        return b"".join(listener.body).decode()

    return in_the_loop_of(client, conversation)


async def watched(client, n_blocked: int, listener: Listener) -> None:
    async with asyncio.timeout(10):
        while listener.blocked != n_blocked or len(listener.body) == 0:
            await asyncio.sleep(0.01)


def in_the_loop_of(client, conversation) -> Any:
    """What a conversation gives that is held where the application runs."""
    return client.portal.call(conversation)


def test_a_job_that_has_ended_gives_its_last_event_at_once(client):
    job = finished(client, rock_salt())
    answer = client.get(f"/v1/jobs/{job['id']}/events")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-cache"
    (event,) = told(answer.text)
    assert (event["event"], event["id"]) == ("succeeded", "succeeded")
    assert event["job"] == job | {"result": None}


def test_whoever_knows_the_last_event_is_told_that_there_is_no_more(client):
    job = finished(client, rock_salt())
    answer = client.get(f"/v1/jobs/{job['id']}/events", headers={"Last-Event-ID": "succeeded"})
    assert (answer.status_code, answer.content) == (204, b"")


def test_a_job_is_told_from_its_place_in_the_queue_to_its_end(app_of):
    client = app_of()
    first, second = (posted(client, rock_salt(5.6 + k / 10)).json()["id"] for k in range(2))
    ledger = service(client).ledger
    keys: list[str] = []
    text = heard(
        client,
        second,
        {
            "queued-2": lambda: keys.append(claim(client, second)),
            "running": lambda: ledger.finish([End(keys[0], 0.1, result={})]),
        },
    )
    assert names(text) == ["queued-2", "running", "succeeded"]
    assert [one["job"]["status"] for one in told(text)] == ["queued", "running", "succeeded"]
    assert [one["job"]["position"] for one in told(text)] == [2, None, None]
    assert {one["job"]["id"] for one in told(text)} == {second}
    assert names(client.get(f"/v1/jobs/{first}/events?wait=1").text) == ["queued-1"]


def test_how_far_a_running_job_is_is_told_and_not_told_again(app_of):
    client = app_of()
    job_id = posted(client, rock_salt()).json()["id"]
    ledger, key = service(client).ledger, claim(client, job_id)
    acts = {
        "": lambda: ledger.progress(key, 64, 128, "worker"),
        "progress-64": lambda: ledger.progress(key, 127, 128, "worker"),
        "progress-127": lambda: ledger.finish([End(key, 0.1, result={})]),
    }
    found = told(heard(client, job_id, acts, last_event_id="running"))
    assert [(one["event"], one["id"]) for one in found] == [
        ("progress", "progress-64"),
        ("progress", "progress-127"),
        ("succeeded", "succeeded"),
    ]
    assert [one["job"]["status"] for one in found] == ["running", "running", "succeeded"]
    assert [one["job"]["progress"] for one in found] == [
        {"done": 64, "total": 128},
        {"done": 127, "total": 128},
        None,
    ]


def test_a_job_says_how_far_it_is_and_a_stream_goes_on_from_there(app_of):
    client = app_of()
    job_id = posted(client, rock_salt()).json()["id"]
    ledger, key = service(client).ledger, claim(client, job_id)
    assert client.get(f"/v1/jobs/{job_id}").json()["progress"] is None
    ledger.progress(key, 64, 128, "worker")
    assert client.get(f"/v1/jobs/{job_id}").json()["progress"] == {"done": 64, "total": 128}
    url = f"/v1/jobs/{job_id}/events?wait=1"
    assert names(client.get(url, headers={"Last-Event-ID": "running"}).text) == ["progress-64"]
    assert names(client.get(url, headers={"Last-Event-ID": "progress-64"}).text) == []


def test_what_was_told_before_the_connection_broke_is_not_told_again(app_of):
    client = app_of()
    job_id = posted(client, rock_salt()).json()["id"]
    url = f"/v1/jobs/{job_id}/events?wait=1"
    assert names(client.get(url).text) == ["queued-1"]
    assert names(client.get(url, headers={"Last-Event-ID": "queued-1"}).text) == []
    assert names(client.get(url, headers={"Last-Event-ID": "queued-7"}).text) == ["queued-1"]
    assert names(client.get(url, headers={"Last-Event-ID": "nonsense" * 20}).text) == ["queued-1"]
    claim(client, job_id)
    assert names(client.get(url, headers={"Last-Event-ID": "queued-1"}).text) == ["running"]


def test_a_job_that_is_cancelled_says_so_and_the_stream_ends(app_of):
    client = app_of()
    job_id = posted(client, rock_salt()).json()["id"]
    text = heard(client, job_id, {"queued-1": lambda: service(client).ledger.cancel(job_id)})
    assert names(text) == ["queued-1", "cancelled"]
    assert told(text)[-1]["job"]["error"]["code"] == "JobCancelled"


def test_silence_is_filled_with_comments(app_of, monkeypatch):
    monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.05)
    client = app_of()
    job_id = posted(client, rock_salt()).json()["id"]
    text = client.get(f"/v1/jobs/{job_id}/events?wait=1").text
    assert text.count(": ping") >= 3
    assert names(text) == ["queued-1"]


def test_a_job_that_nobody_knows_has_no_events(client):
    refused(client.get("/v1/jobs/nobody/events"), JobNotFound, "no job 'nobody'")


@pytest.mark.parametrize("seconds", ["-1", "nan", "soon"])
def test_a_stream_of_no_length_is_refused(client, seconds):
    refused(client.get(f"/v1/jobs/x/events?wait={seconds}"), InvalidField, "query.wait", "expected")


def test_a_job_that_is_gone_in_mid_stream_ends_the_stream_without_a_word(app_of):
    client = app_of()
    job_id = posted(client, rock_salt()).json()["id"]
    ledger = service(client).ledger

    def forget() -> None:
        ledger.client.delete(f"{ledger.settings.namespace}:job:{job_id}")

    assert names(heard(client, job_id, {"queued-1": forget})) == ["queued-1"]
    refused(client.get(f"/v1/jobs/{job_id}/events"), JobNotFound, "no job")


def test_a_store_that_fails_at_the_end_leaves_the_last_event_to_the_next_stream(app_of, monkeypatch):
    client = app_of()
    job_id = posted(client, rock_salt()).json()["id"]
    ledger = service(client).ledger
    view, failures = ledger.view, [None, redis.TimeoutError("down")]

    def unsteady(asked: str):
        failure = failures.pop(0) if failures else None
        if failure is not None:
            raise failure
        return view(asked)

    monkeypatch.setattr(ledger, "view", unsteady)
    assert names(heard(client, job_id, {"queued-1": lambda: ledger.cancel(job_id)})) == ["queued-1"]
    assert names(heard(client, job_id, {}, last_event_id="queued-1")) == ["cancelled"]


def test_who_reads_slowly_holds_back_one_event_and_is_then_told_what_is(app_of):
    client = app_of()
    job_id = posted(client, rock_salt()).json()["id"]
    ledger = service(client).ledger

    async def conversation() -> None:
        listener = Listener(client, job_id)
        task = asyncio.create_task(listener.listen())
        await watched(client, 1, listener)
        key = claim(client, job_id)
        await asyncio.sleep(0.3)
        ledger.finish([End(key, 0.1, result={})])
        await asyncio.sleep(0.3)
        assert len(listener.body) == 1
        listener.read.set()
        await asyncio.wait_for(task, 5)
        assert names(b"".join(listener.body).decode()) == ["queued-1", "succeeded"]

    in_the_loop_of(client, conversation)


def test_who_leaves_is_forgotten(app_of):
    client = app_of()
    job_id = posted(client, rock_salt()).json()["id"]

    async def conversation() -> None:
        listener = Listener(client, job_id)
        task = asyncio.create_task(listener.listen())
        await watched(client, 1, listener)
        assert service(client).waiter._watches
        listener.has_left.set()
        await asyncio.wait_for(task, 5)
        await asyncio.sleep(0.05)
        assert not service(client).waiter._watches

    in_the_loop_of(client, conversation)


def test_streams_end_when_the_service_stops(app_of):
    client = app_of()
    job_id = posted(client, rock_salt()).json()["id"]
    stop = service(client).waiter.end_watches
    assert names(heard(client, job_id, {"queued-1": lambda: client.portal.call(stop)})) == ["queued-1"]


def test_an_event_has_the_fields_that_the_document_names(client):
    job = finished(client, rock_salt())
    documented = client.app.openapi()["paths"]["/v1/jobs/{job_id}/events"]["get"]["responses"]["200"]
    schema = documented["content"]["text/event-stream"]["schema"]
    (event, *_) = client.get(f"/v1/jobs/{job['id']}/events").text.split("\n\n")
    fields = dict(line.split(": ", 1) for line in event.splitlines())
    assert set(fields) == set(schema["properties"]) == set(schema["required"])
    assert fields["event"] in schema["properties"]["event"]["enum"]
    assert Job.model_validate_json(fields["data"]).id == job["id"]
