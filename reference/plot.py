"""A picture of the sets: how many records, how large, of which elements, pushed how hard, at what cost."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from reference.errors import UnknownSet
from reference.sets import NAMES
from reference.shards import read_records, shards
from rhocast.elements import SYMBOLS

SPLIT_SHADES = {"train": 1.0, "validation": 0.6, "test": 0.3}


@dataclass
class Column:
    """What is drawn of one set.

    Attributes:
        splits: Records of each split.
        n_atoms: Atoms of each record.
        elements: Records in which each atomic number occurs.
        forces: Length of every force in eV/Å.
        seconds: Wall time of each record that was timed.
    """

    splits: Counter[str] = field(default_factory=Counter)
    n_atoms: list[int] = field(default_factory=list)
    elements: Counter[int] = field(default_factory=Counter)
    forces: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @classmethod
    def of_folder(cls, folder: Path) -> "Column":
        """The column of a set's folder."""
        column = cls()
        for path in shards(folder):
            for record in read_records(path):
                numbers = record.arrays["numbers"].tolist()
                column.splits[record.attributes["split"]] += 1
                column.n_atoms.append(len(numbers))
                column.elements.update(set(numbers))
                column.forces += np.linalg.norm(record.arrays["forces"], axis=1).tolist()
                if record.attributes["wall_time"]:
                    column.seconds.append(record.attributes["wall_time"])
        return column


def plot(folder: Path, out: Path) -> None:
    """The picture of every set in a folder; its format is that of the file's suffix.

    Args:
        folder: Folder of all sets.
        out: File to write.

    Raises:
        UnknownSet: If no set has a record there.
        DamagedShard: If a shard cannot be read.
    """
    columns = {name: Column.of_folder(folder / name) for name in NAMES if shards(folder / name)}
    if not columns:
        raise UnknownSet(f"found no record of any set in {folder}; expected shards of {', '.join(NAMES)}")
    with mpl.rc_context({"font.size": 8, "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "0"}):
        figure = Figure(figsize=(10, 6.5), layout="constrained")
        grid = figure.subplot_mosaic([["counts", "atoms", "forces"], ["elements", "elements", "seconds"]])
        _draw_counts(grid["counts"], columns)
        _draw_histograms(grid["atoms"], {name: column.n_atoms for name, column in columns.items()}, "atoms")
        # Symmetry makes forces vanish: what is below a thousandth is drawn at the left end.
        lengths = {name: np.maximum(column.forces, 1e-3).tolist() for name, column in columns.items()}
        _draw_histograms(grid["forces"], lengths, "length of a force (eV/Å)")
        _draw_elements(grid["elements"], columns)
        timed = {name: column.seconds for name, column in columns.items() if column.seconds}
        _draw_histograms(grid["seconds"], timed, "wall time of one structure (s)")
        figure.savefig(out, dpi=150, metadata={"Date": None} if out.suffix == ".svg" else None)


def _colour(name: str) -> str:
    return f"C{NAMES.index(name)}"


def _draw_counts(axes: Axes, columns: dict[str, Column]) -> None:
    for row, (name, column) in enumerate(columns.items()):
        left = 0
        for split, shade in SPLIT_SHADES.items():
            axes.barh(row, column.splits[split], left=left, color=_colour(name), alpha=shade)
            left += column.splits[split]
        axes.text(left, row, f" {left}", va="center")
    axes.set_yticks(range(len(columns)), list(columns))
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel("records: train, validation, test (paler)")


def _draw_histograms(axes: Axes, values: dict[str, list[float]] | dict[str, list[int]], label: str) -> None:
    together = np.concatenate([np.asarray(one, float) for one in values.values()]) if values else np.ones(1)
    bins = np.geomspace(together.min() * 0.99, together.max() * 1.01, 31)
    for name, one in values.items():
        axes.hist(one, bins.tolist(), histtype="step", color=_colour(name), label=name)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(label)
    axes.legend(frameon=False, fontsize=7)


def _draw_elements(axes: Axes, columns: dict[str, Column]) -> None:
    numbers = sorted({number for column in columns.values() for number in column.elements})
    for name, column in columns.items():
        there = [place for place, number in enumerate(numbers) if column.elements[number]]
        counts = [column.elements[numbers[place]] for place in there]
        axes.plot(there, counts, "o", color=_colour(name), markersize=4, label=name)
    axes.set_xticks(range(len(numbers)), [SYMBOLS[number] for number in numbers], fontsize=5)
    axes.set_yscale("log")
    axes.margins(x=0.01)
    axes.set_xlabel("element")
    axes.set_ylabel("records in which it occurs")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(frameon=False, fontsize=7, ncols=5)
