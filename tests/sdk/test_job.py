import re

import pytest

from rhocast import Client
from rhocast.errors import (
    ArtifactExpired,
    ConnectionFailed,
    JobCancelled,
    JobNotFinished,
    PredictionFailed,
    WaitTimeout,
    WorkerLost,
)


def problem(code: str, status: int, detail: str) -> dict:
    return {"title": "x", "status": status, "code": code, "detail": detail}


@pytest.fixture
def job(server, client, job_record):
    server.answer(job_record("queued"), 202)
    made = client.job("j1")
    server.seen.clear()
    return made


def test_wait_asks_until_the_job_has_ended(server, job, transport, job_record):
    server.answer(job_record("queued"))
    server.answer(job_record("running"))
    server.answer(job_record())
    assert job.wait().formula == "Si2"
    assert job.status == "succeeded"
    assert len(server.seen) == 3


def test_a_server_that_does_not_wait_is_not_hurried(server, job, transport, job_record):
    server.answer(job_record("running"))
    server.answer(job_record())
    job.wait()
    assert 0.3 < transport.pauses[0] <= 0.5


def test_one_poll_is_shorter_than_a_proxy_s_patience(server, job, job_record):
    server.answer(job_record())
    job.wait(timeout=600)
    assert server.seen[0].path == "/v1/jobs/j1?wait=20.000"


def test_on_a_terminal_the_wait_shows_how_far_the_job_is(server, transport, job_record, monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    server.answer(job_record("queued"), 202)
    server.answer(job_record("running"))
    server.answer(job_record("running", progress={"done": 64, "total": 512}))
    server.answer(job_record())
    with Client(transport=transport, progress=True) as client:
        assert client.predict("Si\n1.0\n2 0 0\n0 2 0\n0 0 2\nSi\n1\nDirect\n0 0 0\n").formula == "Si2"
    assert "64/512" in capsys.readouterr().err
    assert server.seen[0].headers["prefer"] == "wait=1.000"
    assert {one.path for one in server.seen[1:]} == {"/v1/jobs/j1?wait=1.000"}


def test_a_wait_that_ends_says_how_to_pick_the_job_up_again(server, job, job_record):
    server.answer(job_record("running"))
    sentence = f"found job 'j1' still running; .* it goes on: .*Client('{server.url}').job('j1').wait()"
    with pytest.raises(WaitTimeout, match=re.escape(sentence).replace(r"\.\*", ".*")):
        job.wait(timeout=0)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("failed", PredictionFailed),
        ("failed", WorkerLost),
        ("cancelled", JobCancelled),
        ("expired", ArtifactExpired),
    ],
)
def test_a_job_that_ended_badly_raises_its_own_error(server, job, job_record, status, kind):
    server.answer(job_record(status, error=problem(kind.__name__, kind.status, "found a reason")))
    with pytest.raises(kind, match=r"^found a reason$"):
        job.wait()


def test_a_job_that_failed_without_a_reason_is_still_an_error(server, job, job_record):
    server.answer(job_record("failed"))
    with pytest.raises(PredictionFailed, match="found job 'j1' failed without a reason"):
        job.wait()


def test_a_job_that_has_not_ended_has_no_result(job):
    with pytest.raises(JobNotFinished, match=r"found job 'j1' queued; .*call wait\(\)"):
        job.result()


def test_a_job_from_a_list_fetches_its_result(server, client, job_record):
    server.answer({"jobs": [job_record(result=None)], "next": None})
    server.answer(job_record())
    assert client.jobs(1)[0].result().energy == -10.8


def test_a_success_without_a_result_is_no_success(server, client, job_record):
    server.answer(job_record(result=None))
    server.answer(job_record(result=None))
    with pytest.raises(ConnectionFailed, match="found job 'j1' succeeded without a result"):
        client.job("j1").result()


def test_cancel_cancels(server, job, job_record):
    server.answer(job_record("cancelled"))
    assert job.cancel().status == "cancelled"
    assert (server.seen[0].method, server.seen[0].path) == ("DELETE", "/v1/jobs/j1")


def test_to_cancel_twice_does_no_harm(server, job, job_record):
    server.problem("JobCancelled", 409, "found it cancelled")
    server.answer(job_record("cancelled"))
    assert job.cancel().status == "cancelled"


def test_refresh_asks_the_server(server, job, job_record):
    server.answer(job_record("running"))
    assert job.refresh() is job
    assert job.status == "running"


def test_a_job_shows_itself_in_a_line(job):
    assert repr(job) == "<Job j1: density, energy, forces, stress, magmoms of Si2, queued>"
