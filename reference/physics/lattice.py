"""Equilibrium lattice constants, from the energies of primitive cells of several volumes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import NDArray

from reference.physics.laboratory import Laboratory
from reference.physics.report import Row
from reference.physics.structures import structure
from reference.settings import INSULATOR, METAL, DftSettings
from reference.structure import ReferenceStructure

FloatArray = NDArray[np.float64]

STRETCHES = (0.982, 0.988, 0.994, 1.0, 1.006, 1.012, 1.018)
"""Lattice constants over the all-electron one; volumes ± 5.5 %."""

LARGEST_DEVIATION = 0.3
"""% of the all-electron lattice constant."""


@dataclass(frozen=True)
class Crystal:
    """A cubic crystal with an fcc lattice.

    Attributes:
        name: For people.
        symbols: Elements of the primitive cell.
        offset: Of the second atom from the first, in cubic lattice constants along each axis.
        all_electron: Lattice constant with PBE and all electrons, Å.
        source: Where that comes from.
        settings: Of the DFT.
        control: Tighter settings that it is measured with too, to tell what ours cost.
    """

    name: str
    symbols: str
    offset: float
    all_electron: float
    source: str
    settings: DftSettings
    control: DftSettings | None = None

    def primitive(self, lattice_constant: float, settings: DftSettings) -> ReferenceStructure:
        positions = np.outer(
            np.arange(len(self.symbols.split()), dtype=float), np.full(3, self.offset * lattice_constant)
        )
        cell = lattice_constant / 2 * (np.ones((3, 3)) - np.eye(3))
        return structure(self.symbols, positions, cell, settings, is_periodic=True)

    def n_k(self, settings: DftSettings) -> int:
        """Points of the k-mesh along each vector at the all-electron lattice constant.

        Every volume gets these: a mesh that follows the cell would make the energy jump.
        """
        length = 2 * np.pi * np.sqrt(3) / self.all_electron
        return int(np.ceil(length * settings.k_density))


AVERAGE = "all-electron average, Bosoni et al. 2024"
"""Nature Reviews Physics 6, 45; the file results-unaries-verification-PBE-v1-ae.json of the repository
aiidateam/acwf-verification-scripts gives 16.4954 Å³ for Al (1 atom) and 40.9149 Å³ for Si (2 atoms)."""

OXIDES = "WIEN2k, oxides of Cottenier"
"""The file results-cottenier-wien2k.json of the same repository gives 19.25 Å³ for MgO (2 atoms)."""

HARD = replace(INSULATOR, cutoff=1200.0)

CRYSTALS = (
    Crystal("Al, fcc", "Al", 0.0, 4.0409, f"{AVERAGE}; recalled 4.040", METAL),
    Crystal("Si, diamond", "Si Si", 0.25, 5.4699, f"{AVERAGE}; recalled 5.469", INSULATOR, METAL),
    Crystal("MgO, rock salt", "Mg O", 0.5, 4.2543, f"{OXIDES}; recalled 4.257", INSULATOR, HARD),
    Crystal("NaCl, rock salt", "Na Cl", 0.5, 5.698, "recalled, no source found", INSULATOR),
)


@dataclass(frozen=True)
class Equilibrium:
    """Minimum of an equation of state.

    Attributes:
        lattice_constant: Å.
        bulk_modulus: GPa.
        residual: Root mean square distance of the energies from the curve, meV.
        by_polynomial: Lattice constant from a cubic polynomial in the volume instead, Å.
    """

    lattice_constant: float
    bulk_modulus: float
    residual: float
    by_polynomial: float


def equilibrium(lattice_constants: Sequence[float], energies: Sequence[float]) -> Equilibrium:
    """Minimum of a Birch–Murnaghan curve of third order through energies of primitive fcc cells.

    The curve is a cubic polynomial in V^(−2/3), so that the fit is linear.

    Args:
        lattice_constants: Å.
        energies: eV.
    """
    volumes = np.array(lattice_constants) ** 3 / 4
    reduced = volumes ** (-2 / 3)
    curve = Polynomial.fit(reduced, energies, 3)
    volume = minimum(curve) ** (-3 / 2)
    curvature = curve.deriv(2)(volume ** (-2 / 3)) * (2 / 3 * volume ** (-5 / 3)) ** 2
    return Equilibrium(
        lattice_constant=float((4 * volume) ** (1 / 3)),
        bulk_modulus=float(volume * curvature * 160.21766208),
        residual=float(np.sqrt(np.mean((curve(reduced) - energies) ** 2)) * 1000),
        by_polynomial=float((4 * minimum(Polynomial.fit(volumes, energies, 3))) ** (1 / 3)),
    )


def minimum(curve: Polynomial) -> float:
    """Where a cubic polynomial is least between its turning points.

    Raises:
        ValueError: If it has no such place.
    """
    turning_points = curve.deriv().roots()
    lowest = [point for point in turning_points if np.isreal(point) and curve.deriv(2)(point.real) > 0]
    if not lowest:
        raise ValueError("found energies without a minimum; expected volumes on both sides of one")
    return float(lowest[0].real)


def measured(laboratory: Laboratory, crystal: Crystal, settings: DftSettings) -> Equilibrium:
    """Equilibrium of a crystal with these settings, the k-mesh the same at every volume."""
    constants = [crystal.all_electron * stretch for stretch in STRETCHES]
    energies = [
        laboratory.labels(crystal.primitive(constant, settings), crystal.n_k(settings)).attributes["energy"]
        for constant in constants
    ]
    return equilibrium(constants, energies)


def lattice_rows(laboratory: Laboratory) -> list[Row]:
    """Deviations of the lattice constants from all-electron ones, beside those with tighter settings."""
    rows = []
    for crystal in CRYSTALS:
        found = measured(laboratory, crystal, crystal.settings)
        remark = (
            f"{found.lattice_constant:.4f} against {crystal.all_electron:.4f} Å ({crystal.source}); "
            f"{_named(crystal, crystal.settings)}; energies {found.residual:.2f} meV from the curve"
        )
        details: dict[str, object] = {"equilibrium": vars(found), "all_electron": crystal.all_electron}
        if crystal.control:
            control = measured(laboratory, crystal, crystal.control)
            details["control"] = vars(control)
            remark += f"; {control.lattice_constant:.4f} Å with {_named(crystal, crystal.control)}"
        deviation = 100 * (found.lattice_constant / crystal.all_electron - 1)
        rows.append(Row("lattice constant", crystal.name, deviation, "%", LARGEST_DEVIATION, remark, details))
    return rows


def _named(crystal: Crystal, settings: DftSettings) -> str:
    return f"{settings.cutoff:g} eV and {crystal.n_k(settings)}³ k-points"
