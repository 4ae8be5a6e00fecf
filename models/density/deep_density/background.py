r"""The background: spherical atoms, free ones and what a fit in closed form adds to them.

.. math:: b(r) = \sum_I \rho_{Z_I}(|r - R_I|) + \sum_k c_{Z_I k}\, g_k(|r - R_I|)

with the free atoms of the promolecule. The functions g are Gaussian shells that are even in r, so that they are smooth
on the nucleus, and fade to nothing at a cutoff. Where nothing was fitted, c is zero and the free atoms are left.
"""

from dataclasses import replace

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor

from models.decoder.radial_transforms import radial_transforms
from models.decoder.real_space import RadialCubics
from models.density.deep_density.config import BackgroundConfig
from models.density.deep_density.network import DeepDensityNetwork
from models.density.promolecule import AtomTable
from models.interface import FloatArray
from models.radial import gaussian_shells, polynomial_envelope

QUADRATURE_NODES = 400
"""Of Gauss and Legendre, for shells of any width that makes sense."""


def shells(lengths: Tensor, config: BackgroundConfig) -> Tensor:
    """Values g of the functions of one centre at distances in Å, [n] → [n, n_radial]."""
    envelope = polynomial_envelope(lengths, config.cutoff)
    return envelope[:, None] * gaussian_shells(lengths, config.cutoff, config.n_radial)


def shell_charges(config: BackgroundConfig) -> FloatArray:
    """∫ g_k d³r of each function in Å³, [n_radial]."""
    lengths, weights = np.polynomial.legendre.leggauss(QUADRATURE_NODES)
    lengths = 0.5 * config.cutoff * (lengths + 1)
    values = shells(torch.from_numpy(lengths), config).numpy()
    return (2 * np.pi * config.cutoff * weights * lengths**2) @ values


def background_atoms(network: DeepDensityNetwork, table: AtomTable) -> AtomTable:
    """The spherical atoms of a network's background: their densities, and the electrons that they hold.

    Args:
        network: The network, with the coefficients of its elements in e/Å³.
        table: The free atoms.
    """
    config, lines = network.config.background, table.line[list(network.config.elements)]
    coefficients = network.background.cpu().numpy()
    spacing = table.densities.spacing
    knots = spacing * np.arange(round(config.cutoff / spacing) + 1)
    values = shells(torch.from_numpy(knots), config).numpy() @ coefficients.T
    added = RadialCubics.of_splines([CubicSpline(knots, one, bc_type="clamped") for one in values.T], spacing)
    free, n_intervals = table.densities, added.coefficients.shape[1]
    longest = max(n_intervals, free.coefficients.shape[1])
    cubics = np.zeros((len(free.cutoffs), longest, free.coefficients.shape[2]))
    cubics[:, : free.coefficients.shape[1]] = free.coefficients
    cubics[lines, :n_intervals] += added.coefficients
    cutoffs, valence = free.cutoffs.copy(), table.valence.copy()
    cutoffs[lines] = np.maximum(cutoffs[lines], knots[-1])
    valence[lines] += radial_transforms(added, np.zeros(1))[:, 0]
    return replace(table, valence=valence, densities=RadialCubics(cubics, cutoffs, spacing))
