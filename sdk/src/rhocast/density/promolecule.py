"""What free atoms tell of a density: how it differs from their superposition, and where its error is to be expected.

Sums over a grid miss integrals on coarse grids. As the service scales its densities to their electrons, so are these
scaled to theirs: a difference sums to the charge, an expected error to that of the atoms.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rhocast.density.atom_spheres import sum_of_spheres
from rhocast.density.electron_count import refuse_other_valence
from rhocast.density.free_atoms import FreeAtoms
from rhocast.density.radial import RadialCubic
from rhocast.density.spheres import Shape
from rhocast.density.volumetric import Density
from rhocast.errors import InvalidField, InvalidGrid
from rhocast.structure import Structure

FloatArray = NDArray[np.float64]


def promolecule(structure: Structure, shape: Shape, free_atoms: FreeAtoms) -> Density:
    """Superposition of the densities of neutral free atoms, whose sum over the grid is their number of electrons.

    Args:
        structure: Atoms and cell.
        shape: Points along each cell vector.
        free_atoms: Densities of the free atoms.

    Raises:
        UnsupportedByModel: If the free atoms lack an element.
        InvalidGrid: If no point of the grid is near an atom.
    """
    valence = free_atoms.valence_of(structure)
    functions = [free_atoms.densities[symbol] for symbol in structure.symbols]
    values = _of_integral(sum_of_spheres(structure, shape, functions), structure, float(valence.sum()))
    return Density(structure, values, comment="promolecule: sum of neutral free atoms")


def difference_to_promolecule(density: Density, free_atoms: FreeAtoms, charge: float = 0.0) -> Density:
    r"""What bonding does: a density less that of its neutral free atoms in the same places.

    .. math:: \Delta\rho(r) = \rho(r) - \sum_a \rho_a(|r - R_a|)

    Also called deformation density. Its integral is minus the charge of the cell, to the density's own error in its
    number of electrons: zero for a density of the service.

    Args:
        density: A density whose electrons are those of the free atoms: a valence density with free valence densities.
        free_atoms: Densities of the free atoms.
        charge: Charge of the whole cell in e, which says how many electrons are expected.

    Returns:
        The difference in e/Å³ on the same grid, without magnetization and augmentation.

    Raises:
        UnsupportedByModel: If the free atoms lack an element.
        InvalidField: If the density has another number of electrons than the free atoms less the charge.
        InvalidGrid: If no point of the grid is near an atom.
    """
    structure = density.structure
    refuse_other_valence(density, free_atoms.valence_of(structure), charge)
    values = density.values - promolecule(structure, density.shape, free_atoms).values
    return Density(structure, values, comment=f"difference to the promolecule; {density.comment}")


def expected_error(structure: Structure, shape: Shape, free_atoms: FreeAtoms, per_atom: Sequence[float]) -> Density:
    r"""Expected magnitude σ of the error of a density, from the expected errors of its atoms.

    .. math:: \sigma(r) = \sum_a e_a\, \frac{\rho_a(|r - R_a|)}{Z_a}, \qquad \int \sigma\, dr = \sum_a e_a

    with ρ_a the density of the free atom and Z_a its electrons. What is estimated is the integral, ∫\|Δρ\| of each
    atom; that an atom's error is spread as its free density is an assumption.

    Args:
        structure: Atoms and cell.
        shape: Points along each cell vector.
        free_atoms: Densities of the free atoms.
        per_atom: Expected error e_a of each atom in electrons, [n_atoms].

    Returns:
        σ in e/Å³.

    Raises:
        UnsupportedByModel: If the free atoms lack an element.
        InvalidField: If there are not as many errors as atoms, or one is no magnitude.
        InvalidGrid: If no point of the grid is near an atom.
    """
    errors = np.asarray(per_atom, dtype=np.float64)
    if errors.shape != (structure.n_atoms,) or not ((errors >= 0) & (errors < np.inf)).all():
        raise InvalidField(
            f"found {errors.size} errors of {structure.n_atoms} atoms, or some below zero or not finite; expected one "
            "for each atom, in electrons"
        )
    valence = free_atoms.valence_of(structure)
    functions = [
        _multiplied(free_atoms.densities[symbol], share)
        for symbol, share in zip(structure.symbols, (errors / valence).tolist(), strict=True)
    ]
    values = _of_integral(sum_of_spheres(structure, shape, functions), structure, float(errors.sum()))
    return Density(structure, values, comment="expected error of a density")


def _of_integral(values: FloatArray, structure: Structure, integral: float) -> FloatArray:
    """The same values times what makes their sum over the grid an integral."""
    summed = float(values.mean()) * structure.volume
    if integral == 0:
        return values
    if not summed:
        raise InvalidGrid(
            f"found no point of a grid of {' x '.join(map(str, values.shape))} near an atom; expected a finer grid"
        )
    return values * (integral / summed)


def _multiplied(function: RadialCubic, factor: float) -> RadialCubic:
    return replace(function, values=factor * function.values, slopes=factor * function.slopes)
