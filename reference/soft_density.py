"""The reference density's compensation charges, and the Fourier coefficients of any density on a grid.

    ρ(r) = ñ(r) − ñ_c(r) + Σ_a Σ_{l≤2,m} Q_a,lm g_l(|r − R_a|; w_a) Y_lm,    g_l ∝ r^l exp(−r²/w_a²)

g_l has unit multipole moment. Needs NumPy alone, for the DFT's own interpreter imports it too. Multipoles are in bohr^l
and in GPAW's order: s | y z x | xy yz 3z²−r² xz x²−y²; nothing else here is in bohr.
"""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
ComplexArray = NDArray[np.complex128]

BOHR = 0.529177210903
"""Å, CODATA 2018."""

LARGEST_WAVE_NUMBER = 3.0
"""Å⁻¹; Fourier coefficients are kept up to here."""


def solid_harmonics(k: FloatArray) -> FloatArray:
    """k^l Y_lm(k) for l ≤ 2 in GPAW's order, [9, …]; k is [3, …]."""
    x, y, z = k
    c0, c1, c2 = np.sqrt(1 / (4 * np.pi)), np.sqrt(3 / (4 * np.pi)), np.sqrt(15 / (4 * np.pi))
    return np.stack([
        np.full_like(x, c0),
        c1 * y, c1 * z, c1 * x,
        c2 * x * y, c2 * y * z, c2 / np.sqrt(12) * (2 * z * z - x * x - y * y), c2 * x * z, c2 / 2 * (x * x - y * y),
    ])  # fmt: skip


def soft_compensation(
    shape: tuple[int, int, int], cell: FloatArray, positions: FloatArray, multipoles: FloatArray, widths: FloatArray
) -> FloatArray:
    """Compensation charges on the grid in e/Å³, [n0, n1, n2], built in reciprocal space: periodic, and exact to the
    grid's own wave numbers.

    Args:
        shape: Points of the grid along each cell vector.
        cell: Rows in Å, [3, 3].
        positions: Å, [n_atoms, 3].
        multipoles: bohr^l, [n_atoms, 9].
        widths: w in Å, [n_atoms].
    """
    frequency = [np.fft.fftfreq(n, 1 / n) for n in shape[:2]] + [np.fft.rfftfreq(shape[2], 1 / shape[2])]
    reciprocal = 2 * np.pi * np.linalg.inv(cell) * BOHR
    k = np.moveaxis(np.stack(np.meshgrid(*frequency, indexing="ij"), -1) @ reciprocal.T, -1, 0)
    k2, harmonics = (k**2).sum(0), solid_harmonics(k)
    # A solid-harmonic Gaussian of unit moment transforms to 4π (−i)^l / (2l+1)!! k^l Y exp(−k² w²/4).
    factor = np.array([4 * np.pi] + [-4j * np.pi / 3] * 3 + [-4 * np.pi / 15] * 5)
    total = np.zeros(k2.shape, complex)
    for fraction, row, width in zip(positions @ np.linalg.inv(cell), multipoles, widths, strict=True):
        a, b, c = (np.exp(-2j * np.pi * f * x) for f, x in zip(frequency, fraction, strict=True))
        angular = np.tensordot(row * factor, harmonics, axes=1)
        total += angular * np.exp(-k2 * (width / BOHR) ** 2 / 4) * a[:, None, None] * b[None, :, None] * c
    return np.fft.irfftn(total, s=shape, axes=(0, 1, 2)) * np.prod(shape) / abs(np.linalg.det(cell))


def wave_vector_indices(cell: FloatArray, largest: float = LARGEST_WAVE_NUMBER) -> IntArray:
    """Integers (h, k, l) of G = 0 and of one of each pair ±G with |G| ≤ `largest`, [n_waves, 3], in order of |G|.

    Of a pair, the one whose first integer that is not zero is positive.

    Args:
        cell: Rows in Å, [3, 3].
        largest: Largest |G| in Å⁻¹.
    """
    # |h| = |G·a|/2π ≤ |G||a|/2π
    reach = np.floor(largest * np.linalg.norm(cell, axis=1) / (2 * np.pi) + 1e-9).astype(int)
    ranges = [np.arange(0, reach[0] + 1), *(np.arange(-n, n + 1) for n in reach[1:])]
    h, k, l = (axis.ravel() for axis in np.meshgrid(*ranges, indexing="ij"))  # noqa: E741 -- Miller's name
    first = (h > 0) | ((h == 0) & (k > 0)) | ((h == 0) & (k == 0) & (l >= 0))
    indices = np.column_stack([h, k, l])[first]
    length = np.linalg.norm(wave_vectors(cell, indices), axis=1)
    inside = length <= largest + 1e-9
    # Rounded, so that the order of equal lengths does not hang on the last bit.
    order = np.lexsort((*indices[inside].T[::-1], np.round(length[inside], 8)))
    return indices[inside][order].astype(np.int64)


def wave_vectors(cell: FloatArray, indices: IntArray) -> FloatArray:
    """G in Å⁻¹, [n_waves, 3]."""
    return 2 * np.pi * indices @ np.linalg.inv(cell).T


def fourier_coefficients(density: FloatArray, cell: FloatArray, indices: IntArray) -> ComplexArray:
    r"""Electrons in each wave, [n_waves]; at G = 0 the number of electrons.

    .. math:: \rho(G) = \int_{cell} \rho(r)\, e^{-i G \cdot r}\, d^3r

    Args:
        density: e/Å³ at the grid's points, [n0, n1, n2].
        cell: Rows in Å, [3, 3].
        indices: (h, k, l) of each wave, [n_waves, 3].

    Raises:
        ValueError: If the grid is too coarse for a wave.
    """
    shape = np.array(density.shape)
    if np.any(2 * np.abs(indices) >= shape):
        raise ValueError(f"found a grid of {density.shape} points; expected one that resolves waves {indices.max(0)}")
    h, k, l = (indices % shape).T  # noqa: E741 -- Miller's name
    return np.fft.fftn(density)[h, k, l] * (abs(np.linalg.det(cell)) / density.size)


def density_from_coefficients(
    coefficients: ComplexArray, cell: FloatArray, indices: IntArray, shape: tuple[int, int, int]
) -> FloatArray:
    """The waves added up on a grid, e/Å³, [n0, n1, n2]; the reverse of `fourier_coefficients` for a density that has no
    other waves.

    Args:
        coefficients: Electrons in each wave, [n_waves].
        cell: Rows in Å, [3, 3].
        indices: (h, k, l) of each wave, [n_waves, 3].
        shape: Points of the grid along each cell vector.
    """
    waves = np.zeros(shape, complex)
    waves[tuple((-indices % np.array(shape)).T)] = np.conj(coefficients)
    waves[tuple((indices % np.array(shape)).T)] = coefficients
    return np.fft.ifftn(waves).real * (np.prod(shape) / abs(np.linalg.det(cell)))
