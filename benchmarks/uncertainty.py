"""`python -m benchmarks.uncertainty`: how true each model's expected errors are on held-out structures, as Markdown."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from benchmarks.accuracy import density_models, held_out
from benchmarks.machine import machine_line
from models.density.orbital.model import OrbitalDensity
from models.interface import ExpectedError
from models.uncertainty import Gauge
from training.calibration import fit_gauge
from training.cases import Case, cases_of
from training.dataset import DATA, covered

FEWEST = 5
"""Structures below which a rank correlation says nothing."""

Judged = Sequence[tuple[Case, ExpectedError]]


def expected(gauge: Gauge, cases: Sequence[Case]) -> Judged:
    """What a gauge says of each case."""
    return [(case, gauge.expected_error(case.traits, case.n_electrons)) for case in cases]


def left_out(gauge: Gauge, cases: Sequence[Case]) -> Judged:
    """What a gauge says of each case when it is calibrated on all other groups; what was learned from stays."""
    judged: list[tuple[Case, ExpectedError]] = []
    for group in sorted({case.group for case in cases}):
        others = [case for case in cases if case.group != group]
        again = fit_gauge(gauge.learned, others)
        judged += expected(again, [case for case in cases if case.group == group])
    return judged


def row(cells: Sequence[str], judged: Judged) -> str:
    """One line of the table; unfamiliar structures are counted and have no figures."""
    answered = [(case.nmae, found.value, found.upper) for case, found in judged if found.value is not None]
    true, value = np.array([one[0] for one in answered]), np.array([one[1] for one in answered])
    bounds = [(nmae, upper) for nmae, _, upper in answered if upper is not None]
    n_below = sum(nmae <= upper for nmae, upper in bounds)
    rank = f"{spearmanr(value, true)[0]:.2f}" if len(answered) >= FEWEST else "–"
    covered_part = f"{n_below} of {len(bounds)} ({100 * n_below / len(bounds):.0f} %)" if bounds else "–"
    ratio = f"{np.mean(value / true):.2f}" if answered else "–"
    bound = f"{np.mean([upper / nmae for nmae, upper in bounds]):.2f}" if bounds else "–"
    counts = (str(len(judged)), str(len(judged) - len(answered)))
    return f"| {' | '.join([*cells, *counts, rank, covered_part, ratio, bound])} |"


def rows(model: OrbitalDensity, set_name: str, data: Path, splits: Sequence[str]) -> Iterator[str]:
    """The lines of one model and one set: each split alone, and all with groups left out where they alone calibrate."""
    if model.gauge is None:
        return
    everything: list[Case] = []
    for split in splits:
        there = covered(held_out(set_name, [split], data), model.network.config.trunk.elements)
        of_domain = [one for one in there if _domain(one.structure.is_periodic) in model.info.domains]
        if of_domain:
            cases = cases_of(model.network, of_domain)
            everything += cases
            yield row([model.info.name, set_name, split], expected(model.gauge, cases))
    if len(everything) > 2 * FEWEST and not model.gauge.calibration.n_crossed:
        yield row([model.info.name, set_name, "groups left out"], left_out(model.gauge, everything))


def _domain(is_periodic: bool) -> str:
    return "crystal" if is_periodic else "molecule"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--splits", nargs="+", default=["validation", "test"])
    parser.add_argument("--sets", nargs="+", help="all if not given")
    parser.add_argument("--data", type=Path, default=DATA)
    arguments = parser.parse_args()
    names = arguments.sets or sorted(path.name for path in arguments.data.iterdir() if path.is_dir())
    print(f"{machine_line()}\n")
    print("| model | set | on | structures | unfamiliar | Spearman | below the 90 % bound | value/true | bound/true |")
    print("|---|---|---|---|---|---|---|---|---|")
    for model in (one for one in density_models() if isinstance(one, OrbitalDensity)):
        for name in names:
            for line in rows(model, name, arguments.data, arguments.splits):
                print(line, flush=True)


if __name__ == "__main__":
    main()
