"""Samples whose densities are written down, not computed by DFT."""

import numpy as np

from reference.soft_density import wave_vector_indices, wave_vectors
from rhocast.structure import Structure
from training.dataset import Sample


def sample_of(structure: Structure, grid_shape, density, n_electrons: float) -> Sample:
    """The whole grid of a density with its waves; labels that no test looks at are zero.

    Args:
        structure: Atoms and cell; a molecule's density must have fallen to nothing at the faces of its box.
        grid_shape: Points of the grid.
        density: e/Å³ at its points, [n_points].
        n_electrons: Valence electrons.
    """
    indices = wave_vector_indices(structure.cell)
    transformed = np.fft.fftn(np.reshape(density, grid_shape)) * (structure.volume / len(density))
    return Sample(
        name="analytic",
        set_name="analytic",
        group="analytic",
        structure=structure,
        n_electrons=n_electrons,
        grid_shape=grid_shape,
        point_indices=np.arange(len(density)),
        density=np.asarray(density),
        weights=np.full(len(density), structure.volume / len(density)),
        wave_vectors=wave_vectors(structure.cell, indices),
        wave_electrons=transformed[tuple((indices % grid_shape).T)],
        energy=0.0,
        free_energy=0.0,
        forces=np.zeros((structure.n_atoms, 3)),
        stress=None,
        settings_hash="",
    )


def grid_points(cell, shape) -> np.ndarray:
    """Cartesian positions of the points of a grid in Å, [n_points, 3]."""
    return np.stack(np.unravel_index(np.arange(np.prod(shape)), shape), 1) / shape @ cell
