import json

import pytest

from rhocast import Result
from rhocast.batch_schemas import BatchStatus, ItemStatus
from rhocast.errors import (
    BatchNotFound,
    Conflict,
    ConnectionFailed,
    InvalidFile,
    InvalidStructure,
    PredictionFailed,
    WaitTimeout,
    WorkerLost,
)
from tests.sdk.batches import batch_record, output, row


@pytest.fixture
def batch(server, client):
    """A batch that was accepted."""

    def made(status: str = "validating", **counts: int):
        server.answer(batch_record(status, **counts), 202)
        found = client.submit_lines([b"{}\n"])
        server.seen.clear()
        return found

    return made


def test_structures_are_sent_by_name_one_a_line(server, client, poscar):
    server.answer(batch_record("validating", queued=2), 202)
    found = client.submit_batch({"a": poscar, "b": poscar}, want="density,energy", model="m,n", spacing=0.2)
    assert (found.id, found.status, found.counts.queued) == ("b1", BatchStatus.VALIDATING, 2)
    (seen,) = server.seen
    assert (seen.method, seen.path) == ("POST", "/v1/batches")
    assert seen.headers["content-type"] == "application/jsonl"
    first, second = (json.loads(line) for line in seen.body.splitlines())
    assert first["structure"] == {"text": poscar, "format": None}
    assert first["want"] == ["density", "energy"]
    assert first["model"] == ["m", "n"]
    assert first["grid"] == {"shape": None, "spacing": 0.2, "encut": None}
    assert (first["custom_id"], second["custom_id"]) == ("a", "b")
    assert "vacuum" not in first


def test_structures_without_names_are_counted(server, client, poscar):
    server.answer(batch_record(), 202)
    client.submit_batch([poscar, poscar], idempotency_key="once", vacuum=3.0)
    assert [json.loads(line)["custom_id"] for line in server.seen[0].body.splitlines()] == ["0", "1"]
    assert server.seen[0].headers["idempotency-key"] == "once"


def test_a_batch_that_is_sent_again_has_the_same_key(server, client, poscar):
    server.hang_up()
    server.answer(batch_record(), 202)
    client.submit_batch([poscar])
    assert len({seen.headers["idempotency-key"] for seen in server.seen}) == 1


def test_a_structure_that_cannot_be_read_is_told_before_anything_is_sent(server, client):
    with pytest.raises(InvalidFile, match=r"found no file at 'nothing\.cif'"):
        client.submit_batch(["nothing.cif"])
    assert server.seen == []


def test_waiting_looks_until_every_item_has_ended(server, client, transport, batch):
    found = batch("validating", queued=2)
    server.answer(batch_record("running", running=1))
    server.answer(batch_record("succeeded", failed=1))
    assert found.wait() is found
    assert (found.counts.succeeded, found.counts.failed, found.counts.ended) == (1, 1, 2)
    assert transport.pauses == [0.5, 0.75]
    assert repr(found) == "<Batch b1: 2 of 2 ended, succeeded>"


def test_waiting_ends_in_time_and_the_batch_goes_on(server, batch):
    found = batch("running", running=1)
    with pytest.raises(WaitTimeout, match=r"found batch 'b1' still running \(1 of 2\); .*batch\('b1'\)"):
        found.wait(timeout=0)


def test_a_batch_that_could_not_be_taken_apart_says_why(server, batch):
    found = batch("validating", queued=2)
    error = {"title": "x", "status": 500, "code": "WorkerLost", "detail": "found that it died"}
    server.answer(batch_record("failed") | {"error": error})
    with pytest.raises(WorkerLost, match="found that it died"):
        found.wait()


def test_results_come_in_order_with_their_names(server, batch, job_record):
    found = batch("succeeded", invalid=1)
    server.answer(output(row(0, "a", job_record()), row(1, None, None, "invalid")))
    (first, result), (second, error) = found.results()
    assert server.seen[0].path == "/v1/batches/b1/output?start=0"
    assert isinstance(result, Result)
    assert (first, result.energy) == ("a", -10.8)
    assert second is None
    assert isinstance(error, InvalidStructure)
    assert error.detail == "found nonsense"


def test_the_density_of_a_result_is_that_of_its_job(server, batch, job_record, tmp_path):
    found = batch("succeeded")
    server.answer(output(row(0, "a", job_record(id="b1-0"))))
    server.answer(b"a CHGCAR")
    ((_, result),) = found.results()
    result.download(tmp_path / "CHGCAR")
    assert server.seen[-1].path == "/v1/jobs/b1-0/density?format=chgcar"


def test_an_output_that_breaks_off_is_fetched_again(server, batch, job_record):
    found = batch("succeeded")
    whole = output(row(0, "a", job_record()), row(1, "b", job_record()))
    server.break_off(whole[:-50])
    server.answer(whole)
    assert [line.custom_id for line in found.lines(start=0)] == ["a", "b"]


def test_lines_start_where_they_are_wanted(server, batch):
    found = batch("succeeded")
    server.answer(b"")
    assert list(found.lines(7)) == []
    assert server.seen[-1].path == "/v1/batches/b1/output?start=7"


def test_a_line_without_a_reason_is_an_error_all_the_same(server, batch, job_record):
    found = batch("succeeded")
    server.answer(output(row(0, "a", job_record(result=None))))
    ((_, error),) = found.results()
    assert isinstance(error, PredictionFailed)
    assert error.detail == "found item 0 succeeded without a reason; submit it again"


def test_what_is_no_output_is_told(server, batch):
    found = batch("succeeded")
    server.answer(b"<html>")
    with pytest.raises(ConnectionFailed, match=r"found a line of the output of batch 'b1' that is none \(b'<html>'\)"):
        list(found.lines())


def test_a_batch_is_cancelled(server, batch):
    found = batch("running", running=2)
    server.answer(batch_record("cancelled", cancelled=2))
    assert found.cancel().status is BatchStatus.CANCELLED
    assert (server.seen[0].method, server.seen[0].path) == ("DELETE", "/v1/batches/b1")
    server.problem("Conflict", 409, "found it already cancelled")
    with pytest.raises(Conflict, match="already cancelled"):
        found.cancel()


def test_a_batch_is_picked_up_by_its_id(server, client):
    server.answer(batch_record("running", running=1))
    assert client.batch("b/1").status is BatchStatus.RUNNING
    assert server.seen[0].path == "/v1/batches/b%2F1"
    server.problem("BatchNotFound", 404, "found no batch")
    with pytest.raises(BatchNotFound, match="found no batch"):
        client.batch("b1")


def test_batches_are_listed_over_pages(server, client):
    server.answer({"batches": [batch_record(batch_id="b1")], "next": "/v1/batches?limit=2&cursor=x"})
    server.answer({"batches": [batch_record(batch_id="b2"), batch_record(batch_id="b3")]})
    assert [found.id for found in client.batches(2)] == ["b1", "b2"]
    assert [seen.path for seen in server.seen] == ["/v1/batches?limit=2", "/v1/batches?limit=2&cursor=x"]


def test_an_item_ends_in_one_of_five_ways():
    assert [str(status) for status in ItemStatus] == ["succeeded", "failed", "cancelled", "expired", "invalid"]
