from io import StringIO

import pytest
from rich.console import Console

from training.bar import step_bar


def test_a_bar_on_a_terminal_counts_steps_from_where_a_training_goes_on():
    console = Console(file=StringIO(), force_terminal=True, width=120)
    with step_bar(30, 10, console) as step_done:
        step_done(0.5)
        step_done(0.25)
    shown = console.file.getvalue()
    assert "12/30" in shown
    assert "loss 0.25" in shown


def test_there_is_no_bar_where_there_is_no_terminal():
    console = Console(file=StringIO(), force_terminal=False)
    with step_bar(30, 10, console) as step_done:
        step_done(0.5)
    assert console.file.getvalue() == ""


def test_a_muted_bar_is_not_shown(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RHOCAST_PROGRESS", "0")
    console = Console(file=StringIO(), force_terminal=True)
    with step_bar(3, 0, console) as step_done:
        step_done(0.5)
    assert console.file.getvalue() == ""
