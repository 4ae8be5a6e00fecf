"""`rhocast keys`: the plain key alone on standard output, once, and sentences for what is wrong."""

import re
import runpy
import sys

import pytest

from jobs.embedded import EmbeddedStore
from jobs.keys import Keys
from jobs.keys_command import main
from rhocast.errors import Unauthorized


@pytest.fixture
def command(ledger, monkeypatch, capsys):
    """Runs a command on the store of the test; returns its exit code, output and errors."""
    monkeypatch.setenv("RHOCAST_REDIS_URL", ledger.settings.redis_url)
    monkeypatch.setenv("RHOCAST_NAMESPACE", ledger.settings.namespace)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


@pytest.fixture
def keys(ledger) -> Keys:
    return Keys(ledger.client, ledger.settings)


def test_a_key_that_was_made_is_good_and_is_told_once(command, keys):
    code, plain, told = command("create", "alice", "--scope", "read", "--days", "2", "--atoms-per-minute", "5")
    assert code == 0
    assert re.fullmatch(r"rho_[\w-]{43}\n", plain)
    key = keys.find(plain.strip())
    assert (key.name, key.scope, key.atoms_per_minute, key.atoms_per_day) == ("alice", "read", 5, None)
    assert key.id in told
    assert plain.strip() not in told + command("list")[1] + command("show", "alice")[1]


def test_the_list_has_a_line_for_each_key(command, keys):
    command("create", "alice", "--atoms-per-day", "0")
    command("create", "bob", "--scope", "metrics", "--days", "0")
    command("create", "carol")
    command("revoke", "carol")
    head, alice, bob, carol = command("list")[1].splitlines()
    assert head.split()[:3] == ["id", "name", "scope"]
    assert re.search(r"alice +submit .* - +good +default +any$", alice)
    assert re.search(r"bob +metrics .* expired +default +default$", bob)
    assert re.search(r"carol +submit .* revoked", carol)
    columns = [line.index(word) for line, word in ((head, "scope"), (alice, "submit"), (bob, "metrics"))]
    assert len(set(columns)) == 1


def test_a_key_is_shown_with_what_it_used(command, keys, ledger):
    command("create", "alice", "--atoms-per-minute", "600", "--atoms-per-day", "1000")
    command("create", "free", "--atoms-per-minute", "0")
    from jobs.limits import Limits

    Limits(ledger.client, ledger.settings).take(keys.named("alice").id, 600, 600, 1000)
    shown = command("show", "alice")[1]
    assert re.search(r"atoms used today +600\n", shown)
    assert int(re.search(r"atoms left now +(\d+)\n", shown).group(1)) < 30
    assert re.search(r"atoms left now +any number\n", command("show", "free")[1])


def test_a_revoked_key_opens_nothing(command, keys):
    plain = command("create", "alice")[1].strip()
    code, out, told = command("revoke", "alice")
    assert (code, out) == (0, "")
    assert "of 'alice' is revoked" in told
    with pytest.raises(Unauthorized, match="revoked"):
        keys.find(plain)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("create", "alice", "--scope", "root"),
            "found the scope 'root'; expected one of read, submit, metrics, admin",
        ),
        (("create", "a:b"), "found the name 'a:b'"),
        (("revoke", "nobody"), "found no key 'nobody'"),
        (("show", "nobody"), "found no key 'nobody'"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_a_code(command, arguments, words):
    code, out, told = command(*arguments)
    assert (code, out) == (1, "")
    assert words in told
    assert len(told.splitlines()) == 1


def test_a_store_that_does_not_answer_is_told(command, monkeypatch):
    monkeypatch.setenv("RHOCAST_REDIS_URL", "redis://127.0.0.1:1/0")
    code, _, told = command("list")
    assert code == 1
    assert "found that the job store does not answer" in told


def test_keys_are_made_before_the_service_runs_and_while_it_runs(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("RHOCAST_DATA", str(tmp_path))
    monkeypatch.delenv("RHOCAST_REDIS_URL", raising=False)
    monkeypatch.delenv("REDIS_URL", raising=False)
    assert main(["create", "before"]) == 0
    with EmbeddedStore(tmp_path / "store") as running:
        assert main(["create", "during"]) == 0
        assert running.pid
    assert main(["list"]) == 0
    shown = capsys.readouterr().out
    assert "before" in shown
    assert "during" in shown


@pytest.mark.filterwarnings("ignore:'jobs.keys_command' found in sys.modules")
def test_it_is_a_program(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["keys", "--help"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_module("jobs.keys_command", run_name="__main__")
    shown = capsys.readouterr().out
    assert "rhocast keys" in shown
    assert "admin    everything" in shown
