"""Who is let in: nobody without a good key, on every route, where keys are needed; everybody where they are not."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from starlette.testclient import TestClient

from app.access import Caller, is_loopback, is_open, require_keys, still_allowed
from jobs.connection import connect
from jobs.keys import Keys
from jobs.settings import Settings
from rhocast.errors import Forbidden, JobNotFound, QuotaExceeded, RateLimited, Unauthorized
from tests.app.conversation import posted, refused
from tests.app.samples import rock_salt


class Keyed:
    """An application that asks for keys, and what makes clients with keys for it."""

    def __init__(self, client: TestClient, store: Keys) -> None:
        self.client = client
        self.store = store

    def headers(self, name: str, scope: str = "submit", **limits: int) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.store.create(name, scope, **limits)[1]}"}

    def of(self, name: str, scope: str = "submit", **limits: int) -> TestClient:
        """A client of the same application that sends a new key."""
        return TestClient(self.client.app, headers=self.headers(name, scope, **limits), raise_server_exceptions=False)


@pytest.fixture
def keyed(app_of, settings):
    with connect(settings.redis_url) as client:
        yield Keyed(app_of(auth="keys"), Keys(client, settings))


def routes(app):
    """Method and path of every route of an application, also of those that the document does not show."""
    for included in app.routes:
        for route in getattr(getattr(included, "original_router", None), "routes", [included]):
            for method in getattr(route, "methods", None) or ():
                yield method, route.path


def test_every_route_of_the_api_refuses_who_has_no_key(keyed):
    asked = [(method, path) for method, path in routes(keyed.client.app) if path.startswith("/v1")]
    assert {"/v1/predictions", "/v1/jobs", "/v1/jobs/{job_id}/density", "/v1/models"} <= {path for _, path in asked}
    documented = {path for path in keyed.client.app.openapi()["paths"] if path.startswith("/v1")}
    assert documented <= {path for _, path in asked}
    for method, path in asked:
        for headers in ({}, {"X-API-Key": "rho_guessed"}, {"Authorization": "Basic eDp5"}):
            answer = keyed.client.request(method, re.sub(r"{[^}]*}", "x", path), headers=headers)
            assert answer.status_code == 401, (method, path)
            assert answer.headers["www-authenticate"] == 'Bearer realm="rhocast"'


def test_a_request_without_a_key_is_told_what_to_do(keyed):
    refused(keyed.client.get("/v1/jobs"), Unauthorized, "no API key", "expected one", "RHOCAST_API_KEY")
    refused(keyed.client.get("/v1/jobs", headers={"X-API-Key": "rho_x"}), Unauthorized, "not known", "expected")


def test_who_watches_the_service_needs_no_key(keyed):
    assert keyed.client.get("/healthz").status_code == 200
    assert keyed.client.get("/readyz").status_code in (200, 503)
    assert keyed.client.get("/openapi.json").status_code == 200


def test_a_key_is_taken_from_either_header(keyed):
    plain = keyed.headers("alice")["Authorization"].removeprefix("Bearer ")
    for headers in ({"Authorization": f"Bearer {plain}"}, {"authorization": f"bearer {plain}"}, {"X-API-Key": plain}):
        assert keyed.client.get("/v1/jobs", headers=headers).status_code == 200
    assert keyed.client.get(f"/v1/jobs?api_key={plain}").status_code == 401  # addresses end up in logs


@pytest.mark.parametrize(
    ("scope", "looks", "submits", "measures"),
    [("read", 200, 403, 403), ("submit", 200, 202, 403), ("metrics", 403, 403, 200), ("admin", 200, 202, 200)],
)
def test_a_key_may_do_what_its_scope_says(keyed, scope, looks, submits, measures):
    client = keyed.of("alice", scope)
    assert client.get("/v1/jobs").status_code == looks
    assert posted(client, rock_salt()).status_code == submits
    assert client.get("/metrics").status_code == measures
    assert keyed.client.get("/metrics").status_code == 401


def test_a_key_of_too_narrow_a_scope_is_told_so(keyed):
    answer = posted(keyed.of("alice", "read"), rock_salt())
    refused(answer, Forbidden, "scope 'read'", "expected 'submit'", "ask whoever runs")
    assert answer.headers["www-authenticate"] == 'Bearer realm="rhocast", error="insufficient_scope"'


def test_a_revoked_key_stops_working_at_once_in_every_process(keyed, settings, app_of):
    other_process = app_of(auth="keys")
    headers = keyed.headers("alice")
    for client in (keyed.client, other_process):
        assert client.get("/v1/jobs", headers=headers).status_code == 200
    keyed.store.revoke("alice")
    for client in (keyed.client, other_process):
        refused(client.get("/v1/jobs", headers=headers), Unauthorized, "which is revoked", "expected a good one")


def test_the_refusal_comes_before_the_body_is_looked_at(keyed):
    answer = keyed.client.post("/v1/predictions", content=b"\xff" * 100, headers={"Content-Type": "text/x"})
    refused(answer, Unauthorized, "no API key", "expected")


def test_jobs_of_others_are_not_there(keyed):
    alice, bob, admin = keyed.of("alice"), keyed.of("bob"), keyed.of("root", "admin")
    job = posted(alice, rock_salt()).json()["id"]
    assert alice.get(f"/v1/jobs/{job}").status_code == admin.get(f"/v1/jobs/{job}").status_code == 200
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/density"), ("GET", "/events")):
        answer = bob.request(method, f"/v1/jobs/{job}{path}")
        told = refused(answer, JobNotFound, f"no job '{job}'", "expected")
        none = bob.request(method, f"/v1/jobs/{job[:-1]}{path}").json()  # nor is it told that it exists
        assert none["detail"].replace(job[:-1], job) == told["detail"]
    listed = [[one["id"] for one in client.get("/v1/jobs").json()["jobs"]] for client in (alice, bob, admin)]
    assert listed == [[job], [], [job]]
    assert keyed.of("alice", "read").get(f"/v1/jobs/{job}").status_code == 200  # another key of the same name
    assert bob.delete(f"/v1/jobs/{job}").status_code == 404
    assert alice.delete(f"/v1/jobs/{job}").status_code == 200


def test_pages_of_a_name_hold_its_jobs_alone(keyed):
    alice, bob = keyed.of("alice"), keyed.of("bob")
    own = [posted(client, rock_salt(5.6 + 0.01 * n)).json()["id"] for n in range(3) for client in (alice, bob)][::2]
    page = alice.get("/v1/jobs?limit=2").json()
    rest = alice.get(page["next"]).json()
    assert [one["id"] for one in page["jobs"] + rest["jobs"]] == own[::-1]


def test_one_idempotency_key_of_two_names_is_two_requests(keyed):
    def asked(client, a):
        body = {"structure": rock_salt(a), "grid": {"shape": [12, 12, 12]}}
        return client.post("/v1/predictions", json=body, headers={"Idempotency-Key": "k"})

    alice, bob = keyed.of("alice"), keyed.of("bob")
    first, other = asked(alice, 5.6), asked(bob, 5.7)
    assert (first.status_code, other.status_code) == (202, 202)
    assert asked(alice, 5.6).json()["id"] == first.json()["id"] != other.json()["id"]


def test_more_atoms_than_a_minute_allows_are_refused_until_it_has_filled(keyed):
    client = keyed.of("alice", atoms_per_minute=3, atoms_per_day=0)
    accepted = posted(client, rock_salt(5.6))
    assert accepted.status_code == 202
    assert accepted.headers["ratelimit-policy"] == '"minute";q=3;w=60;qu="atoms"'
    assert re.fullmatch(r'"minute";r=1;t=(39|40)', accepted.headers["ratelimit"])
    answer = posted(client, rock_salt(5.7))
    refused(answer, RateLimited, "costs 2 atoms", "of 3 a minute", "'alice'", "try again in")
    assert 15 <= int(answer.headers["retry-after"]) <= 21
    assert answer.headers["ratelimit"].startswith('"minute";r=1;')
    assert posted(keyed.of("bob"), rock_salt(5.7)).status_code == 202
    assert len(client.get("/v1/jobs").json()["jobs"]) == 1


def test_more_atoms_than_a_day_allows_are_refused_until_tomorrow(keyed):
    client = keyed.of("alice", atoms_per_minute=0, atoms_per_day=3)
    posted(client, rock_salt(5.6))
    answer = posted(client, rock_salt(5.7))
    refused(answer, QuotaExceeded, "costs 2 atoms", "2 of 3 used today", "expected no more", "begins at 00:00 UTC")
    assert 0 < int(answer.headers["retry-after"]) <= 86_401
    assert answer.headers["ratelimit-policy"] == '"day";q=3;w=86400;qu="atoms"'


def test_what_is_already_there_costs_one_atom(keyed):
    client = keyed.of("alice", atoms_per_minute=0, atoms_per_day=10)
    used = [posted(client, rock_salt(a)).headers["ratelimit"].split(";")[1] for a in (5.6, 5.6, 5.6, 5.7)]
    assert used == ["r=8", "r=7", "r=6", "r=4"]


def test_a_request_that_is_refused_for_itself_costs_nothing(keyed):
    client = keyed.of("alice", atoms_per_minute=0, atoms_per_day=10)
    assert posted(client, rock_salt(), want=["nonsense"]).status_code == 422
    assert posted(client, rock_salt(5.6)).headers["ratelimit"].startswith('"day";r=8;')


def test_a_key_without_limits_has_no_headers_of_them(keyed):
    answer = posted(keyed.of("alice", atoms_per_minute=0, atoms_per_day=0), rock_salt())
    assert answer.status_code == 202
    assert not [name for name in answer.headers if "ratelimit" in name]


def test_many_clients_of_one_key_get_no_more_than_its_bucket(keyed):
    headers = keyed.headers("alice", atoms_per_minute=12, atoms_per_day=0)

    def one(n: int) -> int:
        return posted(TestClient(keyed.client.app, headers=headers), rock_salt(5.5 + 0.001 * n)).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(one, range(24)))
    assert set(statuses) == {202, 429}
    assert 6 <= statuses.count(202) <= 8  # 12 atoms, and those of the seconds that it took


def test_an_open_service_looks_at_no_key_and_counts_nothing(app_of):
    client = app_of(auth="none")
    answer = posted(client, rock_salt())
    assert answer.status_code == 202
    assert "ratelimit" not in answer.headers
    assert client.get("/v1/jobs", headers={"X-API-Key": "rho_wrong"}).status_code == 200
    assert client.get("/metrics").status_code == 200


def request_to(host, *headers):
    return {"type": "http", "server": (host, 8000), "headers": [(name, b"x") for name in headers]}


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "::ffff:127.0.0.1", "localhost"])
def test_without_a_setting_this_machine_needs_no_key(host):
    assert is_loopback(host)
    assert is_open(Settings(), request_to(host))
    assert not is_open(Settings(auth="keys"), request_to(host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "192.168.1.2", "8.8.8.8", "example.org", "", "/run/x"])
def test_without_a_setting_all_others_need_a_key(host):
    assert not is_loopback(host)
    assert not is_open(Settings(), request_to(host))
    assert is_open(Settings(auth="none"), request_to(host))


@pytest.mark.parametrize("header", [b"x-forwarded-for", b"forwarded", b"via"])
def test_what_a_proxy_on_this_machine_has_forwarded_needs_a_key(header):
    assert not is_open(Settings(), request_to("127.0.0.1", header))


def test_a_request_without_an_address_needs_a_key():
    assert not is_open(Settings(), {"type": "http", "server": None, "headers": []})


@pytest.mark.parametrize(
    ("auth", "host", "is_refused"),
    [
        ("auto", "127.0.0.1", False),
        ("auto", "0.0.0.0", True),
        ("keys", "127.0.0.1", True),
        ("none", "0.0.0.0", False),
    ],
)
def test_a_service_that_nobody_could_use_does_not_start(settings, ledger, auth, host, is_refused):
    chosen = settings.model_copy(update={"auth": auth})
    if is_refused:
        with pytest.raises(Unauthorized, match=rf"found no good API key, .* listen on {host}.*rhocast keys create"):
            require_keys(chosen, host, settings.redis_url)
        Keys(ledger.client, chosen).create("alice")
    require_keys(chosen, host, settings.redis_url)


def test_a_caller_is_allowed_while_the_key_is_good_or_the_store_silent(keyed):
    services = keyed.client.app.state.services
    key, _ = keyed.store.create("alice")
    assert still_allowed(services, Caller())
    assert still_allowed(services, Caller(key))
    keyed.store.revoke(key.id)
    assert not still_allowed(services, Caller(key))
    services.keys._client.connection_pool.disconnect()
    connection = services.keys._client.connection_pool.connection_kwargs
    path, connection["path"] = connection["path"], "/nowhere"
    services.keys._client.connection_pool.reset()
    assert still_allowed(services, Caller(key))
    connection["path"] = path
    services.keys._client.connection_pool.reset()
