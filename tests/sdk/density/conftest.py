"""Densities on which an error of axis order, handedness, atom order or line length shows."""

import numpy as np
import pytest

from rhocast.density import Augmentation, Density
from rhocast.elements import ATOMIC_NUMBERS
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


def lattice_sum(structure: Structure, shape, functions) -> np.ndarray:
    """Σ of functions of the distance, atom by atom and image by image over the whole grid: slow and plain."""
    fractions = np.stack(np.meshgrid(*(np.arange(n) / n for n in shape), indexing="ij"), axis=-1)
    points = fractions @ structure.cell
    reach = range(-2, 3) if structure.is_periodic else range(1)
    shifts = np.array([[i, j, k] for i in reach for j in reach for k in reach]) @ structure.cell
    total = np.zeros(shape)
    for position, function in zip(structure.wrapped_positions, functions, strict=True):
        for shift in shifts:
            total += function(np.linalg.norm(points - position - shift, axis=-1))
    return total


def gaussian(charge: float, width: float):
    """A function of the distance in Å: charge/(π^(3/2) w³) · exp(−r²/w²)."""
    return lambda distance: charge / (np.pi**1.5 * width**3) * np.exp(-((distance / width) ** 2))


@pytest.fixture
def gaussian_density():
    """Maker of densities that are sums of Gaussians on atoms, of some charges and widths."""

    def made(structure, shape, charges, widths, comment="gaussians") -> Density:
        functions = [gaussian(charge, width) for charge, width in zip(charges, widths, strict=True)]
        return Density(structure, lattice_sum(structure, shape, functions), comment=comment)

    return made


@pytest.fixture
def sheared() -> Structure:
    """Two atoms in a sheared left-handed cell."""
    return Structure.from_symbols(["Na", "Cl"], [[0.3, 0.2, -0.4], [2.5, 3.1, -2.2]], SHEARED_LEFT_HANDED)


@pytest.fixture
def water() -> Structure:
    """A bent molecule in the middle of a slightly sheared box."""
    cell = np.array([[8.0, 0.3, 0], [0, 8.5, -0.2], [0.1, 0, 9.0]])
    middle = cell.sum(axis=0) / 2
    atoms = np.array([[0, 0, 0.12], [0, 0.76, -0.47], [0, -0.76, -0.47]])
    return Structure.from_symbols(["O", "H", "H"], atoms + middle, cell, is_periodic=False)


def hydrogen_like_atoms(valence: dict[str, float], widths: dict[str, float]) -> dict[str, np.ndarray]:
    """Table of free atoms whose densities are Gaussians."""
    radius = np.arange(601) * 0.01
    return {
        "numbers": np.array([ATOMIC_NUMBERS[symbol] for symbol in valence]),
        "radius": radius,
        "density": np.array([gaussian(valence[symbol], widths[symbol])(radius) for symbol in valence]),
        "cutoff": np.full(len(valence), 6.0),
        "valence": np.array(list(valence.values()), dtype=float),
    }


@pytest.fixture
def atom_arrays() -> dict[str, np.ndarray]:
    """Free atoms of Na, Cl, O and H with Gaussian densities."""
    return hydrogen_like_atoms({"Na": 7, "Cl": 7, "O": 6, "H": 1}, {"Na": 1.1, "Cl": 0.9, "O": 0.8, "H": 0.7})
