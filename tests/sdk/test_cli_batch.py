import json

import pytest
from typer.testing import CliRunner

from rhocast import cli, cli_batch
from rhocast.retrying import RetryPolicy
from tests.sdk.batches import batch_record, output, row


@pytest.fixture(autouse=True)
def environment(server, monkeypatch, tmp_path, poscar):
    monkeypatch.setenv("RHOCAST_URL", server.url)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(cli_batch, "_PATIENT", RetryPolicy(attempts=1))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    for name in "ab":
        (tmp_path / "in" / f"{name}.vasp").write_text(poscar + name)


def run(*arguments: str):
    return CliRunner().invoke(cli.app, ["batch", "in", "-o", "out", *arguments], prog_name="rhocast")


def answered(server, *lines) -> None:
    server.answer(batch_record("succeeded"), 202)
    server.answer(batch_record("succeeded"))
    server.answer(output(*lines))


def test_a_folder_goes_in_and_a_table_comes_out(server, job_record):
    answered(server, row(0, "a.vasp", job_record()), row(1, "b.vasp", job_record(was_cached=True)))
    found = run("--want", "density,energy", "--model", "m", "--spacing", "0.3", "--vacuum", "4")
    assert found.exit_code == 0, found.output
    for words in ("structures   2", "succeeded    2 (1 known before)", "failed       0", "structures/s", "0.5 s"):
        assert words in found.stdout
    assert "missing" not in found.stdout
    sent = json.loads(server.seen[0].body.splitlines()[0])
    assert (sent["want"], sent["model"], sent["grid"]["spacing"], sent["vacuum"]) == (
        ["density", "energy"], ["m"], 0.3, 4.0
    )  # fmt: skip


def test_what_the_service_warns_of_is_said_once(server, job_record):
    server.answer(batch_record("validating", succeeded=0, queued=2) | {"warnings": ["found no expander"]}, 202)
    for _ in range(2):
        server.answer(batch_record("validating", succeeded=0, queued=2) | {"warnings": ["found no expander"]})
    server.answer(batch_record("succeeded"))
    server.answer(output(row(0, "a.vasp", job_record()), row(1, "b.vasp", job_record())))
    found = run()
    assert found.exit_code == 0, found.output
    assert found.stderr == "warning: found no expander\n"


def test_some_that_failed_are_told_and_are_exit_code_3(server, job_record):
    answered(server, row(0, "a.vasp", job_record()), row(1, "b.vasp", None, "invalid"))
    found = run()
    assert found.exit_code == 3
    assert "1 × InvalidStructure, such as b.vasp: found nonsense" in found.stdout


def test_some_that_are_missing_are_exit_code_3(server, job_record):
    answered(server, row(0, "a.vasp", job_record()), row(1, "b.vasp", None, "cancelled"))
    found = run()
    assert found.exit_code == 3
    assert "missing      1 (cancelled or expired: the same command sends them again)" in found.stdout


def test_densities_are_written_if_they_are_asked_for(server, job_record, tmp_path):
    answered(server, row(0, "a.vasp", job_record()), row(1, "b.vasp", job_record()))
    server.answer(b"first")
    server.answer(b"second")
    assert run("--density-format", "npz").exit_code == 0
    assert (tmp_path / "out" / "b.vasp.npz").read_bytes() == b"second"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--want", "energy", "--density-format", "npz"), "found --density-format npz and no density wanted; expected"),
        (("--density-format", "xml"), "found format 'xml'"),
        (("--want", "mood"), "found 'mood' wanted"),
        (("--vacuum", "-1"), "found vacuum = -1.0"),
        (("nothing",), "found nothing at 'nothing'"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_before_any_work(server, tmp_path, arguments, sentence):
    found = run(*arguments)
    assert found.exit_code == 1
    assert found.stderr.startswith(sentence)
    assert server.seen == []
    assert not (tmp_path / "out").exists()


def test_the_same_folder_for_something_else_is_refused(server, job_record):
    answered(server, row(0, "a.vasp", job_record()), row(1, "b.vasp", job_record()))
    assert run().exit_code == 0
    found = run("--want", "energy")
    assert found.exit_code == 1
    assert "for which something else was asked (want)" in found.stderr


def test_one_that_is_stopped_says_how_to_go_on(server, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli_batch.BatchRun, "run", stopped)
    found = run()
    assert found.exit_code == 130
    assert found.stderr == "stopped; the service goes on with what it has: the same command collects it\n"


def test_a_service_that_is_not_there_is_told(server):
    server.hang_up()
    found = run()
    assert found.exit_code == 1
    assert found.stderr.startswith("found no server that answers at")
