r"""Chains of atoms in one dimension, with self-consistent densities in seconds: a test-bed for density models.

The problem is that of Zepeda-Núñez and Lin's modelscf, written anew from its definition: spinless electrons without
exchange and correlation, in the field of Gaussian pseudo-charges,

.. math:: H = -\tfrac12 \partial_x^2 + V, \qquad
    \hat V(k) = \frac{4\pi}{\epsilon_0 (k^2 + \kappa^2)}\, (\hat\rho + \hat\rho_a)(k), \qquad
    \rho_a = -\sum_j \frac{2}{\sqrt{2\pi}\,\sigma_j}\, e^{-(x - R_j)^2/2\sigma_j^2}

with Fermi–Dirac occupations. Narrow charges make an insulator, wide ones a metal. Everything is in atomic units.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh, toeplitz
from scipy.optimize import brentq
from scipy.special import expit

FloatArray = NDArray[np.float64]

LATTICE_CONSTANT = 10.0
"""bohr between atoms, before they are displaced."""

ELECTRONS_OF_AN_ATOM = 2
PERMITTIVITY = 10.0
SCREENING = 0.01
"""ε₀, and κ in bohr⁻¹."""

SPACING = 0.5
"""bohr; of the grid."""

INVERSE_TEMPERATURE = 315774.67 / 100
"""1/hartree; of electrons at 100 K."""

N_EMPTY = 10
"""Bands above the occupied ones."""

KERKER = 0.5
"""Of what is added to the potential, long waves count less: charge would else slosh along a metal."""

MIXING, DEPTH = 0.5, 10
"""Of Anderson's method: share of the residual that is added, and steps that it remembers."""

TOLERANCE, MOST_ITERATIONS = 1e-9, 300


class NotConverged(Exception):
    """A chain has not become self-consistent."""


@dataclass(frozen=True, eq=False)
class Chain:
    """Atoms on a ring.

    Attributes:
        positions: bohr, [n_atoms].
        widths: σ of each pseudo-charge in bohr, [n_atoms].
    """

    positions: FloatArray
    widths: FloatArray

    @classmethod
    def displaced(cls, widths: Sequence[float], displacement: float, rng: np.random.Generator) -> "Chain":
        """Atoms with these widths near their lattice sites.

        Args:
            widths: σ of each atom in bohr.
            displacement: Standard deviation from the sites in bohr.
            rng: Source of chance.
        """
        sites = (np.arange(len(widths)) + 0.5) * LATTICE_CONSTANT
        return cls(sites + rng.normal(0, displacement, len(widths)), np.asarray(widths, dtype=np.float64))

    @property
    def length(self) -> float:
        """Of the ring, in bohr."""
        return len(self.positions) * LATTICE_CONSTANT

    @property
    def points(self) -> FloatArray:
        """The grid in bohr, [n_points]."""
        return SPACING * np.arange(round(self.length / SPACING), dtype=np.float64)

    def pseudo_charge(self) -> FloatArray:
        """ρ_a at the points in e/bohr, [n_points]; negative."""
        distances = self.points - self.positions[:, None]
        distances -= np.round(distances / self.length) * self.length
        widths = self.widths[:, None]
        charges = ELECTRONS_OF_AN_ATOM / (np.sqrt(2 * np.pi) * widths)
        return -(charges * np.exp(-0.5 * (distances / widths) ** 2)).sum(0).astype(np.float64)


@dataclass(frozen=True, eq=False)
class Solution:
    """What is self-consistent.

    Attributes:
        density: At the points of the chain in e/bohr, [n_points].
        gap: Between the last band that would be full and the next, in hartree.
        occupations: Of the bands, [n_bands].
        n_iterations: Until it was converged.
    """

    density: FloatArray
    gap: float
    occupations: FloatArray
    n_iterations: int


def solved(chain: Chain) -> Solution:
    """The self-consistent density of a chain.

    Raises:
        NotConverged: If there is none after so many iterations as are tried.
    """
    charge = chain.pseudo_charge()
    waves = 2 * np.pi * np.fft.fftfreq(len(charge), SPACING)
    squares = waves**2 + SCREENING**2
    kernel = np.where(waves == 0, 0.0, 4 * np.pi / (PERMITTIVITY * squares))
    kerker = np.where(waves == 0, 1.0, squares / (squares + 4 * np.pi * KERKER / PERMITTIVITY))
    kinetic = toeplitz(np.fft.ifft(0.5 * waves**2).real)
    n_electrons = ELECTRONS_OF_AN_ATOM * len(chain.positions)

    def potential_of(density: FloatArray) -> FloatArray:
        return np.fft.ifft(kernel * np.fft.fft(density + charge)).real

    potential = potential_of(-charge * n_electrons / (-charge.sum() * SPACING))
    mix = _anderson()
    for iteration in range(MOST_ITERATIONS):
        bands = (0, n_electrons + N_EMPTY - 1)
        energies, orbitals = eigh(kinetic + np.diag(potential), subset_by_index=bands)
        occupations = fermi_dirac(energies, n_electrons)
        density = orbitals**2 @ occupations / SPACING
        residual = potential_of(density) - potential
        if np.linalg.norm(residual) < TOLERANCE * max(1.0, float(np.linalg.norm(potential))):
            gap = float(energies[n_electrons] - energies[n_electrons - 1])
            return Solution(density, gap, occupations, iteration)
        potential = mix(potential, np.fft.ifft(kerker * np.fft.fft(residual)).real)
    raise NotConverged(
        f"found a residual of {np.linalg.norm(residual):.1e} after {MOST_ITERATIONS} iterations; expected {TOLERANCE}; "
        "displace atoms less"
    )


def fermi_dirac(energies: FloatArray, n_electrons: float) -> FloatArray:
    """Occupations of bands with these energies in hartree, [n_bands]."""

    def occupations(level: float) -> FloatArray:
        return expit(-INVERSE_TEMPERATURE * (energies - level))

    level = brentq(lambda level: occupations(level).sum() - n_electrons, energies[0] - 1, energies[-1] + 1, xtol=1e-15)
    return occupations(cast(float, level))


def _anderson() -> Callable[[FloatArray, FloatArray], FloatArray]:
    """What gives the next potential from the last one and its residual, and remembers those before."""
    potentials: list[FloatArray] = []
    residuals: list[FloatArray] = []

    def mix(potential: FloatArray, residual: FloatArray) -> FloatArray:
        potentials.append(potential)
        residuals.append(residual)
        del potentials[: -DEPTH - 1], residuals[: -DEPTH - 1]
        if len(residuals) == 1:
            return potential + MIXING * residual
        steps, changes = (np.diff(np.array(one), axis=0).T for one in (potentials, residuals))
        along = np.linalg.lstsq(changes, residual, rcond=1e-12)[0]
        return potential + MIXING * residual - (steps + MIXING * changes) @ along

    return mix
