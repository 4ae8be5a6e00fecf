"""Real processes that share a bucket."""

import pytest

from rhocast import Client
from rhocast.retrying import RetryPolicy
from tests.end_to_end.processes import Stack, wait_until
from tests.end_to_end.test_streams import structure, url

pytestmark = [pytest.mark.processes, pytest.mark.timeout(300)]


def expanders(stack: Stack) -> str:
    return stack.client.get("/readyz").json()["checks"]["expander"]


def test_a_density_and_a_batch_go_through_a_bucket_that_fails_now_and_then(
    make_stack, bucket_server, bucket_url
) -> None:
    stack: Stack = make_stack(RHOCAST_ARTIFACTS=bucket_url, **bucket_server.environment)
    with bucket_server.refusing():
        stack.expander.keep_alive()
        wait_until(lambda: expanders(stack) == "ok", 60, "the expander lives")
    with Client(url(stack), progress=False, retries=RetryPolicy(attempts=20)) as client, bucket_server.refusing(3):
        result = client.predict(structure(1), "density", "uniform", shape=(70, 8, 8))
        assert result.density().n_electrons == pytest.approx(1.0)
        names = {path.name.partition(".")[2] for path in bucket_server.path(bucket_url, "").iterdir()}
        assert names == {"zarr.zip"}
        batch = client.submit_batch({"a": structure(2), "b": structure(3)}, want="energy", model="slow")
        assert [found.energy for _, found in batch.wait(timeout=60).results()] == [1.0, 1.0]
