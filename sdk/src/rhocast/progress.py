"""A spinner or a bar on standard error while something is waited for."""

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


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
def spinner(
    text: str, wanted: bool | None = None, console: Console | None = None
) -> Generator[Callable[[int, int], None], None, None]:
    """What tells a line that turns while the block runs how many of how many are done; it leaves nothing behind.

    The line has a bar from when it is told first.

    Args:
        text: What is being done.
        wanted: Whether to show it; None leaves it to RHOCAST_PROGRESS.
        console: Where to; standard error if None.
    """
    place = console or Console(stderr=True)
    if not is_shown(wanted, place):
        yield lambda *_: None
        return
    turning, elapsed = (SpinnerColumn(), TextColumn("{task.description}", markup=False)), TimeElapsedColumn()
    with Progress(*turning, elapsed, console=place, transient=True) as progress:
        task = progress.add_task(text, total=None)

        def tell(done: int, total: int) -> None:
            progress.columns = (*turning, BarColumn(), MofNCompleteColumn(), elapsed)
            progress.update(task, completed=done, total=total)

        yield tell


@contextmanager
def bar(
    text: str, total: int, wanted: bool | None = None, console: Console | None = None
) -> Generator[Callable[[int], None], None, None]:
    """What tells a bar how many are done, while the block runs; the bar leaves nothing behind.

    Args:
        text: What is counted.
        total: How many there are.
        wanted: Whether to show it; None leaves it to RHOCAST_PROGRESS.
        console: Where to; standard error if None.
    """
    place = console or Console(stderr=True)
    if not is_shown(wanted, place):
        yield lambda _: None
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=place, transient=True) as progress:
        task = progress.add_task(text, total=total)
        yield lambda done: progress.update(task, completed=done)
