"""What goes over the wire: the calls that a client makes and what the replies mean. No input, no output."""

import http
import http.client
import json
import re
import uuid
from collections.abc import Sequence
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from pydantic import BaseModel, ValidationError

from rhocast.analysis_schemas import GridQuantity
from rhocast.errors import ConnectionFailed, RhocastError, error_from_problem
from rhocast.schemas import AnyRequest, DownloadFormat, PredictionRequest, Problem
from rhocast.transport import Call, Reply

LONGEST_POLL = 20.0
"""Seconds of one long poll: below the minute after which proxies give up."""

_CONVERSION_SECONDS = 600.0  # a large grid is written as text when it is first asked for
_HEARTBEAT_SECONDS = 15.0  # longest silence of a stream of events
_SHOWN_CHARACTERS = 200

Answer = TypeVar("Answer", bound=BaseModel)


def submission(request: AnyRequest, wait: float = 0.0, idempotency_key: str | None = None) -> Call:
    """The call that submits a request.

    Args:
        request: What to predict, or to relax.
        wait: Seconds that the server may wait for the result before it answers.
        idempotency_key: Key by which the server knows a repetition; a fresh one if None.
    """
    headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
    if wait > 0:
        headers["Prefer"] = f"wait={wait:.3f}"
    body = json.dumps(request.model_dump(mode="json", by_alias=True), allow_nan=False).encode()
    path = "/v1/predictions" if isinstance(request, PredictionRequest) else "/v1/relaxations"
    return Call("POST", path, body, headers, seconds=wait)


def job_look(job_id: str, wait: float = 0.0) -> Call:
    """The call that looks at a job, after at most some seconds of waiting for its end."""
    query = f"?wait={wait:.3f}" if wait > 0 else ""
    return Call("GET", f"/v1/jobs/{quote(job_id, safe='')}{query}", seconds=wait)


def job_cancellation(job_id: str) -> Call:
    return Call("DELETE", f"/v1/jobs/{quote(job_id, safe='')}")


def job_events(job_id: str, wait: float, last_event_id: str = "") -> Call:
    """The call that follows a job.

    Args:
        job_id: The job.
        wait: Seconds after which the server may end the stream.
        last_event_id: Id of the last event that was read, empty for none.
    """
    headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_event_id} if last_event_id else {})
    path = f"/v1/jobs/{quote(job_id, safe='')}/events?wait={wait:.3f}"
    return Call("GET", path, headers=headers, seconds=_HEARTBEAT_SECONDS)


def job_list(limit: int) -> Call:
    return Call("GET", f"/v1/jobs?limit={limit}")


def density_download(job_id: str, density_format: DownloadFormat, quantity: GridQuantity = "density") -> Call:
    """The call that fetches a density file, its bytes as they are."""
    derived = "" if quantity == "density" else f"&quantity={quantity}"
    path = f"/v1/jobs/{quote(job_id, safe='')}/density?format={density_format}{derived}"
    return Call("GET", path, headers={"Accept-Encoding": "identity"}, seconds=_CONVERSION_SECONDS)


def analysis(job_id: str, name: str, query: Sequence[tuple[str, object]] = ()) -> Call:
    """The call for what the service learns from a density.

    Args:
        job_id: The job.
        name: Which analysis.
        query: What is chosen, in pairs, for a name may come twice.
    """
    chosen = "?" + urlencode(query) if query else ""
    return Call("GET", f"/v1/jobs/{quote(job_id, safe='')}/{name}{chosen}", seconds=_CONVERSION_SECONDS)


def answer_of(reply: Reply, schema: type[Answer], url: str) -> Answer:
    """The object that a reply carries. What a newer server adds to it is ignored.

    Args:
        reply: A reply with a body.
        schema: Class of the object.
        url: Address that it came from, for errors.

    Raises:
        RhocastError: The error that the reply stands for.
        ConnectionFailed: If the body is no such object.
    """
    if reply.status >= http.HTTPStatus.MULTIPLE_CHOICES:
        raise error_of(reply, url)
    try:
        return schema.model_validate_json(reply.body, extra="ignore")
    except ValidationError as error:
        raise ConnectionFailed(
            f"found an answer of {url} that is no rhocast {schema.__name__.lower()} ({_shown(reply.body)}); "
            "expected a rhocast service there, of this version or newer; check the URL"
        ) from error


def error_of(reply: Reply, url: str) -> RhocastError:
    """The error that a reply stands for: the server's own where it is a problem document.

    Args:
        reply: A reply with a body and a status of 300 or more.
        url: Address that it came from.
    """
    try:
        found = Problem.model_validate_json(reply.body, extra="ignore")
    except ValidationError:
        phrase = http.client.responses.get(reply.status, "unknown")
        return error_from_problem(
            "",
            reply.status,
            f"found HTTP {reply.status} ({phrase}) from {url} ({_shown(reply.body)}); expected an answer of a rhocast "
            "service; check the URL, and what stands between",
        )
    return error_from_problem(found.code, found.status, found.detail)


def is_success(status: int) -> bool:
    return http.HTTPStatus.OK <= status < http.HTTPStatus.MULTIPLE_CHOICES


def digest_of(reply: Reply) -> str:
    """SHA-256 of the file in base64, as the reply's Repr-Digest says (RFC 9530); empty if it says none."""
    found = re.search(r"sha-256=:([A-Za-z0-9+/=]+):", reply.headers.get("repr-digest", ""))
    return found.group(1) if found else ""


def error_of_problem(problem: Problem) -> RhocastError:
    return error_from_problem(problem.code, problem.status, problem.detail)


def _shown(body: bytes) -> str:
    """The beginning of a body in one line of plain text."""
    text: Any = re.sub(r"<[^>]*>", " ", body[: 10 * _SHOWN_CHARACTERS].decode("utf-8", "replace"))
    words = " ".join(text.split())
    return words[:_SHOWN_CHARACTERS] or "an empty body"
