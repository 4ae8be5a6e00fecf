"""`rhocast relax`: a structure in, the relaxed one out."""

from pathlib import Path
from typing import Annotated

import typer

from rhocast.cli_output import refuse_taken, say_written, show
from rhocast.client import Client
from rhocast.schemas import Priority
from rhocast.structure_files import structure_file_format

_NOT_CONVERGED = 3


def relax(  # noqa: PLR0913  (one option for each thing that can be chosen)
    file: Annotated[str, typer.Argument(help="A structure file: CIF, POSCAR, xyz.", metavar="FILE")],
    *,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the relaxed structure here: POSCAR, *.cif, *.extxyz.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Names of potentials, separated by commas.")] = None,
    fmax: Annotated[float, typer.Option(help="Largest force of a relaxed structure, eV/Å.")] = 0.05,
    steps: Annotated[int, typer.Option(help="Most steps.")] = 500,
    relax_cell: Annotated[
        bool | None, typer.Option("--relax-cell/--hold-cell", help="Whether the cell of a crystal relaxes; it does.")
    ] = None,
    format: Annotated[
        str | None, typer.Option("--format", help="cif, poscar or extxyz, if the name of OUT does not tell.")
    ] = None,
    priority: Annotated[Priority, typer.Option(help="bulk waits behind interactive.")] = Priority.INTERACTIVE,
    timeout: Annotated[float, typer.Option(help="Longest wait, s; the job goes on.")] = 3600.0,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT if it is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
    url: Annotated[str | None, typer.Option("--url", help="Address of the service; RHOCAST_URL if not given.")] = None,
) -> None:
    """Relax the atoms of a structure, and the cell of a crystal. Exit code 3 if it has not converged."""
    written = None
    if output is not None:
        refuse_taken(output, force)
        written = structure_file_format(output, format)
    with Client(url) as client:
        result = client.relax(
            file, model, fmax=fmax, steps=steps, relax_cell=relax_cell, priority=priority, timeout=timeout
        )
        show(result, as_json)
        if output is not None:
            result.relaxed.write(output, written)
            say_written(output)
    if not result.relaxation.is_converged:
        raise typer.Exit(_NOT_CONVERGED)
