"""`python -m benchmarks.compact_records`: what a fixed small model learns from records of so many points, drawn so.

Needs whole grids of organics in `reference-data/` (`python -m reference make organics --n 60 --whole-grids`). The same
molecules, weights at the start, steps and points of a step each time; only what the records keep differs.
"""

import argparse
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.machine import machine_line
from models.density.orbital.config import BasisConfig, OrbitalConfig
from models.density.orbital.network import OrbitalNetwork
from models.density.promolecule import Promolecule
from models.network import TrunkConfig
from reference.record import Record
from reference.sampling import compact
from reference.shards import read_listing, read_records, shards
from training.dataset import Sample
from training.density import DensityExample, DensityTask
from training.loop import Schedule, Training, learning_curve

MODEL = OrbitalConfig(
    TrunkConfig((1, 6, 7, 8, 9), cutoff=4.0, n_layers=2, n_channels=16, l_max=3, n_hidden=32),
    BasisConfig(highest_degree=3, n_radial=8, smallest_exponent=0.1, largest_exponent=12.0),
    None,
)
POINTS_OF_A_STEP = 500


@dataclass(frozen=True)
class Kept:
    """What a record keeps: `n_points`, of which a share is uniform in space."""

    n_points: int | None
    uniform_share: float

    @property
    def label(self) -> str:
        if self.n_points is None:
            return "the whole grid"
        return f"{self.n_points} points, {100 * self.uniform_share:.0f} % uniform"


VARIANTS = (
    Kept(500, 0.5), Kept(2000, 0.5), Kept(8000, 0.5), Kept(32000, 0.5), Kept(2000, 1.0), Kept(2000, 0.1),
)  # fmt: skip


def records(folder: Path, split: str, n: int) -> list[Record]:
    """The first n whole records of a split."""
    found: list[Record] = []
    for path in shards(folder):
        names = {name for name, attributes in read_listing(path).items() if attributes["split"] == split}
        found += [record for record in read_records(path, names) if record.is_whole]
        if len(found) >= n:
            break
    return found[:n]


def validation_error(kept: Kept, learned: list[Record], held_out: list[Sample], n_epochs: int) -> Mapping[str, float]:
    """Figures after the last epoch of a training on the records' compact forms."""
    promolecule, network = Promolecule(), OrbitalNetwork(MODEL)
    samples = [Sample.of_record(compact(record, kept.n_points, kept.uniform_share)) for record in learned]
    examples = [DensityExample.of(sample, MODEL.trunk.cutoff, promolecule) for sample in samples]
    task = DensityTask(network, examples, held_out, POINTS_OF_A_STEP)
    with tempfile.TemporaryDirectory() as folder:
        schedule = Schedule(n_epochs, batch_size=2, learning_rate=0.01)
        Training(task, schedule, Path(folder), {}, lambda _: None).run()
        return list(learning_curve(Path(folder)))[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("reference-data/organics"))
    parser.add_argument("--n-training", type=int, default=60)
    parser.add_argument("--n-held-out", type=int, default=16)
    parser.add_argument("--n-epochs", type=int, default=30)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    learned = records(arguments.folder, "train", arguments.n_training)
    held_out = [
        Sample.of_record(compact(record, 20_000))
        for record in records(arguments.folder, "validation", arguments.n_held_out)
    ]
    print(f"{machine_line()}; {len(learned)} molecules, {len(held_out)} held out, {arguments.n_epochs} epochs\n")
    print("| a record keeps | training NMAE | NMAE held out |\n|---|---|---|")
    for kept in VARIANTS:
        last = validation_error(kept, learned, held_out, arguments.n_epochs)
        print(f"| {kept.label} | {last['training_loss']:.3%} | {last['validation_nmae']:.3%} |", flush=True)


if __name__ == "__main__":
    main()
