"""Seconds and MB/s to write and read a CHGCAR, beside pymatgen in the same run.

python -m benchmarks.chgcar [points along an axis]
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.io.vasp import Chgcar

from benchmarks.machine import machine_line
from rhocast.density import Density
from rhocast.structure import Structure


def example(n: int) -> Density:
    """A density of rock salt on n³ points with 11 changing digits."""
    cell = np.eye(3) * 11.3
    fractional = np.stack(np.meshgrid(*[np.arange(4) / 4] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    symbols = ["Na" if round(4 * point.sum()) % 2 else "Cl" for point in fractional]
    values = np.random.default_rng(0).lognormal(-2, 2, (n, n, n))
    return Density(Structure.from_symbols(symbols, fractional @ cell, cell), values, comment="benchmark")


def seconds(run: Callable[[], Any], n_runs: int) -> float:
    """Shortest of some runs."""
    durations: list[float] = []
    for _ in range(n_runs):
        start = time.perf_counter()
        run()
        durations.append(time.perf_counter() - start)
    return min(durations)


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 128
    density = example(n)
    chgcar = density.to_pymatgen()
    print(machine_line())
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Path(folder) / "CHGCAR", Path(folder) / "CHGCAR_pymatgen"
        for verb, mine, other in (
            ("write", lambda: density.write(ours), lambda: chgcar.write_file(theirs)),
            ("read", lambda: Density.read(ours), lambda: Chgcar.from_file(str(theirs))),
        ):
            fast, slow = seconds(mine, 5), seconds(other, 1)
            size = ours.stat().st_size / 1e6
            print(
                f"{verb:5s} {n}³ ({size:.0f} MB): rhocast {fast:.3f} s, {size / fast:.0f} MB/s; "
                f"pymatgen {slow:.3f} s, {size / slow:.0f} MB/s; ratio {slow / fast:.1f}"
            )


if __name__ == "__main__":
    main()
