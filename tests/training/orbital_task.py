"""A small orbital network that learns five structures, alone or by `torchrun`: python orbital_task.py FOLDER N_EPOCHS.

GRADIENTS holds what the last step went along.
"""

import sys
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "sdk" / "src")]

from models.density.orbital.config import BasisConfig, BondConfig, OrbitalConfig  # noqa: E402
from models.density.orbital.network import OrbitalNetwork  # noqa: E402
from models.density.promolecule import Promolecule  # noqa: E402
from models.network import TrunkConfig  # noqa: E402
from rhocast.structure import Structure  # noqa: E402
from tests.training.analytic_samples import grid_points, sample_of  # noqa: E402
from training.density import DensityExample, DensityTask  # noqa: E402
from training.loop import Schedule, Training  # noqa: E402

GRADIENTS = "gradients.pt"
CONFIG = OrbitalConfig(
    TrunkConfig((1, 8), cutoff=3.0, n_layers=2, n_channels=8, l_max=2, n_hidden=16),
    BasisConfig(2, 3, 0.2, 2.0),
    BondConfig(BasisConfig(1, 2, 0.3, 1.5), 2.0),
)


def example(seed: int, promolecule: Promolecule) -> DensityExample:
    """Water, bent at random, with a Gaussian density; the weights of its 600 points do not matter here."""
    rng = np.random.default_rng(seed)
    positions = 4 + np.array([[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]) + 0.1 * rng.normal(size=(3, 3))
    structure = Structure.from_symbols(("O", "H", "H"), positions, 8 * np.eye(3), is_periodic=False)
    shape = (14, 14, 14)
    squares = np.square(grid_points(structure.cell, shape)[:, None] - positions).sum(2)
    density = (np.array([6.0, 1, 1]) * np.exp(-squares)).sum(1) / np.pi**1.5
    return DensityExample.of(sample_of(structure, shape, density, 8), CONFIG.trunk.cutoff, promolecule)


def train(folder: Path, n_epochs: int) -> None:
    """Batches of three, the last of two, so that two processes never have as much to do; every point in every step."""
    promolecule = Promolecule()
    examples = [example(seed, promolecule) for seed in range(5)]
    task = DensityTask(OrbitalNetwork(CONFIG, 1), examples, [examples[0].sample], 14**3, promolecule)
    schedule = Schedule(n_epochs, batch_size=3, learning_rate=0.003, largest_gradient=1e6)
    Training(task, schedule, folder, {}, lambda _: None).run()
    torch.save({name: one.grad for name, one in task.network.named_parameters()}, folder / GRADIENTS)


if __name__ == "__main__":
    torch.set_num_threads(1)
    train(Path(sys.argv[1]), int(sys.argv[2]))
