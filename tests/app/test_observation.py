"""Every request has an id, one line in the log and one count; none of them has a secret."""

import asyncio
import json

import pytest
import structlog
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.websockets import WebSocket

from app import problems
from app.access import Caller
from app.metrics import WebMetrics
from app.observation import Observed
from jobs.connection import connect
from jobs.keys import Keys
from jobs.limits import Account
from rhocast.errors import NotFound
from tests.app.conversation import posted
from tests.app.samples import rock_salt


@pytest.fixture
def lines():
    """What was logged, as events; configured as the service does it, but kept."""
    found = structlog.testing.LogCapture()
    before = structlog.get_config()
    structlog.configure(processors=[structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, found])
    yield found.entries
    structlog.configure(**before)


@pytest.fixture
def metrics():
    return WebMetrics()


@pytest.fixture
def client(metrics):
    app = FastAPI()
    problems.install(app)
    app.add_middleware(Observed, metrics=metrics)

    @app.get("/things/{name}")
    def thing(name: str) -> str:
        structlog.get_logger().info("inside")
        if name == "none":
            raise NotFound("found none")
        if name == "defect":
            raise RuntimeError("secret")
        return name

    @app.get("/healthz")
    def health() -> PlainTextResponse:
        return PlainTextResponse("ok")

    @app.websocket("/socket")
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close()

    return TestClient(app, raise_server_exceptions=False)


@pytest.mark.parametrize("sent", ["abc", "A-1_2.3", "a" * 64])
def test_a_sane_id_is_kept(client, lines, sent):
    answer = client.get("/things/one", headers={"X-Request-ID": sent})
    assert answer.headers["x-request-id"] == sent
    assert [line["request_id"] for line in lines] == [sent, sent]


@pytest.mark.parametrize("sent", ["", "a" * 65, "two words", 'a"b', "a\tb", "ä".encode("latin-1"), "{}"])
def test_another_id_is_replaced(client, lines, sent):
    answer = client.get("/things/one", headers={"X-Request-ID": sent})
    assert len(answer.headers["x-request-id"]) == 16
    assert {line["request_id"] for line in lines} == {answer.headers["x-request-id"]}


def test_ids_that_are_made_differ(client):
    assert len({client.get("/healthz").headers["x-request-id"] for _ in range(20)}) == 20


def test_a_line_says_what_became_of_the_request(client, lines):
    client.get("/things/one?token=hidden")
    line = lines[-1]
    assert line.pop("ms") >= 0
    assert line.pop("request_id")
    assert line == {
        "event": "request",
        "log_level": "info",
        "level": "info",
        "method": "GET",
        "route": "/things/{name}",
        "status": 200,
    }


def test_a_refusal_is_named_in_its_line(client, lines, metrics):
    client.get("/things/none")
    assert (lines[-1]["status"], lines[-1]["problem"]) == (404, "NotFound")
    assert metrics.registry.get_sample_value("rhocast_http_problems_total", {"code": "NotFound"}) == 1


def test_a_defect_has_its_id_in_the_log_and_in_the_answer(client, lines, metrics):
    answer = client.get("/things/defect", headers={"X-Request-ID": "r7"})
    assert answer.headers["x-request-id"] == "r7"
    assert "request id r7" in answer.json()["detail"]
    by_event = {line["event"]: line for line in lines}
    assert by_event["request"]["status"] == 500
    assert by_event["request"]["problem"] == "ServerError"
    assert by_event["request_failed"]["request_id"] == "r7"
    labels = {"method": "GET", "route": "/things/{name}", "status": "500"}
    assert metrics.registry.get_sample_value("rhocast_http_requests_total", labels) == 1


def test_a_path_that_is_not_served_is_told_and_not_counted_by_name(client, lines, metrics):
    for n in range(30):
        client.request("BREW", f"/teapot/{n}")
    assert lines[-1]["path"] == "/teapot/29"
    text = [sample.labels for family in metrics.registry.collect() for sample in family.samples]
    routes = {labels["route"] for labels in text if "route" in labels}
    assert routes == {"none"}
    assert {labels["method"] for labels in text if "method" in labels} == {"other"}


def test_probes_that_succeed_are_counted_and_not_told(client, lines, metrics):
    client.get("/healthz")
    assert lines == []
    labels = {"method": "GET", "route": "/healthz", "status": "200"}
    assert metrics.registry.get_sample_value("rhocast_http_requests_total", labels) == 1


def test_what_is_no_request_passes(client):
    with client.websocket_connect("/socket"):
        pass


def answered(account: Account | None, status: int) -> dict[str, str]:
    """Headers of an answer to somebody whose account stands so."""

    async def app(scope, receive, send):
        scope["state"]["caller"] = Caller(None, account)
        await send({"type": "http.response.start", "status": status, "headers": [(b"retry-after", b"5")]})
        await send({"type": "http.response.body", "body": b""})

    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    asyncio.run(Observed(app, WebMetrics())(scope, None, send))
    return {name.decode(): value.decode() for name, value in sent[0]["headers"]}


def test_limits_are_told_as_the_draft_says():
    account = Account("", 600, 1000, 450.7, 300, 0.0, 7200.4)
    headers = answered(account, 200)
    assert headers["ratelimit-policy"] == '"minute";q=600;w=60;qu="atoms", "day";q=1000;w=86400;qu="atoms"'
    assert headers["ratelimit"] == '"minute";r=450;t=15, "day";r=700;t=7200'
    assert headers["retry-after"] == "5"


def test_a_debt_is_nothing_left():
    headers = answered(Account("minute", 60, 0, -5400.0, 0, 5401.2, 1.0), 429)
    assert headers["ratelimit"] == '"minute";r=0;t=5460'
    assert headers["retry-after"] == "5402"


def test_a_full_queue_keeps_its_own_advice():
    assert answered(Account("", 60, 0, 50.0, 0, 0.0, 1.0), 429)["retry-after"] == "5"
    assert set(answered(None, 429)) == {"retry-after", "x-request-id"}


def test_one_request_is_followed_from_end_to_end(live, lines):
    """What `grep ID` finds: the web's lines, the worker's line of the task, and the job in the store."""
    first = live.client.post(
        "/v1/energy",
        json={"structure": rock_salt(5.123)},
        headers={"X-Request-ID": "first-of-two", "Prefer": "wait=60"},
    )
    assert first.json()["status"] == "succeeded"
    told = {line["event"]: line for line in lines if "first-of-two" in str(line.get("request_id"))}
    assert set(told) == {"job_accepted", "task_ended", "request"}
    assert told["job_accepted"]["job"] == first.json()["id"]
    assert told["task_ended"]["task"] == told["job_accepted"]["tasks"][0]
    assert told["task_ended"]["outcome"] == "succeeded"
    view = live.client.app.state.services.ledger.view(first.json()["id"])
    assert view.record.request_id == "first-of-two"


def test_no_line_of_a_service_with_keys_has_one(app_of, settings, lines):
    client = app_of(auth="keys")
    with connect(settings.redis_url) as store:
        key, plain = Keys(store, settings).create("alice")
        other = Keys(store, settings).create("bob")[1]
        Keys(store, settings).revoke("bob")
    for sent in (plain, other, "rho_" + "x" * 43):
        for headers in ({"Authorization": f"Bearer {sent}"}, {"X-API-Key": sent}):
            client.headers = headers
            posted(client, rock_salt())
            client.get("/v1/jobs")
            client.get("/v1/nothing")
    text = json.dumps(lines, default=str)
    assert {line["key"] for line in lines if "key" in line} == {"alice"}
    assert {line["key_id"] for line in lines if "key_id" in line} == {key.id}
    for secret in (plain, other, "x" * 43, key.digest):
        assert secret not in text
