"""A training of direct heads put together from its configuration: labels, network, task."""

from pathlib import Path

from models.catalog import catalog
from models.checkpoint import Checkpoint
from models.potential.chgnet.checkpoint import network_of
from models.potential.fastchgnet.config import FastConfig
from models.potential.fastchgnet.network import FastNetwork
from models.weights import sha256_of
from rhocast.elements import SYMBOLS
from rhocast.errors import UnusableWeights
from training.assembly import chosen_samples
from training.dataset import samples
from training.labels import LabelledStructure, labelled_by_dft, read_labels
from training.potential import PotentialTask
from training.potential_config import TEACHER, PotentialConfig

TEACHER_FILE = Path("trainings/teacher.npz")
"""Where `python -m training teach` writes."""


def potential_task(
    config: PotentialConfig, data: Path, teacher: Path = TEACHER_FILE, device: str = "cpu"
) -> PotentialTask:
    """What a configuration of direct heads learns.

    Args:
        config: Configuration.
        data: Folder of reference data.
        teacher: File of a teacher's labels.
        device: Where the network is, as torch names it.

    Raises:
        NoData: If the labels are not there.
        UnusableWeights: If what it starts from cannot be read.
    """
    seed = config.schedule.seed
    examples = chosen_samples(labelled(config, "train", data, teacher), config.n_training, seed)
    held_out = chosen_samples(labelled(config, "validation", data, teacher), config.n_watched, seed)
    return PotentialTask(first_network(config).to(device), examples, held_out, config.weights, config.is_trunk_frozen)


def labelled(config: PotentialConfig, split: str, data: Path, teacher: Path = TEACHER_FILE) -> list[LabelledStructure]:
    """The labels of one split that a configuration names.

    Args:
        config: Configuration.
        split: train, validation or test.
        data: Folder of reference data.
        teacher: File of a teacher's labels.

    Raises:
        NoData: If there are none.
    """
    if config.labels == (TEACHER,):
        return read_labels(teacher, split)
    return [labelled_by_dft(sample, split) for sample in samples(config.labels, split, data)]


def first_network(config: PotentialConfig) -> FastNetwork:
    """The network that a training begins with.

    Raises:
        UnusableWeights: If what it starts from cannot be read.
    """
    entries = catalog()
    if config.start in entries:
        entry = entries[config.start]
        trunk = network_of(entry.path, entry.sha256)
        network = FastNetwork(FastConfig(trunk.config, config.is_antisymmetric), config.schedule.seed)
        network.chgnet.load_state_dict(trunk.state_dict())
        return network
    file = Path(config.start)
    if not file.is_file():
        raise UnusableWeights(
            f"found no {config.start!r} to start from; expected a CHGNet of the catalogue, or the weights of an "
            "earlier training; train that one first"
        )
    checkpoint = Checkpoint.read(file, sha256_of(file))
    network = FastNetwork(FastConfig.from_dict(checkpoint.config["model"]))
    network.load_state_dict(dict(checkpoint.weights))
    return network


def checkpoint_of(network: FastNetwork, config: PotentialConfig, task: PotentialTask) -> Checkpoint:
    """What is kept of a training: the network, and the elements that it has learned from."""
    taught = sorted({number for one in task.examples for number in one.structure.numbers.tolist()})
    about = dict(config.about) | {"elements": [SYMBOLS[number] for number in taught]}
    return Checkpoint({"model": network.config.as_dict(), "about": about}, network.state_dict())
