"""The command line: `rhocast predict`, `relax`, `batch`, `compare`, `analyse`, `models`, `doctor`, `serve` and more."""

import os
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from rhocast import __version__, cli_analysis, cli_batch, cli_relax
from rhocast.application import become, launch_of
from rhocast.cli_output import refuse_taken, say_written, show
from rhocast.client import Client
from rhocast.doctor import findings
from rhocast.errors import InvalidField, RhocastError
from rhocast.inputs import wanted_properties
from rhocast.model_info import Property
from rhocast.result import format_name
from rhocast.schemas import DownloadFormat, Priority

_MARKS = {True: "[green]✓[/]", False: "[red]✗[/]", None: " "}


class Quantity(StrEnum):
    """What a density file may hold."""

    DENSITY = "density"
    DIFFERENCE = "difference"
    ERROR = "error"


class SentenceGroup(TyperGroup):
    """Commands whose errors are one sentence on standard error and exit code 1."""

    def invoke(self, ctx: Any) -> Any:
        """Runs the chosen command.

        Args:
            ctx: Its context.

        Raises:
            Exit: With code 1, in place of an error that the user can do something about.
        """
        try:
            return super().invoke(ctx)
        except RhocastError as error:
            _say(error.detail)
        except OSError as error:
            _say(f"{error.strerror or error}: {error.filename}" if error.filename else str(error))
        raise typer.Exit(1)


app = typer.Typer(
    cls=SentenceGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Electron densities, energies and forces for a CIF or POSCAR.",
)

Url = Annotated[str | None, typer.Option("--url", help="Address of the service; RHOCAST_URL if not given.")]
Data = Annotated[Path | None, typer.Option(help="Folder of the service's data; RHOCAST_DATA if not given.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        Console().print(f"rhocast {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Electron densities, energies and forces for a CIF or POSCAR."""


@app.command()
def predict(  # noqa: PLR0913  (one option for each thing that can be chosen)
    file: Annotated[str, typer.Argument(help="A structure file: CIF, POSCAR, xyz.", metavar="FILE")],
    *,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the density here; *.coefficients.npz needs no grid.")
    ] = None,
    want: Annotated[
        str | None, typer.Option(help="Of density, energy, forces, stress, magmoms; separated by commas.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Names of models, separated by commas.")] = None,
    spacing: Annotated[float | None, typer.Option(help="Grid spacing, Å.")] = None,
    encut: Annotated[float | None, typer.Option(help="Plane-wave cut-off whose fine FFT grid is made, eV.")] = None,
    shape: Annotated[str | None, typer.Option(help="Grid points along each cell vector, such as 48,48,48.")] = None,
    like: Annotated[
        Path | None, typer.Option(help="A CHGCAR, CHG, cube, npz or zarr.zip whose grid is copied.")
    ] = None,
    vacuum: Annotated[float | None, typer.Option(help="Empty space on each side of a molecule, Å.")] = None,
    format: Annotated[
        str | None,
        typer.Option(
            "--format", help="chgcar, chg, cube, npz, zarr or coefficients, if the name of OUT does not tell."
        ),
    ] = None,
    quantity: Annotated[
        Quantity, typer.Option(help="What OUT holds: the density, its difference to the free atoms, or σ.")
    ] = Quantity.DENSITY,
    priority: Annotated[Priority, typer.Option(help="bulk waits behind interactive.")] = Priority.INTERACTIVE,
    timeout: Annotated[float, typer.Option(help="Longest wait, s; the job goes on.")] = 600.0,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT if it is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
    url: Url = None,
) -> None:
    """Predict the density, energy and forces of a structure."""
    with Client(url) as client:
        wanted = wanted_properties(want) if want is not None else _usually_wanted(client, model)
        written = _output_format(output, format, force, wanted)
        _refuse_lost_quantity(quantity, written)
        result = client.predict(
            file,
            wanted,
            model,
            spacing=spacing,
            encut=encut,
            shape=_shape(shape),
            like=like,
            vacuum=vacuum,
            priority=priority,
            timeout=timeout,
        )
        show(result, as_json)
        if output is not None:
            result.download(output, written, quantity.value)
            say_written(output)


app.command()(cli_relax.relax)
app.command()(cli_batch.batch)
app.command()(cli_analysis.compare)
app.add_typer(cli_analysis.analyse, name="analyse")


@app.command()
def models(url: Url = None) -> None:
    """List the models, what each covers and how many live workers serve it."""
    table = Table("model", "provides", "default for", "elements", "made for", "workers", box=None)
    table.columns[0].no_wrap = True
    notes: list[str] = []
    with Client(url) as client:
        for entry in client.models():
            info = entry.info
            table.add_row(
                info.name,
                ", ".join(info.provides),
                ", ".join(entry.is_default_for),
                str(len(info.elements)),
                ", ".join(f"{domain}s" for domain in info.domains),
                str(entry.n_workers),
            )
            notes.append(f"{info.name}: {info.description}. Licence: {info.licence}.")
    console = Console()
    console.print(table)
    for note in notes:
        console.print(Text(note), highlight=False)


@app.command()
def doctor(url: Url = None) -> None:
    """Check this installation and the service; exit code 1 if something needed is missing."""
    found = findings(url)
    table = Table("", "what", "found", box=None, show_header=False)
    for finding in found:
        table.add_row(_MARKS[finding.is_good], finding.name, Text(finding.found))
    Console().print(table)
    if any(finding.is_good is False for finding in found):
        raise typer.Exit(1)


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 8000,
    workers: Annotated[int, typer.Option(help="Worker processes on this machine.", min=0)] = 1,
    data: Data = None,
) -> None:
    """Run the service on this machine: store, web server and workers."""
    arguments = ("--host", host, "--port", str(port), "--workers", str(workers))
    become(launch_of("app.supervisor", arguments, os.environ, Path.cwd(), data))


@app.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
def keys(
    arguments: Annotated[
        list[str] | None, typer.Argument(help="create, list, show or revoke; --help tells more.")
    ] = None,
    data: Data = None,
) -> None:
    """Make, list and revoke the API keys of the service whose store this machine can reach."""
    become(launch_of("jobs.keys_command", tuple(arguments or ("--help",)), os.environ, Path.cwd(), data))


@app.command()
def worker(data: Data = None) -> None:
    """Run one more worker for a service whose store RHOCAST_REDIS_URL names."""
    become(launch_of("workers", (), os.environ, Path.cwd(), data))


def main() -> None:
    """Entry point."""
    app(prog_name="rhocast")


def _say(sentence: str) -> None:
    Console(stderr=True).print(Text(sentence, style="red"), highlight=False, soft_wrap=True)


def _usually_wanted(client: Client, model: str | None) -> list[Property]:
    """Density, energy and forces, or what of them the named models give."""
    usual = [Property.DENSITY, Property.ENERGY, Property.FORCES]
    if model is None:
        return usual
    named = {name.strip() for name in model.split(",")}
    given = {one for entry in client.models() if entry.info.name in named for one in entry.info.provides}
    return [one for one in usual if one in given] or usual


def _output_format(
    output: Path | None, format: str | None, force: bool, wanted: Sequence[Property]
) -> DownloadFormat | None:
    """Format of the file to be written; refused before any work is done for it."""
    if output is None:
        return None
    if Property.DENSITY not in wanted:
        raise InvalidField(f"found -o {output} and no density wanted; expected both or neither; add density to --want")
    refuse_taken(output, force)
    return format_name(output, format)


def _refuse_lost_quantity(quantity: Quantity, written: DownloadFormat | None) -> None:
    """Refusal of a quantity that no file would hold."""
    if quantity != Quantity.DENSITY and written in (None, "coefficients"):
        raise InvalidField(
            f"found --quantity {quantity} and {'coefficients' if written else 'no -o OUT'}; expected a file on a grid "
            "for it, such as -o OUT.cube"
        )


def _shape(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    parts = text.replace("x", ",").split(",")
    if len(parts) != 3 or not all(part.strip().isdecimal() for part in parts):
        raise InvalidField(f"found the shape {text!r}; expected three numbers of points such as 48,48,48")
    return tuple(int(part) for part in parts)
