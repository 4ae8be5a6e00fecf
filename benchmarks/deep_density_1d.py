"""Deep Density on chains in one dimension: errors on the length that was learned, on twice and on four times of it.

python -m benchmarks.deep_density_1d [--seeds 3] [--systems "insulator σ = 1" ...]

The network is the one that serves crystals and molecules: a chain is a structure whose atoms lie on a line, widths of
pseudo-charges are elements, and harmonics to degree 1 are even and odd functions there. There are no free atoms in one
dimension: the background is fitted alone. Lengths are bohr, densities e/bohr.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import cast

import numpy as np
import torch

from benchmarks.machine import machine_line
from models.decoder.real_space import RadialCubics
from models.density.deep_density.config import BackgroundConfig, ClusterConfig, DeepDensityConfig, EnvironmentConfig
from models.density.deep_density.network import DeepDensityNetwork, deep_density_network
from models.density.promolecule import AtomTable
from reference.chain import SPACING, Chain, solved
from rhocast.elements import SYMBOLS
from rhocast.structure import Structure
from training.dataset import Sample
from training.deep_density import DeepDensityTask, error_of, fit_background, point_examples
from training.loop import Schedule, Training

SYSTEMS = {
    "insulator σ = 1": (1.0,),
    "insulator σ = 2": (2.0,),
    "small gap σ = 3": (3.0,),
    "metal σ = 6": (6.0,),
    "mixed σ = 1, 3": (1.0, 3.0),
}
"""Widths of the pseudo-charges of atoms, in turns."""

N_ATOMS, N_TRAINING, DISPLACEMENT = 8, 40, 0.5
HELD_OUT = {1: 10, 2: 4, 4: 2}
"""Chains that are measured, by how many times longer they are."""

ACROSS = 300.0
"""bohr; far more than anything sees."""

ENVIRONMENT = EnvironmentConfig(25.0, 1, 16, 6, 24, n_hidden=32, mean_neighbours=4.0, softening=0.5)
BACKGROUND = BackgroundConfig(25.0, 50)
FORMS = {"D1": None, "D2": ClusterConfig(25.0, 24, 48, 25.0)}
SCHEDULE = Schedule(40, 2, 0.01, averaging=0.99, falling=0.35)


@dataclass(frozen=True)
class Errors:
    """NMAE on chains that were held out, by how many times longer they are; and the CPU seconds that it took."""

    by_length: dict[int, float]
    seconds: float


def chains(widths: Sequence[float], n_atoms: int, n: int, seed: int) -> list[Sample]:
    """Chains with their self-consistent densities.

    Args:
        widths: Of atoms, in turns.
        n_atoms: Atoms of each.
        n: Number of chains.
        seed: Of the displacements.
    """
    rng = np.random.default_rng(seed)
    of_atoms = np.resize(widths, n_atoms).tolist()
    return [_sample(Chain.displaced(of_atoms, DISPLACEMENT, rng), widths) for _ in range(n)]


def _sample(chain: Chain, widths: Sequence[float]) -> Sample:
    """A chain as a sample; labels that densities do not need are zero."""
    density, n_atoms = solved(chain).density, len(chain.positions)
    numbers = np.array([widths.index(width) + 1 for width in chain.widths])
    positions = np.pad(chain.positions[:, None], ((0, 0), (0, 2)))
    return Sample(
        name="chain",
        set_name="chains",
        group="chain",
        structure=Structure(numbers, positions, np.diag([chain.length, ACROSS, ACROSS])),
        n_electrons=2 * n_atoms,
        grid_shape=(len(density), 1, 1),
        point_indices=np.arange(len(density)),
        density=density.astype(np.float32),
        weights=np.full(len(density), SPACING),
        wave_vectors=np.zeros((0, 3)),
        wave_electrons=np.zeros(0, dtype=np.complex128),
        energy=0.0,
        free_energy=0.0,
        forces=np.zeros((n_atoms, 3)),
        stress=None,
        settings_hash="",
    )


def no_atoms() -> AtomTable:
    """A table of free atoms without any density."""
    n = len(SYMBOLS)
    nothing = RadialCubics(np.zeros((n, 2, 4)), np.zeros(n), 0.05)
    return AtomTable(np.arange(n), np.zeros(n), nothing, "")


def errors_of(network: DeepDensityNetwork, held_out: dict[int, list[Sample]]) -> dict[int, float]:
    """Mean NMAE of a network, by length."""
    free = no_atoms()
    return {
        times: mean(error_of(network, example).value for example in point_examples(network, there, free))
        for times, there in held_out.items()
    }


def measured(name: str, seed: int, schedule: Schedule = SCHEDULE, n_atoms: int = N_ATOMS) -> dict[str, Errors]:
    """Errors of the background and of both forms.

    Args:
        name: Of a system.
        seed: Of displacements and weights.
        schedule: How to learn.
        n_atoms: Of the chains to learn from; held-out ones are as long, and longer.
    """
    widths = SYSTEMS[name]
    there = chains(widths, n_atoms, N_TRAINING, 1000 * seed)
    held_out = {times: chains(widths, times * n_atoms, n, 1000 * seed + times) for times, n in HELD_OUT.items()}
    found: dict[str, Errors] = {}
    for form, clusters in FORMS.items():
        config = DeepDensityConfig(tuple(range(1, len(widths) + 1)), ENVIRONMENT, BACKGROUND, clusters)
        network = deep_density_network(config, seed)
        fit_background(network, there, no_atoms(), charge_weight=0.0)
        if "background" not in found:
            found["background"] = Errors(errors_of(silent(network), held_out), 0.0)
        found[form] = learned(network, there, held_out, schedule)
    return found


def silent(network: DeepDensityNetwork) -> DeepDensityNetwork:
    """A network with the same background that adds nothing to it."""
    other = deep_density_network(network.config)
    other.background.copy_(network.background)
    other.scale.fill_(0.0)
    return other


def learned(
    network: DeepDensityNetwork, there: Sequence[Sample], held_out: dict[int, list[Sample]], schedule: Schedule
) -> Errors:
    """Errors of a network after training, with the loop that trains all models."""
    start = time.process_time()
    examples = point_examples(network, there, no_atoms())
    task = DeepDensityTask(network, examples, examples[:1], n_points=10**6)
    with tempfile.TemporaryDirectory() as folder:
        trained = cast(DeepDensityNetwork, Training(task, schedule, Path(folder), {}, lambda _: None).run())
    return Errors(errors_of(trained, held_out), time.process_time() - start)


def row(name: str, form: str, errors: Sequence[Errors]) -> str:
    """One line of the table: means over seeds, and the spread from the best to the worst."""
    cells = []
    for times in HELD_OUT:
        values = [100 * one.by_length[times] for one in errors]
        cells.append(f"{mean(values):.3f} % ({min(values):.3f}–{max(values):.3f})")
    return f"| {name} | {form} | {' | '.join(cells)} | {mean(one.seconds for one in errors):.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--systems", nargs="+", default=list(SYSTEMS), choices=list(SYSTEMS))
    parser.add_argument("--epochs", type=int, default=SCHEDULE.n_epochs)
    parser.add_argument("--atoms", type=int, default=N_ATOMS, help="of the chains to learn from")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    schedule = Schedule(arguments.epochs, 2, 0.01, averaging=SCHEDULE.averaging, falling=SCHEDULE.falling)
    print(f"{machine_line()}; {N_TRAINING} chains of {arguments.atoms} atoms, {arguments.epochs} epochs\n")
    print("| system | model | length of training | 2 × | 4 × | CPU s |\n|---|---|---|---|---|---|")
    for name in arguments.systems:
        seeds = [measured(name, seed, schedule, arguments.atoms) for seed in range(arguments.seeds)]
        for form in ("background", *FORMS):
            print(row(name, form, [one[form] for one in seeds]), flush=True)


if __name__ == "__main__":
    main()
