import json

import pytest

from rhocast import Client, errors
from rhocast.errors import ClientError, InvalidField, RhocastError, TooManyRequests, WaitTimeout


def every_class(root: type[RhocastError] = RhocastError) -> list[type[RhocastError]]:
    return [root, *(below for child in root.__subclasses__() for below in every_class(child))]


SENT = [kind for kind in every_class() if not issubclass(kind, ClientError) and kind is not RhocastError]


def test_submit_sends_what_was_asked(server, client, job_record, poscar):
    server.answer(job_record("queued"), 202)
    job = client.submit(poscar, want=["density", "forces"], model="promolecule,chgnet", spacing=0.2, priority="bulk")
    assert job.id == "j1"
    assert job.status == "queued"
    sent = json.loads(server.seen[0].body)
    assert (server.seen[0].method, server.seen[0].path) == ("POST", "/v1/predictions")
    assert server.seen[0].headers["content-type"] == "application/json"
    assert sent["structure"] == {"text": poscar, "format": None}
    assert sent["want"] == ["density", "forces"]
    assert sent["model"] == ["promolecule", "chgnet"]
    assert sent["grid"] == {"shape": None, "spacing": 0.2, "encut": None}
    assert sent["priority"] == "bulk"
    assert "prefer" not in server.seen[0].headers


def test_predict_waits_on_the_server(server, client, job_record, poscar):
    server.answer(job_record())
    assert client.predict(poscar, timeout=7.0).energy == -10.8
    assert server.seen[0].headers["prefer"] == "wait=7.000"


def test_predict_goes_on_waiting_where_the_server_stopped(server, client, job_record, poscar):
    server.answer(job_record("queued"), 202)
    server.answer(job_record("running"))
    server.answer(job_record())
    assert client.predict(poscar).formula == "Si2"
    assert [seen.path.partition("=")[0] for seen in server.seen[1:]] == ["/v1/jobs/j1?wait"] * 2


def test_predict_that_takes_too_long_leaves_the_job(server, client, job_record, poscar):
    server.answer(job_record("queued"), 202)
    server.answer(job_record("running"))
    with pytest.raises(WaitTimeout, match=r"found job 'j1' still running; .*\.job\('j1'\)\.wait\(\)"):
        client.predict(poscar, timeout=0.0)


def test_every_submission_has_its_own_key_and_a_repetition_the_same(server, client, job_record, poscar):
    server.answer(b"busy", 503)
    server.hang_up()
    server.answer(job_record("queued"), 202)
    server.answer(job_record("queued"), 202)
    client.submit(poscar)
    client.submit(poscar)
    keys = [seen.headers["idempotency-key"] for seen in server.seen]
    assert keys[0] == keys[1] == keys[2]
    assert keys[3] != keys[0]
    assert len({seen.body for seen in server.seen}) == 1


def test_the_user_s_own_key_is_used(server, client, job_record, poscar):
    server.answer(job_record("queued"), 202)
    client.submit(poscar, idempotency_key="mine")
    assert server.seen[0].headers["idempotency-key"] == "mine"


@pytest.mark.parametrize("kind", SENT, ids=lambda kind: kind.__name__)
def test_a_problem_is_the_same_class_with_the_same_sentence(server, client, kind):
    for _ in range(6):
        server.problem(kind.__name__, kind.status, "found this; expected that; do so")
    with pytest.raises(kind, match=r"^found this; expected that; do so$") as caught:
        client.models()
    assert type(caught.value) is kind
    assert caught.value.status == kind.status


def test_an_unknown_problem_is_the_nearest_class_by_status(server, client):
    for _ in range(6):
        server.problem("SomethingNew", 429, "found too much")
    with pytest.raises(TooManyRequests, match="found too much"):
        client.models()


def test_a_job_is_found_by_its_id(server, client, job_record):
    server.answer(job_record("running"))
    assert client.job("a/b").status == "running"
    assert server.seen[0].path == "/v1/jobs/a%2Fb"


def test_jobs_are_listed_over_pages(server, client, job_record):
    server.answer({"jobs": [job_record("running", id="a"), job_record("queued", id="b")], "next": "/v1/jobs?cursor=c"})
    server.answer({"jobs": [job_record("queued", id="c"), job_record("queued", id="d")], "next": None})
    assert [job.id for job in client.jobs(3)] == ["a", "b", "c"]
    assert [seen.path for seen in server.seen] == ["/v1/jobs?limit=3", "/v1/jobs?cursor=c"]


def test_jobs_end_with_the_last_page(server, client):
    server.answer({"jobs": [], "next": None})
    assert client.jobs() == []


def test_models_say_how_many_workers_serve_them(server, client, model_record):
    server.answer({"models": [model_record(n_workers=3)]})
    (entry,) = client.models()
    assert entry.info.name == "promolecule"
    assert entry.n_workers == 3


@pytest.mark.parametrize(
    ("choice", "sentence"),
    [
        ({"vacuum": -1.0}, r"found vacuum = -1\.0; expected otherwise: Input should be greater than 0"),
        ({"shape": (1, 2)}, r"found shape\.2 = .*Field required"),
        ({"priority": "now"}, "found priority = 'now'"),
        ({"want": "charge"}, "found 'charge' wanted; expected some of density, energy"),
        ({"want": []}, "found nothing wanted; expected some of"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_before_it_is_sent(server, client, poscar, choice, sentence):
    with pytest.raises(InvalidField, match=sentence):
        client.submit(poscar, **choice)
    assert server.seen == []


def test_the_address_comes_from_the_argument_then_the_environment_then_is_this_machine(monkeypatch):
    monkeypatch.delenv("RHOCAST_URL", raising=False)
    with Client() as client:
        assert client.url == "http://127.0.0.1:8000"
    monkeypatch.setenv("RHOCAST_URL", "http://127.0.0.1:9/")
    with Client() as client:
        assert client.url == "http://127.0.0.1:9"
    with Client("http://127.0.0.1:8") as client:
        assert client.url == "http://127.0.0.1:8"


def test_every_class_of_the_module_is_in_the_tree():
    classes = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)}
    assert classes == set(every_class())
