"""What networks say of structures that the model learns from and they do not: each leaves out a part of them.

A model's errors are known where it has not learned. Of its validation structures there are few; with the training split
in n parts, and a network for each that learns from the others, every structure learned from is one of those too. The
networks differ from the model as little as the parts differ from the whole, and are kept for this alone.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from sklearn.model_selection import GroupKFold

from training.assembly import learned_samples, task_of
from training.calibration import Seen, seen_left_out
from training.cases import Network
from training.config import TrainingConfig
from training.dataset import DATA, NoData
from training.deep_density import DeepDensityTask
from training.density import DensityTask

Learn = Callable[[DensityTask | DeepDensityTask, str], Network]
"""A network that has learned a task; the string says which of the parts it has not learned from."""


def crossed(config: TrainingConfig, learn: Learn, data: Path = DATA, device: str = "cpu") -> Iterator[Seen]:
    """The structures of the training split, as networks see them that have not learned from them.

    A structure with an element that is nowhere else is left out: no network could say anything of it.

    Args:
        config: Configuration, with the number of parts.
        learn: Trains a network.
        data: Folder of reference data.
        device: Where networks learn.

    Raises:
        NoData: If there are fewer groups than parts.
    """
    if not config.n_crossed:
        return
    there = learned_samples(config, (), data)
    groups = [sample.group for sample in there]
    if len(set(groups)) < config.n_crossed:
        raise NoData(f"found {len(set(groups))} groups to learn from; expected {config.n_crossed} or more, to divide")
    for number, (_, indices) in enumerate(GroupKFold(config.n_crossed).split(groups, groups=groups), start=1):
        part = {groups[int(index)] for index in indices}
        network = learn(task_of(config, data, device, part), f"without-{number}-of-{config.n_crossed}").cpu()
        kept, left_out = ([one for one in there if (one.group in part) == is_in] for is_in in (False, True))
        yield from seen_left_out(network, kept, left_out)
