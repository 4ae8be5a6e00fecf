"""What tests say to the service, and what they expect of every refusal."""

import json
import time
from typing import Any

import httpx2
from starlette.testclient import TestClient

from rhocast.errors import RhocastError
from tests.app.samples import SMALL_GRID, rock_salt


def posted(client: TestClient, structure: Any, wait: float = 0, path: str = "/v1/predictions", **asked: Any) -> Any:
    """The answer to a structure sent as JSON; a number that JSON does not know is sent as JavaScript writes it.

    Args:
        client: Client of the service.
        structure: The structure.
        wait: Seconds of `Prefer: wait`.
        path: Where it is sent.
        asked: Other fields of the request.
    """
    headers = {"Content-Type": "application/json"} | ({"Prefer": f"wait={wait}"} if wait else {})
    content = json.dumps({"structure": structure, "grid": SMALL_GRID} | asked)
    return client.post(path, content=content, headers=headers)


def uploaded(client: TestClient, content: bytes | str, wait: float = 0, **fields: str) -> Any:
    """The answer to a file sent as a form."""
    headers = {"Prefer": f"wait={wait}"} if wait else {}
    fields = fields if {"spacing", "encut"} & set(fields) else {"shape": "12,12,12"} | fields
    return client.post("/v1/predictions", files={"file": ("sent", content)}, data=fields, headers=headers)


def finished(client: TestClient, structure: Any, **asked: Any) -> dict[str, Any]:
    """The job of a structure that is answered."""
    response = posted(client, structure, wait=60, **asked)
    assert response.status_code == 200, response.text
    job = response.json()
    assert job["status"] == "succeeded", job["error"]
    return job


def refused(response: httpx2.Response, error: type[RhocastError], *words: str, status: int | None = None) -> Any:
    """The problem document of a refusal that says what was found, what was expected, and these words."""
    assert response.status_code == (status or error.status), response.text[:500]
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert document["status"] == response.status_code
    assert document["code"] == error.__name__
    assert document["title"]
    for word in ("found", *words):
        assert word in document["detail"], document["detail"]
    return document


def newest_job(client: TestClient) -> str | None:
    """Id of the job that was accepted last."""
    jobs = client.get("/v1/jobs?limit=1").json()["jobs"]
    return jobs[0]["id"] if jobs else None


def is_answered(client: TestClient) -> bool:
    """Whether the service still answers a good request."""
    return finished(client, rock_salt())["result"]["density"]["n_electrons"] == 14


def job_when(client: TestClient, job_id: str, status: str, seconds: float = 30) -> dict[str, Any]:
    """A job as soon as it has a status."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        job = client.get(f"/v1/jobs/{job_id}").json()
        if job["status"] == status:
            return job
        time.sleep(0.02)
    raise AssertionError(f"job {job_id} is {job['status']}; expected {status}")
