"""The electrostatic potential of a density and its ions, and the vacuum level."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rhocast.density.atom_spheres import sum_of_spheres
from rhocast.density.box_walls import box_walls
from rhocast.density.electron_count import refuse_other_valence
from rhocast.density.poisson import free_potential, periodic_potential
from rhocast.density.profiles import planar_average
from rhocast.density.radial import GaussianCharge
from rhocast.density.volumetric import Density
from rhocast.errors import InvalidField, InvalidGrid, InvalidStructure
from rhocast.structure import Structure

FloatArray = NDArray[np.float64]

COULOMB = 14.399645478425668
"""e²/(4π ε₀) in eV·Å: hartree × bohr, CODATA 2018."""
_NARROWEST_ION = 2.2
"""Width of an ion in grid spacings at which its last waves have fallen to 10⁻⁵."""
_USUAL_ION_WIDTH = 0.3
"""Å, the width of most compensation charges of the reference data."""
_LEAST_VACUUM = 6.0
_FLAT_WITHIN = 1.0
"""Å on each side of the middle of a vacuum over which its flatness is judged."""


@dataclass(frozen=True, eq=False)
class Potential:
    """Potential energy of an electron, U = −e·φ, on the grid of a cell.

    Attributes:
        structure: The atoms and the cell.
        values: U in eV, low at the ions, [n0, n1, n2]. A molecule's is zero at infinity, a crystal's has mean zero.
        comment: Where it comes from, one line.
    """

    structure: Structure
    values: FloatArray
    comment: str = ""

    def __post_init__(self) -> None:
        if self.values.ndim != 3 or not self.values.size:
            raise InvalidGrid(f"found values of shape {self.values.shape}; expected (n0, n1, n2), none of them 0")

    def write(self, path: str | os.PathLike[str]) -> None:
        """This potential in a file, which appears whole or not at all.

        Args:
            path: Where to write. LOCPOT*: U in eV, as VASP has it. *.cube: φ in hartree/e, the opposite sign, as
                Gaussian's cubegen has it.

        Raises:
            UnsupportedFormat: If the name is neither.
            InvalidFile: If a value is NaN or infinite.
            OSError: If the folder is missing or the disk is full.
        """
        from rhocast.density.potential_files import write_potential  # noqa: PLC0415  (built on this class)

        write_potential(self, Path(path))

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "Potential":
        """The potential in a LOCPOT, whatever its name; of one with spin, the mean of up and down.

        Args:
            path: The file. It does not say whether the cell repeats: it does here.

        Raises:
            InvalidFile: If it cannot be read as LOCPOT.
        """
        from rhocast.density.potential_files import read_potential  # noqa: PLC0415

        return read_potential(Path(path))


@dataclass(frozen=True)
class VacuumLevel:
    """The potential far from all atoms.

    Attributes:
        level: Average of U over the plane in the middle of the vacuum, in eV.
        position: Distance in Å of that plane from the origin, along the normal.
        gap: Distance in Å between the outermost atoms across the vacuum.
        variation: Highest less lowest planar average in eV within 1 Å of the middle. Where it is not small, there is a
            field in the vacuum (a slab with a dipole has two vacuum levels), or electrons.
    """

    level: float
    position: float
    gap: float
    variation: float


def electrostatic_potential(
    density: Density, ion_charges: Mapping[str, float], *, width: float | None = None, charge: float = 0.0
) -> Potential:
    r"""Potential energy of an electron in the field of a density and of its ions, without exchange and correlation.

    .. math:: U(r) = \frac{e^2}{4\pi\varepsilon_0} \int \frac{\rho(r') - \sum_a Z_a g_a(r' - R_a)}{|r - r'|}\, dr',
        \qquad g_a \propto e^{-r^2/w^2}

    Each ion is a Gaussian of its charge. What is exact and what is not: outside the augmentation spheres, and some
    widths w away from every nucleus, this is the potential of the true charge, for a pseudo density with compensation
    charges has the true one's multipoles there. Nearer than that it has no meaning beyond its own definition: the
    density has no core, and the shapes of ions and compensation charges are conventions. The mean of a cell depends on
    them too; hence only differences to the vacuum level, or between points far from nuclei, can be compared with other
    programs. The ions of VASP's LOCPOT are its pseudopotentials.

    Args:
        density: A density. That of a molecule gives the potential in free space, any other that of its periods.
        ion_charges: Charge in e of each element's ion: the electrons that the density counts for a neutral atom.
        width: w in Å; 0.3, or what the grid carries if that is more, if not given.
        charge: Charge of the whole molecule in e.

    Raises:
        InvalidField: If an element has no charge, the density has another number of electrons than ions and charge
            say, a cell that repeats is charged, or the grid cannot carry ions of this width.
        InvalidStructure: If the electrons of a molecule pass the walls of its box.
    """
    structure = density.structure
    ions = _ion_charges_of(structure, ion_charges)
    refuse_other_valence(density, ions, charge)
    if structure.is_periodic and charge:
        raise InvalidField(
            f"found a charge of {charge:g} e in a cell that repeats; expected a neutral one: its potential is "
            "infinite; for a molecule in a box say that it is one"
        )
    chosen = ion_width(density, width)
    functions = [GaussianCharge(float(ion), chosen) for ion in ions]
    # With its images even for a molecule, whose ion may stand closer to a wall than its width.
    ionic = sum_of_spheres(replace(structure, is_periodic=True), density.shape, functions)
    net = density.values - ionic
    if structure.is_periodic:
        values, zero = periodic_potential(net, structure.cell), "mean zero"
    else:
        values, zero = _potential_of_molecule(density, net), "zero at infinity"
    listed = ", ".join(f"{symbol} {ion_charges[symbol]:g}" for symbol in dict.fromkeys(structure.symbols))
    comment = (
        f"potential energy of an electron in eV, electrostatic, {zero}; ions {listed} as Gaussians exp(-r^2/w^2), "
        f"w = {chosen:.3f} A; {density.comment}"
    )
    return Potential(structure, COULOMB * values, comment)


def ion_width(density: Density, width: float | None = None) -> float:
    """Width w in Å of the Gaussians exp(−r²/w²) that stand for ions on the grid of a density.

    Args:
        density: The density.
        width: The width that is wanted; 0.3, or what the grid carries if that is more, if not given.

    Raises:
        InvalidField: If the grid cannot carry that width.
    """
    steps = density.structure.cell / np.array(density.shape)[:, None]
    plane_distance = 1 / float(np.linalg.norm(np.linalg.inv(steps), axis=0).min())
    narrowest = _NARROWEST_ION * plane_distance
    chosen = max(_USUAL_ION_WIDTH, narrowest) if width is None else width
    if not narrowest * (1 - 1e-9) <= chosen < np.inf:
        raise InvalidField(
            f"found ions {chosen:g} Å wide; expected at least {narrowest:.3f} Å, which is what a grid of "
            f"{plane_distance:.3f} Å carries: take wider ones, or a finer grid (`regridded`)"
        )
    return chosen


def vacuum_level(potential: Potential, axis: int) -> VacuumLevel:
    """The potential in the middle of the largest gap between atoms along the normal of two cell vectors.

    Args:
        potential: Of a slab or molecule in a periodic cell; a molecule's in free space is zero at infinity anyway.
        axis: The cell vector that crosses the vacuum: 0, 1 or 2.

    Raises:
        InvalidField: If there is no such axis, or no gap of 6 Å.
    """
    profile = planar_average(potential, axis)
    places = np.sort(potential.structure.fractional_positions[:, axis] % 1.0)
    layers = pairwise(np.append(places, places[:1] + 1.0).tolist())
    gap, middle = max(
        (((end - start) * profile.height, (start + end) / 2 % 1.0) for start, end in layers), default=(0, 0)
    )
    if gap < _LEAST_VACUUM:
        raise InvalidField(
            f"found at most {gap:.2f} Å between layers of atoms along axis {'abc'[axis]}; expected a vacuum of "
            f"{_LEAST_VACUUM:g} Å or more: choose the axis that crosses it, or put the slab in a higher cell"
        )
    n_planes = len(profile.values)
    away = (profile.distances / profile.height - middle + 0.5) % 1.0 - 0.5
    nearby = profile.values[np.abs(away) * profile.height <= max(_FLAT_WITHIN, profile.height / n_planes)]
    level = float(profile.values[np.abs(away).argmin()])
    return VacuumLevel(level, middle * profile.height, gap, float(np.ptp(nearby)))


def _ion_charges_of(structure: Structure, ion_charges: Mapping[str, float]) -> FloatArray:
    missing = sorted(set(structure.symbols) - set(ion_charges))
    if missing:
        raise InvalidField(
            f"found no ion charge of {', '.join(missing)}; expected one for each element: the valence electrons that "
            "the density counts for its neutral atom"
        )
    return np.array([float(ion_charges[symbol]) for symbol in structure.symbols])


def _potential_of_molecule(density: Density, net: FloatArray) -> FloatArray:
    """Potential of a molecule's charge, whose box is cut where no electrons pass."""
    walls = box_walls(density.values, density.structure.cell)
    if walls is None:
        raise InvalidStructure(
            "found electrons that pass every plane of the box along an axis; expected a molecule with empty space "
            "around it: take a larger box, or let the cell repeat"
        )
    axes = (0, 1, 2)
    shifted = np.roll(net, [-wall for wall in walls], axes)
    return np.roll(free_potential(shifted, density.structure.cell), walls, axes)
