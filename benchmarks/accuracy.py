"""`python -m benchmarks.accuracy`: error of each density model on the held-out structures that ship, as Markdown."""

import argparse
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.machine import machine_line
from models.catalog import catalog, load_model
from models.interface import DensityModel, ExpandedField
from rhocast.density.comparison import DEBYE_PER_E_ANGSTROM
from rhocast.errors import UnsupportedByModel
from training.dataset import DATA, NoData, Sample, samples
from training.metrics import Nmae, Spread, nmae, skill
from training.moments import MomentError, MomentRule, repeated

HELD_OUT = ("validation", "test")
NMAE_HEAD = """\
| set | model | structures | NMAE mean | ± | median | 95th | worst | of the points | skill |
|---|---|---|---|---|---|---|---|---|---|"""
MOMENTS_HEAD = """\
| set | model | n | ΔN field | ΔN grid | Δμ mean (e·Å) | worst | mean (D) | of the points | ΔΘ mean (e·Å²) | worst |
|---|---|---|---|---|---|---|---|---|---|---|"""


@dataclass(frozen=True)
class Measured:
    """What is wrong with the density of one structure.

    Attributes:
        nmae: Its NMAE.
        count: Electrons in all its coefficients together, less those of the reference.
        count_on_grid: Electrons in the sum over the record's grid, less those of the reference; None without a grid.
        moments: Of a molecule; None for a crystal.
    """

    nmae: Nmae
    count: float
    count_on_grid: float | None
    moments: MomentError | None


def measured(model: DensityModel, sample: Sample) -> Measured:
    """What is wrong with a model's density.

    Raises:
        UnsupportedByModel: If the model does not cover the structure.
    """
    (field,) = model.fields([sample.structure])
    count_on_grid = moments = None
    if sample.is_whole:
        values = field.on_grid(sample.grid_shape).ravel()
        count_on_grid = float(values @ sample.weights) - sample.n_electrons
    else:
        values = field.at_points(sample.points)
    if not sample.structure.is_periodic:
        ions = [model.info.valence_electrons[symbol] for symbol in sample.structure.symbols]
        (images,) = model.fields([repeated(sample.structure)])
        moments = MomentRule(sample, ions).error(images)
    n_electrons = field.expansion().n_electrons if isinstance(field, ExpandedField) else field.n_electrons
    return Measured(nmae(sample, values), n_electrons - sample.n_electrons, count_on_grid, moments)


def errors(model: DensityModel, there: Sequence[Sample]) -> dict[str, Measured]:
    """What is wrong with each sample that the model covers and was made for, by name."""
    found: dict[str, Measured] = {}
    for sample in there:
        if ("crystal" if sample.structure.is_periodic else "molecule") in model.info.domains:
            with suppress(UnsupportedByModel):
                found[sample.name] = measured(model, sample)
    return found


def held_out(set_name: str, splits: Sequence[str], data: Path) -> list[Sample]:
    """Samples of a set that no model has learned from; a young set may have none."""
    found: list[Sample] = []
    for split in splits:
        with suppress(NoData):
            found += samples([set_name], split, data)
    return found


def density_row(name: str, found: Mapping[str, Measured], floor: Mapping[str, Measured], n_there: int) -> str:
    """One line of the table of densities."""
    spread = Spread.of([one.nmae for one in found.values()])
    beside = Spread.of([floor[name].nmae for name in found])
    cells = (spread.mean, spread.standard_error, spread.median, spread.p95, spread.worst, spread.sampling_error)
    figures = " | ".join(f"{100 * value:.3g} %" for value in cells)
    return f"| {name} | {len(found)} of {n_there} | {figures} | {skill(spread.mean, beside.mean):.3f} |"


def moments_row(name: str, found: Sequence[Measured]) -> str:
    """One line of the table of electron counts and moments."""
    on_grid = [abs(one.count_on_grid) for one in found if one.count_on_grid is not None]
    counts = f"{max(abs(one.count) for one in found):.0e} | {f'{max(on_grid):.1e}' if on_grid else '—'}"
    moments = [one.moments for one in found if one.moments]
    if not moments:
        return f"| {name} | {len(found)} | {counts} | — | — | — | — | — | — |"
    dipoles = np.array([one.dipole_length for one in moments])
    quadrupoles = np.array([one.quadrupole_size for one in moments])
    of_points = np.sqrt(np.mean([one.dipole_sampling**2 for one in moments]))
    return (
        f"| {name} | {len(found)} | {counts} | {dipoles.mean():.4f} | {dipoles.max():.4f} "
        f"| {DEBYE_PER_E_ANGSTROM * dipoles.mean():.3f} | {of_points:.4f} "
        f"| {quadrupoles.mean():.3f} | {quadrupoles.max():.3f} |"
    )


def density_models() -> list[DensityModel]:
    """Every density model of the catalogue, the promolecule first."""
    names = [name for name, entry in catalog().items() if entry.kind == "density"]
    models = (load_model(name) for name in sorted(names, key=lambda name: name != "promolecule"))
    return [model for model in models if isinstance(model, DensityModel)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--splits", nargs="+", default=list(HELD_OUT))
    parser.add_argument("--data", type=Path, default=DATA)
    arguments = parser.parse_args()
    models = density_models()
    print(f"{machine_line()}; held out: {', '.join(arguments.splits)}\n")
    print(NMAE_HEAD)
    moments: list[str] = []
    for folder in sorted(path for path in arguments.data.iterdir() if path.is_dir()):
        there = held_out(folder.name, arguments.splits, arguments.data)
        floor: dict[str, Measured] = {}
        for model in models:
            if found := errors(model, there):
                floor = floor or found
                label = f"| {folder.name} "
                print(label + density_row(model.info.name, found, floor, len(there)), flush=True)
                moments.append(label + moments_row(model.info.name, list(found.values())))
    print(f"\n{MOMENTS_HEAD}")
    print("\n".join(moments))


if __name__ == "__main__":
    main()
