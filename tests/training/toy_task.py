"""A line that is learned, to be run alone, by `torchrun`, or killed half-way: python toy_task.py FOLDER N_EPOCHS."""

import sys
from pathlib import Path

import numpy as np
import torch

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[2] / "sdk" / "src")]

from training.loop import Schedule, Training  # noqa: E402

SLOPE = torch.tensor([1.0, -2.0, 0.5])


class Line:
    """y = slope · x with noise that is drawn anew."""

    def __init__(self, n_examples: int = 23) -> None:
        self.network = torch.nn.Linear(3, 1, bias=False)
        torch.nn.init.zeros_(self.network.weight)
        self.n_examples = n_examples
        self.inputs = torch.from_numpy(np.random.default_rng(0).normal(size=(n_examples, 3))).float()

    def loss(self, indices, rng):
        inputs = self.inputs[indices]
        noise = torch.from_numpy(rng.normal(size=len(indices))).float() * 1e-3
        return (self.network(inputs)[:, 0] - inputs @ SLOPE - noise).square().mean()

    def evaluate(self, network):
        return {"distance": float((network.weight[0].detach() - SLOPE).norm())}


def train(folder: Path, n_epochs: int = 40, report=lambda _: None, **changes):
    schedule = Schedule(
        **{"n_epochs": n_epochs, "batch_size": 8, "learning_rate": 0.1, "averaging": 0.9, "n_warm_up": 5} | changes
    )
    return Training(Line(), schedule, folder, {"name": "line"}, report).run()


if __name__ == "__main__":
    torch.set_num_threads(1)
    train(Path(sys.argv[1]), int(sys.argv[2]))
