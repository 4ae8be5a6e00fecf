"""All measurements in order, as one command."""

import os
import platform
import shlex
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from reference.physics.forces import force_rows
from reference.physics.laboratory import Laboratory
from reference.physics.lattice import lattice_rows
from reference.physics.moments import moment_rows
from reference.physics.report import Row, as_json, markdown, table
from reference.physics.turned import turned_rows
from reference.physics.vacuum import vacuum_rows

console = Console()

PARTS: dict[str, Callable[[Laboratory], list[Row]]] = {
    "lattice": lattice_rows,
    "forces": force_rows,
    "turned": turned_rows,
    "moments": moment_rows,
    "vacuum": vacuum_rows,
}

DEFAULT_OUT = Path("build/reference-physics")


def physics(
    gpaw_python: Annotated[
        str, typer.Option(envvar="RHOCAST_GPAW_PYTHON", help="Interpreter that has GPAW; it is run, never imported.")
    ] = sys.executable,
    out: Annotated[Path, typer.Option(help="Folder for physics.md, physics.json and the labels.")] = DEFAULT_OUT,
    only: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(PARTS)}; may be repeated.")] = None,
) -> None:
    """Measures the physics of the reference data. What has been labelled before is not labelled again."""
    if unknown := sorted(set(only or ()) - PARTS.keys()):
        raise typer.BadParameter(f"found {', '.join(unknown)}; expected some of {', '.join(PARTS)}")
    laboratory = Laboratory.for_gpaw(gpaw_python, out / "labels", console.print)
    rows = measured_rows(laboratory, only or tuple(PARTS))
    console.print(table(rows))
    out.mkdir(parents=True, exist_ok=True)
    (out / "physics.md").write_text(markdown(rows), encoding="utf-8")
    (out / "physics.json").write_text(as_json(rows, about(laboratory)), encoding="utf-8")
    raise typer.Exit(0 if all(row.is_met for row in rows) else 1)


def measured_rows(laboratory: Laboratory, parts: Sequence[str]) -> list[Row]:
    """Rows of the named parts, in order."""
    return [row for name in parts for row in PARTS[name](laboratory)]


def about(laboratory: Laboratory) -> dict[str, object]:
    """Command, machine, versions and date."""
    return {
        "command": shlex.join(["python", "-m", "reference", *sys.argv[1:]]),
        "machine": f"{platform.system()} {platform.machine()}, one of {os.cpu_count()} cores",
        "codes": laboratory.codes,
        "date": datetime.now(UTC).date().isoformat(),
    }
