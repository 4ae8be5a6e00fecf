"""The Coulomb energy of a density's error, from its long waves.

NMAE counts a misplaced electron alike whether it went one bond further or across the cell; energies and potentials do
not. The Coulomb metric weighs long waves most.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.basis.gaussian import Orbitals
from models.basis.harmonics import degrees, solid_harmonics
from models.density.orbital.model import AtomProducts, Centres
from models.density.promolecule import Promolecule
from models.device import moved
from rhocast.density.potential import COULOMB
from training.dataset import Sample

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Waves:
    """Waves of one sample, and what the promolecule lacks in each.

    Attributes:
        vectors: G in Å⁻¹ of one of each pair ±G, G = 0 left out, float64, [n_waves, 3].
        missing: Reference minus promolecule in electrons, complex128, [n_waves].
        energies: Coulomb energy of an error of one electron in a wave and its partner −G, in eV per electron of the
            structure, float64, [n_waves].
    """

    vectors: Tensor
    missing: Tensor
    energies: Tensor

    @classmethod
    def of(cls, sample: Sample, promolecule: Promolecule) -> "Waves":
        """The waves of a sample.

        Args:
            sample: The reference.
            promolecule: The floor.
        """
        lengths = np.linalg.norm(sample.wave_vectors, axis=1)
        is_wave = lengths > 0
        vectors = sample.wave_vectors[is_wave]
        missing = sample.wave_electrons[is_wave] - promolecule.electrons_in_waves(sample.structure, vectors)
        # ½ of the energy, times two for the pair.
        of_pairs = COULOMB * 4 * np.pi / (lengths[is_wave] ** 2 * sample.structure.volume)
        return cls(
            torch.from_numpy(vectors), torch.from_numpy(missing), torch.from_numpy(of_pairs / sample.n_electrons)
        )


def coulomb_error(waves: Waves, centres: Sequence[Centres], products: AtomProducts | None = None) -> Tensor:
    r"""Coulomb energy of the error with itself, in eV per electron.

    .. math:: \frac{E}{N} = \frac{1}{2N} \frac{e^2}{4\pi\epsilon_0} \iint
        \frac{\Delta\rho(r)\, \Delta\rho(r')}{|r - r'|}
        = \frac{1}{2NV} \frac{e^2}{4\pi\epsilon_0} \sum_{G \neq 0} \frac{4\pi}{G^2}\, |\Delta\rho(G)|^2

    by Parseval's theorem, over the waves that are stored: those up to 3 Å⁻¹. It is quadratic in the error; the
    promolecule's is 0.12 eV per electron for organics and 0.018 for crystals, on average.

    A molecule's stored waves are those of its density repeated with its box, while its orbitals are of all space. Their
    transform over all space, at a wave vector of the box's lattice, is the coefficient of their own repetition: what
    leaves one box enters the next. So nothing is special about molecules.

    Args:
        waves: What the orbitals should add, in waves.
        centres: The orbitals.
        products: Products of fields on atoms, if the model has them.
    """
    if centres:
        waves = moved(waves, centres[0].orbitals.exponents.device)
    added = torch.zeros_like(waves.missing)
    for one in centres:
        at = torch.from_numpy(one.positions).to(waves.vectors)
        added = added + electrons_in_waves(at, one.orbitals, waves.vectors)
    if products:
        at = torch.from_numpy(products.positions).to(waves.vectors)
        added = added + products.products.electrons_in_waves(at, products.pairs, waves.vectors)
    error = added - waves.missing
    return (waves.energies * (error.real.square() + error.imag.square())).sum()


def electrons_in_waves(positions: Tensor, orbitals: Orbitals, vectors: Tensor) -> Tensor:
    r"""∫ρ exp(−iG·r) d³r of orbitals over all space in electrons, complex128, [n_waves].

    Differentiable in exponents and coefficients, not in positions.

    .. math:: \rho(G) = \sum_a e^{-iG\cdot R_a} \sum_{lm} (-i)^l\, |G|^l\, Y_{lm}(\hat G)\, t_{a,lm}(|G|)

    Args:
        positions: R in Å, float64, [n_centres, 3].
        orbitals: Their functions.
        vectors: G in Å⁻¹, float64, [n_waves, 3].
    """
    degree = degrees(orbitals.highest_degree).to(vectors.device)
    # (−i)^l is 1, −i, −1, i.
    harmonics = solid_harmonics(vectors, orbitals.highest_degree) * (1 - 2 * (degree // 2 % 2))
    parts = orbitals.fourier_parts(vectors.norm(dim=1)) * harmonics
    is_odd = degree % 2 == 1
    of_centres = torch.complex(parts[..., ~is_odd].sum(-1), -parts[..., is_odd].sum(-1))
    return (torch.exp(-1j * (positions @ vectors.T)) * of_centres).sum(0)
