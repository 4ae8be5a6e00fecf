"""Numbers for Prometheus: right, bounded, and there when the store is not."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.metrics import Exchange, StoreMetrics, WebMetrics
from jobs.artifacts import ArtifactStore
from jobs.directory import Directory
from jobs.embedded import EmbeddedStore
from jobs.transport import Transport
from rhocast.schemas import Priority
from tests.app.conversation import finished, posted
from tests.app.samples import rock_salt


def values(client) -> dict[tuple[str, ...], float]:
    """What /metrics says: value by name and labels."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_queues_are_counted(app_of):
    client = app_of()
    for n in range(3):
        assert posted(client, rock_salt(5.6 + 0.1 * n)).status_code == 202
    posted(client, rock_salt(6.0), priority="bulk")
    found = values(client)
    assert found["rhocast_store_up",] == 1
    assert found["rhocast_workers", "promolecule"] == 1
    assert found["rhocast_queue_waiting", "promolecule", "interactive"] == 3
    assert found["rhocast_queue_waiting", "promolecule", "bulk"] == 1
    assert found["rhocast_queue_in_hand", "promolecule", "interactive"] == 0
    assert found["rhocast_queue_dead_letters", "promolecule", "interactive"] == 0
    assert 0 < found["rhocast_queue_oldest_seconds", "promolecule", "interactive"] < 60
    assert found["rhocast_http_requests_total", "POST", "/v1/predictions", "202"] == 4
    assert found["rhocast_http_request_seconds_count", "POST", "/v1/predictions"] == 4


def test_the_cache_is_counted(live):
    before = values(live.client)

    def since(outcome: str) -> float:
        name = ("rhocast_cache_lookups_total", "promolecule", outcome)
        return values(live.client).get(name, 0) - before.get(name, 0)

    finished(live.client, rock_salt(5.777))
    assert (since("miss"), since("hit")) == (1, 0)
    finished(live.client, rock_salt(5.777))
    assert (since("miss"), since("hit")) == (1, 1)


def test_what_waits_already_is_joined(app_of):
    client = app_of()
    for _ in range(3):
        posted(client, rock_salt())
    found = values(client)
    assert found["rhocast_cache_lookups_total", "promolecule", "miss"] == 1
    assert found["rhocast_cache_lookups_total", "promolecule", "join"] == 2


def test_results_are_weighed(live):
    finished(live.client, rock_salt(5.778))
    services = live.client.app.state.services
    artifacts = StoreMetrics(services.directory, services.ledger.transport, services.artifacts)
    found = {family.name: family.samples[0].value for family in artifacts.collect() if family.samples}
    expected = sum(path.stat().st_size for path in services.artifacts.folder.rglob("*") if path.is_file())
    assert found["rhocast_artifact_bytes"] == expected > 0
    assert found["rhocast_artifact_free_bytes"] > 0
    services.artifacts.write("ffff.extra", lambda path: path.write_bytes(b"x" * 1000))
    again = {family.name: family.samples[0].value for family in artifacts.collect() if family.samples}
    assert again["rhocast_artifact_bytes"] == expected  # weighed once a minute


def test_of_a_store_that_is_down_that_is_told(settings, tmp_path):
    from jobs.connection import connect

    store = EmbeddedStore(tmp_path / "store").start()
    client = connect(store.url)
    chosen = settings.model_copy(update={"redis_url": store.url})
    gauges = StoreMetrics(Directory(client, chosen), Transport(client, chosen), ArtifactStore(tmp_path / "a", 0))
    assert {f.name: f.samples[0].value for f in gauges.collect() if f.samples}["rhocast_store_up"] == 1
    store.stop()
    found = {family.name: family.samples[0].value for family in gauges.collect()}
    assert found["rhocast_store_up"] == 0
    assert set(found) == {"rhocast_store_up", "rhocast_artifact_bytes", "rhocast_artifact_free_bytes"}
    client.close()


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text; version=1.0.0"])
def test_the_format_is_the_one_that_is_accepted(client, accept):
    answer = client.get("/metrics", headers={"Accept": accept})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/openmetrics" if accept else "text/plain")
    assert answer.text.endswith("# EOF\n") == bool(accept)


def test_labels_are_bounded_whatever_is_asked():
    metrics = WebMetrics()
    for n in range(100):
        metrics.count(Exchange(f"M{n}", "", 404, "NotFound", 0.01))
    samples = [one for family in metrics.registry.collect() for one in family.samples]
    assert len([one for one in samples if one.name == "rhocast_http_requests_total"]) == 1
    assert metrics.registry.get_sample_value("rhocast_http_problems_total", {"code": "NotFound"}) == 100


def test_an_application_that_is_started_again_counts_on(settings):
    from starlette.testclient import TestClient

    from app.factory import create_app

    app = create_app(settings)
    for n in (1, 2):
        with TestClient(app) as client:
            client.get("/v1/models")
            assert values(client)["rhocast_http_requests_total", "GET", "/v1/models", "200"] == n


def test_a_queue_says_how_long_its_next_has_waited(ledger):
    from tests.jobs.builders import job, order

    asked = order()
    ledger.submit(job(asked), [asked])
    queue = Transport.queue_name("m", Priority.INTERACTIVE)
    state = ledger.transport.state(queue)
    assert (state.n_waiting, state.n_in_hand) == (1, 0)
    assert 0 <= state.oldest_seconds < 30
    ledger.client.lpop(f"{ledger.transport.namespace}:{queue}")  # as a worker does
    taken = ledger.transport.state(queue)
    assert (taken.n_waiting, taken.n_in_hand, taken.oldest_seconds) == (0, 1, 0)


def test_relaxations_have_queues_of_their_own_where_a_model_has_forces(live):
    found = {key[1] for key in values(live.client) if key[0] == "rhocast_queue_waiting"}
    assert {"chgnet", "chgnet.relaxations", "promolecule"} <= found
    assert "promolecule.relaxations" not in found
