"""What can be done with a job depends on how far it is."""

import pytest

from app.answers import Answers
from jobs.artifacts import ArtifactStore
from jobs.connection import connect
from jobs.ledger import Ledger
from rhocast.errors import (
    ArtifactExpired,
    ArtifactNotFound,
    Conflict,
    InvalidField,
    JobCancelled,
    JobNotFinished,
    JobNotFound,
)
from tests.app.conversation import finished, job_when, posted, refused, uploaded
from tests.app.samples import NACL_POSCAR, crooked_salt, rock_salt


def test_a_job_that_nobody_knows_is_not_found(client):
    words = ["no job 'nobody'", "expires_at"]
    refused(client.get("/v1/jobs/nobody"), JobNotFound, *words)
    refused(client.get("/v1/jobs/nobody?wait=5"), JobNotFound, *words)
    refused(client.get("/v1/jobs/nobody/density"), JobNotFound, *words)
    refused(client.delete("/v1/jobs/nobody"), JobNotFound, *words)
    refused(client.get("/v1/jobs/%00%ff"), JobNotFound, "expires_at")


def test_a_job_is_cancelled_once(app_of):
    client = app_of()
    job = posted(client, rock_salt()).json()
    assert job["status"] == "queued"
    cancelled = client.delete(f"/v1/jobs/{job['id']}").json()
    assert cancelled["status"] == "cancelled"
    assert cancelled["error"]["code"] == "JobCancelled"
    assert cancelled["finished_at"]
    refused(client.delete(f"/v1/jobs/{job['id']}"), JobCancelled, "already cancelled", "nothing is left to do")
    refused(client.get(f"/v1/jobs/{job['id']}/density"), JobCancelled, "cancelled", "submit it again")
    assert client.get(f"/v1/jobs/{job['id']}?wait=30").json()["status"] == "cancelled"


def test_a_job_that_has_ended_is_not_cancelled(client):
    job = finished(client, rock_salt())
    refused(client.delete(f"/v1/jobs/{job['id']}"), Conflict, "already ended", "expected one that waits", "stay as")
    assert client.get(f"/v1/jobs/{job['id']}").json()["status"] == "succeeded"


def test_there_is_no_density_where_none_was_wanted(client):
    job = finished(client, rock_salt(), want=["energy"])
    words = ["has no density", "it wanted energy", "submit one that wants it"]
    refused(client.get(f"/v1/jobs/{job['id']}/density"), ArtifactNotFound, *words)
    assert "density" not in job["links"]


def test_there_is_no_density_before_the_job_has_ended(app_of):
    client = app_of()
    job = posted(client, rock_salt()).json()
    words = ["queued", "expected it to have ended", "ask again later"]
    refused(client.get(f"/v1/jobs/{job['id']}/density"), JobNotFinished, *words)


def test_a_density_that_is_gone_is_computed_again_when_it_is_asked_for_again(client, live):
    structure = crooked_salt(seed=41)
    job = finished(client, structure)
    url = job["links"]["density"]
    ledger = live.client.app.state.services.ledger
    task = ledger.view(job["id"]).tasks["promolecule"]
    path = ArtifactStore(live.settings.artifacts_folder, 0).path(task.result["artifact"])
    path.unlink()
    refused(client.get(url), ArtifactExpired, job["id"], "no longer kept", "submit the structure again")

    again = finished(client, structure)
    assert not again["was_cached"]
    assert path.is_file()
    for one in (url, again["links"]["density"]):
        assert client.get(one + "?format=npz").status_code == 200
    assert finished(client, structure)["was_cached"]


def test_coefficients_that_are_gone_are_computed_again_too(client, live):
    structure = crooked_salt(seed=44)
    job = finished(client, structure)
    task = live.client.app.state.services.ledger.view(job["id"]).tasks["promolecule"]
    path = ArtifactStore(live.settings.artifacts_folder, 0).path(task.result["coefficients"])
    path.unlink()
    url = job["links"]["density"] + "?format=coefficients"
    refused(client.get(url), ArtifactExpired, job["id"], "no longer kept", "submit the structure again")
    assert not finished(client, structure)["was_cached"]
    assert path.is_file()
    assert client.get(url).status_code == 200


def test_a_job_whose_task_is_gone_has_expired(client, live):
    job = finished(client, crooked_salt(seed=42), want=["density", "energy"])
    ledger = live.client.app.state.services.ledger
    for task in ledger.view(job["id"]).tasks.values():
        ledger.forget(task.key)
    expired = client.get(f"/v1/jobs/{job['id']}").json()
    assert expired["status"] == "expired"
    assert expired["error"]["code"] == "ArtifactExpired"
    assert expired["result"] is None
    refused(client.get(f"/v1/jobs/{job['id']}/density"), ArtifactExpired, "expired", "submit it again")


def test_a_result_too_large_for_the_ledger_comes_from_its_file_and_expires_with_it(client, live):
    job = finished(client, crooked_salt(seed=43), want=["energy", "forces"])
    services = live.client.app.state.services
    view = services.ledger.view(job["id"])
    task = view.tasks["chgnet"]
    import gzip
    import json

    services.artifacts.write(
        "aa-large.json.gz", lambda path: path.write_bytes(gzip.compress(json.dumps(task.result).encode()))
    )
    large = view.model_copy(
        update={"tasks": {"chgnet": task.model_copy(update={"result": {"artifact": "aa-large.json.gz"}})}}
    )
    answers = Answers(services.artifacts, 7.0)
    assert answers.job(large).result.potential.forces == answers.job(view).result.potential.forces
    services.artifacts.path("aa-large.json.gz").unlink()
    with pytest.raises(ArtifactExpired, match="no longer kept; submit"):
        answers.job(large)


def test_jobs_come_newest_first_page_by_page(app_of):
    client = app_of()
    sent = [posted(client, rock_salt(5.6 + k / 100)).json()["id"] for k in range(5)]
    seen, url = [], "/v1/jobs?limit=2"
    while url:
        page = client.get(url).json()
        seen += [job["id"] for job in page["jobs"]]
        url = page["next"]
    assert seen == sent[::-1]


@pytest.mark.parametrize("cursor", ["nonsense", "%C3%85", "bmFu", "LTE=", "aW5m", "MWUxMw=="])
def test_a_cursor_that_no_page_gave_is_refused(client, cursor):
    refused(client.get(f"/v1/jobs?cursor={cursor}"), InvalidField, "the cursor", "`next` of a page", "start without")


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=many"])
def test_a_limit_out_of_range_is_refused(client, query):
    refused(client.get(f"/v1/jobs?{query}"), InvalidField, "query.limit", "expected")


@pytest.mark.parametrize("seconds", ["-1", "nan", "soon"])
def test_a_wait_that_is_no_time_is_refused(client, seconds):
    refused(client.get(f"/v1/jobs/x?wait={seconds}"), InvalidField, "query.wait", "expected")


def test_a_wait_without_end_is_cut(client):
    job = uploaded(client, NACL_POSCAR).json()
    assert client.get(f"/v1/jobs/{job['id']}?wait=inf").json()["status"] == "succeeded"


def test_an_unknown_density_format_is_refused(client):
    job = finished(client, rock_salt())
    refused(client.get(f"/v1/jobs/{job['id']}/density?format=vtk"), InvalidField, "query.format", "'chgcar'", "'vtk'")


def test_a_bulk_job_is_answered_too(client):
    job = posted(client, rock_salt(5.55), priority="bulk").json()
    assert job["priority"] == "bulk"
    assert job_when(client, job["id"], "succeeded")


def test_a_job_failed_by_its_workers_death_says_so(app_of, settings):
    client = app_of()
    job = posted(client, rock_salt()).json()
    with connect(settings.redis_url) as store:
        ledger = Ledger(store, settings)
        (task,) = ledger.view(job["id"]).tasks.values()
        from jobs.ledger import End
        from jobs.records import Failure

        ledger.finish([End(task.key, 0.1, error=Failure(code="WorkerLost", detail="found the worker dead"))])
    failed = client.get(f"/v1/jobs/{job['id']}").json()
    assert (failed["status"], failed["error"]["code"], failed["error"]["status"]) == ("failed", "WorkerLost", 500)
    density = client.get(f"/v1/jobs/{job['id']}/density")
    assert (density.status_code, density.json()["code"]) == (500, "WorkerLost")
