"""Every error as an RFC 9457 problem document."""

import http
import reprlib
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

import redis
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from redis.exceptions import MasterDownError, OutOfMemoryError, ReadOnlyError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rhocast.errors import (
    Forbidden,
    InvalidField,
    InvalidRequest,
    RhocastError,
    ServerError,
    ServiceUnavailable,
    StorageFull,
    TooManyRequests,
    Unauthorized,
    error_from_problem,
)
from rhocast.schemas import Problem

MEDIA_TYPE = "application/problem+json"

_CHALLENGES: dict[type[RhocastError], str] = {
    Unauthorized: 'Bearer realm="rhocast"',
    Forbidden: 'Bearer realm="rhocast", error="insufficient_scope"',
}
_MAX_LINES = 20  # a list of a million wrong numbers shall not make an answer of a hundred megabytes

log = structlog.get_logger()


def problem(error: RhocastError, errors: list[str] | None = None) -> Problem:
    return Problem(
        title=http.HTTPStatus(error.status).phrase,
        status=error.status,
        code=type(error).__name__,
        detail=error.detail,
        errors=errors,
    )


def problem_response(
    error: RhocastError, errors: list[str] | None = None, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    all_headers = dict(headers or {})
    if isinstance(error, ServiceUnavailable | TooManyRequests | StorageFull):
        all_headers.setdefault("Retry-After", "5")
    if challenge := _CHALLENGES.get(type(error)):
        all_headers["WWW-Authenticate"] = challenge
    body = problem(error, errors).model_dump(mode="json", exclude_none=True)
    return JSONResponse(body, error.status, headers=all_headers, media_type=MEDIA_TYPE)


def noted_response(
    request: Request, error: RhocastError, errors: list[str] | None = None, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """A problem as the answer to a request, in whose state its class is noted for the log."""
    request.state.problem = type(error).__name__
    return problem_response(error, errors, headers)


def field_errors(items: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line for each wrong field: where, what is wrong, what was found."""
    lines: list[str] = []
    for item in items[:_MAX_LINES]:
        where = ".".join(str(part)[:80] for part in item["loc"] if part != "body")
        lines.append(f"{where or 'body'}: {item['msg']}; found {reprlib.repr(item.get('input'))[:80]}")
    return lines


def invalid_fields(error: RequestValidationError | ValidationError) -> tuple[RhocastError, list[str]]:
    items = error.errors()
    lines = field_errors(items)
    n_more = len(items) - 1
    more = f" (and {n_more} more)" if n_more else ""
    return InvalidField(
        f"found a request whose fields cannot be used: {lines[0]}{more}; expected them as /openapi.json says; mend them"
    ), lines


def _is_refusal(error: redis.ResponseError) -> bool:
    """Whether the store understood a command but cannot carry it out now, for lack of memory, disk or a master."""
    kinds = (OutOfMemoryError, ReadOnlyError, MasterDownError)
    return isinstance(error, kinds) or str(error).startswith(("MISCONF", "NOREPLICAS"))


def install(app: FastAPI) -> None:
    """Makes an application answer every error with a problem document."""

    async def rhocast_error(request: Request, error: Exception) -> JSONResponse:
        return noted_response(request, error if isinstance(error, RhocastError) else ServerError(str(error)))

    async def validation_error(request: Request, error: Exception) -> JSONResponse:
        if not isinstance(error, RequestValidationError | ValidationError):
            raise error
        return noted_response(request, *invalid_fields(error))

    async def http_error(request: Request, error: Exception) -> JSONResponse:
        if not isinstance(error, HTTPException):
            raise error
        detail = f"found a request that gives: {error.detail}; expected a path and a method that are served; see /docs"
        return noted_response(request, error_from_problem("", error.status_code, detail), headers=error.headers)

    async def store_error(request: Request, error: Exception) -> JSONResponse:
        if isinstance(error, redis.ResponseError) and not _is_refusal(error):
            return await defect(request, error)
        log.error("store_unavailable", path=request.url.path, error=str(error))
        return noted_response(
            request,
            ServiceUnavailable(
                "found that the job store does not answer; expected it up; nothing was lost: try again in a few seconds"
            ),
        )

    async def defect(request: Request, error: Exception) -> JSONResponse:
        # Formatted here: a log with local variables would hold the user's structure, and take seconds to print it.
        trace = "".join(traceback.format_exception(error))
        request_id = getattr(request.state, "request_id", "")
        log.error("request_failed", path=request.url.path, traceback=trace, request_id=request_id)
        return noted_response(
            request,
            ServerError(
                "found a defect of the service; expected none; the log has it: report what you sent, "
                f"and the request id {request_id}"
            ),
            headers={"X-Request-ID": request_id},
        )

    app.add_exception_handler(RhocastError, rhocast_error)
    app.add_exception_handler(RequestValidationError, validation_error)
    app.add_exception_handler(ValidationError, validation_error)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(redis.ConnectionError, store_error)
    app.add_exception_handler(redis.TimeoutError, store_error)
    app.add_exception_handler(redis.ResponseError, store_error)  # a full disk or memory, a store that is read-only
    app.add_exception_handler(Exception, defect)
    app.add_middleware(PlainErrorsAsProblems)


class PlainErrorsAsProblems:
    """Rewrites the plain-text errors that Starlette sends by itself (bad ranges) as problem documents.

    Args:
        app: The application inside.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start: Message = {}
        text: list[bytes] = []

        async def rewriting(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and _is_plain_error(message):
                start = message
            elif start and message["type"] == "http.response.body":
                text.append(message.get("body", b""))
                if not message.get("more_body", False):
                    await _problem_for(start, b"".join(text))(scope, receive, send)
            else:
                await send(message)

        await self.app(scope, receive, rewriting)


def _is_plain_error(message: Message) -> bool:
    headers = dict(message.get("headers", ()))
    return message["status"] >= 400 and headers.get(b"content-type", b"").startswith(b"text/plain")


def _problem_for(start: Message, text: bytes) -> JSONResponse:
    kept = {name.decode(): value.decode() for name, value in start["headers"] if name in (b"content-range", b"allow")}
    reason = text.decode("utf-8", "replace") or f"{kept.get('content-range', '')} is all there is"
    detail = (
        f"found a range that cannot be sent ({reason}); expected one such as bytes=0-99, within the file; "
        "mend the Range header"
    )
    return problem_response(error_from_problem("", start["status"], detail), headers=kept)


def documented(*errors: type[RhocastError]) -> dict[int | str, dict[str, Any]]:
    """`responses=` of a route: the problems it may answer."""
    by_status: dict[int | str, dict[str, Any]] = {}
    for error in (*errors, InvalidRequest, ServerError, ServiceUnavailable):
        by_status.setdefault(
            error.status,
            {
                "description": http.HTTPStatus(error.status).phrase,
                "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
            },
        )
    return by_status
