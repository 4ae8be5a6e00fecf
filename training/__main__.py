"""Training from the command line.

python -m training floor FILE.toml  # how near its basis can come to reference densities
python -m training train FILE.toml  # with `torchrun --nproc-per-node N`, in parallel
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from models.checkpoint import Checkpoint
from models.density.orbital.network import OrbitalNetwork
from models.density.promolecule import Promolecule
from training.config import TrainingConfig
from training.dataset import DATA, Sample, covered, refuse_untaught, samples
from training.density import DensityExample, DensityTask
from training.loop import Training
from training.metrics import Spread
from training.ridge import Floor, floor_of, starting_functions

application = typer.Typer(help="Trains density models, and says what their bases can reach.", add_completion=False)


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
    refuse_untaught(chosen, config.model.trunk.elements)
    examples = [DensityExample.of(sample, config.model.trunk.cutoff, promolecule) for sample in chosen]
    validation = covered(samples(config.sets, "validation", data), config.model.trunk.elements)
    task = DensityTask(network, examples, validation, config.n_points, promolecule, config.coulomb_weight)
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


@application.command()
def floor(
    file: Annotated[Path, typer.Argument(help="Configuration.", exists=True)],
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "validation",
    n: Annotated[int, typer.Option(help="Structures of each set.", min=1)] = 10,
    data: Annotated[Path, typer.Option(help="Folder of reference data.")] = DATA,
    threads: Annotated[int, typer.Option(help="Threads.", min=1)] = 1,
) -> None:
    """Says how near a configuration's basis, with the exponents it starts from, comes to reference densities.

    Each density is fitted on half of its points and measured on the other half, of whole grids on 20,000 points; what
    the fit misses where it looked is beside it.
    """
    torch.set_num_threads(threads)
    config = TrainingConfig.read(file)
    promolecule = Promolecule()
    typer.echo("| set | structures | functions | floor mean | median | worst | mean on fitted points |")
    typer.echo("|---|---|---|---|---|---|---|")
    for set_name in config.sets:
        chosen = chosen_samples(samples([set_name], split, data), n, config.schedule.seed)
        floors = [floor_of(one, starting_functions(one.structure, config.model), promolecule) for one in chosen]
        typer.echo(_row(set_name, floors))


def _row(set_name: str, floors: Sequence[Floor]) -> str:
    held_out = Spread.of([one.held_out for one in floors])
    fitted = Spread.of([one.fitted for one in floors])
    figures = (held_out.mean, held_out.median, held_out.worst, fitted.mean)
    fewest, most = (choose(one.n_functions for one in floors) for choose in (min, max))
    return (
        f"| {set_name} | {len(floors)} | {fewest} to {most} | "
        + " | ".join(f"{100 * figure:.3g} %" for figure in figures)
        + " |"
    )


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
