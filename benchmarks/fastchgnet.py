"""Heads beside derivatives: errors, time and memory of predictions and training steps, drift of energy, two processes.

Both run in turns on the same structures. Times are the least of some turns, in processor seconds of one thread; memory
is the growth of a fresh process's largest resident size; scaling is by the clock, best on an idle machine.

python -m benchmarks.fastchgnet [--parts errors speed memory drift cost scaling]
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms, units
from ase.calculators.calculator import Calculator, all_changes
from ase.md.velocitydistribution import Stationary, thermalize_momenta
from ase.md.verlet import VelocityVerlet
from torch import distributed

from benchmarks.chgnet import CASES, WANT, in_turns, lithium_fluoride, our_training_step
from benchmarks.machine import machine_line
from models.catalog import load_model
from models.potential.chgnet.graph import bond_graph
from models.potential.chgnet.model import Chgnet
from models.potential.fastchgnet.config import FastConfig
from models.potential.fastchgnet.model import FastChgnet
from models.potential.fastchgnet.network import FastNetwork
from models.weights import sha256_of
from rhocast.model_info import Property
from rhocast.structure import Structure
from training.balance import StepCost, counts_of, imbalance, in_turn, longest_first
from training.labels import LabelledStructure
from training.potential import GPA, PotentialTask
from training.teacher import Question, crystal_questions, mixture_questions, reference_questions, taught

PARTS = ("errors", "speed", "memory", "drift", "cost", "scaling")
N_CRYSTALS = 30000
"""Seeded crystals, among them those that the shipped weights have learned from; a part is held out."""
N_LOOKED_AT = 400
"""Crystals of each kind, at most."""
N_STEPS, TIME_STEP, TEMPERATURE = 300, 2.0, 600.0
"""Of the molecular dynamics; fs, and K of the first velocities, half of which goes into potential energy."""
BATCH_SIZE, N_BATCHES = 32, 8


def models() -> dict[str, Chgnet]:
    """The potential with derivatives, and the one with heads."""
    found = {"derivatives": load_model("chgnet"), "heads": load_model("fastchgnet")}
    return {name: model for name, model in found.items() if isinstance(model, Chgnet)}


def fresh_network() -> FastNetwork:
    """Heads that have learned nothing on CHGNet, all to be trained."""
    chgnet = models()["derivatives"].network
    network = FastNetwork(FastConfig(chgnet.config))
    network.chgnet.load_state_dict(chgnet.state_dict())
    return network.train()


def report_errors(weights: Path | None) -> None:
    """Prints mean absolute errors of the heads from derivatives, on structures that they have not learned from.

    Args:
        weights: Of a training; None for those that ship.
    """
    teacher, heads = models().values()
    if weights is not None:
        heads = FastChgnet.read(weights, sha256_of(weights))
    print("| set | n | energy (meV/atom) | forces (meV/Å) | median | 95 % below | their mean size | stress (GPa) |")
    print("|---|---|---|---|---|---|---|---|")
    covered = set(heads.info.elements)
    for title, questions in held_out().items():
        there = [one for one in questions if covered.issuperset(one.structure.symbols)]
        labelled = list(taught(teacher, there[:N_LOOKED_AT]))
        print(f"| {title} | {len(labelled)} | {errors_row(heads, labelled)} |", flush=True)


def held_out() -> dict[str, list[Question]]:
    """Structures by what is new in them."""
    seeded, others = crystal_questions(N_CRYSTALS, seed=0), crystal_questions(2 * N_LOOKED_AT, seed=2)
    learned = {one.group for one in seeded if one.split == "train"}
    found = {"new structures of learned compositions": [one for one in others if one.group in learned]}
    for split in ("validation", "test"):
        found[f"new compositions, {split}"] = [one for one in seeded if one.split == split]
    mixtures = mixture_questions(10 * N_LOOKED_AT, seed=2)
    found["new compositions, mixtures"] = [one for one in mixtures if one.split == "test"]
    reference = [one for one in reference_questions(["crystals"]) if one.split != "train"]
    return found | {"new compositions, data/crystals": reference}


def errors_row(model: Chgnet, labelled: Sequence[LabelledStructure]) -> str:
    """Errors of energies, forces and stresses on labelled crystals."""
    answers = [answer for one in labelled for answer in model.predict([one.structure], WANT)]
    pairs = list(zip(answers, labelled, strict=True))
    energies = [abs(said.energy - true.energy) / true.structure.n_atoms for said, true in pairs if true.energy]
    forces = np.abs(np.concatenate([said.forces - true.forces for said, true in pairs if said.forces is not None]))
    stresses = [
        said.stress - true.stress for said, true in pairs if said.stress is not None and true.stress is not None
    ]
    size = np.abs(np.concatenate([true.forces for _, true in pairs])).mean()
    spread = (forces.mean(), np.median(forces), np.percentile(forces, 95), size)
    figures = 1000 * np.array([np.mean(energies), *spread])
    return " | ".join(f"{one:.1f}" for one in figures) + f" | {GPA * np.abs(stresses).mean():.2f}"


def head_training_step(network: FastNetwork, structures: Sequence[Structure]) -> None:
    """Forward and backward of a loss of energies, forces and stresses, as `benchmarks.chgnet` has it of derivatives."""
    config = network.config.trunk
    energies, _, forces, stresses = network(bond_graph(structures, config.cutoff, config.angle_cutoff))
    (energies.square().sum() + forces.square().sum() + stresses.square().sum()).backward()


def report_speed() -> None:
    """Prints how long predictions and training steps take."""
    for name in ("small", "64", "512"):
        runs: dict[str, Callable[[], Any]] = {
            way: lambda model=model, name=name: model.predict(CASES[name], WANT) for way, model in models().items()
        }
        print_ratio(f"prediction, {name}", in_turns(runs, 3), "s", 3)
    for name in ("small", "64"):
        chgnet, network = models()["derivatives"], fresh_network()
        runs = {
            "derivatives": lambda name=name, chgnet=chgnet: our_training_step(chgnet, CASES[name]),
            "heads": lambda name=name, network=network: head_training_step(network, CASES[name]),
        }
        print_ratio(f"training step, {name}", in_turns(runs, 3), "s", 3)


def report_memory() -> None:
    """Prints by how much a fresh process grows."""
    for what, name in (("predict", "64"), ("predict", "512"), ("train", "small"), ("train", "64")):
        found = {}
        for way in ("derivatives", "heads"):
            command = [sys.executable, "-m", "benchmarks.fastchgnet", "--measure", way, what, name]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found[way] = float(done.stdout.split()[-1])
        print_ratio(f"memory, {what}, {name}", found, "MB", 0)


def measure(way: str, what: str, name: str) -> None:
    """Prints by how many MB this process grows."""
    import resource

    torch.set_num_threads(1)
    model, network = models()[way], fresh_network()

    def run(structures: list[Structure]) -> None:
        if what == "predict":
            model.predict(structures, WANT)
        elif way == "heads":
            head_training_step(network, structures)
        else:
            our_training_step(model, structures)

    run(CASES["small"][:1])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run(CASES[name])
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)


def print_ratio(title: str, found: dict[str, float], unit: str, n_digits: int) -> None:
    parts = ", ".join(f"{way} {value:.{n_digits}f} {unit}" for way, value in found.items())
    ratio = f"1/{found['derivatives'] / found['heads']:.2f}" if found["heads"] else "too little to see"
    print(f"  {title}: {parts}; {ratio}", flush=True)


class OfPotential(Calculator):
    """A potential as ASE calls it."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012  # the name and the type are ASE's

    def __init__(self, model: Chgnet) -> None:
        super().__init__()
        self._model = model

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        assert atoms is not None
        structure = Structure(atoms.numbers.astype(np.int64), atoms.positions, atoms.cell.array)
        (answer,) = self._model.predict([structure], frozenset({Property.FORCES}))
        self.results = {"energy": answer.energy, "forces": answer.forces}


def report_drift() -> None:
    """Prints how the total energy of molecular dynamics at constant energy runs away."""
    start = lithium_fluoride((2, 1, 1))
    for way, model in models().items():
        atoms = Atoms(start.numbers, start.positions, cell=start.cell, pbc=True)
        atoms.calc = OfPotential(model)
        thermalize_momenta(atoms, TEMPERATURE, rng=np.random.default_rng(0))
        Stationary(atoms)
        dynamics = VelocityVerlet(atoms, TIME_STEP * units.fs)
        energies: list[float] = []
        dynamics.attach(lambda atoms=atoms, energies=energies: energies.append(atoms.get_total_energy()))
        dynamics.run(N_STEPS)
        per_atom = 1000 * (np.array(energies) - energies[0]) / len(atoms)
        slope, _ = np.polyfit(TIME_STEP * np.arange(len(per_atom)) / 1000, per_atom, 1)
        print(
            f"  {way}: {slope:+.3f} meV/atom/ps, at the end {per_atom[-1]:+.3f} meV/atom after "
            f"{N_STEPS * TIME_STEP / 1000:.1f} ps; {len(atoms)} atoms of LiF, {TIME_STEP} fs, "
            f"{atoms.get_temperature():.0f} K at the end",
            flush=True,
        )


def crystals_to_learn(n: int) -> list[LabelledStructure]:
    """Seeded crystals of uneven sizes, with labels of no meaning."""
    found = []
    for one in crystal_questions(n, seed=1):
        zeros = np.zeros((one.structure.n_atoms, 3))
        found.append(
            LabelledStructure(one.structure, one.source, one.group, "train", zeros, 0.0, np.eye(3), zeros[:, 0])
        )
    return found


def report_cost() -> None:
    """Prints what an atom, an edge and an angle add to a training step, fitted to measured ones."""
    network, there = fresh_network(), crystals_to_learn(160)
    config = network.config.trunk
    there.sort(key=lambda one: one.structure.n_atoms)
    task = PotentialTask(network, there, there[:1])
    counts, milliseconds = [], []
    for first in range(0, len(there), 8):
        batch = list(range(first, first + 8))
        best = in_turns({"step": lambda batch=batch: task.loss(batch, np.random.default_rng(0)).backward()}, 3)["step"]
        graph = bond_graph([there[index].structure for index in batch], config.cutoff, config.angle_cutoff)
        counts.append(counts_of(graph))
        milliseconds.append(1000 * best)
    cost = StepCost.fitted(np.array(counts), np.array(milliseconds))
    off = np.abs(cost.of(np.array(counts)) / milliseconds - 1)
    print(f"  {cost}; off by {100 * off.mean():.0f} % on average, {100 * off.max():.0f} % at worst")


def report_scaling() -> None:
    """Prints what two processes gain, with examples dealt out in turn and shared out by cost."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    for n_processes in (1, 2):
        command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(n_processes)]
        whole = [sys.executable, *command, "-m", "benchmarks.fastchgnet", "--share"]
        done = subprocess.run(whole, env=environment, capture_output=True, text=True, check=True)
        print("".join(f"  {n_processes} processes: {line}\n" for line in done.stdout.splitlines()), end="", flush=True)


def share() -> None:
    """Does the steps of an epoch as one of several processes, both ways, and prints the seconds of the slowest."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    rank, n_processes = distributed.get_rank(), distributed.get_world_size()
    there = crystals_to_learn(BATCH_SIZE * N_BATCHES)
    task = PotentialTask(fresh_network(), there, there[:1])
    task.loss([0], np.random.default_rng(0)).backward()
    for name in ("in turn", "longest first"):
        loads, seconds = [], []
        for first in range(0, len(there), BATCH_SIZE):
            costs = task.costs[first : first + BATCH_SIZE].tolist()
            shares = in_turn(BATCH_SIZE, n_processes) if name == "in turn" else longest_first(costs, n_processes)
            loads.append(imbalance(costs, shares))
            seconds.append(shared_step(task, [first + place for place in shares[rank]]))
        if rank == 0:
            print(
                f"{name}, imbalance {np.mean(loads):.3f}, {np.mean(seconds):.3f} s a step by the clock, "
                f"{np.min(seconds):.3f} s at best",
                flush=True,
            )
    distributed.destroy_process_group()


def shared_step(task: PotentialTask, mine: list[int]) -> float:
    """Seconds of a step with the sum of gradients that ends it, from a common start."""
    distributed.barrier()
    start = time.perf_counter()
    task.loss(mine, np.random.default_rng(0)).backward()
    for parameter in task.network.parameters():
        if parameter.grad is not None:
            distributed.all_reduce(parameter.grad)
    distributed.barrier()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument(
        "--heads", type=Path, help="weights of a training, for the errors; those that ship if not given"
    )
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--share", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(*arguments.measure)
    elif arguments.share:
        share()
    else:
        torch.set_num_threads(1)
        print(machine_line())
        errors = partial(report_errors, arguments.heads)
        reports = (errors, report_speed, report_memory, report_drift, report_cost, report_scaling)
        for name, report in zip(PARTS, reports, strict=True):
            if name in arguments.parts:
                print(f"{name}:", flush=True)
                report()


if __name__ == "__main__":
    main()
