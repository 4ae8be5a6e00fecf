"""The command line's `compare` and `analyse`: what follows a prediction. No service is needed."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rhocast import density as densities
from rhocast.application import find_application
from rhocast.cli_output import refuse_taken, say_written
from rhocast.density import Comparison, Density, FreeAtoms, Potential
from rhocast.density.files import format_of, write_whole
from rhocast.density.potential import ion_width
from rhocast.density.potential_files import potential_writer
from rhocast.errors import ApplicationMissing, InvalidField, InvalidFile
from rhocast.structure import Structure

_TABLE_OF_FREE_ATOMS = Path("models", "density", "promolecule.safetensors")


class Axis(StrEnum):
    """Cell vectors by name."""

    A = "a"
    B = "b"
    C = "c"

    @property
    def number(self) -> int:
        return "abc".index(self.value)


analyse = typer.Typer(
    no_args_is_help=True, help="Difference to the atoms, profiles, charges and the potential of a density file."
)

DensityFile = Annotated[Path, typer.Argument(help="A density: CHGCAR, CHG, cube, npz or zarr.zip.", metavar="FILE")]
AnyFile = Annotated[Path, typer.Argument(help="A density, or a potential named LOCPOT*.", metavar="FILE")]
Molecule = Annotated[bool, typer.Option("--molecule", help="The cell is a box that does not repeat.")]
FreeAtomTable = Annotated[
    Path | None, typer.Option("--free-atoms", help="Table of free atoms; the application's if not given.")
]
FormatName = Annotated[
    str | None, typer.Option("--format", help="chgcar, chg, cube, npz or zarr, if the name of OUT does not tell.")
]
Charge = Annotated[float, typer.Option("--charge", help="Charge of the whole cell or molecule, e.")]
Csv = Annotated[Path | None, typer.Option("-o", "--output", help="Write the profile here, as CSV.", metavar="OUT")]
Force = Annotated[bool, typer.Option("--force", help="Replace OUT if it is there.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]


def compare(  # noqa: PLR0913  (one option for each thing that can be chosen)
    a: Annotated[Path, typer.Argument(help="A density: CHGCAR, CHG, cube, npz or zarr.zip.", metavar="A")],
    b: Annotated[Path, typer.Argument(help="The reference, on any grid of the same cell.", metavar="B")],
    *,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write A − B here.", metavar="OUT")] = None,
    format: FormatName = None,
    molecule: Molecule = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Compare two densities: NMAE, difference density, change of the dipole."""
    if output is not None:
        refuse_taken(output, force)
        format_of(output, format)
    found = densities.compare(_density(a, molecule), _density(b, molecule))
    _show_comparison(found, as_json)
    if output is not None:
        found.difference.write(output, format)
        say_written(output)


@analyse.command()
def difference(  # noqa: PLR0913
    file: DensityFile,
    *,
    output: Annotated[Path, typer.Option("-o", "--output", help="Write the difference here.", metavar="OUT")],
    format: FormatName = None,
    free_atoms: FreeAtomTable = None,
    charge: Charge = 0.0,
    molecule: Molecule = False,
    force: Force = False,
) -> None:
    """Difference of a density to the promolecule, its free atoms: what bonding does."""
    refuse_taken(output, force)
    format_of(output, format)
    found = densities.difference_to_promolecule(_density(file, molecule), _free_atoms(free_atoms), charge)
    moved = float(np.abs(found.values).mean()) * found.structure.volume / 2
    _show_rows({"moved by bonding": f"½ ∫|ρ − Σ free atoms| = {moved:.6f} e"})
    found.write(output, format)
    say_written(output)


@analyse.command("planar-average")
def planar_average(
    file: AnyFile,
    *,
    axis: Annotated[Axis, typer.Option(help="The cell vector that the planes do not contain.")] = Axis.C,
    window: Annotated[
        list[float] | None, typer.Option(help="Width of a sliding average, Å; twice for the double average.")
    ] = None,
    output: Csv = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Average a density or potential over lattice planes, and over sliding windows."""
    field = _field(file, output, force)
    profile = densities.planar_average(field, axis.number)
    columns = {"distance_A": profile.distances, f"average_{_unit(field)}": profile.values}
    if window:
        averaged = profile
        for length in window:
            averaged = densities.macroscopic_average(averaged, length)
        columns[f"macroscopic_{_unit(field)}"] = averaged.values
    _give_columns(columns, output, as_json)


@analyse.command()
def line(  # noqa: PLR0913
    file: AnyFile,
    *,
    start: Annotated[str, typer.Option("--from", help="First position, such as 0,0,0; Å.")],
    end: Annotated[str, typer.Option("--to", help="Last position, Å.")],
    points: Annotated[int, typer.Option(help="Points of the line, both ends among them.")] = 200,
    fractional: Annotated[bool, typer.Option("--fractional", help="Positions are in cell vectors, not in Å.")] = False,
    molecule: Molecule = False,
    output: Csv = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Follow a density or potential along a straight line, by Fourier interpolation (a molecule: polynomials)."""
    ends = np.array([_position(start), _position(end)])
    field = _field(file, output, force)
    field = replace(field, structure=_as_said(field.structure, molecule))
    ends = ends @ field.structure.cell if fractional else ends
    profile = densities.line_profile(field, ends[0].tolist(), ends[1].tolist(), points)
    columns = {"distance_A": profile.distances}
    columns |= {f"{name}_A": profile.positions[:, k] for k, name in enumerate("xyz")}
    _give_columns(columns | {_unit(field): profile.values}, output, as_json)


@analyse.command()
def hirshfeld(
    file: DensityFile,
    *,
    free_atoms: FreeAtomTable = None,
    charge: Charge = 0.0,
    molecule: Molecule = False,
    as_json: AsJson = False,
) -> None:
    """Hirshfeld charges of the atoms."""
    density = _density(file, molecule)
    found = densities.hirshfeld_charges(density, _free_atoms(free_atoms), charge)
    symbols = density.structure.symbols
    if as_json:
        answer = {"symbols": symbols, "charges_e": found.charges.tolist(), "unassigned_electrons": found.n_unassigned}
        typer.echo(json.dumps(answer, indent=2))
        return
    table = Table("atom", "element", "charge, e", box=None)
    for index, (symbol, each) in enumerate(zip(symbols, found.charges.tolist(), strict=True)):
        table.add_row(str(index), symbol, f"{each:+.4f}")
    table.add_row("", "sum", f"{found.charges.sum():+.4f}")
    Console().print(table)
    if abs(found.n_unassigned) >= 1e-4:
        _warn([f"{found.n_unassigned:.4g} electrons are beyond the reach of every free atom, and in no charge"])


@analyse.command()
def potential(  # noqa: PLR0913
    file: DensityFile,
    *,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write it here: LOCPOT* or *.cube.", metavar="OUT")
    ] = None,
    valence: Annotated[
        str | None, typer.Option(help="Charges of the ions, such as Na=7,Cl=7; those of the free atoms if not given.")
    ] = None,
    width: Annotated[float | None, typer.Option(help="Width of the Gaussian ions, Å.")] = None,
    axis: Annotated[Axis | None, typer.Option(help="Give the vacuum level along this cell vector.")] = None,
    free_atoms: FreeAtomTable = None,
    charge: Charge = 0.0,
    molecule: Molecule = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Electrostatic potential of the electrons and ions, and the vacuum level."""
    if output is not None:
        refuse_taken(output, force)
        potential_writer(output)
    density = _density(file, molecule)
    ions = _ion_charges(valence) if valence is not None else _free_atoms(free_atoms).valence
    found = densities.electrostatic_potential(density, ions, width=width, charge=charge)
    _show_potential(found, ion_width(density, width), axis, as_json)
    if output is not None:
        found.write(output)
        say_written(output)


@analyse.command()
def bader(file: DensityFile) -> None:
    """Why there are no Bader charges."""
    raise InvalidField(
        f"found {file}, and a rhocast density has no cores; expected an all-electron one: Bader's basins follow the "
        "gradient to the maxima at the nuclei, which a valence density lacks or has elsewhere; for charges of this "
        "density run `rhocast analyse hirshfeld`, for Bader's take AECCAR0 + AECCAR2 of a VASP run with LAECHG"
    )


def _density(file: Path, is_molecule: bool) -> Density:
    _refuse_missing(file, "a CHGCAR, CHG, cube, npz or zarr.zip")
    density = Density.read(file)
    return replace(density, structure=_as_said(density.structure, is_molecule))


def _field(file: Path, output: Path | None, force: bool) -> Density | Potential:
    """What is in a file, after the file to be written has been looked at."""
    if output is not None:
        refuse_taken(output, force)
    _refuse_missing(file, "a CHGCAR, CHG, cube, npz, zarr.zip or LOCPOT")
    return Potential.read(file) if file.name.startswith("LOCPOT") else Density.read(file)


def _refuse_missing(file: Path, expected: str) -> None:
    if not os.path.isfile(file):  # unlike Path.is_file, false where the name is too long to be one
        raise InvalidFile(f"found no file at {str(file)[:200]!r}; expected {expected}")


def _as_said(structure: Structure, is_molecule: bool) -> Structure:
    return replace(structure, is_periodic=structure.is_periodic and not is_molecule)


def _unit(field: Density | Potential) -> str:
    return "density_e_per_A3" if isinstance(field, Density) else "potential_eV"


def _position(text: str) -> list[float]:
    try:
        x, y, z = (float(part) for part in text.split(","))
    except ValueError as error:
        raise InvalidField(f"found the position {text!r}; expected three numbers such as 0,0,1.5") from error
    return [x, y, z]


def _ion_charges(text: str) -> dict[str, float]:
    try:
        pairs = [pair.split("=") for pair in text.split(",")]
        return {symbol.strip(): float(charge) for symbol, charge in pairs}
    except ValueError as error:
        raise InvalidField(f"found the valence {text!r}; expected charges by element, such as Na=7,Cl=7") from error


def _free_atoms(file: Path | None) -> FreeAtoms:
    """The table in a file, or the one that the application's promolecule is made of."""
    if file is None:
        try:
            file = find_application(os.environ, Path.cwd()) / _TABLE_OF_FREE_ATOMS
        except ApplicationMissing as error:
            raise InvalidFile(
                "found no table of free atoms, which the client does not bring; expected --free-atoms FILE, such as "
                f"{_TABLE_OF_FREE_ATOMS} of rhocast's repository; give it, or name a checkout by RHOCAST_HOME"
            ) from error
    _refuse_missing(file, "a table of free atoms")
    return FreeAtoms.read(file)


def _show_comparison(found: Comparison, as_json: bool) -> None:
    change, debye = found.dipole_change, found.dipole_change_in_debye
    if as_json:
        answer = {
            "nmae_percent": found.nmae,
            "absolute_difference_e": found.absolute_difference,
            "n_electrons": dict(zip("ab", found.n_electrons, strict=True)),
            "shape": found.difference.shape,
            "dipole_change_e_A": None if change is None else change.tolist(),
            "dipole_change_debye": None if debye is None else debye.tolist(),
            "notes": found.notes,
        }
        typer.echo(json.dumps(answer, indent=2))
        return
    rows = {
        "NMAE": f"{found.nmae:.4f} %",
        "∫|A − B|": f"{found.absolute_difference:.6f} e",
        "electrons": f"A {found.n_electrons[0]:.6f}, B {found.n_electrons[1]:.6f}",
        "grid": " × ".join(map(str, found.difference.shape)),
    }
    if change is not None and debye is not None:
        rows["Δ dipole"] = f"({_vector(change)}) e·Å, |Δ| = {np.linalg.norm(debye):.4f} D"
    _show_rows(rows)
    _warn(found.notes)


def _show_potential(found: Potential, width: float, axis: Axis | None, as_json: bool) -> None:
    vacuum = None if axis is None else densities.vacuum_level(found, axis.number)
    is_periodic = found.structure.is_periodic
    answer: dict[str, Any] = {
        "zero": "mean of the cell" if is_periodic else "infinity",
        "ion_width_A": width,
        "lowest_eV": float(found.values.min()),
        "highest_eV": float(found.values.max()),
    }
    if vacuum is not None:
        answer |= {
            "vacuum_level_eV": vacuum.level,
            "vacuum_position_A": vacuum.position,
            "vacuum_gap_A": vacuum.gap,
            "vacuum_variation_eV": vacuum.variation,
        }
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
        return
    rows = {
        "zero": answer["zero"],
        "ions": f"Gaussians exp(−r²/w²), w = {width:.3f} Å",
        "U": f"{answer['lowest_eV']:.4f} to {answer['highest_eV']:.4f} eV",
    }
    if vacuum is not None:
        rows["vacuum level"] = (
            f"{vacuum.level:.4f} eV at {vacuum.position:.3f} Å, in a gap of {vacuum.gap:.2f} Å; "
            f"within 1 Å it varies by {vacuum.variation:.4f} eV"
        )
    _show_rows(rows)


def _vector(vector: NDArray[np.float64]) -> str:
    return ", ".join(f"{x:+.5f}" for x in vector)


def _show_rows(rows: Mapping[str, str]) -> None:
    table = Table(box=None, show_header=False)
    for name, value in rows.items():
        table.add_row(Text(name, style="bold"), Text(value))
    Console().print(table)


def _warn(notes: Sequence[str]) -> None:
    for note in notes:
        Console().print(Text(f"note: {note}", style="yellow"), highlight=False, soft_wrap=True)


def _give_columns(columns: Mapping[str, Any], output: Path | None, as_json: bool) -> None:
    """A profile: to a CSV file, to standard output as CSV, or there as JSON."""
    lines = [",".join(columns)]
    lines += [",".join(f"{x:.10g}" for x in row) for row in zip(*columns.values(), strict=True)]
    if as_json:
        typer.echo(json.dumps({name: column.tolist() for name, column in columns.items()}, indent=2))
    elif output is None:
        typer.echo("\n".join(lines))
    if output is not None:
        write_whole(output, "profile", lambda stream: _write_lines(stream, lines))
        say_written(output)


def _write_lines(stream: Any, lines: Sequence[str]) -> None:
    stream.write("\n".join([*lines, ""]).encode())
