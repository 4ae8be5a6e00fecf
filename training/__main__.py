"""Training from the command line: `python -m training FILE.toml`; with `torchrun --nproc-per-node N`, in parallel."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from models.checkpoint import Checkpoint
from models.density.orbital.network import OrbitalNetwork
from models.density.promolecule import Promolecule
from training.config import TrainingConfig
from training.dataset import DATA, Sample, samples
from training.density import DensityExample, DensityTask
from training.loop import Training

application = typer.Typer(help="Trains density models.", add_completion=False)


@application.command()
def train(
    file: Annotated[Path, typer.Argument(help="Configuration.", exists=True)],
    out: Annotated[Path, typer.Option(help="Folder of trainings.")] = Path("trainings"),
    data: Annotated[Path, typer.Option(help="Folder of reference data.")] = DATA,
    threads: Annotated[int, typer.Option(help="Threads of each process.", min=1)] = 1,
) -> None:
    """Trains the model of a configuration. Stop it and start it again, and it goes on."""
    torch.set_num_threads(threads)
    config = TrainingConfig.read(file)
    promolecule, network = Promolecule(), OrbitalNetwork(config.model, config.schedule.seed)
    chosen = chosen_samples(samples(config.sets, "train", data), config.n_training, config.schedule.seed)
    examples = [DensityExample.of(sample, config.model.trunk.cutoff, promolecule) for sample in chosen]
    task = DensityTask(network, examples, samples(config.sets, "validation", data), config.n_points)
    folder = out / config.name
    if os.environ.get("RANK", "0") == "0":
        n_weights = sum(parameter.numel() for parameter in network.parameters())
        typer.echo(f"{config.name}: {n_weights} weights, {len(examples)} structures, {len(task.validation)} held out")
    network = Training(task, config.schedule, folder, config.as_dict(), _report).run()
    if os.environ.get("RANK", "0") == "0":
        weights = folder / "weights.safetensors"
        checkpoint = Checkpoint({"model": config.model.as_dict(), "about": config.about}, network.state_dict())
        sha256 = checkpoint.write(weights)
        typer.echo(f"{weights} written, sha256 {sha256}")


def chosen_samples(there: list[Sample], n_training: int | None, seed: int) -> list[Sample]:
    """The first n of the samples in a seeded order, so that a smaller choice is a part of a larger one."""
    if n_training is None:
        return there
    order = np.random.default_rng(seed).permutation(len(there))
    return [there[index] for index in sorted(order[:n_training])]


def _report(figures: Mapping[str, float]) -> None:
    typer.echo(json.dumps({name: float(f"{value:.5g}") for name, value in figures.items()}))


if __name__ == "__main__":
    application()
