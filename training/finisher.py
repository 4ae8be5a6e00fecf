"""The end of a training: L-BFGS on all examples, at points that stay.

After Adam has found a valley, a method that knows its curvature goes on along it. The loss must not change between two
looks at it, hence each example keeps its points.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from training.loop import Report, Schedule, Task

ITERATIONS_AT_ONCE = 10
"""After so many the figures are looked at."""

HISTORY = 50
"""Steps from which the curvature is known."""


def finished(task: Task, schedule: Schedule, report: Report) -> nn.Module:
    """The task's network with the weights that did best on what is held out, from before the first iteration on.

    Args:
        task: What is learned; its network has the weights to start from.
        schedule: Iterations at most, examples whose gradients are computed together, and the seed of points.
        report: Told the figures after some iterations.
    """
    network = task.network
    optimizer = torch.optim.LBFGS(
        [one for one in network.parameters() if one.requires_grad],
        max_iter=ITERATIONS_AT_ONCE,
        history_size=HISTORY,
        line_search_fn="strong_wolfe",
    )
    look = _whole_loss(task, optimizer, schedule)
    best, best_state = task.evaluate(network), _state(network)
    for first in range(0, schedule.n_finishing, ITERATIONS_AT_ONCE):
        loss = float(optimizer.step(look))
        figures = task.evaluate(network)
        report({"finishing": float(first + ITERATIONS_AT_ONCE), "training_loss": loss} | dict(figures))
        if not figures["validation_nmae"] < best["validation_nmae"]:
            break
        best, best_state = figures, _state(network)
    network.load_state_dict(best_state)
    return network


def _state(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def _whole_loss(task: Task, optimizer: torch.optim.Optimizer, schedule: Schedule) -> Callable[[], float]:
    """What gives the mean loss of all examples, and leaves its gradient on the weights."""

    def look() -> float:
        optimizer.zero_grad()
        total = 0.0
        for first in range(0, task.n_examples, schedule.batch_size):
            indices = list(range(task.n_examples))[first : first + schedule.batch_size]
            rng = np.random.default_rng([schedule.seed, first])
            loss = task.loss(indices, rng) * (len(indices) / task.n_examples)
            loss.backward()
            total += float(loss.detach())
        return total

    return look
