"""`python examples/demo.py`: densities, energies and forces of a few structures, each density checked by pymatgen.

Asks a running service, or with `--serve` one that it starts for itself on a free port and stops again.
Exits with 1 if a written density does not integrate to its number of electrons within 1e-6.
"""

import argparse
import contextlib
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pymatgen.io.vasp import Chgcar
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rhocast import Client, Result, RhocastError
from rhocast.errors import ServiceUnavailable
from rhocast.model_info import Property

EXAMPLES = Path(__file__).parent
FILES = ("Si.cif", "MgO.cif", "NaCl.poscar", "TiO2.poscar", "ethanol.xyz", "water.xyz")
TOLERANCE = 1e-6
START_SECONDS = 180


@dataclass(frozen=True)
class Answer:
    """One line of the table.

    Attributes:
        result: What the service answered.
        integral: Integral in e of the CHGCAR, as pymatgen reads it.
        seconds: From the request to the file on disk, in s.
    """

    result: Result
    integral: float
    seconds: float

    @property
    def n_electrons(self) -> float:
        density = self.result.prediction.density
        return density.n_electrons if density else float("nan")

    @property
    def is_exact(self) -> bool:
        return abs(self.integral - self.n_electrons) <= TOLERANCE * self.n_electrons


def integral_of(path: Path) -> float:
    """Electrons in a CHGCAR: pymatgen holds ρ·V, so its mean is the integral."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pymatgen tells of POTCARs that nobody needs here
        return float(np.mean(Chgcar.from_file(str(path)).data["total"]))


def answer_for(client: Client, file: Path, folder: Path) -> Answer:
    """The answer for one structure file, its density written as CHGCAR."""
    started = time.perf_counter()
    result = client.predict(file, want=["density", "energy", "forces"])
    path = result.download(folder / f"CHGCAR-{file.stem}")
    return Answer(result, integral_of(path), time.perf_counter() - started)


@contextlib.contextmanager
def service(console: Console) -> Iterator[str]:
    """The address of a service of our own, ready for work, its data in a temporary folder."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    with tempfile.TemporaryDirectory() as data:
        log_path = Path(data) / "service.log"
        command = [str(Path(sys.executable).with_name("rhocast")), "serve", "--port", port, "--data", data]
        with log_path.open("wb") as log, console.status("starting the service (compiles its kernels the first time)"):
            process = subprocess.Popen(command, stdout=log, stderr=log)
            try:
                wait_until_ready(f"http://127.0.0.1:{port}", process, log_path)
            except BaseException:
                process.terminate()
                raise
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(60)


def wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Returns when every model has a live worker.

    Raises:
        ServiceUnavailable: If that takes more than three minutes or the service ends; with the end of its log.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(RhocastError), Client(url) as client:
            models = client.models()
            if models and all(entry.n_workers for entry in models):
                return
        time.sleep(0.5)
    raise ServiceUnavailable(
        f"found the service not ready after {START_SECONDS} s; its log ends:\n{log.read_text()[-2000:]}"
    )


def show(console: Console, answers: list[Answer]) -> None:
    """Prints the table, and below it what the service warns of."""
    table = Table(
        title="rhocast demo", caption="each CHGCAR read back by pymatgen", box=box.SIMPLE_HEAD, collapse_padding=True
    )
    table.add_column("formula", no_wrap=True)
    # The only column that may break: a figure that is cut is none.
    table.add_column("density by", overflow="fold", width=12)
    for name in ("atoms", "valence\ne", "∫ρ\ne", "energy\neV", "max |F|\neV/Å", "time\ns"):
        table.add_column(name, justify="right", no_wrap=True)
    for answer in answers:
        result = answer.result
        table.add_row(
            result.formula,
            result.provenance[Property.DENSITY].model,
            str(result.structure.n_atoms),
            f"{answer.n_electrons:g}",
            Text(f"{answer.integral:.6f}", style="" if answer.is_exact else "red"),
            f"{result.energy:.4f}",
            f"{np.linalg.norm(result.forces, axis=1).max():.4f}",
            f"{answer.seconds:.2f}",
        )
    console.print(table)
    for answer in answers:
        for line in answer.result.warnings:
            console.print(Text(f"warning, {answer.result.formula}: {line}", style="yellow"))


def main() -> int:
    """Exit code: 0 if all is well."""
    parser = argparse.ArgumentParser(description="Densities, energies and forces of a few structures.")
    parser.add_argument("--url", help="address of the service; RHOCAST_URL, else this machine, if not given")
    parser.add_argument("--serve", action="store_true", help="start a service, and stop it at the end")
    parser.add_argument("-o", "--output", type=Path, default=Path("demo-output"), help="folder of the CHGCARs")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    console = Console()
    try:
        with (
            service(console) if arguments.serve else contextlib.nullcontext(arguments.url) as url,
            Client(url) as client,
        ):
            answers = [answer_for(client, EXAMPLES / name, arguments.output) for name in FILES]
    except RhocastError as error:
        Console(stderr=True).print(Text(error.detail, style="red"))
        return 1
    show(console, answers)
    wrong = [answer for answer in answers if not answer.is_exact]
    for answer in wrong:
        console.print(
            f"[red]found {answer.integral:.9g} e in the CHGCAR of {answer.result.formula}; "
            f"expected {answer.n_electrons:g} e within {TOLERANCE:g} of it[/]"
        )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
