"""The service in trouble: it says so, takes nothing in that it cannot keep, and recovers by itself."""

import redis
from starlette.testclient import TestClient

from app.factory import create_app
from jobs.embedded import EmbeddedStore
from jobs.settings import Settings
from rhocast.errors import ServiceUnavailable, StorageFull, TooManyRequests
from tests.app.conversation import newest_job, posted, refused
from tests.app.samples import rock_salt


def test_a_full_disk_refuses_work(app_of):
    client = app_of(min_free_bytes=10**18)
    answer = posted(client, rock_salt())
    refused(answer, StorageFull, "MB free", "expected at least", "nothing was queued", "try again")
    assert answer.headers["retry-after"] == "5"
    assert newest_job(client) is None
    health = client.get("/readyz")
    assert health.status_code == 503
    assert "MB free" in health.json()["checks"]["artifacts"]
    assert client.get("/healthz").status_code == 200


def test_a_full_queue_refuses_work(app_of):
    client = app_of(max_queued=1)
    accepted = posted(client, rock_salt(5.6)).json()["id"]
    answer = posted(client, rock_salt(5.7))
    refused(answer, TooManyRequests, "1 tasks waiting for promolecule", "fewer than 1", "try again later")
    assert answer.headers["retry-after"] == "5"
    assert newest_job(client) == accepted


def test_a_service_without_workers_asks_for_patience(settings):
    with TestClient(create_app(settings)) as client:
        answer = posted(client, rock_salt())
        refused(answer, ServiceUnavailable, "no worker has started yet", "expected at least one", "try again")
        assert answer.headers["retry-after"] == "5"
        assert client.get("/v1/models").json() == {"models": []}
        assert client.get("/readyz").json()["checks"]["workers"] == "no worker has started"


def test_a_store_that_is_down_is_told_and_survived(app_of, tmp_path):
    store = EmbeddedStore(tmp_path / "store").start()
    try:
        client = app_of(redis_url=store.url)
        job = posted(client, rock_salt()).json()["id"]

        process = redis.Redis.from_url(store.url)
        process.shutdown(save=False, nosave=True)
        process.close()
        store._process.wait()
        for answer in (
            posted(client, rock_salt()),
            client.get(f"/v1/jobs/{job}"),
            client.get(f"/v1/jobs/{job}/density"),
            client.delete(f"/v1/jobs/{job}"),
            client.get("/v1/jobs"),
            client.get("/v1/models"),
        ):
            refused(answer, ServiceUnavailable, "job store does not answer", "expected it up", "try again")
            assert answer.headers["retry-after"] == "5"
        assert client.get("/healthz").status_code == 200
        health = client.get("/readyz")
        assert health.status_code == 503
        assert health.json()["checks"]["store"] == "does not answer (ConnectionError)"

        store.keep_alive()
        assert client.get(f"/v1/jobs/{job}").json()["status"] == "queued"
        assert posted(client, rock_salt(5.7)).status_code == 202
        assert client.get(f"/v1/jobs/{job}?wait=0.2").status_code == 200
    finally:
        store.stop()


def test_a_store_that_takes_no_writes_is_told_and_survived(app_of, tmp_path):
    with EmbeddedStore(tmp_path / "store") as store, redis.Redis.from_url(store.url) as direct:
        client = app_of(redis_url=store.url)
        direct.config_set("min-replicas-to-write", 1)
        refused(posted(client, rock_salt()), ServiceUnavailable, "job store does not answer", "try again")
        assert client.get("/v1/models").status_code == 200
        direct.config_set("min-replicas-to-write", 0)
        assert newest_job(client) is None
        assert posted(client, rock_salt()).status_code == 202


def test_the_service_is_ready_when_all_its_parts_are(client):
    health = client.get("/readyz")
    assert health.status_code == 200
    expected = {"store": "ok", "workers": "ok", "model chgnet": "ok", "model promolecule": "ok", "artifacts": "ok"}
    assert health.json()["checks"].items() >= expected.items()


def test_a_service_without_an_expander_is_ready_and_says_what_is_missing(app_of):
    client = app_of()
    directory = client.app.state.services.directory
    health = client.get("/readyz")
    assert (health.status_code, health.json()["status"]) == (200, "ok")
    assert health.json()["checks"]["expander"] == "no live expander: batches wait"
    assert ("rhocast_expanders 0.0") in client.get("/metrics").text
    directory.advertise_expander("e1")
    assert client.get("/readyz").json()["checks"]["expander"] == "ok"
    assert ("rhocast_expanders 1.0") in client.get("/metrics").text


def test_settings_come_from_the_environment_if_none_are_given(monkeypatch, tmp_path, store):
    monkeypatch.setenv("RHOCAST_DATA", str(tmp_path))
    monkeypatch.setenv("RHOCAST_REDIS_URL", store.url)
    monkeypatch.setenv("RHOCAST_NAMESPACE", "from-the-environment")
    with TestClient(create_app()) as client:
        assert client.app.state.services.settings == Settings()
        assert client.get("/healthz").json()["status"] == "ok"
