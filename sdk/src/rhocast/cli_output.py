"""Files that the command line writes."""

from pathlib import Path

from rich.console import Console

from rhocast.errors import InvalidFile


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
