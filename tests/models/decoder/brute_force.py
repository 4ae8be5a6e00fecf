"""The density of orbitals by a plain sum over images and primitives in float64, with scipy's harmonics."""

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import gamma, sph_harm_y

from models.basis.gaussian import Orbitals

BOHR = 0.529177210903
FARTHEST = 6.0
"""Å; no function of these tests reaches farther."""

SHEARED = np.array([[3.4, 0.0, 0.0], [1.7, 3.3, 0.0], [-1.6, 1.5, 3.2]])
LEFT_HANDED = SHEARED[[0, 2, 1]]
TINY = np.array([[1.3, 0.1, 0.0], [0.0, 1.5, 0.2], [-0.3, 0.0, 1.4]])
CELLS = {"sheared": SHEARED, "left-handed": LEFT_HANDED, "smaller than the radius": TINY}


@dataclass
class Example:
    """Centres with random coefficients in a cell; one of them lies outside it."""

    cell: np.ndarray
    is_periodic: bool
    highest_degree: int
    exponents: tuple[float, ...] = (0.3, 1.1, 4.0, 11.0)

    def __post_init__(self) -> None:
        fractional = np.array([[0.02, 0.05, -0.03], [0.55, 0.48, 0.51], [0.46, 1.07, 0.44]])
        self.positions = fractional @ self.cell
        shape = (3, len(self.exponents), (self.highest_degree + 1) ** 2)
        self.coefficients = np.random.default_rng(7).standard_normal(shape)

    def orbitals(self, dtype: torch.dtype = torch.float64) -> Orbitals:
        exponents = torch.tensor(self.exponents, dtype=dtype).repeat(3, 1)
        return Orbitals(exponents, torch.from_numpy(self.coefficients).to(dtype))

    def values(self, points: np.ndarray) -> np.ndarray:
        """e/Å³ at points in Å, [n_points]."""
        total = np.zeros(len(points))
        for image in self._images():
            for position, coefficients in zip(self.positions + image, self.coefficients, strict=True):
                near = np.flatnonzero(np.linalg.norm(points - position, axis=1) < FARTHEST)
                if len(near):
                    total[near] += self._one_centre((points[near] - position) / BOHR, coefficients)
        return total / BOHR**3

    def _images(self) -> np.ndarray:
        if not self.is_periodic:
            return np.zeros((1, 3))
        reach = np.ceil(FARTHEST * np.linalg.norm(np.linalg.inv(self.cell), axis=0)).astype(int) + 1
        return np.array(list(itertools.product(*(range(-n, n + 1) for n in reach)))) @ self.cell

    def _one_centre(self, vectors: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
        x, y, z = vectors.T
        radius = np.linalg.norm(vectors, axis=1)
        polar, azimuth = np.arccos(np.clip(y / np.maximum(radius, 1e-300), -1, 1)), np.arctan2(x, z)
        total = np.zeros(len(vectors))
        for degree in range(self.highest_degree + 1):
            radial = np.zeros((len(vectors), 2 * degree + 1))
            for alpha, c in zip(self.exponents, coefficients, strict=True):
                norm = np.sqrt(2 * (2 * alpha) ** (degree + 1.5) / gamma(degree + 1.5))
                primitive = norm * radius**degree * np.exp(-alpha * radius**2)
                radial += primitive[:, None] * c[degree**2 : (degree + 1) ** 2]
            for m in range(-degree, degree + 1):
                harmonic = (
                    (-1) ** m * sph_harm_y(degree, abs(m), polar, azimuth) * np.sqrt(4 * np.pi / (2 * degree + 1))
                )
                part = harmonic.real if m >= 0 else harmonic.imag
                total += radial[:, degree + m] * part * (np.sqrt(2) if m else 1)
        return total


def fractional_grid(shape: tuple[int, int, int]) -> np.ndarray:
    return np.array([np.array(index) / shape for index in np.ndindex(shape)])
