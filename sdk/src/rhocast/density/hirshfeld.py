"""Hirshfeld charges."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rhocast.density.atom_spheres import sphere_blocks, sum_of_spheres
from rhocast.density.electron_count import refuse_other_valence
from rhocast.density.free_atoms import FreeAtoms
from rhocast.density.volumetric import Density

FloatArray = NDArray[np.float64]

_NO_ATOM = 1e-30  # e/Å³ of the free atoms together, below which no share can be told


@dataclass(frozen=True, eq=False)
class HirshfeldCharges:
    """Charges of the atoms of a density.

    Attributes:
        charges: Charge of each atom in e, positive where it has lost electrons, [n_atoms].
        n_unassigned: Electrons further from every atom than its free density reaches; they are in no charge.
    """

    charges: FloatArray
    n_unassigned: float


def hirshfeld_charges(density: Density, free_atoms: FreeAtoms, charge: float = 0.0) -> HirshfeldCharges:
    r"""Charges by stockholder partitioning: each atom gets of the density what it has in that of the free atoms.

    .. math:: q_a = Z_a - \int \rho(r)\, \frac{\rho_a(r)}{\sum_b \rho_b(r)}\, dr

    with Z_a the electrons and ρ_a the density of the neutral free atom (Hirshfeld, Theor. Chim. Acta 44, 129 (1977)).
    The charges add up to the charge of the cell. They are smaller than formal or Bader charges by their nature.

    Args:
        density: A density whose electrons are those of the free atoms: a valence density with free valence densities.
        free_atoms: Densities of the free atoms.
        charge: Charge of the whole cell in e, which says how many electrons are expected.

    Raises:
        UnsupportedByModel: If the free atoms lack an element.
        InvalidField: If the density has another number of electrons than the free atoms less the charge.
    """
    structure = density.structure
    valence = free_atoms.valence_of(structure)
    refuse_other_valence(density, valence, charge)
    functions = [free_atoms.densities[symbol] for symbol in structure.symbols]
    together = sum_of_spheres(structure, density.shape, functions)
    has_atoms = together > _NO_ATOM
    per_free_electron = np.divide(density.values, together, out=np.zeros(density.shape), where=has_atoms)
    electrons = np.zeros(structure.n_atoms)
    for atom, function in enumerate(functions):
        for block, values in sphere_blocks(structure, density.shape, atom, function):
            electrons[atom] += float((per_free_electron[block] * values).sum())
    voxel = structure.volume / density.values.size
    return HirshfeldCharges(valence - electrons * voxel, float(density.values[~has_atoms].sum()) * voxel)
