"""Deep Density beside the orbital models on the same held-out structures: error, time and memory, as Markdown.

python -m benchmarks.deep_density [--splits test]

NMAE of the free atoms, of each Deep Density's own background b(r), and of every model; CPU seconds for a million points
of a grid at 0.18 Å, one thread, network and rescaling included; how much memory the process has taken more meanwhile;
and the farthest that a factor of rescaling was from 1.
"""

import argparse
import resource
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import numba
import numpy as np
import torch

from benchmarks.accuracy import density_models, held_out
from benchmarks.machine import machine_line
from models.density.deep_density.model import DeepDensity, DeepDensityField
from models.interface import DensityField, DensityModel
from rhocast.model_info import ModelInfo
from rhocast.structure import Structure
from training.dataset import DATA, Sample
from training.metrics import Spread, nmae

SETS = ("molecule-md", "water", "aluminium")
"""One material each, for which Deep Densities are made."""

HEAD = """\
| set | model | structures | NMAE mean | ± | worst | CPU s / 10⁶ points | more memory (MB) | largest abs(factor − 1) |
|---|---|---|---|---|---|---|---|---|"""


def megabytes() -> float:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def seconds_and_memory(model: DensityModel, sample: Sample) -> tuple[float, float]:
    """CPU seconds for 10⁶ points of a grid at the recommended spacing, and the megabytes that it took more."""
    spacing = model.info.recommended_spacing or 0.18
    n0, n1, n2 = np.ceil(np.linalg.norm(sample.structure.cell, axis=1) / spacing).astype(int).tolist()
    model.fields([sample.structure])[0].on_planes((n0, n1, n2), 0, 1)  # compiled, and what is read once is read
    memory, start = megabytes(), time.process_time()
    model.fields([sample.structure])[0].on_grid((n0, n1, n2))
    return 1e6 * (time.process_time() - start) / (n0 * n1 * n2), megabytes() - memory


def rows(set_name: str, models: Sequence[DensityModel], there: Sequence[Sample]) -> Iterator[str]:
    """The lines of one set; a model without a structure that it covers has none."""
    for model in models:
        chosen = [sample for sample in there if is_covered(model.info, sample.structure)]
        if not chosen:
            continue
        fields = model.fields([one.structure for one in chosen])
        factors = "—"
        if isinstance(model, DeepDensity):
            deep = [cast(DeepDensityField, field) for field in fields]
            background = errors(chosen, [one.unscaled.background for one in deep])
            yield f"| {set_name} | b(r) of {model.info.name} | {background} | | | |"
            factors = f"{max(abs(one.factor - 1) for one in deep):.1e}"
        seconds, memory = seconds_and_memory(model, chosen[0])
        costs = f"{seconds:.2f} | {memory:.0f} | {factors}"
        yield f"| {set_name} | {model.info.name} | {errors(chosen, fields)} | {costs} |"


def is_covered(info: ModelInfo, structure: Structure) -> bool:
    """Whether a model was made for a structure."""
    domain = "crystal" if structure.is_periodic else "molecule"
    return domain in info.domains and set(structure.symbols) <= set(info.elements)


def errors(chosen: Sequence[Sample], fields: Sequence[DensityField]) -> str:
    """Cells of a line: how many, mean, its standard error, worst."""
    spread = Spread.of([nmae(one, field.at_points(one.points)) for one, field in zip(chosen, fields, strict=True)])
    percent = " | ".join(f"{100 * value:.3g} %" for value in (spread.mean, spread.standard_error, spread.worst))
    return f"{spread.n_structures} | {percent}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--splits", nargs="+", default=["test"])
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    parser.add_argument("--data", type=Path, default=DATA)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    models = density_models()
    print(f"{machine_line()}; held out: {', '.join(arguments.splits)}\n\n{HEAD}")
    for set_name in arguments.sets:
        for line in rows(set_name, models, held_out(set_name, arguments.splits, arguments.data)):
            print(line, flush=True)


if __name__ == "__main__":
    main()
