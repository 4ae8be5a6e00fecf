"""Pictures of learning: of one training over its epochs, and of many over the structures that they learned from."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter


def draw_history(epochs: Sequence[Mapping[str, float]], out: Path) -> None:
    """A picture of everything that was measured in each epoch but its time, on one logarithmic axis.

    Args:
        epochs: Figures of each epoch, `epoch` and `seconds` among them.
        out: File to write; its format is that of the suffix.
    """
    with _style():
        figure = Figure(figsize=(5, 3), layout="constrained")
        axes = figure.subplots()
        for name in epochs[-1]:
            if name not in ("epoch", "seconds"):
                label = name.replace("_", " ")
                axes.plot([row["epoch"] for row in epochs], [row[name] for row in epochs], label=label)
        axes.set_yscale("log")
        axes.set_xlabel("epoch")
        axes.legend(frameon=False)
        _write(figure, out)


def power_law(points: Mapping[int, tuple[float, float]]) -> tuple[float, float]:
    """a and b of the error a·n^b that fits best in the logarithm.

    Args:
        points: Mean error and its standard error, by structures learned from; two at least.

    Raises:
        ValueError: If there are fewer.
    """
    if len(points) < 2:
        raise ValueError(f"found {len(points)} point of a learning curve; expected two at least to fit a line")
    errors = [error for error, _ in points.values()]
    slope, intercept = np.polyfit(np.log(list(points)), np.log(errors), 1)
    return float(np.exp(intercept)), float(slope)


def draw_scaling(points: Mapping[int, tuple[float, float]], out: Path) -> None:
    """A picture of the error against structures learned from, both logarithmic, with the fitted power law.

    Args:
        points: Mean error and its standard error, by structures learned from; two at least.
        out: File to write; its format is that of the suffix.

    Raises:
        ValueError: If there are fewer points.
    """
    factor, power = power_law(points)
    sizes = np.array(list(points))
    errors, standard = 100 * np.array(list(points.values())).T
    with _style():
        figure = Figure(figsize=(4, 3), layout="constrained")
        axes = figure.subplots()
        line = np.geomspace(sizes.min() / 1.3, sizes.max() * 3, 30)
        axes.plot(line, 100 * factor * line**power, "--", color="C7", label=f"n^{power:.2f}")
        axes.errorbar(sizes, errors, standard, fmt="o", capsize=2, label="held out, ± standard error")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.xaxis.set_minor_formatter(NullFormatter())
        for set_formatter in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
            set_formatter(FuncFormatter(lambda value, _: f"{value:.2g}"))
        axes.set_xlabel("structures learned from")
        axes.set_ylabel("NMAE (%)")
        axes.legend(frameon=False)
        _write(figure, out)


def _style() -> AbstractContextManager[None]:
    return mpl.rc_context({"font.size": 8, "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "0"})


def _write(figure: Figure, out: Path) -> None:
    figure.savefig(out, dpi=150, metadata={"Date": None} if out.suffix == ".svg" else None)
