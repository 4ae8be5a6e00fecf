"""A grid of 512³ points from POSCAR to file: memory of server and client above idle, and seconds.

The whole service runs here, and the client is `rhocast predict`, each in processes of their own. Idle is what the same
processes take for a grid of 16³ points. Memory of the server is what is not mapped from files: a grid that is being
converted lies in one, whose pages the kernel takes back as it needs them. The client's is all that is resident.

python -m benchmarks.large_grid [--points 512] [--formats zarr chgcar]
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.machine import machine_line
from benchmarks.victims import ROLES, Service, Watch

PORT = 8779
POSCAR = Path(__file__).parent.parent / "examples" / "NaCl.poscar"
ENDINGS = {"zarr": "rho.zarr.zip", "chgcar": "CHGCAR", "cube": "rho.cube", "npz": "rho.npz"}
SMALL = 16


def predicted(service: Service, n: int, out: Path) -> tuple[float, dict[str, float]]:
    """Seconds from start to end of the client, and the largest MB of each role and of the client.

    Args:
        service: Who answers.
        n: Points along each cell vector.
        out: File to write.
    """
    program = Path(sys.executable).with_name("rhocast")
    command = [str(program), "predict", str(POSCAR), "-o", str(out), "--url", service.url]
    command += ["--shape", f"{n},{n},{n}", "--model", "promolecule", "--timeout", "3600"]
    started = time.monotonic()
    with Watch.on(service) as watch:
        client = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(client.pid, 0)
    if status:
        raise RuntimeError(f"the client ended with {os.waitstatus_to_exitcode(status)}; see {service.log}")
    return time.monotonic() - started, watch.peaks | {"client": usage.ru_maxrss / 1000}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=512, help="points along each cell vector")
    parser.add_argument("--formats", nargs="+", default=["zarr", "chgcar"], choices=list(ENDINGS))
    options = parser.parse_args()
    print(machine_line())
    roles = [*ROLES, "client"]
    print(f"\n{options.points}³ points, MB above idle (idle in brackets)\n")
    print("| file | size (MB) | s | " + " | ".join(roles) + " |\n|---|---|---|" + "---|" * len(roles))
    with tempfile.TemporaryDirectory() as folder, Service(Path(folder), PORT) as service:
        for kind in options.formats:
            out = Path(folder, ENDINGS[kind])
            _, idle = predicted(service, SMALL, out)
            out.unlink()
            seconds, peaks = predicted(service, options.points, out)
            memory = " | ".join(f"{peaks[role] - idle[role]:.0f} ({idle[role]:.0f})" for role in roles)
            print(f"| {kind} | {out.stat().st_size / 1e6:.0f} | {seconds:.0f} | {memory} |", flush=True)
            out.unlink()


if __name__ == "__main__":
    main()
