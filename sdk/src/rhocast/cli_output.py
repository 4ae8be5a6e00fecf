"""What the command line prints, and the files that it writes."""

from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rhocast.errors import InvalidFile
from rhocast.result import Result


def refuse_taken(output: Path, force: bool) -> None:
    """Refusal of a file that cannot or may not be written, before any work is done for it.

    Args:
        output: The file.
        force: Whether it may replace what is there.

    Raises:
        InvalidFile: If it exists and may not be replaced, or its folder is missing.
    """
    if output.exists() and not force:
        raise InvalidFile(f"found that {output} exists; expected a new name; choose one, or replace it with --force")
    if not output.absolute().parent.is_dir():
        raise InvalidFile(f"found no folder {output.parent}; expected one for {output.name}; make it first")


def say_written(output: Path) -> None:
    """A line on standard error.

    Args:
        output: The file that was written.
    """
    Console(stderr=True).print(f"[green]wrote[/] {output}", highlight=False)


def show(result: Result, as_json: bool) -> None:
    """Prints an answer.

    Args:
        result: The answer.
        as_json: Whether as the service sent it, for programs.
    """
    if as_json:
        typer.echo(result.to_json())
        return
    console = Console()
    table = Table(box=None, show_header=False)
    rows = result.summary()
    warnings = rows.pop("warnings", None)
    for name, value in rows.items():
        table.add_row(Text(name, style="bold"), Text(value))
    console.print(table)
    if warnings is not None:
        console.print()
        for line in result.warnings:
            console.print(Text(f"warning: {line}", style="yellow"), highlight=False, soft_wrap=True)
