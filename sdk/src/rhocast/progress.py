"""A spinner on standard error while a job is waited for."""

import os
from collections.abc import Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


def is_shown(wanted: bool | None, console: Console) -> bool:
    """Whether there is a spinner: only on a terminal, unless it is muted.

    Args:
        wanted: The caller's choice; None leaves it to RHOCAST_PROGRESS, where 0 mutes.
        console: Where it would be.
    """
    if wanted is None:
        wanted = os.environ.get("RHOCAST_PROGRESS", "1") != "0"
    return wanted and console.is_terminal


@contextmanager
def spinner(text: str, wanted: bool | None = None, console: Console | None = None) -> Generator[None, None, None]:
    """A line that turns while the block runs, and leaves nothing behind.

    Args:
        text: What is being done.
        wanted: Whether to show it; None leaves it to RHOCAST_PROGRESS.
        console: Where to; standard error if None.
    """
    place = console or Console(stderr=True)
    if not is_shown(wanted, place):
        yield
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=place, transient=True) as progress:
        progress.add_task(text, total=None)
        yield
