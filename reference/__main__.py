"""Reference data from the command line: `python -m reference --help`."""

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

# xTB and NumPy on several threads would take the cores of the labelling processes, and sum in another order.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from reference.errors import BadRecord, ReferenceDataError
from reference.folder import SetFolder, new_records
from reference.inventory import export as export_records
from reference.inventory import summary, verification
from reference.labelling import ROOT, Labeller, LabellingFailed
from reference.maker import Order, Outcome
from reference.maker import make as make_order
from reference.packing import pack, thin, write_manifest
from reference.physics.command import physics
from reference.pilot import pilot_records, pilot_set
from reference.sets import NAMES, structure_set
from reference.settings import set_settings
from reference.shards import read_listing, write_shard

application = typer.Typer(help="Makes and keeps reference data.", no_args_is_help=True, add_completion=False)
console = Console()

Out = Annotated[Path, typer.Option(help="Folder of all sets.")]
DEFAULT_OUT = Path("reference-data")
Shipped = Annotated[Path, typer.Option(help="Folder of all sets' compact records.")]
DEFAULT_SHIPPED = Path("data")
GpawPython = Annotated[
    str, typer.Option(envvar="RHOCAST_GPAW_PYTHON", help="Interpreter that has GPAW; it is run, never imported.")
]


@application.command()
def make(  # noqa: PLR0913, PLR0917 -- one parameter per option
    set_name: Annotated[str, typer.Argument(metavar="SET", help=f"{', '.join(NAMES)} or atoms")],
    n: Annotated[int, typer.Option(help="Structures up to n − 1 of the set's sequence.", min=1)] = 1,
    first: Annotated[int, typer.Option(help="Structure to begin with.", min=0)] = 0,
    jobs: Annotated[int, typer.Option(help="Labelling processes at a time.", min=1)] = 1,
    out: Out = DEFAULT_OUT,
    seed: Annotated[int, typer.Option(help="Seed of the sequence.", min=0)] = 0,
    retry: Annotated[bool, typer.Option(help="Try again what failed before.")] = False,
    whole_grids: Annotated[bool, typer.Option(help="Make also what data/ has already as points.")] = False,
    gpaw_python: GpawPython = sys.executable,
) -> None:
    """Makes what is missing of a set. Stop it with Ctrl-C or SIGTERM; start it again, and it goes on."""
    if set_name == "atoms":
        _make_atoms(out, gpaw_python)
        return
    if first >= n:
        raise typer.BadParameter(f"found --first {first} and --n {n}; expected n above it")
    order = Order(structure_set(set_name), seed, n, jobs, retry, first)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        task = progress.add_task(set_name, total=n - first)

        def report(line: str, n_done: int) -> None:
            if line:
                progress.console.print(line, markup=False, highlight=False)
            progress.update(task, completed=n_done)

        shipped = None if whole_grids else DEFAULT_SHIPPED
        outcome = make_order(order, out, Labeller.for_gpaw(gpaw_python), report, shipped)
    console.print(_sentence(outcome), highlight=False)
    raise typer.Exit(0 if outcome.n_there + len(outcome.made) == outcome.n_wanted else 1)


def _sentence(outcome: Outcome) -> str:
    parts = [f"{outcome.n_there + len(outcome.made)} of {outcome.n_wanted} records, {len(outcome.made)} of them new"]
    if outcome.failed:
        parts.append(f"{len(outcome.failed)} failed (failures.jsonl)")
    if outcome.n_failed_before:
        parts.append(f"{outcome.n_failed_before} failed before (--retry tries them again)")
    if outcome.is_stopped:
        parts.append("stopped; start again to go on")
    return "; ".join(parts)


def _make_atoms(out: Path, gpaw_python: str) -> None:
    path = out / "atoms" / "promolecule.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "sdk" / "src")])}
    subprocess.run([gpaw_python, "-m", "reference.atoms", str(path)], check=True, env=environment)


@application.command()
def status(out: Out = DEFAULT_OUT) -> None:
    """Counts, splits, costs and failures of every set."""
    table = Table("set", "records", "train / validation / test", "groups", "elements", "per core-hour", "failures")
    for name in NAMES:
        found = summary(out / name)
        splits = " / ".join(str(found.splits[split]) for split in ("train", "validation", "test"))
        table.add_row(
            name, str(found.n_records), splits, str(len(found.groups)), str(len(found.elements)),
            f"{found.per_core_hour:.0f}", str(found.n_failures),
        )  # fmt: skip
        for line in found.damaged:
            console.print(line, style="red")
    console.print(table)


@application.command()
def verify(files: Annotated[list[Path], typer.Argument(help="Shards.", exists=True)]) -> None:
    """Checks every record of the files again, and all of them against each other."""
    found = verification(files)
    for complaint in found.complaints:
        console.print(complaint, markup=False, highlight=False)
    console.print(f"{found.n_records} records obey every law, {len(found.complaints)} complaints", highlight=False)
    raise typer.Exit(1 if found.complaints else 0)


@application.command()
def export(
    set_name: Annotated[str, typer.Argument(metavar="SET")],
    file: Annotated[Path, typer.Argument(help="HDF5 file to write.")],
    out: Out = DEFAULT_OUT,
) -> None:
    """Merges a set's shards into one file."""
    set_settings(set_name)
    n_records = export_records(out / set_name, file)
    console.print(f"{n_records} records in {file}", highlight=False)


@application.command("pack")
def pack_sets(
    set_names: Annotated[list[str] | None, typer.Argument(metavar="SET", help="All, if none is named.")] = None,
    out: Out = DEFAULT_OUT,
    shipped: Shipped = DEFAULT_SHIPPED,
) -> None:
    """Adds what was made to the compact records that ship, and writes their manifest."""
    for name in set_names or NAMES:
        for path in pack(name, out, shipped):
            size = path.stat().st_size / 1e6
            console.print(f"{path}: {len(read_listing(path))} records, {size:.1f} MB", highlight=False)
    console.print(f"{write_manifest(shipped)} written", highlight=False)


@application.command("thin")
def thin_sets(
    set_names: Annotated[list[str], typer.Argument(metavar="SET")], shipped: Shipped = DEFAULT_SHIPPED
) -> None:
    """Makes room: shipped records to learn from keep no more points than the set is to have; writes the manifest."""
    for name in set_names:
        console.print(f"{name}: {thin(name, shipped)} records thinned", highlight=False)
    console.print(f"{write_manifest(shipped)} written", highlight=False)


@application.command("plot")
def plot_sets(
    file: Annotated[Path, typer.Argument(help="Picture to write: .png, .svg or .pdf.")], out: Out = DEFAULT_OUT
) -> None:
    """Draws how many records there are, how large, of which elements, and what they cost."""
    from reference.plot import plot  # noqa: PLC0415 -- matplotlib takes a second, and only this command needs it

    plot(out, file)
    console.print(f"{file} written", highlight=False)


@application.command("import")
def import_pilot(
    file: Annotated[Path, typer.Argument(help="HDF5 file of the pilot.", exists=True)],
    out: Out = DEFAULT_OUT,
    metals: Annotated[bool, typer.Option(help="Also metals, whose energies are not converged.")] = False,
) -> None:
    """Converts the pilot's records into this format, as one shard of their set."""
    name = pilot_set(file)
    folder = SetFolder(out / name, set_settings(name))
    with folder.locked():
        folder.load()
        path = folder.path / f"{name}-pilot.h5"
        if path.exists():
            raise BadRecord(f"found {path.name} already; remove it to import again")
        write_shard(path, new_records(pilot_records(file, has_metals=metals), folder))
    console.print(f"{summary(folder.path).n_records} records in {folder.path}", highlight=False)


application.command()(physics)


def main() -> None:
    logging.basicConfig(level=logging.WARNING)
    try:
        application()
    except (ReferenceDataError, LabellingFailed) as error:
        console.print(f"{type(error).__name__}: {error}", style="red", markup=False, highlight=False)
        sys.exit(2)


if __name__ == "__main__":
    main()
