"""`rhocast batch`: a folder of structures in, a folder of results out."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rhocast.batch_folder import BatchFolder, sources_of
from rhocast.batch_run import BatchRun, Outcome
from rhocast.batch_schemas import BatchSettings
from rhocast.client import Client
from rhocast.errors import InvalidField
from rhocast.inputs import Choices, chosen_fields, validated
from rhocast.model_info import Property
from rhocast.progress import bar
from rhocast.result import format_name
from rhocast.retrying import RetryPolicy
from rhocast.schemas import DownloadFormat

_PATIENT = RetryPolicy(attempts=200, seconds=900.0)
"""A batch of a night outlives a quarter of an hour without the service."""

_SOME_FAILED = 3
_INTERRUPTED = 130


def batch(  # noqa: PLR0913  (one option for each thing that can be chosen)
    files: Annotated[list[Path], typer.Argument(help="Structure files, and folders of them.", metavar="FILES...")],
    *,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the results; the same one resumes.")],
    want: Annotated[
        str, typer.Option(help="Of density, energy, forces, stress, magmoms; separated by commas.")
    ] = "density,energy,forces",
    model: Annotated[str | None, typer.Option(help="Names of models, separated by commas.")] = None,
    spacing: Annotated[float | None, typer.Option(help="Grid spacing, Å.")] = None,
    encut: Annotated[float | None, typer.Option(help="Plane-wave cut-off whose fine FFT grid is made, eV.")] = None,
    vacuum: Annotated[float | None, typer.Option(help="Empty space on each side of a molecule, Å.")] = None,
    density_format: Annotated[
        str | None,
        typer.Option(help="Write densities too, as chgcar, chg, cube, npz, zarr or coefficients."),
    ] = None,
    url: Annotated[str | None, typer.Option("--url", help="Address of the service; RHOCAST_URL if not given.")] = None,
) -> None:
    """Predict for a folder of structures. Stop it at any time: the same command goes on where it was."""
    fields = chosen_fields(want, Choices(model, spacing=spacing, encut=encut, vacuum=vacuum))
    asked = validated(BatchSettings, fields).model_dump(mode="json")
    format = _density_format(density_format, fields)
    sources = sources_of(files, output)
    folder = BatchFolder.opened(output, {**asked, "density_format": format})
    started = time.monotonic()
    try:
        with Client(url, progress=False, retries=_PATIENT) as client, bar("structures", len(sources)) as show:
            outcome = BatchRun(client, folder, fields, format, _teller(show)).run(sources)
    except KeyboardInterrupt:
        _say("stopped; the service goes on with what it has: the same command collects it")
        raise typer.Exit(_INTERRUPTED) from None
    _show(outcome, output, time.monotonic() - started)
    if outcome.errors or outcome.missing:
        raise typer.Exit(_SOME_FAILED)


def _teller(show: Callable[[int], None]) -> Callable[[int, Sequence[str]], None]:
    """What shows how many files have ended, and says each warning once."""
    said = set[str]()

    def tell(n_ended: int, warnings: Sequence[str]) -> None:
        show(n_ended)
        for line in (one for one in warnings if one not in said):
            said.add(line)
            _say(f"warning: {line}")

    return tell


def _density_format(name: str | None, fields: dict[str, Any]) -> DownloadFormat | None:
    if name is None:
        return None
    if Property.DENSITY not in fields["want"]:
        raise InvalidField(
            f"found --density-format {name} and no density wanted; expected both or neither; add density to --want"
        )
    return format_name(Path(), name)


def _say(sentence: str) -> None:
    Console(stderr=True).print(Text(sentence, style="yellow"), highlight=False, soft_wrap=True)


def _show(outcome: Outcome, output: Path, seconds: float) -> None:
    table = Table(box=None, show_header=False)
    rate = outcome.n_collected / seconds if seconds else 0.0
    rows = {
        "structures": str(outcome.n_files),
        "succeeded": f"{outcome.n_succeeded} ({outcome.n_cached} known before)",
        "failed": str(len(outcome.errors)),
        "missing": f"{len(outcome.missing)} (cancelled or expired: the same command sends them again)",
        "this run": f"{outcome.n_collected} in {seconds:.1f} s, {rate:.1f} structures/s",
        "models took": f"{outcome.compute_seconds:.1f} s",
        "results": f"{output}, summary.csv in it",
    }
    if not outcome.missing:
        del rows["missing"]
    for name, value in rows.items():
        table.add_row(Text(name, style="bold"), Text(value))
    console = Console()
    console.print(table)
    for code, count in Counter(error.code for error in outcome.errors.values()).most_common():
        name, error = next((name, error) for name, error in outcome.errors.items() if error.code == code)
        line = f"{count} × {code}, such as {name}: {error.detail}"
        console.print(Text(line, style="red"), highlight=False, soft_wrap=True)
