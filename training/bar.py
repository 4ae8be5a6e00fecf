"""A bar of the steps of a training, on standard error."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from rhocast.progress import is_shown


@contextmanager
def step_bar(n_steps: int, n_done: int, console: Console | None = None) -> Generator[Callable[[float], None]]:
    """What to tell the loss of each step; a bar on a terminal, nothing elsewhere or where RHOCAST_PROGRESS is 0.

    Args:
        n_steps: Steps of the whole training.
        n_done: Steps that were done before.
        console: Where it is; standard error if None.
    """
    place = console or Console(stderr=True)
    if not is_shown(None, place):
        yield lambda _: None
        return
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("steps, loss {task.fields[loss]:.4g}"))
    times = (TimeElapsedColumn(), TextColumn("gone,"), TimeRemainingColumn(), TextColumn("to go"))
    with Progress(*columns, *times, console=place, transient=True) as progress:
        bar = progress.add_task("training", total=n_steps, completed=n_done, loss=float("nan"))
        yield lambda loss: progress.update(bar, advance=1, loss=loss)
