"""Relaxations an hour: many at once with this repository's CHGNet, against one after another with CHGNet's own library.

The peer is `chgnet.model.StructOptimizer` with ASE's FIRE and FrechetCellFilter, which is what its users call; the
weights, the structures, the largest force and the most steps are the same. Steps and final energies are compared too.

    python -m benchmarks.relax [--n 24] [--fmax 0.05] [--threads 1] [--max-atoms 256] [--device cpu]
"""

import argparse
import time
import warnings
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from ase.build import bulk

from benchmarks.machine import machine_line
from dynamics.relax import Goal, relaxations
from models.catalog import load_model
from models.interface import Potential
from rhocast.structure import Structure

_CRYSTALS = (
    ("NaCl", "rocksalt", 5.64),
    ("MgO", "rocksalt", 4.21),
    ("LiF", "rocksalt", 4.03),
    ("KBr", "rocksalt", 6.60),
    ("GaAs", "zincblende", 5.65),
    ("ZnS", "zincblende", 5.41),
    ("SiC", "zincblende", 4.36),
    ("Si", "diamond", 5.43),
    ("Ge", "diamond", 5.66),
    ("CsCl", "cesiumchloride", 4.12),
    ("Al", "fcc", 4.05),
    ("Cu", "fcc", 3.61),
)


@dataclass(frozen=True)
class Outcome:
    """How one structure relaxed: steps, and energy in eV an atom."""

    n_steps: int
    energy: float
    is_converged: bool


def distorted_crystals(n: int, strain: float = 0.04, amplitude: float = 0.08) -> list[Structure]:
    """Cubic cells of common crystals, strained and rattled; the same for the same number.

    Args:
        n: How many.
        strain: Largest element of the strain.
        amplitude: Spread of each coordinate in Å.
    """
    rng = np.random.default_rng(20)
    made: list[Structure] = []
    for index in range(n):
        name, kind, a = _CRYSTALS[index % len(_CRYSTALS)]
        atoms = bulk(name, kind, a=a, cubic=True)
        cell = atoms.cell.array @ (np.eye(3) + rng.uniform(-strain, strain, (3, 3)))
        positions = atoms.get_scaled_positions() @ cell + rng.normal(0, amplitude, (len(atoms), 3))
        made.append(Structure.from_symbols(atoms.get_chemical_symbols(), positions, cell))
    return made


def batched(structures: list[Structure], goal: Goal, device: str, max_atoms: int) -> tuple[float, list[Outcome]]:
    """Seconds, and how each structure relaxed, many at once."""
    model = load_model("chgnet", device)
    assert isinstance(model, Potential)
    list(relaxations(model, structures[:2], Goal(goal.fmax, 1, goal.relax_cell), max_atoms))  # warm
    start = time.perf_counter()
    ends = dict(relaxations(model, structures, goal, max_atoms))
    seconds = time.perf_counter() - start
    found = [ends[place] for place in range(len(structures))]
    return seconds, [Outcome(one.n_steps, one.energy / one.structure.n_atoms, one.is_converged) for one in found]


def one_after_another(structures: list[Structure], goal: Goal, device: str) -> tuple[float, list[Outcome]]:
    """Seconds, and how each structure relaxed, with CHGNet's own optimizer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the library and of what it imports
        from chgnet.model.dynamics import StructOptimizer

        optimizer = StructOptimizer(optimizer_class="FIRE", use_device=device)

        def relaxed(structure: Structure, steps: int) -> Outcome:
            # It keeps a frame for each step, one for the first structure, and the last one twice.
            crystal = cast(Any, structure.to_pymatgen())
            trajectory: Any = optimizer.relax(crystal, fmax=goal.fmax, steps=steps, verbose=False)["trajectory"]
            n_steps = len(trajectory) - 2
            return Outcome(n_steps, float(trajectory.energies[-1]) / structure.n_atoms, n_steps < steps)

        relaxed(structures[0], 1)  # warm
        start = time.perf_counter()
        found = [relaxed(structure, goal.steps) for structure in structures]
        return time.perf_counter() - start, found


def _print(name: str, seconds: float, found: list[Outcome]) -> None:
    n_steps = sum(one.n_steps for one in found)
    n_evaluated = n_steps + len(found)
    print(
        f"{name:22} {3600 * len(found) / seconds:8.0f} relaxations/h, {seconds:7.1f} s, "
        f"{sum(one.is_converged for one in found)} of {len(found)} converged, {n_steps} steps, "
        f"{1000 * seconds / n_evaluated:.1f} ms an evaluation"
    )


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=24)
    parser.add_argument("--fmax", type=float, default=0.05)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--max-atoms", type=int, default=256)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    goal = Goal(fmax=given.fmax, steps=500, relax_cell=True)
    structures = distorted_crystals(given.n)
    print(f"{machine_line()}, {given.threads} threads, {given.device}")
    print(f"{given.n} distorted crystals of {structures[0].n_atoms} atoms and like sizes, with their cells, {goal}")
    seconds, mine = batched(structures, goal, given.device, given.max_atoms)
    _print("many at once", seconds, mine)
    library_seconds, theirs = one_after_another(structures, goal, given.device)
    _print("chgnet's own, in turn", library_seconds, theirs)
    print(f"{library_seconds / seconds:.1f} times as many in an hour")
    differences = 1000 * np.abs([one.energy - other.energy for one, other in zip(mine, theirs, strict=True)])
    apart = np.abs([one.n_steps - other.n_steps for one, other in zip(mine, theirs, strict=True)])
    print(
        f"final energies differ by {differences.max():.3f} meV/atom at most, {np.median(differences):.4f} in the "
        f"median; steps by {apart.max()} at most"
    )


if __name__ == "__main__":
    main()
