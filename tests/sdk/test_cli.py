import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rhocast import __version__, cli

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(autouse=True)
def environment(server, monkeypatch, tmp_path):
    monkeypatch.setenv("RHOCAST_URL", server.url)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)


def run(*arguments: str):
    return CliRunner().invoke(cli.app, list(arguments), prog_name="rhocast")


def silicon(*arguments: str):
    return run("predict", str(EXAMPLES / "Si.cif"), *arguments)


def test_predict_shows_the_answer(server, job_record):
    server.answer(job_record(warnings=["do not trust this"]))
    found = silicon()
    assert found.exit_code == 0, found.output
    for words in ("Si2", "promolecule, chgnet", "8.00000000 e", "-10.800000 eV", "0.400000 eV/Å", "0.25"):
        assert words in found.stdout
    assert "warning: do not trust this" in found.stdout
    assert json.loads(server.seen[0].body)["want"] == ["density", "energy", "forces"]


def test_predict_sends_every_choice(server, job_record):
    server.answer(job_record())
    choices = "--want density,stress --model a,b --shape 8x8,10 --vacuum 3 --priority bulk --timeout 9"
    assert silicon(*choices.split()).exit_code == 0
    sent = json.loads(server.seen[0].body)
    assert sent["want"] == ["density", "stress"]
    assert sent["model"] == ["a", "b"]
    assert sent["grid"]["shape"] == [8, 8, 10]
    assert sent["vacuum"] == 3.0
    assert sent["priority"] == "bulk"
    assert server.seen[0].headers["prefer"] == "wait=9.000"


@pytest.mark.parametrize(
    ("model", "want"),
    [
        ("promolecule", ["density"]),
        ("chgnet", ["energy", "forces"]),
        ("promolecule, chgnet", ["density", "energy", "forces"]),
        ("typo", ["density", "energy", "forces"]),  # the service says what there is
    ],
)
def test_predict_wants_what_the_named_models_give(server, job_record, model_record, model, want):
    server.answer({"models": [model_record(), model_record("chgnet", 1, ("energy", "forces", "stress"))]})
    server.answer(job_record())
    assert silicon("--model", model).exit_code == 0
    assert json.loads(server.seen[-1].body)["want"] == want


def test_predict_prints_json(server, job_record):
    server.answer(job_record())
    assert json.loads(silicon("--json").stdout)["result"]["potential"]["energy"] == -10.8


def test_predict_writes_the_density(server, job_record, tmp_path):
    server.answer(job_record())
    server.answer(b"a CHGCAR")
    found = silicon("-o", "CHGCAR")
    assert found.exit_code == 0
    assert "wrote CHGCAR" in found.stderr
    assert (tmp_path / "CHGCAR").read_bytes() == b"a CHGCAR"


def test_predict_writes_the_format_that_is_said(server, job_record, tmp_path):
    server.answer(job_record())
    server.answer(b"npz")
    assert silicon("-o", "rho", "--format", "npz").exit_code == 0
    assert server.seen[-1].path.endswith("format=npz")


def test_predict_writes_what_is_derived_of_the_density(server, job_record, tmp_path):
    server.answer(job_record())
    server.answer(b"a cube")
    assert silicon("-o", "sigma.cube", "--quantity", "error").exit_code == 0
    assert server.seen[-1].path.endswith("format=cube&quantity=error")
    assert (tmp_path / "sigma.cube").read_bytes() == b"a cube"


def test_predict_writes_coefficients(server, job_record, tmp_path):
    server.answer(job_record())
    server.answer(b"npz")
    assert silicon("-o", "si.coefficients.npz").exit_code == 0
    assert server.seen[-1].path.endswith("format=coefficients")
    assert (tmp_path / "si.coefficients.npz").read_bytes() == b"npz"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("-o", "there"), "found that there exists; expected a new name; choose one, or replace it with --force"),
        (("-o", "rho"), "found the file name 'rho'; expected a name CHGCAR*"),
        (("-o", "rho", "--format", "xml"), "found format 'xml'"),
        (("-o", "no/CHGCAR"), "found no folder no; expected one for CHGCAR; make it first"),
        (("-o", "CHGCAR", "--want", "energy"), "found -o CHGCAR and no density wanted"),
        (("--quantity", "error"), "found --quantity error and no -o OUT; expected a file on a grid for it"),
        (
            ("-o", "a.coefficients.npz", "--quantity", "difference"),
            "found --quantity difference and coefficients; expected a file on a grid",
        ),
        (("--want", "mood"), "found 'mood' wanted; expected some of density"),
        (("--shape", "8,8"), "found the shape '8,8'; expected three numbers of points such as 48,48,48"),
        (("--spacing", "0.1", "--encut", "500"), "found spacing and encut; expected one of"),
        (("--like", "nothing"), "found no file at 'nothing'; expected a CHGCAR"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_before_any_work(server, tmp_path, arguments, sentence):
    (tmp_path / "there").write_text("old")
    found = silicon(*arguments)
    assert found.exit_code == 1
    assert found.stderr.startswith(sentence)
    assert found.stderr.count("\n") == 1
    assert found.stdout == ""
    assert server.seen == []


def test_force_replaces_what_is_there(server, job_record, tmp_path):
    (tmp_path / "CHGCAR").write_text("old")
    server.answer(job_record())
    server.answer(b"new")
    assert silicon("-o", "CHGCAR", "--force").exit_code == 0
    assert (tmp_path / "CHGCAR").read_bytes() == b"new"


def test_an_error_of_the_server_is_its_sentence(server):
    server.problem("UnsupportedByModel", 422, "found Xe; expected other elements")
    found = silicon()
    assert found.exit_code == 1
    assert found.stderr == "found Xe; expected other elements\n"


def test_an_error_of_the_disk_is_a_sentence(server, job_record, tmp_path):
    (tmp_path / "CHGCAR").mkdir()
    server.answer(job_record())
    found = silicon("-o", "CHGCAR", "--force")
    assert found.exit_code == 1
    assert found.stderr == "it is a folder; add a file name: CHGCAR\n"


def test_an_error_without_a_file_is_a_sentence_too(monkeypatch):
    def full(_):
        raise OSError("no room")

    monkeypatch.setattr(cli, "findings", full)
    found = run("doctor")
    assert (found.exit_code, found.stderr) == (1, "no room\n")


def test_wrong_usage_has_exit_code_2():
    assert run("predict").exit_code == 2
    assert run("predict", "x", "--spacing", "wide").exit_code == 2
    assert run("dance").exit_code == 2


def test_models_are_listed(server, model_record):
    server.answer({"models": [model_record(n_workers=2), model_record("chgnet", 0, ("energy",))]})
    found = run("models")
    assert found.exit_code == 0
    assert "promolecule" in found.stdout
    assert "chgnet: Atoms, superposed." in found.stdout
    assert "crystals, molecules" in found.stdout


def test_the_doctor_s_exit_code_is_the_verdict(server, model_record):
    server.answer({"status": "ok", "version": "1"})
    server.answer({"status": "ok", "version": "1", "checks": {}})
    server.answer({"models": [model_record(provides=("density", "energy", "forces"))]})
    assert run("doctor").exit_code == 0
    ill = run("doctor", "--url", "http://127.0.0.1:1")
    assert ill.exit_code == 1
    assert "✗" in ill.stdout
    assert "found no server that answers at http://127.0.0.1:1" in ill.stdout


def test_serve_and_worker_become_the_application(monkeypatch, tmp_path):
    launches = []
    monkeypatch.setattr(cli, "become", launches.append)
    assert run("serve", "--host", "0.0.0.0", "--port", "9", "--workers", "2", "--data", "d").exit_code == 0
    assert run("worker").exit_code == 0
    assert launches[0].command[1:] == ("-m", "app.supervisor", "--host", "0.0.0.0", "--port", "9", "--workers", "2")
    assert launches[0].environment["RHOCAST_DATA"] == str(tmp_path / "d")
    assert launches[1].command[1:] == ("-m", "workers")


def test_keys_are_the_affair_of_the_application(monkeypatch, tmp_path):
    launches = []
    monkeypatch.setattr(cli, "become", launches.append)
    for arguments in (("create", "alice", "--scope", "read", "--data", "d"), ("list", "--help"), ()):
        assert run("keys", *arguments).exit_code == 0
    commands = [launch.command[1:] for launch in launches]
    assert commands == [
        ("-m", "jobs.keys_command", "create", "alice", "--scope", "read"),
        ("-m", "jobs.keys_command", "list", "--help"),
        ("-m", "jobs.keys_command", "--help"),
    ]
    assert launches[0].environment["RHOCAST_DATA"] == str(tmp_path / "d")


def test_the_version_is_told():
    assert run("--version").stdout == f"rhocast {__version__}\n"


def test_no_traceback_reaches_the_user():
    command = [sys.executable, "-c", "from rhocast.cli import main; main()", "predict", "nothing.cif"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert found.stderr.startswith("found no file at 'nothing.cif'; expected a structure file")
    assert "Traceback" not in found.stderr


def test_main_runs_the_command(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["rhocast", "--version"])
    with pytest.raises(SystemExit, match="0"):
        cli.main()
    assert capsys.readouterr().out == f"rhocast {__version__}\n"
