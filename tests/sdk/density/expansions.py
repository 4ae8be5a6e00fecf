"""Expansions with random coefficients of every degree, on atoms and between them."""

from dataclasses import replace

import numpy as np

from rhocast.density import DensityExpansion, FreeAtoms, GaussianProducts, Gaussians
from rhocast.structure import Structure
from tests.sdk.density.conftest import SHEARED_LEFT_HANDED, hydrogen_like_atoms

ATOM_EXPONENTS = (0.4, 1.1, 3.0)
BOND_EXPONENTS = (0.6, 1.7)
PRODUCT_EXPONENTS = (0.5, 1.3)


def free_atoms() -> FreeAtoms:
    """Na, Cl, O and H with Gaussian densities."""
    widths = {"Na": 1.1, "Cl": 0.9, "O": 0.8, "H": 0.7}
    return FreeAtoms.from_arrays(hydrogen_like_atoms({"Na": 7, "Cl": 7, "O": 6, "H": 1}, widths))


def gaussians(n_centres: int, exponents: tuple[float, ...], highest_degree: int, seed: int = 0) -> Gaussians:
    """Functions on some centres; no centre has the exponents of another."""
    rng = np.random.default_rng(seed)
    spread = np.array(exponents) * rng.uniform(0.9, 1.1, (n_centres, 1))
    shape = (n_centres, len(exponents), (highest_degree + 1) ** 2)
    return Gaussians(spread, 0.1 * rng.standard_normal(shape))


def gaussian_products(n_atoms: int, highest_degree: int = 2, seed: int = 3) -> GaussianProducts:
    """Two products of fields on some atoms; no atom has the exponents of another."""
    rng = np.random.default_rng(seed)
    exponents = np.array(PRODUCT_EXPONENTS) * rng.uniform(0.9, 1.1, (n_atoms, 1))
    shape = (2, 2, n_atoms, len(PRODUCT_EXPONENTS), (highest_degree + 1) ** 2)
    return GaussianProducts(exponents, 0.2 * rng.standard_normal(shape))


def with_products(expansion: DensityExpansion, highest_degree: int = 2) -> DensityExpansion:
    """The same with products of fields on its atoms."""
    return replace(expansion, products=gaussian_products(expansion.structure.n_atoms, highest_degree))


def expansion_of(structure: Structure, bond_positions: np.ndarray) -> DensityExpansion:
    return DensityExpansion(
        structure,
        free_atoms(),
        gaussians(structure.n_atoms, ATOM_EXPONENTS, 3, seed=1),
        gaussians(len(bond_positions), BOND_EXPONENTS, 2, seed=2),
        bond_positions,
        "random coefficients",
    )


def molecule() -> DensityExpansion:
    """A bent molecule off the middle of a sheared box; its functions hold charge in sum."""
    cell = np.array([[10.0, 0.3, 0], [0, 10.5, -0.2], [0.1, 0, 11.0]])
    atoms = np.array([[5.2, 5.0, 5.4], [5.2, 5.76, 4.83], [5.1, 4.24, 4.8]])
    structure = Structure.from_symbols(["O", "H", "H"], atoms, cell, is_periodic=False)
    return expansion_of(structure, 0.5 * (atoms[:1] + atoms[1:]))


def neutral(found: DensityExpansion) -> DensityExpansion:
    """The same, less the charge that one s function carries too much."""
    excess = found.n_electrons - float(found.free_atoms.valence_of(found.structure).sum())
    coefficients = found.on_atoms.coefficients.copy()
    unit = np.zeros_like(coefficients)
    unit[0, 0, 0] = 1
    coefficients[0, 0, 0] -= excess / Gaussians(found.on_atoms.exponents, unit).multipoles[0, 0]
    return replace(found, on_atoms=Gaussians(found.on_atoms.exponents, coefficients))


def neutral_molecule() -> DensityExpansion:
    """The bent molecule without charge."""
    return neutral(molecule())


def crystal() -> DensityExpansion:
    """Two atoms in a sheared left-handed cell, one of them and a bond outside of it."""
    positions = np.array([[0.3, 0.2, -0.4], [2.5, 3.1, -2.2]])
    structure = Structure.from_symbols(["Na", "Cl"], positions, SHEARED_LEFT_HANDED)
    return expansion_of(structure, np.array([[1.4, 1.6, -1.3], [-3.0, 8.0, 1.0]]))
