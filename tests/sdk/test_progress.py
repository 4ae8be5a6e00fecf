import io

import pytest
from rich.console import Console

from rhocast.progress import bar, is_shown, spinner


def terminal() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=80)


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.delenv("RHOCAST_PROGRESS", raising=False)


def test_a_terminal_sees_what_is_waited_for():
    console = terminal()
    with spinner("waiting for [Si2]", console=console):
        pass
    assert "waiting for [Si2]" in console.file.getvalue()


@pytest.mark.parametrize("wanted", [None, True])
def test_a_file_sees_nothing(wanted):
    console = Console(file=io.StringIO())
    with spinner("waiting", wanted, console):
        pass
    assert console.file.getvalue() == ""


def test_the_spinner_can_be_muted(monkeypatch):
    assert is_shown(None, terminal())
    assert not is_shown(False, terminal())
    monkeypatch.setenv("RHOCAST_PROGRESS", "0")
    assert not is_shown(None, terminal())
    assert is_shown(True, terminal())


def test_a_bar_tells_how_many_are_done():
    console = terminal()
    with bar("structures", 40, console=console) as report:
        report(7)
        report(40)
    assert "structures" in console.file.getvalue()
    assert "40/40" in console.file.getvalue()


def test_a_bar_that_is_muted_is_told_in_vain():
    console = terminal()
    with bar("structures", 40, wanted=False, console=console) as report:
        report(7)
    assert console.file.getvalue() == ""
