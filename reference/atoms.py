"""Table of free-atom valence densities, from which the promolecule is added up.

    python -m reference.atoms models/density/promolecule.safetensors

needs the package `gpaw-data` (PAW data sets; GPL, so neither shipped nor imported). Every element of Z ≤ 86 that has a
PBE data set gets the density

    ρ(r) = ñ_v(r) + Q₀ g₀(r),    g₀(r) = exp(−r²/w²) / (π^(3/2) w³),    Q₀ = N − ∫ñ_v,

of its neutral, spherical, spin-paired atom: ñ_v is the pseudo valence density without partial core, N the number of
valence electrons, w the width in `compensation.json`. This is the reference density of `docs/conventions.md` for an
atom on its own, so promolecule and reference may be subtracted.

The table lists ρ at knots r = 0, h, 2h … of equal distance. Between them the density **is** the cubic spline that is
flat at r = 0 and at the element's cutoff, and it is zero beyond. The values are switched off smoothly before the cutoff
and then scaled, so that this spline integrates to N.
"""

import argparse
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save
from scipy.interpolate import CubicSpline

from reference.data_sets import PawAtom, read_paw_atom
from rhocast.elements import ATOMIC_NUMBERS

FloatArray = NDArray[np.float64]

COMPENSATION = Path(__file__).with_name("compensation.json")
SPACING = 0.0125
"""Distance of the knots in Å. The splines then agree with the densities to 1e-6 of their maximum, but for the first
0.03 Å, where the older data sets' own value at r = 0 is off by up to 2e-5 of it."""

LONGEST_CUTOFF = 12.0
"""Å; only the alkali metals Li, K, Rb and Cs would like a longer one."""

FARTHEST = 18.0
"""Å; the tail that a cutoff would cut off is counted up to here."""

SWITCH_WIDTH = 0.5
"""Å; the density goes to zero over this stretch before the cutoff."""

LOST_TAIL = 1e-6
"""Electrons that the switch and the cutoff may take from an atom."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FreeAtom:
    """One line of the table.

    Attributes:
        n_valence: Valence electrons.
        cutoff: Radius in Å beyond which the density is zero.
        density: Values at the knots in e/Å³, from r = 0 to the cutoff, [n_knots].
    """

    n_valence: float
    cutoff: float
    density: FloatArray


def compensated_density(atom: PawAtom, width: float, radius: FloatArray) -> FloatArray:
    """ρ(r) = ñ_v(r) + Q₀ g₀(r) in e/Å³.

    Args:
        atom: The free atom.
        width: w of the Gaussian exp(−r²/w²) in Å.
        radius: Radii in Å, [n].
    """
    gaussian = np.exp(-((radius / width) ** 2)) / (np.pi**1.5 * width**3)
    return atom.pseudo_valence_density(radius) + atom.monopole * gaussian


def smooth_step_down(radius: FloatArray, start: float, end: float) -> FloatArray:
    """One before `start`, zero after `end`, with two continuous derivatives; radii in Å, [n]."""
    t = np.clip((radius - start) / (end - start), 0, 1)
    return 1 - t**3 * (10 - 15 * t + 6 * t**2)


def spline_integral(density: FloatArray, spacing: float) -> float:
    """Exact integral over space, in electrons, of the spline that the table defines.

    Args:
        density: Values at the knots in e/Å³, [n_knots].
        spacing: Distance of the knots in Å.
    """
    knots = spacing * np.arange(len(density))
    spline = CubicSpline(knots, density, bc_type="clamped")
    # r²·spline has degree 5 in each interval: three Gauss–Legendre points integrate it exactly.
    nodes, weights = np.polynomial.legendre.leggauss(3)
    radius = knots[:-1, None] + spacing * (nodes + 1) / 2
    return float(4 * np.pi * np.sum(weights * spacing / 2 * radius**2 * spline(radius)))


def free_atom(atom: PawAtom, width: float) -> FreeAtom:
    """The line of the table for an atom.

    Args:
        atom: The atom of the data set.
        width: w of its compensation Gaussian in Å.
    """
    knots = SPACING * np.arange(round(FARTHEST / SPACING) + 1, dtype=np.float64)
    density = compensated_density(atom, width, knots)
    cutoff = _cutoff(knots, density)
    inside = knots <= cutoff + SPACING / 2
    switched = (density * smooth_step_down(knots, cutoff - SWITCH_WIDTH, cutoff))[inside]
    switched *= atom.n_valence / spline_integral(switched, SPACING)
    return FreeAtom(atom.n_valence, cutoff, switched)


def _cutoff(knots: FloatArray, density: FloatArray) -> float:
    """Smallest multiple of 0.1 Å at which switch and cutoff cost no more than `LOST_TAIL`."""
    shell = 4 * np.pi * SPACING * knots**2 * density
    for tenths in range(20, round(LONGEST_CUTOFF * 10)):
        cutoff = tenths / 10
        if np.sum(shell * (1 - smooth_step_down(knots, cutoff - SWITCH_WIDTH, cutoff))) < LOST_TAIL:
            return cutoff
    return LONGEST_CUTOFF


def free_atoms(data_sets: Path, compensation: Mapping[str, Mapping[str, float]]) -> Iterator[tuple[str, FreeAtom]]:
    """Every element of the compensation table with its line.

    Args:
        data_sets: Folder with the files `H.PBE.gz` and so on.
        compensation: Width in Å, and figures to check against, for each element.
    """
    for symbol, expected in compensation.items():
        atom = read_paw_atom((data_sets / f"{symbol}.PBE.gz").read_bytes())
        found = (atom.n_valence, atom.monopole, atom.grid.integral(atom.partial_core))
        wanted = (expected["valence"], expected["monopole"], expected["partial_core"])
        if not np.allclose(found, wanted, rtol=0, atol=6e-4):
            raise ValueError(
                f"found valence, monopole and partial core {found} of {symbol}; expected {wanted}; use gpaw-data 1.2.1"
            )
        line = free_atom(atom, expected["width"])
        logger.info("%-2s N = %2g, cutoff %4.1f Å", symbol, line.n_valence, line.cutoff)
        yield symbol, line


def table(atoms: Mapping[str, FreeAtom]) -> dict[str, NDArray[np.generic]]:
    """The tensors of the file: `numbers`, `valence` and `cutoff` [n_elements], `radius` [n_knots] in Å and `density`
    [n_elements, n_knots] in e/Å³, which is zero beyond an element's cutoff."""
    n_knots = max(len(atom.density) for atom in atoms.values())
    return {
        "numbers": np.array([ATOMIC_NUMBERS[symbol] for symbol in atoms], dtype=np.int64),
        "valence": np.array([atom.n_valence for atom in atoms.values()]),
        "cutoff": np.array([atom.cutoff for atom in atoms.values()]),
        "radius": SPACING * np.arange(n_knots),
        "density": np.array([np.pad(atom.density, (0, n_knots - len(atom.density))) for atom in atoms.values()]),
    }


def labels(gpaw_data_version: str) -> dict[str, str]:
    """What the file says of itself."""
    return {
        "title": "Valence densities of free atoms for the promolecule",
        "definition": (
            "clamped cubic spline through `density` (e/Å³) at `radius` (Å) up to `cutoff` (Å), zero beyond; it "
            "integrates to `valence` electrons: PAW pseudo density without partial core, plus a Gaussian "
            "compensation charge"
        ),
        "level_of_theory": "PBE, scalar-relativistic PAW, neutral spherical spin-paired atoms",
        "source": f"gpaw-data {gpaw_data_version}, PBE data sets; widths in reference/compensation.json",
        "command": "python -m reference.atoms models/density/promolecule.safetensors",
        "made_with": f"numpy {version('numpy')}, scipy {version('scipy')}",
        "licence": "CC-BY-4.0",
    }


def reproducible_file(tensors: dict[str, NDArray[np.generic]], metadata: dict[str, str]) -> bytes:
    """Contents of a safetensors file, the same at every run.

    The library itself writes metadata in random order, and the hash of the weights would change with each run.

    Args:
        tensors: Arrays by name.
        metadata: Labels by name.
    """
    contents = save(tensors)
    n_header = int.from_bytes(contents[:8], "little")
    header = json.dumps(
        {"__metadata__": metadata} | json.loads(contents[8 : 8 + n_header]), ensure_ascii=False
    ).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + contents[8 + n_header :]


def installed_data_sets() -> Path:
    """Folder of PAW data sets in the installed package `gpaw-data`.

    Raises:
        FileNotFoundError: If the package is not installed.
    """
    spec = find_spec("gpaw_data")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("found no package gpaw_data; expected PAW data sets; pip install gpaw-data==1.2.1")
    return Path(spec.submodule_search_locations[0], "setups")


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the table of free-atom densities.")
    parser.add_argument("out", type=Path, help="file to write, *.safetensors")
    out = parser.parse_args().out
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    compensation = json.loads(COMPENSATION.read_text())
    del compensation["about"]
    atoms = dict(free_atoms(installed_data_sets(), compensation))
    out.write_bytes(reproducible_file(table(atoms), labels(version("gpaw-data"))))
    logger.info("%d elements, %d bytes in %s", len(atoms), out.stat().st_size, out)


if __name__ == "__main__":
    main()
