"""Errors as problem documents."""

import json

import pytest
import redis
from fastapi import FastAPI
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from app import problems
from rhocast.errors import (
    ClientError,
    InvalidRequest,
    JobNotFound,
    RhocastError,
    ServerError,
    ServiceUnavailable,
    StorageFull,
    TooManyRequests,
    _tree,
    error_from_problem,
)
from rhocast.schemas import Problem
from tests.app.conversation import refused


class Form(BaseModel):
    n: int


RAISED = {
    "redis-down": redis.ConnectionError("no"),
    "redis-slow": redis.TimeoutError("no"),
    "redis-full": redis.exceptions.OutOfMemoryError("no"),
    "redis-disk": redis.ResponseError("MISCONF Errors writing to the AOF file: No space left on device"),
    "redis-replica": redis.exceptions.ReadOnlyError("no"),
    "redis-wrong": redis.ResponseError("WRONGTYPE Operation against a key"),
    "defect": RuntimeError("secret"),
    "teapot": HTTPException(418, "short and stout"),
    "job": JobNotFound("found no job; expected one; ask for another"),
}


@pytest.fixture
def client():
    app = FastAPI()
    problems.install(app)

    @app.get("/raise/{name}")
    def raising(name: str) -> None:
        raise RAISED[name]

    @app.get("/form")
    def form() -> None:
        Form.model_validate({"n": "many"})

    @app.get("/query")
    def query(n: int) -> int:
        return n

    @app.get("/text/{status}")
    def text(status: int) -> Response:
        return PlainTextResponse("as it is", status)

    @app.websocket("/socket")
    async def socket(websocket) -> None:
        await websocket.close()

    return TestClient(app, raise_server_exceptions=False)


ANSWERED = [error for error in _tree(RhocastError) if not issubclass(error, ClientError)]


@pytest.mark.parametrize("error", ANSWERED, ids=lambda error: error.__name__)
def test_every_error_crosses_the_wire_and_is_itself_again(error):
    response = problems.problem_response(error("found x; expected y; do z"))
    document = Problem.model_validate_json(response.body)
    assert response.media_type == "application/problem+json"
    assert response.status_code == document.status == error.status
    again = error_from_problem(document.code, document.status, document.detail)
    assert type(again) is error
    assert again.detail == "found x; expected y; do z"


@pytest.mark.parametrize("error", [ServiceUnavailable, TooManyRequests, StorageFull])
def test_errors_that_pass_say_when_to_try_again(error):
    assert problems.problem_response(error("found x")).headers["retry-after"] == "5"
    assert problems.problem_response(error("found x"), headers={"Retry-After": "9"}).headers["retry-after"] == "9"
    assert "retry-after" not in problems.problem_response(ServerError("found x")).headers


@pytest.mark.parametrize("name", ["redis-down", "redis-slow", "redis-full", "redis-disk", "redis-replica"])
def test_a_store_that_cannot_serve_is_service_unavailable(client, name):
    refused(client.get(f"/raise/{name}"), ServiceUnavailable, "job store does not answer", "expected", "try again")


@pytest.mark.parametrize("name", ["redis-wrong", "defect"])
def test_a_defect_is_a_server_error_that_tells_no_secrets(client, name):
    answer = client.get(f"/raise/{name}")
    refused(answer, ServerError, "a defect of the service", "expected none", "report what you sent")
    assert "secret" not in answer.text
    assert "WRONGTYPE" not in answer.text


def test_other_errors_keep_their_status(client):
    refused(client.get("/raise/job"), JobNotFound, "ask for another")
    refused(client.get("/raise/teapot"), InvalidRequest, "short and stout", "expected", status=418)


def test_wrong_fields_are_named(client):
    document = refused(client.get("/form"), problems.InvalidField, "n: Input should be a valid integer", "'many'")
    assert document["errors"] == [
        "n: Input should be a valid integer, unable to parse string as an integer; found 'many'"
    ]
    refused(client.get("/query?n=x"), problems.InvalidField, "query.n", "found 'x'", "expected", "mend them")


def test_plain_errors_are_rewritten_and_plain_answers_are_not(client):
    assert client.get("/text/200").text == "as it is"
    refused(client.get("/text/404"), problems.error_from_problem("", 404, "").__class__, "as it is", "expected")


def test_what_is_no_http_passes(client):
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/socket"):
        pass


def test_a_handler_that_is_given_another_error_gives_it_back():
    app = FastAPI()
    problems.install(app)
    handlers = app.exception_handlers
    request = Request({"type": "http", "path": "/", "headers": []})
    import asyncio

    for kind in (problems.ValidationError, HTTPException):
        with pytest.raises(KeyError, match="other"):
            asyncio.run(handlers[kind](request, KeyError("other")))
    answer = asyncio.run(handlers[RhocastError](request, KeyError("other")))
    assert json.loads(answer.body)["code"] == "ServerError"
