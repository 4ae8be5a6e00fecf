"""The one training loop: Adam with a cosine schedule and an average of the weights; it resumes, and runs in parallel.

    torchrun --nproc-per-node 2 -m training train training/orbital-organics-small.toml

A network learns where it is, on the CPU or a GPU; of several processes each has a GPU of its own. Each takes its share
of every batch, the costliest examples first where costs differ, and gradients are averaged: n processes learn what one
would from the same batches, up to rounding. The first process writes.
"""

import csv
import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from math import cos, pi
from pathlib import Path
from time import monotonic
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from training.balance import imbalance, in_turn, longest_first
from training.bar import step_bar
from training.curves import draw_history

STATE = "state.pt"
HISTORY = "history.csv"
PICTURE = "history.png"


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to learn.

    Attributes:
        n_epochs: Passes over the examples.
        batch_size: Examples of a step, over all processes.
        learning_rate: Of Adam, after the warm-up; in the end it falls to zero along a cosine.
        n_warm_up: Steps in which the learning rate rises.
        averaging: Decay of the moving average of the weights, per step.
        largest_gradient: Norm to which longer gradients are cut.
        seed: Of weights, order and points.
        falling: Share of the steps, the last ones, in which the learning rate falls.
        n_finishing: Iterations of L-BFGS after all epochs (`training.finisher`).
    """

    n_epochs: int
    batch_size: int
    learning_rate: float
    n_warm_up: int = 20
    averaging: float = 0.995
    largest_gradient: float = 10.0
    seed: int = 0
    falling: float = 1.0
    n_finishing: int = 0

    def __post_init__(self) -> None:
        if min(self.n_epochs, self.batch_size, self.learning_rate, self.largest_gradient) <= 0:
            raise ValueError(f"found {self}; expected epochs, a batch, a learning rate and a gradient above zero")
        if not 0 <= self.averaging < 1:
            raise ValueError(f"found averaging {self.averaging}; expected a decay from 0 to below 1")
        if not 0 < self.falling <= 1 or self.n_finishing < 0:
            raise ValueError(f"found {self}; expected falling above 0 and up to 1, and no fewer than 0 iterations")

    def rate(self, step: int, n_steps: int) -> float:
        """Learning rate of a step of so many."""
        warm = min(1.0, (step + 1) / self.n_warm_up) if self.n_warm_up else 1.0
        fallen = max(0.0, 1 - (1 - step / n_steps) / self.falling)
        return self.learning_rate * warm * 0.5 * (1 + cos(pi * fallen))

    def as_dict(self) -> dict[str, Any]:
        """Table of numbers."""
        # What is as it was before there was a choice is left out, so that trainings from then go on.
        later = {"falling": 1.0, "n_finishing": 0}
        return {name: value for name, value in asdict(self).items() if later.get(name) != value}


class Task(Protocol):
    """What is learned."""

    @property
    def network(self) -> nn.Module: ...

    @property
    def n_examples(self) -> int: ...

    def loss(self, indices: Sequence[int], rng: np.random.Generator) -> Tensor:
        """Mean loss of these examples."""
        ...

    def evaluate(self, network: nn.Module) -> Mapping[str, float]:
        """Figures of a network on what is held out for validation."""
        ...


@runtime_checkable
class CostedTask(Task, Protocol):
    """What is learned from examples of which some cost more than others."""

    @property
    def costs(self) -> NDArray[np.float64]:
        """Cost of each example in any unit, [n_examples]."""
        ...


class OtherTraining(Exception):
    """The folder holds the state of a training with another configuration, or of fewer or more examples."""


class Diverged(Exception):
    """The loss is no longer a number."""


Report = Callable[[Mapping[str, float]], None]


@dataclass(eq=False)
class Training:
    """One training, with its folder.

    Args:
        task: What is learned.
        schedule: How.
        folder: Where state and history are kept, and a picture of the history at the end.
        config: Everything that decides the result; a state of another configuration is refused.
        report: Told the figures of each epoch.
    """

    task: Task
    schedule: Schedule
    folder: Path
    config: Mapping[str, Any]
    report: Report

    def __post_init__(self) -> None:
        schedule = self.schedule
        self.device = next(self.task.network.parameters()).device
        self.rank = int(os.environ.get("RANK", "0"))
        self.n_processes = int(os.environ.get("WORLD_SIZE", "1"))
        self.n_steps_per_epoch = -(-self.task.n_examples // schedule.batch_size)
        parameters = [parameter for parameter in self.task.network.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.Adam(parameters, lr=schedule.learning_rate)
        self.average = AveragedModel(
            self.task.network, multi_avg_fn=get_ema_multi_avg_fn(schedule.averaging), use_buffers=True
        )
        self.epoch = 0

    def run(self) -> nn.Module:
        """The network with averaged weights, after all epochs.

        Raises:
            OtherTraining: If the folder belongs to another training.
            Diverged: If the loss is not finite; the state of the last epoch stays.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with _process_group(self.n_processes, self.device):
            self._resume()
            with self._watched() as step_done:
                while self.epoch < self.schedule.n_epochs:
                    start = monotonic()
                    training_loss = self._epoch(step_done)
                    self.epoch += 1
                    if self.rank == 0:
                        self._keep(training_loss, start)
        if self.rank == 0:
            draw_history(list(learning_curve(self.folder)), self.folder / PICTURE)
        return self.average.module

    def _watched(self) -> AbstractContextManager[Callable[[float], None]]:
        """What is told the loss of each step."""
        if self.rank != 0:
            return nullcontext(lambda _: None)
        return step_bar(self.schedule.n_epochs * self.n_steps_per_epoch, self.epoch * self.n_steps_per_epoch)

    def _epoch(self, step_done: Callable[[float], None]) -> float:
        """Mean loss of one pass."""
        rng = np.random.default_rng([self.schedule.seed, self.epoch, self.rank])
        losses = []
        self.task.network.train()
        for step, batch in enumerate(self._batches(self.epoch)):
            mine = batch[self._shares(batch)[self.rank]].tolist()
            losses.append(self._step(step, mine, len(batch), rng))
            step_done(losses[-1])
        return float(np.mean(losses))

    def _shares(self, batch: NDArray[np.int64]) -> list[list[int]]:
        """Places in a batch that each process takes."""
        if isinstance(self.task, CostedTask):
            return longest_first(self.task.costs[batch].tolist(), self.n_processes)
        return in_turn(len(batch), self.n_processes)

    def imbalances(self) -> tuple[float, float]:
        """Largest load over mean load in the steps of the first epoch on average, taking turns and as it is done.

        A task without costs has examples that cost the same.
        """
        found = []
        for batch in self._batches(epoch=0):
            costs = self.task.costs[batch].tolist() if isinstance(self.task, CostedTask) else [1.0] * len(batch)
            ways = (in_turn(len(batch), self.n_processes), self._shares(batch))
            found.append([imbalance(costs, shares) for shares in ways])
        before, after = np.mean(found, axis=0).tolist()
        return before, after

    def _batches(self, epoch: int) -> list[NDArray[np.int64]]:
        """Examples of each step of an epoch."""
        # Its own generator for each epoch: a resumed training goes on as if it had never stopped.
        order = np.random.default_rng([self.schedule.seed, epoch]).permutation(self.task.n_examples)
        size = self.schedule.batch_size
        return [order[step * size :][:size] for step in range(self.n_steps_per_epoch)]

    def _step(self, step: int, mine: list[int], n_in_batch: int, rng: np.random.Generator) -> float:
        n_steps = self.schedule.n_epochs * self.n_steps_per_epoch
        rate = self.schedule.rate(self.epoch * self.n_steps_per_epoch + step, n_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=False)
        loss = torch.zeros((), device=self.device)
        if mine:
            loss = self.task.loss(mine, rng) * (len(mine) / n_in_batch)
            loss.backward()
        total = self._summed(loss.detach())
        if not np.isfinite(total):
            raise Diverged(f"found a loss of {total} in epoch {self.epoch}, step {step}; try a lower learning rate")
        nn.utils.clip_grad_norm_(self.task.network.parameters(), self.schedule.largest_gradient)
        self.optimizer.step()
        self.average.update_parameters(self.task.network)
        return total

    def _summed(self, loss: Tensor) -> float:
        """Loss over all processes, whose gradients are summed too."""
        if self.n_processes == 1:
            return float(loss)
        loss = loss.double()
        distributed.all_reduce(loss)
        for parameter in self.task.network.parameters():
            if parameter.requires_grad:
                parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                distributed.all_reduce(parameter.grad)
        return float(loss)

    def _keep(self, training_loss: float, start: float) -> None:
        figures = {"epoch": float(self.epoch), "training_loss": training_loss}
        self.average.module.eval()
        figures |= self.task.evaluate(self.average.module)
        figures["seconds"] = monotonic() - start
        rows = self._history()
        with (self.folder / HISTORY).open("w", newline="", encoding="utf-8") as file:
            # Epochs from before there was a figure do not have it.
            writer = csv.DictWriter(file, list(figures), restval="nan")
            writer.writeheader()
            writer.writerows([*rows, figures])
        state = {
            "config": self._decides(),
            "epoch": self.epoch,
            "network": self.task.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        unfinished = self.folder / (STATE + ".part")
        torch.save(state, unfinished)
        unfinished.replace(self.folder / STATE)
        self.report(figures)

    def _decides(self) -> dict[str, Any]:
        """What a training must have in common with the one that it goes on with."""
        return dict(self.config) | {"schedule": self.schedule.as_dict(), "number of examples": self.task.n_examples}

    def _history(self) -> list[dict[str, str]]:
        """Rows of the epochs before this one."""
        path = self.folder / HISTORY
        if not path.exists():
            return []
        with path.open(newline="", encoding="utf-8") as file:
            return [row for row in csv.DictReader(file) if float(row["epoch"]) < self.epoch]

    def _resume(self) -> None:
        path = self.folder / STATE
        if not path.exists():
            return
        state = torch.load(path, map_location="cpu", weights_only=True)
        wanted = self._decides()
        if state["config"] != wanted:
            differing = sorted(key for key in wanted if state["config"].get(key) != wanted[key])
            raise OtherTraining(
                f"found in {self.folder} a training with other {', '.join(differing)}; "
                "choose another folder, or remove it"
            )
        self.task.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch = state["epoch"]


@contextmanager
def _process_group(n_processes: int, device: torch.device) -> Generator[None]:
    """The processes of `torchrun`, joined while the block runs; nothing for one process alone."""
    if n_processes == 1:
        yield
        return
    if device.type == "cuda":
        distributed.init_process_group("nccl", device_id=device)
    else:
        distributed.init_process_group("gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def learning_curve(folder: Path) -> Iterator[dict[str, float]]:
    """Figures of each epoch of a training."""
    with (folder / HISTORY).open(newline="", encoding="utf-8") as file:
        yield from ({key: float(value) for key, value in row.items()} for row in csv.DictReader(file))
