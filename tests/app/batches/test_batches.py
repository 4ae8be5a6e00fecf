"""Batches over HTTP: what goes in, what comes out, and what is refused."""

import json
from typing import Any

import pytest

from app.batches.expansion import Expander
from app.batches.items import headings_name, requests_name
from jobs.keys import Keys
from rhocast.errors import (
    ArtifactExpired,
    BatchNotFound,
    Conflict,
    IdempotencyConflict,
    InvalidField,
    StorageFull,
    TooLarge,
    UnsupportedFormat,
)
from tests.app.batches.archive_files import tarred, zipped
from tests.app.batches.conftest import JSONL, batch_when, read_lines, sent_lines
from tests.app.conversation import finished, newest_job, refused
from tests.app.samples import NACL_CIF, NACL_EXTXYZ, NACL_POSCAR, SMALL_GRID, WATER_XYZ, crooked_salt, rock_salt

FORM = {"shape": "12,12,12"}


def line(custom_id: str, structure: Any, **more: Any) -> dict[str, Any]:
    return {"custom_id": custom_id, "structure": structure, "grid": SMALL_GRID} | more


def uploaded(client, *files: tuple[str, bytes | str], **fields: str):
    return client.post("/v1/batches", files=[("file", file) for file in files], data=FORM | fields)


def test_three_bad_lines_of_a_thousand_do_not_stop_the_others(client, finished_batch):
    lines: list[Any] = [line(f"s{k}", rock_salt(5.5 + 0.01 * (k % 10))) for k in range(1000)]
    lines[10] = "{not json"
    lines[500] = line("s500", {"symbols": ["Na"], "positions": []})
    lines[999] = line("s999", rock_salt(), want=["mood"])
    batch = finished_batch(sent_lines(client, lines))
    assert batch["counts"] == {
        "total": 1000, "queued": 0, "running": 0, "succeeded": 997, "failed": 0, "cancelled": 0, "invalid": 3
    }  # fmt: skip
    output = read_lines(client, batch["id"])
    assert [row["index"] for row in output] == list(range(1000))
    assert [row["custom_id"] for row in output if row["index"] != 10] == [f"s{k}" for k in range(1000) if k != 10]
    assert {row["job"]["result"]["density"]["n_electrons"] for row in output if row["job"]} == {14.0}
    errors = read_lines(client, batch["id"], "errors")
    assert errors == [output[10], output[500], output[999]]
    assert [row["status"] for row in errors] == ["invalid"] * 3
    assert errors[0]["custom_id"] is None
    assert errors[0]["error"]["detail"].startswith("line 11: found a body that is not JSON")
    assert errors[1]["error"]["code"] == "InvalidStructure"
    assert "want.0: " in errors[2]["error"]["detail"]
    assert len({row["job"]["id"] for row in output if row["job"]}) == 997


def test_the_same_custom_id_twice_refuses_the_batch(client, nothing_queued):
    answer = sent_lines(client, [line("twin", rock_salt()), line("other", rock_salt()), line("twin", rock_salt())])
    refused(answer, InvalidField, "the same custom_id twice: 'twin'", "expected each once", "nothing was queued")


@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_an_empty_batch_is_refused(client, nothing_queued, content):
    answer = client.post("/v1/batches", content=content, headers=JSONL)
    refused(answer, InvalidField, "no structure in this batch", "expected at least one line of JSONL")


def test_an_answer_in_a_batch_is_the_answer_to_the_same_request_alone(client, finished_batch):
    structure = crooked_salt(7)
    asked = {"want": ["density", "energy", "forces"]}
    alone = finished(client, structure, **asked)
    batch = finished_batch(sent_lines(client, [line("one", structure, **asked)]))
    (row,) = read_lines(client, batch["id"])
    assert row["job"]["result"]["potential"] == alone["result"]["potential"]
    assert row["job"]["was_cached"]
    assert row["job"]["priority"] == "bulk"
    assert client.get(f"/v1/jobs/{row['job']['id']}").json() == row["job"]


def test_files_and_archives_are_items_named_by_their_paths(client, finished_batch):
    files = [
        ("NaCl.cif", NACL_CIF),
        ("some.zip", zipped({"folder/POSCAR": NACL_POSCAR, "folder/notes.txt": "…", "bad.cif": "data_x"})),
        ("more.tar.gz", tarred({"salt.extxyz": NACL_EXTXYZ, "water.xyz": WATER_XYZ}, compressed=True)),
    ]
    batch = finished_batch(uploaded(client, *files, want="density"))
    assert batch["settings"]["grid"]["shape"] == [12, 12, 12]
    assert batch["warnings"] == [
        "found 1 files that are no structures by their names (such as 'folder/notes.txt'); they were passed over"
    ]
    rows = {row["custom_id"]: row for row in read_lines(client, batch["id"])}
    assert list(rows) == ["NaCl.cif", "folder/POSCAR", "bad.cif", "salt.extxyz", "water.xyz"]
    formulas = {name: row["job"]["formula"] for name, row in rows.items() if row["job"]}
    assert formulas == {"NaCl.cif": "NaCl", "folder/POSCAR": "NaCl", "salt.extxyz": "NaCl", "water.xyz": "OH2"}
    assert rows["bad.cif"]["status"] == "invalid"
    assert rows["NaCl.cif"]["job"]["result"]["density"]["shape"] == [12, 12, 12]


def test_the_format_of_a_form_holds_for_its_files(client, finished_batch):
    batch = finished_batch(uploaded(client, ("a", NACL_CIF), format="poscar"))
    (row,) = read_lines(client, batch["id"])
    assert row["error"]["code"] == "InvalidFile"
    assert "POSCAR" in row["error"]["detail"]


def test_the_output_can_be_read_from_any_item_on(client, finished_batch):
    batch = finished_batch(sent_lines(client, [line(f"s{k}", rock_salt()) for k in range(120)]))
    assert [row["index"] for row in read_lines(client, batch["id"], start=118)] == [118, 119]
    assert read_lines(client, batch["id"], start=120) == []
    assert read_lines(client, batch["id"], "errors") == []


def test_a_batch_that_was_accepted_is_found(client, finished_batch):
    answer = sent_lines(client, [line("a", rock_salt())])
    accepted = answer.json()
    assert answer.headers["location"] == f"/v1/batches/{accepted['id']}"
    assert accepted["status"] == "validating"
    assert accepted["counts"]["queued"] == 1
    batch = finished_batch(answer)
    assert client.get(answer.headers["location"]).json() == batch
    assert batch["finished_at"] >= batch["created_at"]
    page = client.get("/v1/batches?limit=1").json()
    assert [found["id"] for found in page["batches"]] == [batch["id"]]
    second = sent_lines(client, [line("a", rock_salt())]).json()["id"]
    pages = [client.get("/v1/batches?limit=1").json()]
    pages.append(client.get(pages[0]["next"]).json())
    assert [found["id"] for page in pages for found in page["batches"]] == [second, batch["id"]]


def test_a_batch_sent_again_under_its_key_is_the_same_batch(client, finished_batch):
    key = {"Idempotency-Key": "batch-once"}
    lines = [line("a", rock_salt())]
    first = sent_lines(client, lines, **key).json()
    services = client.app.state.services
    before = sorted(path.name for path in services.artifacts.folder.glob("??/*.jsonl"))
    assert sent_lines(client, lines, **key).json()["id"] == first["id"]
    assert sorted(path.name for path in services.artifacts.folder.glob("??/*.jsonl")) == before
    refused(sent_lines(client, [line("b", rock_salt())], **key), IdempotencyConflict, "another request")
    assert sorted(path.name for path in services.artifacts.folder.glob("??/*.jsonl")) == before


def test_what_is_not_there_is_not_found(client):
    for answer in (
        client.get("/v1/batches/none"),
        client.delete("/v1/batches/none"),
        client.get("/v1/batches/none/output"),
        client.get("/v1/batches/none/errors"),
    ):
        refused(answer, BatchNotFound, "found no batch 'none'", "expected one of yours")
    refused(client.get("/v1/batches?cursor=x"), InvalidField, "found the cursor 'x'")


@pytest.mark.parametrize(
    ("headers", "error", "words"),
    [
        ({"Content-Type": "application/json"}, UnsupportedFormat, "content type 'application/json'"),
        ({}, UnsupportedFormat, "content type 'none'"),
        (JSONL | {"Content-Encoding": "gzip"}, UnsupportedFormat, "content encoding 'gzip'"),
    ],
)
def test_other_bodies_are_refused(client, headers, error, words):
    refused(client.post("/v1/batches", content=b"{}", headers=headers), error, words, "expected")


def test_an_upload_that_is_too_long_is_refused_before_it_is_read(app_of):
    client = app_of(max_batch_bytes=1000)
    for content in (b"x" * 1001, iter([b"x" * 900, b"x" * 900])):
        answer = client.post("/v1/batches", content=content, headers=JSONL)
        refused(answer, TooLarge, "a batch of more than 0.001 MB", "send several batches")


def test_a_full_disk_refuses_a_batch(app_of):
    answer = sent_lines(app_of(min_free_bytes=10**18), [line("a", rock_salt())])
    refused(answer, StorageFull, "MB free", "nothing was queued")


def test_a_batch_whose_names_are_gone_says_so(idle):
    batch_id = sent_lines(idle, [line("a", rock_salt())]).json()["id"]
    idle.app.state.services.artifacts.remove(headings_name(batch_id))
    refused(idle.get(f"/v1/batches/{batch_id}/output"), ArtifactExpired, "no longer kept; send it again")


def test_a_batch_that_nobody_expands_can_be_cancelled(idle):
    batch_id = sent_lines(idle, [line("a", rock_salt()), "nonsense"]).json()["id"]
    cancelled = idle.delete(f"/v1/batches/{batch_id}").json()
    assert (cancelled["status"], cancelled["counts"]["cancelled"]) == ("cancelled", 2)
    first, second = read_lines(idle, batch_id)
    assert (first["status"], first["custom_id"], first["job"]) == ("cancelled", "a", None)
    assert first["error"]["code"] == "JobCancelled"
    assert second["custom_id"] is None
    refused(idle.delete(f"/v1/batches/{batch_id}"), Conflict, "already cancelled", "expected one that waits")


def test_a_job_of_a_batch_is_cancelled_with_it(idle):
    batch_id = sent_lines(idle, [line("a", rock_salt())]).json()["id"]
    expand(idle, batch_id)
    assert idle.get(f"/v1/batches/{batch_id}").json()["status"] == "running"
    assert newest_job(idle) == f"{batch_id}-0"
    idle.delete(f"/v1/batches/{batch_id}")
    (row,) = read_lines(idle, batch_id)
    assert (row["status"], row["job"]["status"], row["error"]["code"]) == ("cancelled", "cancelled", "JobCancelled")


def expand(client, batch_id: str) -> bool:
    """Expands a batch here and now."""
    from tests.app.batches.test_expansion import message_of

    return Expander(client.app.state.services, "test").handle(message_of(client.app.state.services, batch_id))


def test_lines_that_have_expired_say_so(idle):
    services = idle.app.state.services
    batch_id = sent_lines(idle, [line(f"s{k}", rock_salt(5.5 + 0.1 * k)) for k in range(3)]).json()["id"]
    expand(idle, batch_id)
    store, name = services.ledger.client, services.settings.namespace
    keys = [view.tasks["promolecule"].key for view in services.ledger.views([f"{batch_id}-{k}" for k in range(3)])]
    for key, result in zip(keys, [{"artifact": "gone"}, {}, {}], strict=True):
        store.hset(f"{name}:task:{key}", mapping={"status": "succeeded", "result": json.dumps(result)})
    assert idle.get(f"/v1/batches/{batch_id}").json()["counts"]["succeeded"] == 3
    store.delete(f"{name}:job:{batch_id}-1")
    store.hset(f"{name}:task:{keys[2]}", "status", "queued")  # somebody has it computed again
    record = store.hget(f"{name}:job:{batch_id}-0", "record").decode()
    store.hset(
        f"{name}:job:{batch_id}-0", "record", record.replace('"density":"promolecule"', '"energy":"promolecule"')
    )
    first, second = read_lines(idle, batch_id)
    assert (first["index"], first["status"], first["error"]["code"]) == (0, "expired", "ArtifactExpired")
    assert (second["index"], second["status"]) == (1, "expired")
    assert second["error"]["detail"].startswith("found that the job of this item is no longer kept")


def test_a_failed_batch_says_why(idle):
    batch_id = sent_lines(idle, [line("a", rock_salt())]).json()["id"]
    idle.app.state.services.artifacts.remove(requests_name(batch_id))
    assert expand(idle, batch_id)
    batch = batch_when(idle, batch_id, "failed")
    assert batch["error"]["code"] == "ArtifactExpired"
    assert "what was sent cannot be read (No such file or directory)" in batch["error"]["detail"]


def test_a_batch_belongs_to_the_name_of_its_key(app_of):
    client = app_of(auth="keys")
    services = client.app.state.services
    keys = Keys(services.ledger.client, services.settings)
    (_, anna), (_, ben) = keys.create("anna"), keys.create("ben")
    batch = sent_lines(client, [line("a", rock_salt())], **{"X-API-Key": anna}).json()

    def listed(key: str) -> list[str]:
        return [one["id"] for one in client.get("/v1/batches", headers={"X-API-Key": key}).json()["batches"]]

    assert client.get(f"/v1/batches/{batch['id']}", headers={"X-API-Key": anna}).json() == batch
    for path in ("", "/output", "/errors"):
        answer = client.get(f"/v1/batches/{batch['id']}{path}", headers={"X-API-Key": ben})
        refused(answer, BatchNotFound, "of yours", "see /v1/batches")
    assert client.get("/v1/batches", headers={"X-API-Key": ben}).json()["batches"] == []
    assert [one["id"] for one in client.get("/v1/batches", headers={"X-API-Key": anna}).json()["batches"]] == [
        batch["id"]
    ]
    assert expand(client, batch["id"])
    assert services.ledger.view(f"{batch['id']}-0").record.owner == "anna"
