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


def test_a_line_that_is_told_how_far_it_is_has_a_bar():
    console = terminal()
    with spinner("waiting", console=console) as tell:
        tell(64, 512)
    assert "64/512" in console.file.getvalue()
    assert "━" in console.file.getvalue()


def test_a_line_that_is_told_nothing_has_no_bar():
    console = terminal()
    with spinner("waiting", console=console):
        pass
    assert "━" not in console.file.getvalue()
    assert "/" not in console.file.getvalue().replace("[/", "")


@pytest.mark.parametrize("wanted", [None, True])
def test_a_file_sees_nothing(wanted):
    console = Console(file=io.StringIO())
    with spinner("waiting", wanted, console) as tell:
        tell(1, 2)
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
