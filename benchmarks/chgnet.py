"""Our CHGNet beside the package's: structures/s, atoms/s, graph building, memory, and the memory of a training step.

Both run in turns on the same structures, one after the other, so that other work on the machine slows both. Times are
the best of some turns: processor seconds for one thread, seconds of the clock for more. Memory is the growth of a
fresh process's largest resident size; large cells are timed in such a process too, once, on one thread, since the
package may need more memory than there is.

python -m benchmarks.chgnet [--threads 1 2] [--large]
"""

import argparse
import io
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.machine import machine_line
from models.catalog import load_model
from models.potential.chgnet.derivatives import forces_and_stresses
from models.potential.chgnet.graph import bond_graph
from models.potential.chgnet.model import Chgnet
from rhocast.model_info import Property
from rhocast.structure import Structure

WANT = frozenset({Property.ENERGY, Property.FORCES, Property.STRESS, Property.MAGMOMS})
N_SMALL = 16
"""Structures of the batch of small cells, as many as the package takes at once."""


def lithium_fluoride(n_repeats: tuple[int, int, int], seed: int = 0) -> Structure:
    """Rock salt, 8 atoms a cubic cell, each moved by some 0.05 Å; dense, with 18 bonds below 3 Å an atom."""
    corners = np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2
    cell = np.concatenate([corners, corners + np.array([0.5, 0, 0])])
    at = np.stack(np.meshgrid(*[np.arange(n) for n in n_repeats], indexing="ij"), axis=-1).reshape(-1, 1, 3)
    ideal = 4.02 * (at + cell).reshape(-1, 3)
    moved = ideal + np.random.default_rng(seed).normal(scale=0.05, size=ideal.shape)
    return Structure.from_symbols((["Li"] * 4 + ["F"] * 4) * len(at), moved, 4.02 * np.diag(n_repeats))


CASES = {
    "small": [lithium_fluoride((1, 1, 1), seed) for seed in range(N_SMALL)],
    "64": [lithium_fluoride((2, 2, 2))],
    "512": [lithium_fluoride((4, 4, 4))],
    "1000": [lithium_fluoride((5, 5, 5))],
    "4096": [lithium_fluoride((8, 8, 8))],
}


class Package:
    """The package as its users call it."""

    def __init__(self) -> None:
        from chgnet.model.model import CHGNet

        warnings.simplefilter("ignore")
        with redirect_stdout(io.StringIO()):
            self.network = CHGNet.load(use_device="cpu", verbose=False)

    def structures(self, structures: list[Structure]) -> list[Any]:
        from pymatgen.core import Lattice
        from pymatgen.core import Structure as PymatgenStructure

        return [
            PymatgenStructure(Lattice(one.cell), one.symbols, one.fractional_positions, to_unit_cell=True)
            for one in structures
        ]

    def predict(self, structures: list[Structure]) -> None:
        self.network.predict_structure(self.structures(structures), batch_size=N_SMALL)

    def graphs(self, structures: list[Structure]) -> list[Any]:
        return [self.network.graph_converter(one) for one in self.structures(structures)]

    def training_step(self, structures: list[Structure]) -> None:
        """Forward and backward of a loss of energies, forces and stresses, as its trainer does it."""
        found = self.network.train()(self.graphs(structures), task="efs")
        parts = [*found["f"], *found["s"], found["e"]]
        torch.stack([part.square().sum() for part in parts]).sum().backward()


def our_training_step(model: Chgnet, structures: list[Structure]) -> None:
    """The same with our network."""
    network = model.network.requires_grad_().train()
    graph = bond_graph(structures, network.config.cutoff, network.config.angle_cutoff)
    graph.vectors.requires_grad_()
    energies, _ = network(graph)
    derivatives = forces_and_stresses(energies, graph, create_graph=True)
    (energies.square().sum() + sum(one.square().sum() for one in derivatives)).backward()


def in_turns(runs: dict[str, Callable[[], Any]], n_turns: int) -> dict[str, float]:
    """Least seconds of each, run one after the other, again and again."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    best = dict.fromkeys(runs, np.inf)
    for _ in range(n_turns):
        for name, run in runs.items():
            start = clock()
            run()
            best[name] = min(best[name], clock() - start)
    return best


def report_speed(model: Chgnet, package: Package) -> None:
    """Prints speed, graph building, and the latter's share, of small cells and one middling one."""
    config = model.network.config
    for name in ("small", "64"):
        structures = CASES[name]
        n_atoms = sum(one.n_atoms for one in structures)
        best = in_turns(
            {
                "ours": lambda structures=structures: model.predict(structures, WANT),
                "package": lambda structures=structures: package.predict(structures),
            },
            3,
        )
        building = in_turns(
            {
                "ours": lambda structures=structures: bond_graph(structures, config.cutoff, config.angle_cutoff),
                "package": lambda structures=structures: package.graphs(structures),
            },
            3,
        )
        title = f"{len(structures)} cells of 8 atoms" if name == "small" else f"{name} atoms"
        print(f"  {title}: {best['ours']:.3f} s, {len(structures) / best['ours']:.2f} structures/s, ", end="")
        print(f"{n_atoms / best['ours']:.0f} atoms/s; graph {1e3 * building['ours']:.1f} ms, ", end="")
        print(f"{100 * building['ours'] / best['ours']:.2f} % of it")
        print(f"    package {best['package']:.3f} s: ours is {best['package'] / best['ours']:.1f} × as fast; ", end="")
        print(
            f"graph {1e3 * building['package']:.0f} ms, ours {building['package'] / building['ours']:.0f} ×", flush=True
        )


def alone(who: str, what: str, name: str) -> tuple[float, float] | None:
    """Processor seconds, and MB by which a fresh process grows, of a prediction or a training step; None if it died."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.chgnet", "--measure", who, what, name],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        print(f"  {who}, {what} {name} died: {last}", flush=True)
        return None
    seconds, megabytes = map(float, done.stdout.split()[-2:])
    return seconds, megabytes


def measure(who: str, what: str, name: str) -> None:
    """Prints those, in this process, which may take as much memory as is free and no more."""
    free = 1024 * kilobytes("MemAvailable", "/proc/meminfo")
    resource.setrlimit(resource.RLIMIT_DATA, (free, free))
    torch.set_num_threads(1)
    warm, structures = CASES["small"][:1], CASES[name]
    model, package = (load_model("chgnet"), None) if who == "ours" else (None, Package())
    assert isinstance(model, Chgnet) or package is not None

    def run(batch: list[Structure]) -> None:
        if package is not None:
            (package.predict if what == "predict" else package.training_step)(batch)
        elif isinstance(model, Chgnet):
            model.predict(batch, WANT) if what == "predict" else our_training_step(model, batch)

    run(warm)
    # Not ru_maxrss, which a process inherits from the one that started it.
    Path("/proc/self/clear_refs").write_text("5")
    before, start = kilobytes("VmRSS"), time.process_time()
    run(structures)
    print(time.process_time() - start, (kilobytes("VmHWM") - before) / 1024)


def kilobytes(name: str, file: str = "/proc/self/status") -> int:
    """A size of this process, or of the machine, as Linux counts it."""
    lines = Path(file).read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def report_memory() -> None:
    """Prints memory of predictions and of training steps."""
    for what, name in (("predict", "small"), ("train", "64")):
        ours, package = (alone(who, what, name) for who in ("ours", "package"))
        if ours and package:
            (_, mine), (_, theirs) = ours, package
            print(f"  memory, {what} {name}: {mine:.0f} MB, package {theirs:.0f} MB, 1/{theirs / mine:.2f}", flush=True)


def report_large() -> None:
    """Prints seconds and memory of large cells; the package is not asked for the largest."""
    for name, peers in (("512", ("ours", "package")), ("1000", ("ours", "package")), ("4096", ("ours",))):
        for who in peers:
            if found := alone(who, "predict", name):
                seconds, megabytes = found
                speed = int(name) / seconds
                print(f"  {name} atoms, {who}: {seconds:.2f} s, {speed:.0f} atoms/s, {megabytes:.0f} MB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--large", action="store_true", help="512, 1,000 and 4,096 atoms alone: minutes, all memory")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(*arguments.measure)
        return
    print(machine_line())
    if arguments.large:
        report_large()
        return
    model, package = load_model("chgnet"), Package()
    assert isinstance(model, Chgnet)
    before = torch.get_num_threads()
    try:
        for n_threads in arguments.threads:
            torch.set_num_threads(n_threads)
            print(f"{n_threads} threads, seconds of the clock:" if n_threads > 1 else "1 thread, processor seconds:")
            report_speed(model, package)
    finally:
        torch.set_num_threads(before)
    report_memory()


if __name__ == "__main__":
    main()
