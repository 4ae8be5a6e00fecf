"""Fourier transforms of radial functions that are known as splines, by quadrature."""

import numpy as np

from models.decoder.frame import FloatArray
from models.decoder.real_space import RadialCubics

NODES_PER_INTERVAL = 4
"""Gauss–Legendre nodes: exact for r² times a cubic, and to (G·spacing)⁶ with the wave; 10⁻¹² where that is 0.1."""


def radial_transforms(functions: RadialCubics, wave_numbers: FloatArray) -> FloatArray:
    r"""Transforms of spherical functions, [n_functions, n_waves]; in electrons if the functions are in e/Å³.

    .. math:: f(G) = \int f(r)\, e^{-iG\cdot r}\, d^3r = 4\pi \int_0^\infty f(r)\, \frac{\sin Gr}{Gr}\, r^2\, dr

    Args:
        functions: The functions.
        wave_numbers: |G| in Å⁻¹, [n_waves]; far below the inverse spacing of the functions' knots.
    """
    nodes, weights = np.polynomial.legendre.leggauss(NODES_PER_INTERVAL)
    u = (nodes + 1) / 2
    # A function is zero beyond its cutoff, which is a knot, because its coefficients are.
    values = functions.coefficients @ u ** np.arange(4)[:, None]
    r = functions.spacing * (np.arange(values.shape[1])[:, None] + u)
    shells = 4 * np.pi * r**2 * (weights / 2 * functions.spacing) * values
    lengths, place = np.unique(wave_numbers, return_inverse=True)
    waves = np.sinc(r.ravel()[:, None] * (lengths / np.pi))
    return (shells.reshape(len(values), -1) @ waves)[:, place]
