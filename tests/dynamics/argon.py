"""Argon by Lennard and Jones, as ASE computes it: cheap, exact to rounding, with stress."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.lj import LennardJones
from ase.stress import voigt_6_to_full_3x3_stress

from models.interface import OutOfMemory, PotentialPrediction
from rhocast.model_info import ModelInfo, Property
from rhocast.structure import Structure

INFO = ModelInfo(
    name="argon",
    provides=(Property.ENERGY, Property.FORCES, Property.STRESS),
    description="Lennard-Jones",
    elements=("Ar",),
    cutoff=6.0,
    weights_sha256="0" * 64,
    level_of_theory="none",
    licence="MIT",
    is_conservative=True,
)


def lennard_jones() -> Calculator:
    return LennardJones(sigma=3.4, epsilon=0.0104, rc=6.0, smooth=True)


class Argon:
    """A potential that counts its calls.

    Args:
        capacity: Most atoms in one call.
    """

    info = INFO

    def __init__(self, capacity: int = 10**9) -> None:
        self.capacity = capacity
        self.calls: list[int] = []

    def predict(self, structures: Sequence[Structure], want: frozenset[Property]) -> list[PotentialPrediction]:
        if sum(structure.n_atoms for structure in structures) > self.capacity:
            raise OutOfMemory("found too much")
        self.calls.append(len(structures))
        return [self.of(structure, want) for structure in structures]

    def of(self, structure: Structure, want: frozenset[Property]) -> PotentialPrediction:
        atoms = as_atoms(structure)
        stress = voigt_6_to_full_3x3_stress(atoms.get_stress()) if Property.STRESS in want else None
        return PotentialPrediction(float(atoms.get_potential_energy()), atoms.get_forces(), stress)


def as_atoms(structure: Structure) -> Atoms:
    """ASE's form of a structure of argon, with its calculator."""
    atoms = Atoms(structure.symbols, structure.positions, cell=structure.cell, pbc=structure.is_periodic)
    atoms.calc = lennard_jones()
    return atoms


def crystal(seed: int = 0, strain: float = 0.03, amplitude: float = 0.15) -> Structure:
    """Four atoms of argon in a strained cell, off their sites."""
    rng = np.random.default_rng(seed)
    atoms = bulk("Ar", "fcc", a=5.3, cubic=True)
    cell = atoms.cell.array @ (np.eye(3) + rng.uniform(-strain, strain, (3, 3)))
    positions = atoms.get_scaled_positions() @ cell + rng.uniform(-amplitude, amplitude, (4, 3))
    return Structure.from_symbols(["Ar"] * 4, positions, cell)


def cluster(n_atoms: int = 4, seed: int = 0) -> Structure:
    """Some atoms of argon in a loose heap."""
    rng = np.random.default_rng(seed)
    corners = np.array([[0, 0, 0], [1, 1, 0], [1, 0, 1], [0, 1, 1], [1, 1, 2]])[:n_atoms]
    positions = 2.8 * corners + rng.uniform(-0.2, 0.2, (n_atoms, 3))
    return Structure.from_symbols(["Ar"] * n_atoms, positions, 30 * np.eye(3), is_periodic=False)
