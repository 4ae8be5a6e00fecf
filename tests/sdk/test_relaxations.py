"""Relaxations through the clients and the command line, against a scripted server."""

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rhocast import AsyncClient, Structure, cli
from rhocast.errors import ArtifactNotFound, InvalidField
from rhocast.inputs import RelaxationChoices, relaxation_request
from rhocast.structure_files import structure_text

EXAMPLES = Path(__file__).parents[2] / "examples"
RELAXED = [[0.0, 0.0, 0.0], [1.3, 1.3, 1.3]]


@pytest.fixture
def relaxation_record(job_record):
    """A relaxation as the wire shows it."""

    def made(status: str = "succeeded", is_converged: bool = True) -> dict:
        settings = {"fmax": 0.05, "steps": 500, "relax_cell": True}
        record = job_record(status, want=["energy", "forces", "stress"], relaxation=settings)
        if record["result"] is not None:
            answer = {
                "structure": record["result"]["structure"] | {"positions": RELAXED},
                "energy_before": -10.1,
                "n_steps": 23,
                "is_converged": is_converged,
            }
            record["result"] |= {"density": None, "relaxation": answer}
        return record

    return made


def test_relax_sends_what_was_asked_and_waits(server, client, relaxation_record, poscar):
    server.answer(relaxation_record("running"), 202)
    server.answer(relaxation_record())
    result = client.relax(
        poscar, "chgnet,other", fmax=0.01, steps=7, relax_cell=False, vacuum=3.0, priority="bulk", timeout=9.0
    )
    sent = json.loads(server.seen[0].body)
    assert (server.seen[0].method, server.seen[0].path) == ("POST", "/v1/relaxations")
    assert server.seen[0].headers["prefer"] == "wait=9.000"
    assert sent == {
        "structure": {"text": poscar, "format": None},
        "model": ["chgnet", "other"],
        "fmax": 0.01,
        "steps": 7,
        "relax_cell": False,
        "vacuum": 3.0,
        "priority": "bulk",
    }
    assert server.seen[1].path.startswith("/v1/jobs/j1?wait=")
    assert result.relaxed.positions.tolist() == RELAXED
    assert result.relaxed.symbols == ["Si", "Si"]
    assert result.structure.positions.tolist() != RELAXED
    assert result.energy == -10.8
    assert (result.relaxation.n_steps, result.relaxation.energy_before) == (23, -10.1)


def test_what_is_not_chosen_is_left_to_the_service(server, client, relaxation_record, poscar):
    server.answer(relaxation_record("queued"), 202)
    job = client.submit_relaxation(poscar, idempotency_key="mine")
    assert job.id == "j1"
    assert job.state.relaxation is not None
    assert job.state.relaxation.fmax == 0.05
    sent = json.loads(server.seen[0].body)
    assert sent["model"] == []
    assert (sent["fmax"], sent["steps"], sent["relax_cell"], sent["vacuum"]) == (0.05, 500, None, 5.0)
    assert server.seen[0].headers["idempotency-key"] == "mine"
    assert "prefer" not in server.seen[0].headers


def test_the_client_of_an_event_loop_relaxes_too(server, relaxation_record, poscar):
    server.answer(relaxation_record())
    server.answer(relaxation_record("queued"), 202)

    async def run() -> None:
        async with AsyncClient(server.url) as client:
            result = await client.relax(poscar, "chgnet", fmax=0.01)
            assert result.relaxed.positions.tolist() == RELAXED
            job = await client.submit_relaxation(poscar, steps=3)
            assert job.status == "queued"

    asyncio.run(run())
    assert [seen.path for seen in server.seen] == ["/v1/relaxations"] * 2
    assert json.loads(server.seen[0].body)["fmax"] == 0.01
    assert json.loads(server.seen[1].body)["steps"] == 3


@pytest.mark.parametrize("choice", [{"fmax": 0.0}, {"fmax": -1.0}, {"steps": -1}, {"steps": 10**6}, {"vacuum": 0.0}])
def test_choices_that_cannot_be_used_are_refused_before_anything_is_sent(poscar, choice):
    with pytest.raises(InvalidField, match=f"found {next(iter(choice))} = "):
        relaxation_request(poscar, RelaxationChoices(**choice))


def test_a_job_that_was_no_relaxation_says_so(server, client, job_record):
    server.answer(job_record())
    result = client.job("j1").result()
    for name in ("relaxation", "relaxed"):
        with pytest.raises(ArtifactNotFound, match="found that job 'j1' was no relaxation; it wanted density"):
            getattr(result, name)


def test_the_summary_tells_of_the_relaxation(server, client, relaxation_record):
    server.answer(relaxation_record())
    server.answer(relaxation_record(is_converged=False))
    summary = client.job("j1").result().summary()
    assert summary["energy before"] == "-10.100000 eV"
    assert summary["relaxed"] == "yes, 23 steps"
    assert client.job("j1").result().summary()["relaxed"] == "no, 23 steps"


@pytest.fixture
def relax(server, monkeypatch, tmp_path):
    """Runs `rhocast relax`."""
    monkeypatch.setenv("RHOCAST_URL", server.url)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str):
        return CliRunner().invoke(cli.app, ["relax", str(EXAMPLES / "Si.cif"), *arguments], prog_name="rhocast")

    return run


@pytest.mark.parametrize(
    ("output", "format"),
    [("POSCAR", "poscar"), ("Si.cif", "cif"), ("Si.extxyz", "extxyz"), ("out --format cif", "cif")],
)
def test_the_command_writes_the_relaxed_structure(server, relaxation_record, relax, tmp_path, output, format):
    server.answer(relaxation_record())
    name = output.split()[0]
    found = relax("-o", *output.split())
    assert found.exit_code == 0, found.output
    assert "yes, 23 steps" in found.stdout
    assert f"wrote {name}" in found.stderr
    text = (tmp_path / name).read_text()
    record = relaxation_record()["result"]["relaxation"]["structure"]
    structure = Structure.from_symbols(record["symbols"], record["positions"], record["cell"])
    assert text == structure_text(structure, format)


def test_the_command_sends_every_choice(server, relaxation_record, relax):
    server.answer(relaxation_record())
    choices = "--model a,b --fmax 0.01 --steps 9 --hold-cell --priority bulk --timeout 9 --json"
    found = relax(*choices.split())
    assert json.loads(found.stdout)["result"]["relaxation"]["n_steps"] == 23
    sent = json.loads(server.seen[0].body)
    assert (sent["model"], sent["fmax"], sent["steps"], sent["relax_cell"]) == (["a", "b"], 0.01, 9, False)
    assert sent["priority"] == "bulk"
    assert server.seen[0].headers["prefer"] == "wait=9.000"


def test_a_relaxation_that_is_not_converged_is_written_and_has_an_exit_code_of_its_own(
    server, relaxation_record, relax, tmp_path
):
    server.answer(relaxation_record(is_converged=False))
    found = relax("-o", "POSCAR")
    assert found.exit_code == 3
    assert (tmp_path / "POSCAR").exists()
    server.answer(relaxation_record(is_converged=False))
    assert relax().exit_code == 3


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_asked(server, relax, tmp_path):
    (tmp_path / "POSCAR").write_text("mine")
    for arguments, sentence in ((["POSCAR"], "found that POSCAR exists"), (["out.pdb"], "found the name 'out.pdb'")):
        found = relax("-o", *arguments)
        assert found.exit_code == 1
        assert sentence in found.stderr
    assert server.seen == []
    assert (tmp_path / "POSCAR").read_text() == "mine"
