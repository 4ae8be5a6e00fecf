"""Radial functions of each element: learned exponents, and the combinations of them that are orthonormal."""

from math import log

import torch
from torch import Tensor, nn

from models.basis.gaussian import radial_norm
from models.density.orbital.config import BasisConfig

OVERLAP_FLOOR = 1e-3
"""Added to the overlap of even-tempered Gaussians, whose smallest eigenvalues are below it: no network can use a
combination of functions that cancel to a thousandth."""


class RadialFunctions(nn.Module):
    r"""Gaussian exponents of each kind of centre, and orthonormal combinations of the Gaussians of each degree.

    Exponents lie between two bounds, evenly in their logarithms until they have learned. Networks give coefficients of
    orthonormal functions, for those of Gaussians that overlap by 90 % would be large and cancel.

    Args:
        config: Number, bounds and degrees.
        n_kinds: Kinds of centres, such as elements.
    """

    def __init__(self, config: BasisConfig, n_kinds: int) -> None:
        super().__init__()
        self.config = config
        # Bounds a factor 1.5 beyond the first and last exponent give them room to move either way.
        edge = 0.5 / config.n_radial
        places = torch.linspace(edge, 1 - edge, config.n_radial, dtype=torch.float64)
        logits = torch.log(places / (1 - places)).to(torch.get_default_dtype()).repeat(n_kinds, 1)
        self.logits = nn.Parameter(logits, requires_grad=config.is_learned)

    def exponents(self) -> Tensor:
        """α in bohr⁻², float64, [n_kinds, n_radial]."""
        low, high = log(self.config.smallest_exponent), log(self.config.largest_exponent)
        return torch.exp(low + (high - low) * torch.sigmoid(self.logits.double()))

    def combinations(self) -> Tensor:
        r"""T, so that Σ_j T_jk φ_j are nearly orthonormal, float64, [n_kinds, L + 1, n_radial (j), n_radial (k)].

        .. math:: T = C^{-T}, \quad C C^T = S + \epsilon, \qquad
            S_{jk} = \Big(\frac{2\sqrt{\alpha_j \alpha_k}}{\alpha_j + \alpha_k}\Big)^{l + 3/2}
        """
        exponents = self.exponents()
        degree = torch.arange(self.config.highest_degree + 1, device=exponents.device)
        product = 2 * torch.sqrt(exponents[:, :, None] * exponents[:, None])
        overlap = (product / (exponents[:, :, None] + exponents[:, None]))[:, None] ** (degree[:, None, None] + 1.5)
        identity = torch.eye(self.config.n_radial, dtype=torch.float64, device=exponents.device)
        lower = torch.linalg.cholesky(overlap + OVERLAP_FLOOR * identity)
        return torch.linalg.solve_triangular(lower.mT, identity.expand_as(lower), upper=True)

    def charges(self) -> Tensor:
        r"""Electrons of each combination of degree 0 with coefficient 1, float64, [n_kinds, n_radial].

        .. math:: v_k = \sum_j T_{jk} N(\alpha_j, 0) (\pi / \alpha_j)^{3/2}
        """
        exponents = self.exponents()
        of_gaussians = radial_norm(exponents, torch.zeros((), device=exponents.device)) * (torch.pi / exponents) ** 1.5
        return torch.einsum("zjk,zj->zk", self.combinations()[:, 0], of_gaussians)
