"""Elements of which each is seldom: they start as alike as their free atoms are, and are blurred while they learn.

A set of simple crystals has each of its many elements in a handful of structures. A network that knows them by vectors
drawn at random learns each by heart; what it learns of one helps no other.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

from models.density.promolecule import AtomTable
from models.network import Trunk
from rhocast.elements import SYMBOLS

FloatArray = NDArray[np.float64]

RADII = np.linspace(0.2, 3.5, 12)
"""Å; where free atoms are compared."""

FLOOR = 1e-3
"""e/Å³; densities far below it are equal."""

N_DIRECTIONS = 6
"""In which free atoms differ, of those that radii and numbers of electrons span; in the rest they hardly do."""


def likenesses(elements: Sequence[int], n_channels: int, free: AtomTable, seed: int) -> FloatArray:
    """A vector for each element, near that of one whose free atom is like its own, of mean square 1 together.

    Args:
        elements: Atomic numbers.
        n_channels: Length of a vector.
        free: Free atoms.
        seed: Of the directions in which they differ.
    """
    symbols = [SYMBOLS[number] for number in elements]
    atoms = free.free_atoms(symbols)
    looks = np.array([[*np.log(atoms.densities[one](RADII) + FLOOR), atoms.valence[one]] for one in symbols])
    spread = looks.std(0)
    looks = (looks - looks.mean(0)) / np.where(spread > 0, spread, 1.0)
    axes, sizes, _ = np.linalg.svd(looks, full_matrices=False)
    # The square root: the largest difference, in size, is not all there is to see.
    kept = axes[:, :N_DIRECTIONS] * np.sqrt(sizes[:N_DIRECTIONS])
    found = kept @ np.random.default_rng(seed).normal(size=(kept.shape[1], n_channels))
    size = np.sqrt(np.mean(found**2))
    return found / size if size > 0 else found


def start_alike(trunk: Trunk, likeness: float, free: AtomTable, seed: int) -> None:
    """Gives a new trunk elements that are alike.

    Args:
        trunk: The trunk; its vectors of elements are replaced.
        likeness: Part of the vectors' variance that follows from free atoms, from 0 to 1; the rest stays as drawn.
        free: Free atoms.
        seed: As of `likenesses`.
    """
    n_channels = trunk.config.n_channels
    alike = torch.from_numpy(likenesses(trunk.config.elements, n_channels, free, seed))
    with torch.no_grad():
        own = trunk.embedding
        own.copy_(likeness**0.5 * alike.to(own) + (1 - likeness) ** 0.5 * own)


@contextmanager
def blurred(trunk: Trunk, noise: float, rng: np.random.Generator) -> Generator[None]:
    """Scope in which each element's vector is a little off; gradients found in it are those there.

    Args:
        trunk: The trunk.
        noise: Standard deviation, where vectors have components of about 1.
        rng: Source of the noise.
    """
    if not noise:
        yield
        return
    vectors = trunk.embedding.data
    kept = vectors.clone()
    vectors.add_(torch.from_numpy(rng.normal(scale=noise, size=vectors.shape)).to(vectors))
    try:
        yield
    finally:
        vectors.copy_(kept)
