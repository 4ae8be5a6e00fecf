"""Heads and trunk that learn five crystals, alone or by `torchrun`: python potential_task.py FOLDER N_EPOCHS FROZEN.

GRADIENTS holds what the last step went along.
"""

import sys
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "sdk" / "src")]

from models.catalog import catalog  # noqa: E402
from models.potential.chgnet.checkpoint import network_of  # noqa: E402
from models.potential.fastchgnet.config import FastConfig  # noqa: E402
from models.potential.fastchgnet.network import FastNetwork  # noqa: E402
from tests.models.potential_contract import distorted_rock_salt  # noqa: E402
from training.labels import LabelledStructure  # noqa: E402
from training.loop import Schedule, Training  # noqa: E402
from training.potential import PotentialTask  # noqa: E402

GRADIENTS = "gradients.pt"
SALTS = (("Na", "Cl", 2.82), ("Mg", "O", 2.1), ("Li", "F", 2.0), ("K", "Br", 3.3), ("Fe", "O", 2.15))


def network() -> FastNetwork:
    """Heads with random weights on CHGNet."""
    entry = catalog()["chgnet"]
    trunk = network_of(entry.path, entry.sha256)
    found = FastNetwork(FastConfig(trunk.config), seed=1)
    found.chgnet.load_state_dict(trunk.state_dict())
    return found


def examples() -> list[LabelledStructure]:
    """Five salts with labels of no meaning, one of them with forces alone."""
    rng = np.random.default_rng(0)
    found = []
    for first, second, bond in SALTS:
        structure, forces = distorted_rock_salt(first, second, bond), rng.normal(size=(4, 3))
        stress = rng.normal(size=(3, 3)) / 100
        labels = (None, None, None) if first == "Li" else (4 * rng.normal(-4), stress + stress.T, rng.uniform(size=4))
        found.append(LabelledStructure(structure, "salts", structure.formula, "train", forces, *labels))
    return found


def task(is_trunk_frozen: bool = False) -> PotentialTask:
    there = examples()
    return PotentialTask(network(), there, there[:2], is_trunk_frozen=is_trunk_frozen)


def train(folder: Path, n_epochs: int, is_trunk_frozen: bool) -> PotentialTask:
    """Batches of three, the last of two, so that two processes never have as much to do."""
    learned = task(is_trunk_frozen)
    schedule = Schedule(n_epochs, batch_size=3, learning_rate=0.001, largest_gradient=1e6)
    Training(learned, schedule, folder, {}, lambda _: None).run()
    gradients = {name: one.grad for name, one in learned.network.named_parameters() if one.grad is not None}
    torch.save(gradients, folder / GRADIENTS)
    return learned


if __name__ == "__main__":
    torch.set_num_threads(1)
    train(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "True")
