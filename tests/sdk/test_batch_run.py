"""Runs over a scripted server: each file is sent once and its answer fetched once, wherever a run was stopped."""

import csv
import json

import pytest

from rhocast import batch_run
from rhocast.batch_folder import BatchFolder, sources_of
from rhocast.batch_run import BatchRun
from rhocast.errors import ConnectionFailed, WorkerLost
from rhocast.inputs import Choices, chosen_fields
from tests.sdk.batches import batch_record, output, refusal, row

FIELDS = chosen_fields("density,energy,forces", Choices())


@pytest.fixture
def files(tmp_path, poscar):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in "abcd":
        (folder / f"{name}.vasp").write_text(poscar + name)
    return folder


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def reports():
    return []


@pytest.fixture
def run(client, files, out, reports):
    """Runs the client on the files, as the command does."""

    def run(density_format=None):
        folder = BatchFolder.opened(out, {"want": FIELDS["want"]})
        return BatchRun(client, folder, FIELDS, density_format, lambda n, _: reports.append(n)).run(
            sources_of([files], out)
        )

    return run


def ids_of(seen) -> list[str]:
    return [json.loads(line)["custom_id"] for line in seen.body.splitlines()]


def calls(server) -> list[str]:
    return [f"{seen.method} {seen.path}" for seen in server.seen]


def job(job_record, name: str):
    return job_record(id=f"job-{name}", want=["density", "energy", "forces"])


def rows(job_record, names: str, start: int = 0):
    return [row(start + k, f"{name}.vasp", job(job_record, name)) for k, name in enumerate(names)]


def answer_all(server, job_record, names: str = "abcd") -> None:
    """A server that accepts the files, has done them at the second look, and gives the output."""
    total = len(names)
    server.answer(batch_record("validating", total=total, queued=total), 202)
    server.answer(batch_record("running", total=total, running=1))
    server.answer(batch_record("succeeded", total=total))
    server.answer(output(*rows(job_record, names)))


def test_files_go_out_and_answers_come_in(server, run, out, job_record, reports):
    answer_all(server, job_record)
    outcome = run()
    assert ids_of(server.seen[0]) == ["a.vasp", "b.vasp", "c.vasp", "d.vasp"]
    assert json.loads(server.seen[0].body.splitlines()[0])["want"] == ["density", "energy", "forces"]
    assert calls(server)[1:] == ["GET /v1/batches/b1"] * 2 + ["GET /v1/batches/b1/output?start=0"]
    assert json.loads((out / "c.vasp.json").read_text())["id"] == "job-c"
    assert (outcome.n_files, outcome.n_succeeded, outcome.n_collected, outcome.n_cached) == (4, 4, 4, 0)
    assert (outcome.errors, outcome.missing, outcome.compute_seconds) == ({}, [], 1.0)
    assert reports == [3, 4, 4]


def test_the_summary_has_a_line_for_each_file(server, run, out, job_record):
    server.answer(batch_record("succeeded", total=4), 202)
    server.answer(batch_record("succeeded", total=4))
    only_energy = job(job_record, "b")
    only_energy["result"] = only_energy["result"] | {"density": None}
    only_energy["result"]["potential"] = only_energy["result"]["potential"] | {"forces": None}
    only_density = job(job_record, "c") | {"warnings": ["one", "two"], "was_cached": True}
    only_density["result"] = only_density["result"] | {"potential": None}
    lines = [row(0, "a.vasp", job(job_record, "a")), row(1, "b.vasp", only_energy), row(2, "c.vasp", only_density)]
    server.answer(output(*lines, row(3, "d.vasp", None, "invalid")))
    assert run().n_cached == 1
    with (out / "summary.csv").open() as table:
        a, b, c, d = csv.DictReader(table)
    assert (a["file"], a["status"], a["formula"], a["n_atoms"]) == ("a.vasp", "succeeded", "Si2", "2")
    assert (float(a["energy_eV"]), float(a["max_force_eV_per_A"]), float(a["n_electrons"])) == (-10.8, 0.4, 8.0)
    assert (b["n_electrons"], b["max_force_eV_per_A"]) == ("", "")
    assert (c["energy_eV"], c["warnings"], c["was_cached"]) == ("", "one; two", "True")
    assert (d["status"], d["error"]) == ("failed", "InvalidStructure: found nonsense")
    assert list(a) == list(batch_run.COLUMNS)


def test_a_second_run_asks_for_nothing(server, run, job_record):
    answer_all(server, job_record)
    run()
    server.seen.clear()
    outcome = run()
    assert server.seen == []
    assert (outcome.n_succeeded, outcome.n_collected) == (4, 0)


def test_a_run_stopped_while_it_waited_collects_what_was_sent(server, run, job_record):
    server.answer(batch_record("running", total=4, running=4), 202)
    with pytest.raises(ConnectionFailed):
        run_against_a_dead_server(server, run)
    server.seen.clear()
    server.answers.clear()
    server.answer(batch_record("succeeded", total=4))
    server.answer(output(*rows(job_record, "abcd")))
    assert run().n_succeeded == 4
    assert calls(server) == ["GET /v1/batches/b1", "GET /v1/batches/b1/output?start=0"]


def run_against_a_dead_server(server, run):
    for _ in range(10):
        server.hang_up()
    return run()


def test_a_run_stopped_before_it_heard_of_its_batch_sends_it_under_the_same_key(server, run, job_record):
    with pytest.raises(ConnectionFailed):
        run_against_a_dead_server(server, run)
    key = server.seen[0].headers["idempotency-key"]
    server.seen.clear()
    server.answers.clear()
    answer_all(server, job_record)
    run()
    assert server.seen[0].headers["idempotency-key"] == key


def test_a_run_stopped_while_it_saved_fetches_what_is_not_there(server, run, out, job_record):
    answer_all(server, job_record)
    run()
    manifest = json.loads((out / "manifest.json").read_text())
    chunk = {"key": "k", "batch": "b1", "digests": manifest["digests"]}
    (out / "manifest.json").write_text(json.dumps(manifest | {"chunks": [chunk]}))
    for name in "bd":
        (out / f"{name}.vasp.json").unlink()
    before = (out / "c.vasp.json").stat().st_mtime_ns
    server.seen.clear()
    server.answer(batch_record("succeeded", total=4))
    server.answer(output(*rows(job_record, "bcd", start=1)))
    outcome = run()
    assert calls(server)[-1] == "GET /v1/batches/b1/output?start=1"
    assert (outcome.n_succeeded, outcome.n_collected) == (4, 2)
    assert (out / "c.vasp.json").stat().st_mtime_ns == before
    (out / "manifest.json").write_text(json.dumps(manifest | {"chunks": [chunk]}))
    server.seen.clear()
    server.answer(batch_record("succeeded", total=4))
    run()
    assert calls(server) == ["GET /v1/batches/b1"]


def test_a_file_that_changed_is_sent_again_and_no_other(server, run, files, job_record):
    answer_all(server, job_record)
    run()
    server.seen.clear()
    (files / "b.vasp").write_text("other")
    answer_all(server, job_record, "b")
    run()
    assert ids_of(server.seen[0]) == ["b.vasp"]


def test_the_answer_for_what_a_file_was_before_is_not_taken(server, run, files, out, job_record):
    server.answer(batch_record("running", total=4, running=4), 202)
    with pytest.raises(ConnectionFailed):
        run_against_a_dead_server(server, run)
    server.answers.clear()
    server.seen.clear()
    (files / "b.vasp").write_text("other\n")
    server.answer(batch_record("validating", "b2", total=1, queued=1), 202)
    server.answer(batch_record("succeeded", total=4))
    server.answer(output(*rows(job_record, "abcd")))
    server.answer(batch_record("succeeded", "b2", total=1))
    server.answer(output(row(0, "b.vasp", job(job_record, "new-b"))))
    run()
    assert ids_of(server.seen[0]) == ["b.vasp"]
    assert json.loads((out / "b.vasp.json").read_text())["id"] == "job-new-b"
    assert json.loads((out / "a.vasp.json").read_text())["id"] == "job-a"


def test_a_key_stands_for_the_same_files(server, run, files, job_record, poscar):
    with pytest.raises(ConnectionFailed):
        run_against_a_dead_server(server, run)
    key = server.seen[0].headers["idempotency-key"]
    server.answers.clear()
    server.seen.clear()
    (files / "a.vasp").write_text(poscar + "changed")
    (files / "e.vasp").write_text(poscar + "new")
    server.answer(batch_record("validating", "b1", total=3, queued=3), 202)
    server.answer(batch_record("validating", "b2", total=2, queued=2), 202)
    server.answer(batch_record("succeeded", "b1", total=3))
    server.answer(output(*rows(job_record, "bcd")))
    server.answer(batch_record("succeeded", "b2", total=2))
    server.answer(output(*rows(job_record, "ae")))
    assert run().n_succeeded == 5
    assert [ids_of(seen) for seen in server.seen[:2]] == [["b.vasp", "c.vasp", "d.vasp"], ["a.vasp", "e.vasp"]]
    assert len({key, *(seen.headers["idempotency-key"] for seen in server.seen[:2])}) == 3


def test_a_server_cannot_choose_where_answers_go(server, run, out, job_record, tmp_path):
    server.answer(batch_record("succeeded", total=4), 202)
    server.answer(batch_record("succeeded", total=4))
    server.answer(output(row(0, "../evil", job(job_record, "x")), row(1, None, None, "invalid")))
    assert len(run().missing) == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]
    assert sorted(path.name for path in out.iterdir()) == ["manifest.json", "summary.csv"]


def test_many_files_go_in_several_batches(server, run, job_record, monkeypatch):
    monkeypatch.setattr(batch_run, "_CHUNK_FILES", 3)
    server.answer(batch_record("validating", "b1", total=3, queued=3), 202)
    server.answer(batch_record("validating", "b2", total=1, queued=1), 202)
    server.answer(batch_record("succeeded", "b1", total=3))
    server.answer(output(*rows(job_record, "abc")))
    server.answer(batch_record("succeeded", "b2", total=1))
    server.answer(output(*rows(job_record, "d")))
    assert run().n_succeeded == 4
    assert [ids_of(seen) for seen in server.seen[:2]] == [["a.vasp", "b.vasp", "c.vasp"], ["d.vasp"]]


def test_large_files_go_in_several_batches(server, run, job_record, monkeypatch):
    monkeypatch.setattr(batch_run, "_CHUNK_BYTES", 100)
    for name in "abcd":
        server.answer(batch_record("validating", name, total=1, queued=1), 202)
    for name in "abcd":
        server.answer(batch_record("succeeded", name, total=1))
        server.answer(output(*rows(job_record, name)))
    assert run().n_succeeded == 4


def test_a_file_that_cannot_be_read_fails_alone(server, run, files, out, job_record):
    (files / "a.vasp").write_bytes(b"\xff\xfe")
    server.answer(batch_record("succeeded", total=3), 202)
    server.answer(batch_record("succeeded", total=3))
    server.answer(output(*rows(job_record, "bcd")))
    outcome = run()
    assert outcome.errors["a.vasp"].code == "InvalidFile"
    assert (outcome.n_succeeded, ids_of(server.seen[0])) == (3, ["b.vasp", "c.vasp", "d.vasp"])
    assert json.loads((out / "errors.jsonl").read_text())["file"] == "a.vasp"
    server.seen.clear()
    assert run().errors == outcome.errors
    assert server.seen == []


def test_files_none_of_which_can_be_read_are_not_sent(server, run, files):
    for name in "abcd":
        (files / f"{name}.vasp").write_bytes(b"")
    assert len(run().errors) == 4
    assert server.seen == []


def test_what_was_cancelled_is_missing_and_sent_again_by_the_next_run(server, run, job_record):
    server.answer(batch_record("cancelled", total=4, cancelled=1), 202)
    server.answer(batch_record("cancelled", total=4, cancelled=1))
    server.answer(output(*rows(job_record, "abc"), row(3, "d.vasp", None, "cancelled")))
    assert run().missing == ["d.vasp"]
    server.seen.clear()
    answer_all(server, job_record, "d")
    assert run().missing == []
    assert ids_of(server.seen[0]) == ["d.vasp"]


def test_a_batch_that_is_no_longer_kept_leaves_its_files_open(server, run, job_record):
    server.answer(batch_record("running", total=4, running=4), 202)
    server.problem("BatchNotFound", 404, "found no batch")
    assert len(run().missing) == 4
    answer_all(server, job_record)
    assert run().missing == []


def test_a_batch_that_could_not_be_taken_apart_stops_the_run_and_the_next_one_sends_it_again(server, run, job_record):
    error = {"title": "x", "status": 500, "code": "WorkerLost", "detail": "found that it died"}
    server.answer(batch_record("validating", total=4, queued=4), 202)
    server.answer(batch_record("failed", total=4, queued=4) | {"error": error})
    with pytest.raises(WorkerLost, match="found that it died"):
        run()
    answer_all(server, job_record)
    assert run().n_succeeded == 4


def test_densities_are_downloaded_before_the_answer_is_written(server, run, out, job_record):
    answer_all(server, job_record)
    for name in "ab":
        server.answer(f"density of {name}".encode())
    server.answer(refusal("found it expired", "ArtifactExpired"), 410)
    server.answer(b"density of d")
    outcome = run("chgcar")
    assert (out / "CHGCAR.b.vasp").read_bytes() == b"density of b"
    assert outcome.errors["c.vasp"].code == "ArtifactExpired"
    assert not (out / "c.vasp.json").exists()
    assert [seen.path for seen in server.seen if "density" in seen.path] == [
        f"/v1/jobs/job-{name}/density?format=chgcar" for name in "abcd"
    ]


def test_a_server_that_goes_away_during_a_download_leaves_the_file_open(server, run, out, job_record):
    answer_all(server, job_record)
    server.answer(b"density of a")
    with pytest.raises(ConnectionFailed):
        run_against_a_dead_server(server, lambda: run("chgcar"))
    assert (out / "a.vasp.json").exists()
    assert not (out / "b.vasp.json").exists()
    assert not (out / "errors.jsonl").exists()


def test_a_file_that_is_no_longer_named_is_left_as_it_is(server, run, files, job_record):
    with pytest.raises(ConnectionFailed):
        run_against_a_dead_server(server, run)
    server.answers.clear()
    server.seen.clear()
    (files / "d.vasp").unlink()
    server.answer(batch_record("succeeded", total=3), 202)
    server.answer(batch_record("succeeded", total=3))
    server.answer(output(*rows(job_record, "abc")))
    outcome = run()
    assert ids_of(server.seen[0]) == ["a.vasp", "b.vasp", "c.vasp"]
    assert (outcome.n_files, outcome.n_succeeded) == (3, 3)
