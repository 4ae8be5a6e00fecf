"""Densities on which an error of axis order, handedness, atom order or line length shows."""

import numpy as np
import pytest

from rhocast.density import Augmentation, Density
from rhocast.structure import Structure

SYMBOLS = ["Na", "Cl", "Na", "Na", "O", "O", "Fe", "Cl", "Na", "H", "H", "Fe"]
SHEARED_LEFT_HANDED = np.array([[4.1, 0.3, -0.2], [1.7, 6.2, 0.4], [-0.9, 1.1, -5.3]])


def twelve_atoms() -> Structure:
    fractional = np.random.default_rng(1).random((12, 3)) * 1.4 - 0.2
    return Structure.from_symbols(SYMBOLS, fractional @ SHEARED_LEFT_HANDED, SHEARED_LEFT_HANDED)


@pytest.fixture
def density() -> Density:
    """Twelve atoms, species interleaved, on 7 × 10 × 9 points in a sheared left-handed cell."""
    values = np.random.default_rng(2).lognormal(-1, 3, (7, 10, 9))
    return Density(twelve_atoms(), values, comment="test of a density, twelve atoms")


@pytest.fixture
def spin_density(density) -> Density:
    """The same with a magnetization, and occupancies and moments in the seven and twelve digits of VASP."""
    rng = np.random.default_rng(3)

    def occupancies() -> tuple[np.ndarray, ...]:
        return tuple(np.array([float(f"{x:.6E}") for x in rng.normal(size=n)]) for n in [15, 33, 8] * 4)

    moments = np.array([float(f"{x:.11E}") for x in rng.normal(size=12)])
    augmentation = Augmentation(occupancies(), occupancies(), moments)
    return Density(density.structure, density.values, rng.normal(size=(7, 10, 9)), augmentation, "with spin")
