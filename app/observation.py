"""One line and one count for every request, and its id in all that is said of it."""

import re
import secrets
import time
from collections.abc import Mapping
from typing import Any

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.access import Caller
from app.metrics import Exchange, WebMetrics
from jobs.limits import Account

ID_HEADER = "X-Request-ID"

_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PROBES = ("/healthz", "/readyz", "/metrics")

log = structlog.get_logger()


class Observed:
    """Gives every request an id, tells it to all who log, and says in the end what became of the request.

    Args:
        app: The application inside.
        metrics: Where requests are counted.
    """

    def __init__(self, app: ASGIApp, metrics: WebMetrics) -> None:
        self.app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope).get(ID_HEADER, ""))
        state: dict[str, Any] = scope.setdefault("state", {})
        state["request_id"] = request_id
        status: int | None = None
        started = time.perf_counter()

        async def named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[ID_HEADER] = request_id
                headers.update(_limit_headers(state.get("caller"), message["status"]))
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self.app(scope, receive, named)
            except Exception:
                state.setdefault("problem", "ServerError")  # what is answered further out
                raise
            finally:
                self._tell(scope, state, status or 500, time.perf_counter() - started)

    def _tell(self, scope: Scope, state: Mapping[str, Any], status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "")
        caller: Caller | None = state.get("caller")
        problem = state.get("problem", "")
        self._metrics.count(Exchange(scope["method"], route, status, problem, seconds))
        if route in _PROBES and status < 400:
            return
        key = caller.key if caller is not None else None
        told = {"key": key.name, "key_id": key.id} if key is not None else {}
        told |= {"problem": problem} if problem else {}
        told |= {} if route else {"path": scope["path"][:200]}
        log.info("request", method=scope["method"], route=route, status=status, ms=round(1000 * seconds, 1), **told)


def _request_id(sent: str) -> str:
    """The id that came with a request, if it is sane; else a new one."""
    return sent if _SANE_ID.fullmatch(sent) else secrets.token_hex(8)


def _limit_headers(caller: Caller | None, status: int) -> dict[str, str]:
    """How the account of a key stands (draft-ietf-httpapi-ratelimit-headers), if the request was charged to one."""
    account = caller.account if caller is not None else None
    if account is None:
        return {}
    headers = {"Retry-After": f"{max(1, round(account.seconds + 0.5))}"} if status == 429 and account.refused_by else {}
    policies = _policies(account)
    if policies:
        headers["RateLimit-Policy"] = ", ".join(f'"{name}";q={q};w={w};qu="atoms"' for name, q, w, _, _ in policies)
        headers["RateLimit"] = ", ".join(f'"{name}";r={left};t={reset}' for name, _, _, left, reset in policies)
    return headers


def _policies(account: Account) -> list[tuple[str, int, int, int, int]]:
    """Name, quota, window in s, what is left, and seconds until all of it is there again, for each limit."""
    found: list[tuple[str, int, int, int, int]] = []
    if account.per_minute:
        missing = account.per_minute - account.left
        left = max(0, int(account.left))
        found.append(("minute", account.per_minute, 60, left, round(60 * missing / account.per_minute)))
    if account.per_day:
        left = max(0, account.per_day - account.used_today)
        found.append(("day", account.per_day, 86_400, left, round(account.seconds_of_day)))
    return found
