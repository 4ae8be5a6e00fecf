"""Thermal motion as a start of molecular dynamics."""

import numpy as np
from ase import Atoms, units


def set_in_motion(atoms: Atoms, temperature: float, rng: np.random.Generator) -> None:
    """Gives every atom a momentum of the Maxwell–Boltzmann distribution.

    Args:
        atoms: Changed in place.
        temperature: K.
        rng: Source of the momenta.
    """
    spread = np.sqrt(atoms.get_masses() * units.kB * temperature)
    atoms.set_momenta(rng.normal(size=(len(atoms), 3)) * spread[:, None])
