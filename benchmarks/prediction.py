"""Where the time of a density goes: network, decoding, writing. Processor seconds of one thread, as Markdown.

The largest held-out structure of each set, on the grid of a service that was asked for none (0.12 Å), by each model
that was made for it. "Network" is everything before the first point: graph, network, expected error, radial tables.
"Decoding" is point values of the whole grid, the free atoms' among them. "Writing" is a CHGCAR.

python -m benchmarks.prediction [--sets organics crystals]
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numba
import torch

from benchmarks.accuracy import density_models, held_out
from benchmarks.deep_density import is_covered
from benchmarks.machine import machine_line
from models.interface import DensityModel
from rhocast.density import Density
from rhocast.density.grids import shape_for_spacing
from rhocast.structure import Structure
from training.dataset import DATA

SPACING = 0.12
"""Å, as in the settings of a service."""

N_RUNS = 4
LONG = 5.0
"""Seconds of a run that is not repeated."""


def seconds(run: Callable[[], Any]) -> float:
    """Shortest of some runs, in seconds of the processor; compiling counts in the first alone."""
    durations: list[float] = []
    while len(durations) < N_RUNS and (not durations or durations[-1] < LONG):
        start = time.process_time()
        run()
        durations.append(time.process_time() - start)
    return min(durations)


def row(set_name: str, model: DensityModel, structure: Structure) -> str:
    """The line of one model and structure."""
    shape = shape_for_spacing(structure.cell, SPACING)
    network = seconds(lambda: model.fields([structure]))
    (field,) = model.fields([structure])
    field.on_planes(shape, 0, 1)  # compiled
    decoding = seconds(lambda: field.on_grid(shape))
    density = Density(structure, field.on_grid(shape))
    with tempfile.TemporaryDirectory() as folder:
        writing = seconds(lambda: density.write(Path(folder) / "CHGCAR"))
    parts = " | ".join(f"{1e3 * part:.0f}" for part in (network, decoding, writing, network + decoding + writing))
    grid = " × ".join(map(str, shape))
    return f"| {set_name} | {structure.formula} | {grid} | {model.info.name} | {parts} |"


def rows(set_name: str, models: Sequence[DensityModel], structure: Structure) -> list[str]:
    """The lines of one structure, the promolecule's left out."""
    return [
        row(set_name, model, structure)
        for model in models
        if model.info.name != "promolecule" and is_covered(model.info, structure)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="+", default=["organics", "crystals", "water", "aluminium"])
    parser.add_argument("--data", type=Path, default=DATA)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    models = density_models()
    print(machine_line())
    print("\n| set | structure | grid | model | network (ms) | decoding | writing | together |")
    print("|---|---|---|---|---|---|---|---|")
    for set_name in arguments.sets:
        there = held_out(set_name, ["test"], arguments.data)
        largest = max(there, key=lambda one: (one.structure.n_atoms, one.group)).structure
        for line in rows(set_name, models, largest):
            print(line, flush=True)


if __name__ == "__main__":
    main()
