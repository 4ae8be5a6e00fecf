"""The service whose results lie in a bucket: one machine computes, another answers."""

import runpy
import sys
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app import web
from app.batches.process import ExpanderProcess
from app.factory import create_app
from app.supervisor import supervise
from jobs import bucket
from jobs.settings import Settings
from models.density.promolecule import Promolecule
from rhocast.density import Density
from rhocast.errors import ArtifactExpired, ServerError, ServiceUnavailable
from tests.app.batches.conftest import batch_when, read_lines, sent_lines
from tests.app.conversation import finished, refused
from tests.app.samples import SMALL_GRID, rock_salt
from tests.bucket_server import BucketServer
from tests.conftest import LiveService
from tests.end_to_end.processes import wait_until


@pytest.fixture
def service(settings: Settings, bucket_url: str) -> Iterator[LiveService]:
    with LiveService(settings.model_copy(update={"artifacts": bucket_url}), [Promolecule()]) as started:
        yield started


@pytest.fixture
def elsewhere(service: LiveService, tmp_path: Path) -> Iterator[TestClient]:
    """Another web machine of the same service, with a disk of its own."""
    chosen = service.settings.model_copy(update={"data": tmp_path / "elsewhere"})
    with TestClient(create_app(chosen), raise_server_exceptions=False) as client:
        yield client


def test_what_one_machine_computed_another_sends(service, elsewhere, bucket_server, tmp_path):
    job = finished(service.client, rock_salt())
    for format, ending in (("chgcar", "vasp"), ("coefficients", "npz")):
        answer = elsewhere.get(f"/v1/jobs/{job['id']}/density?format={format}")
        assert answer.status_code == 200, answer.text
        again = service.client.get(f"/v1/jobs/{job['id']}/density?format={format}")
        assert again.content == answer.content
        assert again.headers["repr-digest"] == answer.headers["repr-digest"]
        (tmp_path / f"found.{ending}").write_bytes(answer.content)
    n_electrons = job["result"]["density"]["n_electrons"]
    assert Density.read(tmp_path / "found.vasp", "chgcar").n_electrons == pytest.approx(n_electrons, rel=1e-6)
    task = service.client.app.state.services.ledger.view(job["id"]).tasks["promolecule"]
    bucket_server.age(service.settings.artifacts, task.result["artifact"], 10 * bucket._TOUCHED_SECONDS)
    assert finished(elsewhere, rock_salt())["was_cached"]


def test_a_batch_that_one_machine_took_in_another_expands(service, elsewhere, bucket_server):
    expander = ExpanderProcess(elsewhere.app.state.services.settings)
    expander.start()
    try:
        lines = [{"custom_id": "a", "structure": rock_salt(5.9), "grid": SMALL_GRID}, "nonsense"]
        batch = sent_lines(service.client, lines).json()
        assert batch_when(elsewhere, batch["id"], "succeeded")["counts"]["invalid"] == 1
    finally:
        expander.stop()
    assert [line["status"] for line in read_lines(elsewhere, batch["id"])] == ["succeeded", "invalid"]


def test_a_result_that_is_gone_from_the_bucket_has_expired(service, elsewhere, bucket_server):
    job = finished(service.client, rock_salt())
    (task,) = service.client.app.state.services.ledger.view(job["id"]).tasks.values()
    bucket_server.path(service.settings.artifacts, task.result["artifact"]).unlink()
    answer = elsewhere.get(f"/v1/jobs/{job['id']}/density")
    refused(answer, ArtifactExpired, "no longer kept; submit the structure again")
    assert not finished(elsewhere, rock_salt())["was_cached"]


def test_a_bucket_that_is_unwell_is_told_and_survived(service, elsewhere, bucket_server, monkeypatch):
    monkeypatch.setattr(bucket, "_RETRY_SECONDS", 0.5)
    job = finished(service.client, rock_salt())
    with bucket_server.refusing():
        answer = elsewhere.get(f"/v1/jobs/{job['id']}/density")
        refused(answer, ServiceUnavailable, f"found that {service.settings.artifacts} does not answer", "try again")
        health = elsewhere.get("/readyz")
        assert health.status_code == 503
        assert "does not answer" in health.json()["checks"]["artifacts"]
    assert elsewhere.get(f"/v1/jobs/{job['id']}/density").status_code == 200
    assert elsewhere.get("/readyz").json()["checks"]["artifacts"] == "ok"


def test_a_batch_waits_for_a_bucket_that_is_unwell(service, elsewhere, bucket_server, monkeypatch):
    monkeypatch.setattr(bucket, "_RETRY_SECONDS", 0.5)
    line = {"custom_id": "a", "structure": rock_salt(5.8), "grid": SMALL_GRID}
    batch_id = sent_lines(service.client, [line]).json()["id"]
    expander = ExpanderProcess(elsewhere.app.state.services.settings)
    with bucket_server.refusing():
        expander.start()
        n_before = len(bucket_server.seen)
        wait_until(lambda: len(bucket_server.seen) > n_before + 10, 30, "the expander has tried more than once")
        assert elsewhere.get(f"/v1/batches/{batch_id}").json()["status"] == "validating"
    try:
        assert batch_when(elsewhere, batch_id, "succeeded")["counts"]["succeeded"] == 1
    finally:
        expander.stop()


def test_a_batch_that_the_bucket_refuses_to_give_back_says_so(service, elsewhere, bucket_server):
    line = {"custom_id": "a", "structure": rock_salt(5.7), "grid": SMALL_GRID}
    batch_id = sent_lines(service.client, [line]).json()["id"]
    expander = ExpanderProcess(elsewhere.app.state.services.settings)
    with bucket_server.refusing(status=HTTPStatus.FORBIDDEN):
        expander.start()
        try:
            error = batch_when(elsewhere, batch_id, "failed")["error"]
        finally:
            expander.stop()
    assert error["code"] == "ServerError"
    assert "expected leave to list, read, write and delete there" in error["detail"]


@pytest.fixture
def no_bucket(settings: Settings, bucket_url: str, bucket_server: BucketServer, monkeypatch) -> Settings:
    """Settings that name a bucket that is not there, also in the environment."""
    chosen = settings.model_copy(update={"artifacts": "s3://no-such-bucket/results"})
    monkeypatch.setenv("RHOCAST_ARTIFACTS", chosen.artifacts)
    monkeypatch.setenv("RHOCAST_DATA", str(chosen.data))
    monkeypatch.setenv("RHOCAST_REDIS_URL", chosen.redis_url)
    monkeypatch.setattr("jobs.logs.configure", lambda: None)
    return chosen


def test_a_bucket_that_is_not_there_is_told_by_who_is_asked_whether_work_can_be_done(no_bucket):
    with TestClient(create_app(no_bucket)) as client:
        health = client.get("/readyz")
    assert health.status_code == 503
    assert "found no bucket for s3://no-such-bucket/results" in health.json()["checks"]["artifacts"]


def test_the_service_does_not_start_without_its_bucket(no_bucket, monkeypatch):
    monkeypatch.setattr("app.supervisor.Termination", lambda: None)
    with pytest.raises(ServerError, match="found no bucket for s3://no-such-bucket/results"):
        supervise(no_bucket, "127.0.0.1", 0, 1)


def test_a_web_process_does_not_start_without_its_bucket(no_bucket):
    with pytest.raises(SystemExit, match="found no bucket for s3://no-such-bucket/results"):
        web.main([])


@pytest.mark.parametrize("program", ["workers", "app.batches"])
def test_workers_and_expanders_do_not_start_without_their_bucket(no_bucket, monkeypatch, program):
    monkeypatch.setattr(sys, "argv", [program])
    with pytest.raises(SystemExit, match="found no bucket for s3://no-such-bucket/results"):
        runpy.run_module(program, run_name="__main__")
