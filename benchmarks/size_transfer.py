"""Density models on cells larger than those that they learned from: against DFT, and against themselves.

The first table has errors by number of atoms. For the second, the largest held-out cell of up to 200 atoms is doubled
along all three vectors and sent to the whole service, which runs here: what comes back should be eight times what it
says of the cell itself, with every electron there.

python -m benchmarks.size_transfer [--sets water aluminium]
"""

import argparse
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numba
import numpy as np
import torch

from benchmarks.accuracy import HELD_OUT, density_models, held_out
from benchmarks.deep_density import errors, is_covered
from benchmarks.machine import machine_line
from benchmarks.victims import Service, Watch
from models.interface import DensityModel
from rhocast import Client
from rhocast.model_info import Property
from rhocast.result import Result
from rhocast.structure_conversions import atoms_of
from training.dataset import DATA, Sample

PORT = 8783
SETS = ("water", "aluminium")
MOST_ATOMS_DOUBLED = 200
SPACING = 0.18
"""Å; of the grids that the service is asked for."""

ERRORS_HEAD = """\
| set | atoms | model | structures | NMAE mean | ± | worst |
|---|---|---|---|---|---|---|"""
DOUBLED_HEAD = """\
| set | atoms | model | 10⁶ points | s | worker's MB above idle | electrons off | NMAE from 8 cells |
|---|---|---|---|---|---|---|---|"""


def by_size(there: list[Sample]) -> dict[int, list[Sample]]:
    """Samples by their number of atoms, smallest first."""
    found: dict[int, list[Sample]] = defaultdict(list)
    for sample in there:
        found[sample.structure.n_atoms].append(sample)
    return dict(sorted(found.items()))


def report_errors(set_name: str, models: list[DensityModel], there: list[Sample]) -> None:
    """Prints errors against DFT."""
    for n_atoms, alike in by_size(there).items():
        for model in models:
            if is_covered(model.info, alike[0].structure):
                fields = model.fields([one.structure for one in alike])
                print(f"| {set_name} | {n_atoms} | {model.info.name} | {errors(alike, fields)} |", flush=True)


def report_doubled(set_name: str, models: list[DensityModel], there: list[Sample]) -> None:
    """Prints what the service says of a doubled cell."""
    small = max(
        (one.structure for one in there if one.structure.n_atoms <= MOST_ATOMS_DOUBLED), key=lambda s: s.n_atoms
    )
    large = atoms_of(small).repeat(2)
    shape = np.ceil(np.linalg.norm(small.cell, axis=1) / SPACING).astype(int)
    with tempfile.TemporaryDirectory() as folder:
        for name, info in ((model.info.name, model.info) for model in models):
            with Service(Path(folder, name), PORT, models=name) as service, Client(service.url) as client:

                def ask(structure: object, points: np.ndarray, client: Client = client, name: str = name) -> Result:
                    shape = tuple(points.tolist())
                    return client.predict(structure, [Property.DENSITY], name, shape=shape, timeout=3600)

                expected = np.tile(ask(atoms_of(small), shape).density().values, (2, 2, 2))
                idle, start = service.megabytes("RssAnon")["worker"], time.monotonic()
                with Watch.on(service) as watch:
                    found = ask(large, 2 * shape).density()
                seconds = time.monotonic() - start
            apart = np.abs(found.values - expected).sum() / expected.sum()
            excess = found.n_electrons - 8 * sum(info.valence_electrons[symbol] for symbol in small.symbols)
            print(
                f"| {set_name} | {len(large)} | {name} | {found.values.size / 1e6:.1f} | {seconds:.0f} | "
                f"{watch.peaks['worker'] - idle:.0f} | {excess:.0e} | {apart:.1e} |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    models = density_models()
    there = {name: held_out(name, HELD_OUT, options.data) for name in options.sets}
    print(f"{machine_line()}\n\n{ERRORS_HEAD}")
    for set_name, found in there.items():
        report_errors(set_name, models, found)
    print(f"\n{DOUBLED_HEAD}")
    for set_name, found in there.items():
        made_for = [model for model in models if set_name in model.info.name]
        report_doubled(set_name, made_for, found)


if __name__ == "__main__":
    main()
