"""Training from the command line.

python -m training floor FILE.toml  # how near its basis can come to reference densities
python -m training train FILE.toml  # with `torchrun --nproc-per-node N`, in parallel
python -m training calibrate FILE.toml WEIGHTS  # weights learn how far to trust them; `train` does it by itself
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import torch
import typer

from models.checkpoint import Checkpoint
from models.density.orbital.model import GAUGE
from models.density.promolecule import Promolecule
from models.weights import sha256_of
from training.assembly import chosen_samples, density_task
from training.calibration import calibrated
from training.config import TrainingConfig
from training.dataset import DATA, samples
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
    task = density_task(config, data)
    folder = out / config.name
    if os.environ.get("RANK", "0") == "0":
        n_weights = sum(parameter.numel() for parameter in task.network.parameters())
        typer.echo(f"{config.name}: {n_weights} weights, {task.n_examples} structures, {len(task.validation)} held out")
    network = Training(task, config.schedule, folder, config.as_dict(), _report).run()
    if os.environ.get("RANK", "0") == "0":
        weights = folder / "weights.safetensors"
        checkpoint = Checkpoint({"model": config.model.as_dict(), "about": config.about}, network.state_dict())
        _write(calibrated(checkpoint, config, data), weights)


@application.command()
def calibrate(
    file: Annotated[Path, typer.Argument(help="Configuration that they were trained with.", exists=True)],
    weights: Annotated[Path, typer.Argument(help="File of weights; it is replaced.", exists=True)],
    data: Annotated[Path, typer.Option(help="Folder of reference data.")] = DATA,
    threads: Annotated[int, typer.Option(help="Threads.", min=1)] = 1,
) -> None:
    """Makes trained weights say how far their densities are expected to be from the reference; nothing else changes."""
    torch.set_num_threads(threads)
    checkpoint = Checkpoint.read(weights, sha256_of(weights))
    _write(calibrated(checkpoint, TrainingConfig.read(file), data), weights)


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


def _write(checkpoint: Checkpoint, weights: Path) -> None:
    sha256 = checkpoint.write(weights)
    typer.echo(json.dumps(checkpoint.config[GAUGE]))
    typer.echo(f"{weights} written, sha256 {sha256}")


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


def _report(figures: Mapping[str, float]) -> None:
    typer.echo(json.dumps({name: float(f"{value:.5g}") for name, value in figures.items()}))


if __name__ == "__main__":
    application()
