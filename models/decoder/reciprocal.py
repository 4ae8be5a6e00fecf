r"""Density of orbitals in a periodic cell from their Fourier transforms, which are known in closed form.

.. math:: \rho(r) = \frac1V \sum_G e^{iG\cdot r} \sum_{lm} (-i)^l\, |G|^l\, Y_{lm}(\hat G)
    \sum_a e^{-iG\cdot R_a}\, t_{a,lm}(|G|)

with one-dimensional tables t (`Orbitals.fourier_tables`). Wavevectors are sorted by |G| into the intervals of the
tables; within an interval the sum over centres is one product of matrices, phases times knots, and never sees the
exponents.

Values are point values: a grid that is too coarse for the basis cannot tell G from G + n·b, so every coefficient up to
the limit of the basis is added where it is folded to. This equals a transform on a finer grid of which the points of
the coarse one are kept, without that grid.
"""

from math import pi
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from models.basis.gaussian import Orbitals
from models.basis.harmonics import degrees, solid_harmonics
from models.basis.radial_tables import stretched
from models.decoder.frame import FloatArray
from models.decoder.orbital import fractional_positions
from models.interface import GridShape

NUMBERS_PER_PIECE = 2**22
"""Numbers in the largest array that is held while wavevectors are worked off."""


class Wavevectors(NamedTuple):
    """Half of the wavevectors within a sphere, G = 0 first: of G and −G only one.

    Attributes:
        indices: Integers h with G = h @ b, [n, 3].
        vectors: G in Å⁻¹, [n, 3].
        lengths: |G|, rising, [n].
    """

    indices: Tensor
    vectors: Tensor
    lengths: Tensor

    @classmethod
    def within(cls, cell: FloatArray, limit: float) -> "Wavevectors":
        """The wavevectors of a cell (Å, vectors as rows) up to a length in Å⁻¹."""
        highest = np.floor(limit * np.linalg.norm(cell, axis=1) / (2 * pi)).astype(int)
        axes = [torch.arange(-n, n + 1) for n in highest[:2]] + [torch.arange(highest[2] + 1)]
        h0, h1, h2 = (axis.flatten() for axis in torch.meshgrid(*axes, indexing="ij"))
        half = (h2 > 0) | (h1 > 0) | ((h1 == 0) & (h0 >= 0))
        indices = torch.stack([h0, h1, h2], dim=1)[half & ((h2 > 0) | (h1 >= 0))]
        vectors = indices.double() @ torch.from_numpy(2 * pi * np.linalg.inv(cell).T)
        lengths = vectors.norm(dim=1)
        order = torch.argsort(lengths, stable=True)
        order = order[: int((lengths <= limit).sum())]
        return cls(indices[order], vectors[order], lengths[order])


class ReciprocalDecoder:
    """Σ over centres and their images of their orbitals in a crystal, by one inverse Fourier transform.

    Differentiable in exponents and coefficients.

    Args:
        cell: Cell vectors in Å, one a row, [3, 3].
        positions: Cartesian positions of the centres in Å, inside the cell or not, [n_centres, 3].
        orbitals: Their functions.
        dtype: Of phases, harmonics and tables. The transform is float64 always.

    Raises:
        ValueError: If the positions are not finite or not as many as the orbitals' centres.
    """

    def __init__(self, cell: FloatArray, positions: FloatArray, orbitals: Orbitals, dtype=torch.float32) -> None:
        self._cell = np.asarray(cell, dtype=np.float64)
        self._fractional = torch.from_numpy(fractional_positions(self._cell, True, positions, orbitals.n_centres))
        self._highest_degree = orbitals.highest_degree
        self._limit = orbitals.wavenumber_limit()
        self._knots = orbitals.fourier_tables().knots.to("cpu", dtype)

    def on_grid(self, shape: GridShape) -> Tensor:
        """Point values in e/Å³, float64, [n0, n1, n2]."""
        waves = Wavevectors.within(self._cell, self._limit)
        factors = self._phase_factors(waves.indices)
        n_numbers = 2 * self._knots.shape[0] + 8 * self._knots.shape[-1]
        pieces = [
            # The pieces' arrays are made again on the way back: those of all pieces would not fit.
            checkpoint(self._coefficients, Wavevectors(*piece), factors, use_reentrant=False)
            for piece in zip(*(part.split(max(1, NUMBERS_PER_PIECE // n_numbers)) for part in waves), strict=True)
        ]
        coefficients = torch.cat(pieces) / abs(np.linalg.det(self._cell))
        folded = _folded(waves.indices, coefficients, shape)
        return torch.fft.irfftn(folded, s=shape, norm="forward")

    def _coefficients(self, waves: Wavevectors, factors: list[tuple[int, Tensor]]) -> Tensor:
        """∫ρ e^(−iG·r) d³r over the cell in electrons, complex128, [n]."""
        if not len(self._knots):
            return torch.zeros(len(waves.lengths), dtype=torch.complex128)
        place = stretched(waves.lengths, self._limit)
        phases = self._phases(waves.indices, factors)
        sums = []
        intervals, n_waves = torch.unique_consecutive(place.intervals, return_counts=True)
        for interval, part in zip(intervals.tolist(), phases.split(n_waves.tolist(), dim=1), strict=True):
            sums.append(part @ self._knots[:, interval : interval + 2].flatten(1))
        weights = place.weights.to(self._knots.dtype)
        real, imaginary = torch.einsum("pgkm,gk->pgm", torch.cat(sums, dim=1).unflatten(2, (4, -1)), weights)
        degree = degrees(self._highest_degree)
        # (−i)^l is 1, −i, −1, i: even degrees keep real and imaginary parts, odd ones exchange them.
        harmonics = solid_harmonics(waves.vectors, self._highest_degree) * (1 - 2 * (degree // 2 % 2))
        even, odd = ((harmonics * (degree % 2 == parity)).to(real) for parity in (0, 1))
        return torch.complex(
            (real * even + imaginary * odd).sum(1).double(), (imaginary * even - real * odd).sum(1).double()
        )

    def _phase_factors(self, indices: Tensor) -> list[tuple[int, Tensor]]:
        """For each direction the lowest index h, and e^(−2πi h x) from it to the highest, complex, [n, n_centres]."""
        factors = []
        for axis in range(3):
            lowest, highest = int(indices[:, axis].min()), int(indices[:, axis].max())
            # The angle is reduced in float64: float32 would lose it where the index is large.
            turns = torch.remainder(torch.arange(lowest, highest + 1)[:, None] * self._fractional[:, axis], 1.0)
            factors.append((lowest, torch.exp(-2j * pi * turns).to(self._knots.dtype.to_complex())))
        return factors

    def _phases(self, indices: Tensor, factors: list[tuple[int, Tensor]]) -> Tensor:
        """Real and imaginary part of e^(−iG·R), [2, n, n_centres]."""
        product = torch.ones(1, dtype=factors[0][1].dtype)
        for axis, (lowest, factor) in enumerate(factors):
            product = product * factor[indices[:, axis] - lowest]
        return torch.view_as_real(product).movedim(-1, 0)


def _folded(indices: Tensor, coefficients: Tensor, shape: GridShape) -> Tensor:
    """The half space of Fourier coefficients of a grid, complex128, [n0, n1, n2 // 2 + 1].

    Args:
        indices: Integers h of one of G and −G, G = 0 first, [n, 3].
        coefficients: Their Fourier coefficients, [n].
        shape: Of the grid.
    """
    n0, n1, n2 = shape
    both = torch.cat([indices, -indices[1:]]) % torch.tensor(shape)
    values = torch.cat([coefficients, coefficients[1:].conj()])
    kept = both[:, 2] <= n2 // 2
    i, j, k = both[kept].unbind(1)
    folded = torch.zeros(n0 * n1 * (n2 // 2 + 1), dtype=torch.complex128)
    return folded.index_add(0, (i * n1 + j) * (n2 // 2 + 1) + k, values[kept]).view(n0, n1, -1)
