"""Labels of one structure by GPAW. Run by an interpreter that has it: `python -m reference.gpaw_label OUT.npz < JSON`.

GPAW is GPL, so nothing else may import this module; `reference.labelling` runs it and says what goes in and out.
"""

import errno
import io
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from reference.soft_density import soft_compensation

REFUSED, NOT_CONVERGED = 3, 4
COMPENSATION = Path(__file__).with_name("compensation.json")
BOHR = 0.5291772105638411
"""Å in GPAW's own units (CODATA 2014), which turn its grid into e/Å³."""


STARTED = time.monotonic()
"""When this process began to be one: it labels one structure."""


class Refused(Exception):
    """A structure that gets no labels: code, message and exit status."""


def end_with_parent() -> None:
    """A watch that ends this process when the maker is gone: nobody would read its labels."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def calculator(settings: dict[str, Any], n_k: int = 0) -> Any:
    """A GPAW calculator with the settings of `reference.settings.DftSettings`.

    Args:
        settings: Its fields.
        n_k: Points of the mesh along each reciprocal vector; 0 takes them from `k_density`.
    """
    from gpaw.new.ase_interface import GPAW  # noqa: PLC0415  # pyright: ignore[reportMissingImports]

    smearing, k_density = settings["smearing"], settings["k_density"]
    mesh = {"density": k_density} if k_density and not n_k else {"size": (n_k or 1,) * 3}
    return GPAW(
        mode={"name": "pw", "ecut": settings["cutoff"]},
        xc=settings["functional"],
        kpts=mesh | {"gamma": True},
        occupations={"name": "fermi-dirac", "width": smearing} if smearing else {"name": "fixed-uniform"},
        convergence={
            "density": settings["density_convergence"],
            "eigenstates": settings["eigenstate_convergence"],
            "energy": settings["energy_convergence"],
        },
        spinpol=False,
        txt=None,
    )


def gap(calc: Any, n_electrons: int) -> float:
    """Lowest level above the n/2-th minus the highest up to it, over all k, eV; 0 for an odd number of electrons."""
    levels = [calc.get_eigenvalues(kpt=k) for k in range(len(calc.get_ibz_k_points()))]
    filled = n_electrons // 2
    if n_electrons % 2 or len(levels[0]) <= filled:
        return 0.0
    return float(min(row[filled] for row in levels) - max(row[filled - 1] for row in levels))


def density_fields(calc: Any) -> dict[str, np.ndarray]:
    """Reference density in e/Å³ on GPAW's own grid, with the multipoles (bohr^l) and density matrices behind it."""
    dft, atoms = calc.dft, calc.atoms
    table = json.loads(COMPENSATION.read_text())
    widths = np.array([table[symbol]["width"] for symbol in atoms.symbols])
    # GPAW's pseudo density carries the smooth partial core.
    smooth = (dft.density.nt_sR.data.sum(0) - dft.density.nct_R.data) / BOHR**3
    matrices = dft.densities().D_asii
    triangles, multipoles = [], []
    for atom in range(len(atoms)):
        matrix = matrices[atom].real.sum(0)
        multipoles.append(np.einsum("ij,ijL->L", matrix, dft.setups[atom].Delta_iiL)[:9])
        triangles.append(matrix[np.triu_indices(len(matrix))])
    cell, moments = atoms.cell.array, np.array(multipoles)
    return {
        "density": smooth + soft_compensation(smooth.shape, cell, atoms.positions, moments, widths),
        "multipoles": moments,
        "compensation_width": widths,
        "atomic_density_matrices": np.concatenate(triangles),
        "atomic_density_matrix_offsets": np.cumsum([0, *map(len, triangles)]),
    }


def converged_atoms(question: dict[str, Any], n_k: int = 0) -> Any:
    """ASE's atoms with a calculator that has converged.

    Args:
        question: What `reference.labelling.question` lists.
        n_k: As of `calculator`.

    Raises:
        Refused: If the SCF does not converge or an element has no data set.
    """
    from ase import Atoms  # noqa: PLC0415 -- like GPAW, seconds to import

    atoms = Atoms(
        numbers=question["numbers"], positions=question["positions"], cell=question["cell"], pbc=True
    )  # the box of a molecule is periodic for GPAW too
    atoms.calc = calculator(question["settings"], n_k)
    try:
        atoms.get_potential_energy()
    except Exception as error:
        raise _named(error) from error
    return atoms


def labels(question: dict[str, Any], atoms: Any) -> dict[str, np.ndarray]:
    """Arrays of a record that need DFT, and `attributes` as JSON.

    Args:
        question: What `reference.labelling.question` lists.
        atoms: Of `converged_atoms`.
    """
    calc = atoms.calc
    arrays = {"forces": atoms.get_forces(), **density_fields(calc)}
    if question["is_periodic"]:
        arrays["stress"] = atoms.get_stress()
    arrays["k_mesh"] = np.array(getattr(calc.dft.ibzwfs.ibz.bz, "size_c", (1, 1, 1)))
    attributes = {
        "energy": atoms.get_potential_energy(),
        "free_energy": atoms.get_potential_energy(force_consistent=True),
        "gap": gap(calc, round(calc.get_number_of_electrons())),
        "is_converged": True,
        "n_irreducible_k": len(calc.get_ibz_k_points()),
        "wall_time": time.monotonic() - STARTED,
        "code": f"GPAW {version('gpaw')}, gpaw-data {version('gpaw-data')}",
        "settings_hash": question["settings_hash"],
    }
    return arrays | {"attributes": np.array(json.dumps(attributes))}


def _named(error: Exception) -> Exception:
    """GPAW's error under our name, or itself."""
    kind = type(error).__name__
    if kind in ("KohnShamConvergenceError", "SCFConvergenceError"):
        return Refused("not-converged", f"the SCF did not converge: {error}", NOT_CONVERGED)
    if isinstance(error, FileNotFoundError) or "setup" in str(error).lower():
        return Refused("no-data-set", f"no PAW data set: {error}", REFUSED)
    return error


def refuse(code: str, message: str, status: int) -> int:
    """The exit status, once the reason is said as `reference.labelling` expects it."""
    sys.stderr.write("\n" + json.dumps({"code": code, "message": message}) + "\n")
    return status


def answer(out: Path, arrays_of: Callable[[dict[str, Any]], dict[str, np.ndarray]]) -> int:
    """The exit status, once the arrays for the question on standard input are written, or the reason is said.

    Args:
        out: Archive to write.
        arrays_of: What makes the arrays from the question.
    """
    end_with_parent()
    try:
        arrays = arrays_of(json.load(sys.stdin))
    except Refused as refused:
        code, message, status = refused.args
        return refuse(code, message, status)
    except ImportError as error:
        return refuse("no-gpaw", f"found no {error.name} in {sys.executable}; name an interpreter that has it", REFUSED)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    unfinished = out.with_suffix(".part")
    try:
        unfinished.write_bytes(buffer.getvalue())
        unfinished.replace(out)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return refuse("disk-full", f"found no room for labels in {out.parent}", REFUSED)
    return 0


def main() -> int:
    os.nice(19)
    return answer(Path(sys.argv[1]), lambda question: labels(question, converged_atoms(question)))


if __name__ == "__main__":
    sys.exit(main())
