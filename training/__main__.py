"""Training from the command line.

python -m training floor FILE.toml  # how near its basis can come to reference densities
python -m training train FILE.toml  # with `torchrun --nproc-per-node N`, in parallel
python -m training teach  # labels of CHGNet, for direct heads to learn from
python -m training calibrate FILE.toml WEIGHTS  # weights learn how far to trust them; `train` does it by itself
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, cast

import torch
import typer
from torch import nn

from models.catalog import load_model
from models.checkpoint import Checkpoint
from models.density.promolecule import Promolecule
from models.device import resolved_device
from models.interface import Potential
from models.potential.fastchgnet.network import FastNetwork
from models.uncertainty import GAUGE
from models.weights import sha256_of
from training.assembly import chosen_samples, task_of
from training.calibration import Seen, calibrated
from training.cases import Network
from training.config import FASTCHGNET, TrainingConfig, architecture_of
from training.crossing import crossed
from training.dataset import DATA, samples
from training.deep_density import DeepDensityTask
from training.density import DensityTask
from training.finisher import finished
from training.labels import write_labels
from training.loop import Training
from training.metrics import Spread
from training.potential import PotentialTask
from training.potential_assembly import TEACHER_FILE, checkpoint_of, potential_task
from training.potential_config import PotentialConfig
from training.ridge import Floor, floor_of, starting_functions
from training.teacher import crystal_questions, mixture_questions, reference_questions, taught

AnyTask = DensityTask | DeepDensityTask | PotentialTask

TRAININGS = Path("trainings")

TAUGHT_SETS = ["crystals", "aluminium"]
"""Reference structures that a teacher labels beside the seeded crystals."""

application = typer.Typer(help="Trains models, and says what bases of densities can reach.", add_completion=False)


@application.command()
def train(
    file: Annotated[Path, typer.Argument(help="Configuration.", exists=True)],
    out: Annotated[Path, typer.Option(help="Folder of trainings.")] = TRAININGS,
    data: Annotated[Path, typer.Option(help="Folder of reference data.")] = DATA,
    threads: Annotated[int, typer.Option(help="Threads of each process.", min=1)] = 1,
    device: Annotated[str, typer.Option(help="cpu or cuda; auto: a GPU if there is one.")] = "auto",
) -> None:
    """Trains the model of a configuration. Stop it and start it again, and it goes on."""
    torch.set_num_threads(threads)
    if architecture_of(file) == FASTCHGNET:
        _train_potential(PotentialConfig.read(file), out, data, resolved_device(device))
        return
    config, device = TrainingConfig.read(file), resolved_device(device)
    network = _learned(task_of(config, data, device), config, out)
    seen = _crossed(config, out, data, device)
    if _is_first():
        weights = out / config.name / "weights.safetensors"
        checkpoint = Checkpoint({"model": config.model.as_dict(), "about": config.about}, network.state_dict())
        _write(calibrated(checkpoint, config, data, seen), weights)


@application.command()
def teach(  # noqa: PLR0913  (one option for each thing that can be chosen)
    *,
    out: Annotated[Path, typer.Option(help="File to write.")] = TEACHER_FILE,
    n: Annotated[int, typer.Option(help="Seeded crystals.", min=1)] = 30000,
    mixtures: Annotated[int, typer.Option(help="Seeded mixtures, which have other compositions.", min=0)] = 100000,
    sets: Annotated[list[str] | None, typer.Option(help="Sets of reference structures to add.")] = None,
    teacher: Annotated[str, typer.Option(help="Potential of the catalogue.")] = "chgnet",
    data: Annotated[Path, typer.Option(help="Folder of reference data.")] = DATA,
    threads: Annotated[int, typer.Option(help="Threads.", min=1)] = 1,
) -> None:
    """Writes energies, forces, stresses and moments of a potential, for direct heads to learn from."""
    torch.set_num_threads(threads)
    chosen = load_model(teacher)
    if not isinstance(chosen, Potential):
        raise typer.BadParameter(f"found {teacher}, a model of densities; expected a potential")
    seeded = crystal_questions(n, seed=0) + mixture_questions(mixtures, seed=0)
    questions = seeded + reference_questions(sets or TAUGHT_SETS, data)
    labelled = list(taught(chosen, questions))
    write_labels(out, labelled)
    typer.echo(f"{out} written: {len(labelled)} structures with labels of {teacher}; {len(questions)} were asked for")


@application.command()
def calibrate(
    file: Annotated[Path, typer.Argument(help="Configuration that they were trained with.", exists=True)],
    weights: Annotated[Path, typer.Argument(help="File of weights; it is replaced.", exists=True)],
    out: Annotated[Path, typer.Option(help="Folder of trainings, for networks that leave a part out.")] = TRAININGS,
    data: Annotated[Path, typer.Option(help="Folder of reference data.")] = DATA,
    threads: Annotated[int, typer.Option(help="Threads.", min=1)] = 1,
    device: Annotated[str, typer.Option(help="cpu or cuda; auto: a GPU if there is one.")] = "auto",
) -> None:
    """Makes trained weights say how far their densities are expected to be from the reference; nothing else changes."""
    torch.set_num_threads(threads)
    config, checkpoint = TrainingConfig.read(file), Checkpoint.read(weights, sha256_of(weights))
    seen = _crossed(config, out, data, resolved_device(device))
    if _is_first():
        _write(calibrated(checkpoint, config, data, seen), weights)


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
        floors = [floor_of(one, starting_functions(one.structure, config.orbitals), promolecule) for one in chosen]
        typer.echo(_row(set_name, floors))


def _train_potential(config: PotentialConfig, out: Path, data: Path, device: str) -> None:
    task = potential_task(config, data, device=device)
    network = _trained(task, config, out)
    if _is_first():
        _write(checkpoint_of(cast(FastNetwork, network), config, task), out / config.name / "weights.safetensors")


def _learned(task: DensityTask | DeepDensityTask, config: TrainingConfig, out: Path) -> Network:
    """The network after all epochs, and after what finishes them."""
    network = _trained(task, config, out)
    if config.schedule.n_finishing and _is_first():
        network = finished(replace(task, network=network), config.schedule, _report)
    return cast(Network, network)


def _crossed(config: TrainingConfig, out: Path, data: Path, device: str) -> list[Seen]:
    """What networks that have not learned from a part of the data each say of it."""

    def learn(task: DensityTask | DeepDensityTask, part: str) -> Network:
        return _learned(task, replace(config, name=f"{config.name}-{part}"), out)

    return list(crossed(config, learn, data, device))


def _trained(task: AnyTask, config: TrainingConfig | PotentialConfig, out: Path) -> nn.Module:
    """The network after all epochs; what is learned, and from what, is said first."""
    training = Training(task, config.schedule, out / config.name, config.as_dict(), _report)
    if _is_first():
        n_weights = sum(parameter.numel() for parameter in task.network.parameters())
        typer.echo(f"{config.name}: {n_weights} weights, {task.n_examples} structures, {task.n_held_out} held out")
        if training.n_processes > 1:
            before, after = training.imbalances()
            typer.echo(
                f"largest load over mean load: {before:.3f} taking turns, {after:.3f} as examples are shared out"
            )
    return training.run()


def _is_first() -> bool:
    """Whether this process is the one that speaks and writes."""
    return os.environ.get("RANK", "0") == "0"


def _write(checkpoint: Checkpoint, weights: Path) -> None:
    sha256 = checkpoint.write(weights)
    typer.echo(json.dumps(checkpoint.config.get(GAUGE)))
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
