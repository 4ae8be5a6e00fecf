"""`python -m benchmarks.ablation`: what each part of the orbital model brings, as Markdown.

Every variant learns from the same structures, from the same seed, in as many steps; only what its name says differs
from the configuration. Stop it and start it again, and it goes on: each training has its folder.

python -m benchmarks.ablation                                               # trains what is not there, then prints
python -m benchmarks.ablation --curve curve.png --n-training 30 60 119      # error against structures to learn from
"""

import argparse
import json
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from time import process_time
from typing import Any, cast

import numpy as np
import torch

from benchmarks.machine import machine_line
from models.density.orbital.network import OrbitalNetwork
from training.assembly import density_task
from training.config import TrainingConfig
from training.curves import draw_scaling, power_law
from training.dataset import covered, samples
from training.density import DensityExample, errors_of
from training.loop import Training, learning_curve

Table = dict[str, Any]

CONFIG = Path(__file__).parent.parent / "training" / "orbital-organics-small.toml"
N_WATCHED = 2  # validation structures of each epoch; all of them at the end


def _without_bonds(table: Table) -> None:
    del table["model"]["bonds"]


def _with_fixed_exponents(table: Table) -> None:
    table["model"]["atoms"]["is_learned"] = False
    if "bonds" in table["model"]:
        table["model"]["bonds"]["basis"]["is_learned"] = False


def _without_both(table: Table) -> None:
    _without_bonds(table)
    _with_fixed_exponents(table)


def _with_product(table: Table) -> None:
    basis = {"highest_degree": 1, "n_radial": 3, "smallest_exponent": 0.25, "largest_exponent": 3.0}
    table["model"]["product"] = {"rank": 4, "basis": basis}


def _with_coulomb(table: Table) -> None:
    table["coulomb_weight"] = 0.5


def _medium(table: Table) -> None:
    table["model"]["trunk"]["preset"] = "medium"


def _large(table: Table) -> None:
    table["model"]["trunk"]["preset"] = "large"


VARIANTS: dict[str, Callable[[Table], None]] = {
    "as configured": lambda _: None,
    "no centres on bonds": _without_bonds,
    "fixed exponents": _with_fixed_exponents,
    "neither": _without_both,
    "product term": _with_product,
    "medium trunk": _medium,
    "Coulomb term": _with_coulomb,
    "large trunk": _large,
}


@dataclass(frozen=True)
class Outcome:
    """What a training came to.

    Attributes:
        n_weights: Of the network.
        n_training: Structures learned from.
        cpu_seconds: Processor time of an epoch, median; it looks at two validation structures.
        training_loss: Of the last epoch.
        errors: NMAE of each validation structure, by name.
        coulomb: Coulomb energy of the error in eV per electron, mean.
    """

    n_weights: int
    n_training: int
    cpu_seconds: float
    training_loss: float
    errors: Mapping[str, float]
    coulomb: float

    @property
    def mean(self) -> tuple[float, float]:
        """Mean NMAE and its standard error over structures."""
        return _mean(np.array(list(self.errors.values())))


@dataclass(frozen=True)
class Study:
    """Trainings that differ in one thing.

    Attributes:
        config: Configuration that they start from.
        n_epochs: Of each training.
        out: Folder of all trainings.
    """

    config: Path
    n_epochs: int
    out: Path

    def outcome(self, variant: str, n_training: int) -> Outcome:
        """What a variant comes to, from its folder if it has been there to the end."""
        words = "-".join(re.findall(r"\w+", variant))
        folder = self.out / f"{self.config.stem}-{words}-{n_training}-{self.n_epochs}"
        result = folder / "outcome.json"
        if not result.exists():
            found = trained(TrainingConfig.from_dict(self._table(variant, n_training)), folder)
            result.write_text(json.dumps(asdict(found)))
        return Outcome(**json.loads(result.read_text()))

    def _table(self, variant: str, n_training: int) -> Table:
        table = deepcopy(tomllib.loads(self.config.read_text(encoding="utf-8")))
        VARIANTS[variant](table)
        table["n_training"] = n_training
        table["schedule"]["n_epochs"] = self.n_epochs
        return table


def trained(config: TrainingConfig, folder: Path) -> Outcome:
    """What the training of a configuration comes to; it goes on where it was stopped."""
    task = density_task(config, n_validation=N_WATCHED)
    ends = [process_time()]
    training = Training(task, config.schedule, folder, config.as_dict(), lambda _: ends.append(process_time()))
    network = cast(OrbitalNetwork, training.run())
    held_out = covered(samples(config.sets, "validation"), config.orbitals.trunk.elements)
    examples = [DensityExample.of(one, config.orbitals.trunk.cutoff, task.promolecule) for one in held_out]
    errors = errors_of(network, examples)
    return Outcome(
        n_weights=sum(parameter.numel() for parameter in network.parameters()),
        n_training=task.n_examples,
        cpu_seconds=float(np.median(np.diff(ends))),
        training_loss=list(learning_curve(folder))[-1]["training_loss"],
        errors={one.name: error.nmae.value for one, error in zip(held_out, errors, strict=True)},
        coulomb=float(np.mean([error.coulomb for error in errors])),
    )


def row(name: str, found: Outcome, base: Outcome) -> str:
    """One line of the table; the difference is that of pairs, so that hard structures do not count twice."""
    pairs = np.array([[found.errors[one], base.errors[one]] for one in base.errors])
    mean, error = found.mean
    change, of_change = _mean(pairs[:, 0] - pairs[:, 1])
    return (
        f"| {name} | {found.n_weights:,} | {found.cpu_seconds:.1f} | {100 * found.training_loss:.2f} % "
        f"| {100 * mean:.2f} ± {100 * error:.2f} % | {100 * change:+.2f} ± {100 * of_change:.2f} % "
        f"| {100 * pairs[:, 0].max():.2f} % | {1000 * found.coulomb:.2f} |"
    )


def _mean(values: np.ndarray) -> tuple[float, float]:
    """Mean and its standard error."""
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


def print_table(study: Study, variants: Sequence[str], n_training: int) -> None:
    """A line for each variant as soon as it is known, compared with the configuration itself."""
    base = study.outcome("as configured", n_training)
    print(f"{machine_line()}; {base.n_training} structures, {study.n_epochs} epochs\n")
    print("| variant | weights | CPU s/epoch | training | held out | change | worst | Coulomb (meV/e) |")
    print("|---|---|---|---|---|---|---|---|")
    for variant in variants:
        print(row(variant, study.outcome(variant, n_training), base), flush=True)


def print_curve(study: Study, sizes: Sequence[int], picture: Path) -> None:
    """Error of the configuration against structures to learn from, as Markdown and as a picture."""
    print(f"{machine_line()}; {study.n_epochs} epochs\n")
    print("| structures learned from | held out | training |\n|---|---|---|")
    points: dict[int, tuple[float, float]] = {}
    for size in sizes:
        found = study.outcome("as configured", size)
        mean, error = points[found.n_training] = found.mean
        print(
            f"| {found.n_training} | {100 * mean:.2f} ± {100 * error:.2f} % | {100 * found.training_loss:.2f} % |",
            flush=True,
        )
    draw_scaling(points, picture)
    print(f"\nThe error falls as n^{power_law(points)[1]:.2f}: {picture}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS), metavar="NAME")
    parser.add_argument("--n-training", nargs="+", type=int, default=[60], help="more than one for a curve")
    parser.add_argument("--n-epochs", type=int, default=40)
    parser.add_argument("--curve", type=Path, help="draw the learning curve of the configuration into this file")
    parser.add_argument("--out", type=Path, default=Path("build/ablation"), help="folder of trainings")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    study = Study(arguments.config, arguments.n_epochs, arguments.out)
    if arguments.curve:
        print_curve(study, arguments.n_training, arguments.curve)
    else:
        print_table(study, arguments.variants, arguments.n_training[0])


if __name__ == "__main__":
    main()
