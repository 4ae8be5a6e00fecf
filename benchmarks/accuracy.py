"""`python -m benchmarks.accuracy`: error of each density model on the held-out structures that ship, as Markdown."""

import argparse
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from benchmarks.machine import machine_line
from models.catalog import catalog, load_model
from models.interface import DensityModel
from rhocast.errors import UnsupportedByModel
from training.dataset import DATA, NoData, Sample, samples
from training.metrics import Nmae, Spread, nmae, skill

HELD_OUT = ("validation", "test")


def errors(model: DensityModel, there: Sequence[Sample]) -> dict[str, Nmae]:
    """Error of each sample that the model covers and was made for, by name."""
    found: dict[str, Nmae] = {}
    for sample in there:
        if ("crystal" if sample.structure.is_periodic else "molecule") not in model.info.domains:
            continue
        try:
            (field,) = model.fields([sample.structure])
        except UnsupportedByModel:
            continue
        values = field.on_grid(sample.grid_shape).ravel() if sample.is_whole else field.at_points(sample.points)
        found[sample.name] = nmae(sample, values)
    return found


def held_out(set_name: str, splits: Sequence[str], data: Path) -> list[Sample]:
    """Samples of a set that no model has learned from; a young set may have none."""
    found: list[Sample] = []
    for split in splits:
        with suppress(NoData):
            found += samples([set_name], split, data)
    return found


def rows(set_name: str, models: Sequence[DensityModel], there: Sequence[Sample]) -> list[str]:
    """One line of the table for each model that covers something of the set."""
    lines = []
    floor: dict[str, Nmae] = {}
    for model in models:
        found = errors(model, there)
        if not found:
            continue
        floor = floor or found
        spread = Spread.of(list(found.values()))
        beside = Spread.of([floor[name] for name in found])
        cells = (spread.mean, spread.standard_error, spread.median, spread.p95, spread.worst, spread.sampling_error)
        figures = " | ".join(f"{100 * value:.3g} %" for value in cells)
        lines.append(
            f"| {model.info.name} | {set_name} | {len(found)} of {len(there)} | {figures} "
            f"| {skill(spread.mean, beside.mean):.3f} |"
        )
    return lines


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
    print("| model | set | structures | NMAE mean | ± | median | 95th | worst | of the points | skill |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for folder in sorted(path for path in arguments.data.iterdir() if path.is_dir()):
        for row in rows(folder.name, models, held_out(folder.name, arguments.splits, arguments.data)):
            print(row, flush=True)


if __name__ == "__main__":
    main()
