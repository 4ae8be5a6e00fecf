"""Flexible SPC/Fw water (Wu, Tepper and Voth, J. Chem. Phys. 124, 024503, 2006) with Ewald summation.

Energies in eV, lengths in Å. Atoms come in the order O H H, O H H …, in a periodic cell of any shape that is wider than
twice the cutoff.
"""

from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from numpy.typing import NDArray
from scipy.special import erfc

FloatArray = NDArray[np.float64]

KCAL_PER_MOL = 0.0433641043
"""eV."""
COULOMB = 14.39964548
"""e²/4πε₀ in eV·Å."""

CHARGE_H = 0.41
BOND_CONSTANT = 1059.162 * KCAL_PER_MOL
"""eV/Å²; the energy is half of it times the square."""
BOND_LENGTH = 1.012
ANGLE_CONSTANT = 75.90 * KCAL_PER_MOL
"""eV/rad²."""
ANGLE = np.deg2rad(113.24)
WELL_DEPTH = 0.1554253 * KCAL_PER_MOL
DIAMETER = 3.165492


class FlexibleWater(Calculator):
    """Energy (eV) and forces (eV/Å) of SPC/Fw water."""

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces"]

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        super().calculate(atoms, properties or ["energy"], system_changes)
        water = self.atoms  # a copy that the base class made
        energy, forces = energy_and_forces(water.positions, water.cell.array)  # pyright: ignore[reportOptionalMemberAccess]
        self.results: dict[str, Any] = {"energy": energy, "free_energy": energy, "forces": forces}


def energy_and_forces(positions: FloatArray, cell: FloatArray) -> tuple[float, FloatArray]:
    """Energy in eV and forces in eV/Å, [n_atoms, 3].

    Args:
        positions: Å, in the order O H H, [n_atoms, 3]; a molecule's atoms are not wrapped apart.
        cell: Rows in Å, [3, 3].
    """
    forces = np.zeros_like(positions)
    energy = _bonded(positions, forces)
    energy += _pairs(positions, cell, forces)
    energy += _waves(positions, cell, forces)
    return energy, forces


def _bonded(positions: FloatArray, forces: FloatArray) -> float:
    oxygen, first, second = positions[0::3], positions[1::3], positions[2::3]
    energy = 0.0
    arms, lengths = [], []
    for which, hydrogen in enumerate((first, second), start=1):
        arm = hydrogen - oxygen
        length = np.linalg.norm(arm, axis=1)
        stretch = length - BOND_LENGTH
        energy += 0.5 * BOND_CONSTANT * float(stretch @ stretch)
        pull = -BOND_CONSTANT * (stretch / length)[:, None] * arm
        forces[which::3] += pull
        forces[0::3] -= pull
        arms.append(arm / length[:, None])
        lengths.append(length)
    cosine = np.clip((arms[0] * arms[1]).sum(1), -1, 1)
    bend = np.arccos(cosine) - ANGLE
    energy += 0.5 * ANGLE_CONSTANT * float(bend @ bend)
    slope = ANGLE_CONSTANT * bend / np.sqrt(np.maximum(1 - cosine**2, 1e-12))
    for which, (arm, other, length) in enumerate(zip(arms, arms[::-1], lengths, strict=True), start=1):
        push = (slope / length)[:, None] * (other - cosine[:, None] * arm)
        forces[which::3] += push
        forces[0::3] -= push
    return energy


def _screening(cell: FloatArray) -> tuple[float, float]:
    """Cutoff in Å, half the narrowest width of the cell, and the α in Å⁻¹ that makes erfc(α·cutoff) = 1e-6."""
    widths = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    cutoff = float(widths.min()) / 2
    return cutoff, 3.46 / cutoff


def _pairs(positions: FloatArray, cell: FloatArray, forces: FloatArray) -> float:
    """Lennard-Jones between oxygens, screened charges between molecules, and the unscreened part of Ewald's waves
    inside molecules taken out again."""
    cutoff, alpha = _screening(cell)
    n = len(positions)
    i, j = np.triu_indices(n, 1)
    charges = _charges(n)
    qq = COULOMB * charges[i] * charges[j]
    is_same = i // 3 == j // 3
    arm = positions[j] - positions[i]
    arm -= np.where(is_same[:, None], 0, np.rint(arm @ np.linalg.inv(cell))) @ cell
    r = np.linalg.norm(arm, axis=1)
    near = (r < cutoff) | is_same
    i, j, qq, is_same, arm, r = i[near], j[near], qq[near], is_same[near], arm[near], r[near]
    screened = erfc(alpha * r) - is_same
    potential = qq * screened / r
    slope = -potential / r - qq * 2 * alpha / np.sqrt(np.pi) * np.exp(-((alpha * r) ** 2)) / r
    is_oxygen = (i % 3 == 0) & (j % 3 == 0)
    sixth = np.where(is_oxygen, (DIAMETER / r) ** 6, 0)
    shift = (DIAMETER / cutoff) ** 6
    potential += np.where(is_oxygen, 4 * WELL_DEPTH * (sixth**2 - sixth - shift**2 + shift), 0)
    slope -= 24 * WELL_DEPTH * (2 * sixth**2 - sixth) / r
    pull = (slope / r)[:, None] * arm
    for axis in range(3):
        forces[:, axis] += np.bincount(i, pull[:, axis], n) - np.bincount(j, pull[:, axis], n)
    return float(potential.sum())


def _waves(positions: FloatArray, cell: FloatArray, forces: FloatArray) -> float:
    """Ewald's sum over waves with its self-energy; waves are products of three factors, one of each axis."""
    _, alpha = _screening(cell)
    charges = _charges(len(positions))
    numbers, weight = _wave_weights(cell, alpha)
    fractional = positions @ np.linalg.inv(cell)
    first, second, third = (np.exp(2j * np.pi * np.outer(fractional[:, axis], numbers[axis])) for axis in range(3))
    planes = (first[:, :, None] * second[:, None, :]).reshape(len(positions), -1)
    weight = weight.reshape(-1, len(numbers[2]))
    amplitudes = (charges[:, None] * planes).T @ third
    pull = weight * amplitudes.conj()
    h = np.stack(np.meshgrid(*numbers, indexing="ij")).reshape(3, *pull.shape)
    sums = third @ (h * pull).reshape(-1, len(numbers[2])).T
    fields = (sums.reshape(len(positions), 3, -1) * planes[:, None]).imag.sum(2)
    forces += 4 * np.pi * charges[:, None] * (fields @ np.linalg.inv(cell).T)
    own = COULOMB * alpha / np.sqrt(np.pi) * float(charges @ charges)
    return float((weight * abs(amplitudes) ** 2).sum()) - own


def _wave_weights(cell: FloatArray, alpha: float) -> tuple[list[FloatArray], FloatArray]:
    """Whole numbers h of the waves along each axis, and what each wave counts in eV, [n0, n1, n2].

    Of each pair ±k only one is there, with twice the weight, but for h0 = 0, where both are.
    """
    largest = 2 * alpha * 3.46
    reach = np.floor(largest * np.linalg.norm(cell, axis=1) / (2 * np.pi))
    numbers = [np.arange(0.0, reach[0] + 1), *(np.arange(-n, n + 1) for n in reach[1:])]
    k = 2 * np.pi * np.stack(np.meshgrid(*numbers, indexing="ij"), -1) @ np.linalg.inv(cell).T
    k2 = (k**2).sum(-1)
    is_there = (k2 > 0) & (k2 <= largest**2)
    k2[~is_there] = 1.0
    twice = np.where(numbers[0] > 0, 2.0, 1.0)[:, None, None]
    weight = COULOMB * 2 * np.pi / abs(np.linalg.det(cell)) * np.exp(-k2 / (4 * alpha**2)) / k2
    return numbers, np.where(is_there, twice * weight, 0.0)


def _charges(n_atoms: int) -> FloatArray:
    return np.tile([-2 * CHARGE_H, CHARGE_H, CHARGE_H], n_atoms // 3)
