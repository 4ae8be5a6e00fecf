import pytest
from typer.testing import CliRunner

from reference import __main__ as command_line
from reference.labelling import Labeller
from reference.shards import shards


@pytest.fixture
def run(tmp_path, monkeypatch, labeller):
    """Runs a command in the test's folder, with the fake labelling process."""
    monkeypatch.setattr(Labeller, "for_gpaw", classmethod(lambda cls, python: labeller))
    monkeypatch.setattr(command_line, "DEFAULT_SHIPPED", tmp_path / "shipped")
    monkeypatch.setattr(command_line.console, "width", 200)

    def invoke(*words, code=0):
        out = () if words[0] == "verify" else ("--out", str(tmp_path))
        result = CliRunner().invoke(command_line.application, [*map(str, words), *out])
        assert result.exit_code == code, (result.output, result.exception)
        return result.output

    return invoke


def test_made_verified_counted_and_exported(run, tmp_path):
    assert "2 of 2 records, 2 of them new" in run("make", "crystals", "--n", 2, "--jobs", 2)
    assert "2 of 2 records, 0 of them new" in run("make", "crystals", "--n", 2)
    assert "2 records obey every law, 0 complaints" in run("verify", *shards(tmp_path / "crystals"))
    assert "crystals" in run("status")
    assert "2 records in" in run("export", "crystals", tmp_path / "all.h5")


def test_failures_are_told_and_the_exit_code_says_so(run, monkeypatch):
    monkeypatch.setenv("RHOCAST_FAKE", "not-converged:crystals-0-000001")
    output = run("make", "crystals", "--n", 2, code=1)
    assert "crystals-0-000001: not-converged" in output
    assert "1 failed (failures.jsonl)" in output
    assert "--retry" in run("make", "crystals", "--n", 2, code=1)


def test_an_order_that_begins_after_its_end_is_refused(run):
    assert "found --first 2 and --n 2" in run("make", "crystals", "--n", 2, "--first", 2, code=2)


def test_a_damaged_shard_is_named(run, tmp_path):
    folder = tmp_path / "crystals"
    folder.mkdir()
    (folder / "cut.h5").write_bytes(b"cut")
    assert "cut.h5 half-written" in run("verify", folder / "cut.h5", code=1)
    assert "cut.h5 half-written" in run("status")


def test_an_unknown_set_is_refused_by_name(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("sys.argv", ["reference", "make", "sand", "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match="2"):
        command_line.main()
    assert "no set 'sand'" in capsys.readouterr().out


def test_a_picture_of_the_sets_is_drawn(run, tmp_path):
    assert run("make", "crystals", "--n", 2)
    run("plot", tmp_path / "sets.svg")
    text = (tmp_path / "sets.svg").read_text()
    assert text.startswith("<?xml")
    assert "crystals" in text


def test_nothing_cannot_be_drawn(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("sys.argv", ["reference", "plot", str(tmp_path / "sets.png"), "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match="2"):
        command_line.main()
    assert "no record of any set" in capsys.readouterr().out.replace("\n", " ")


def test_what_was_made_is_packed_with_a_manifest(run, tmp_path):
    run("make", "crystals", "--n", 2)
    output = run("pack", "--shipped", tmp_path / "shipped")
    assert "crystals-000.h5: 2 records" in output.replace("\n", "")
    assert (tmp_path / "shipped" / "manifest.json").exists()
    assert "2 of 2 records, 0 of them new" in run("make", "crystals", "--n", 2)
