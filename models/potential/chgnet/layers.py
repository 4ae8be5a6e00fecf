"""Layers of CHGNet: its bases of distances and angles, its gated perceptron, and sums over neighbours.

The formulas are those of B. Deng and others, Nature Machine Intelligence 5, 1031 (2023), and of the package that
carries the weights.
"""

from math import pi

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, silu

N_FEATURES = 64
"""Features of an atom, a bond and an angle."""


class RadialBasis(nn.Module):
    r"""Waves in a sphere that end smoothly at its surface, in Å^(-3/2), [n, n_radial].

    .. math:: b_n(r) = \sqrt{2/r_c}\, \frac{\sin(w_n r / r_c)}{r}\, u(r / r_c), \qquad
        u(x) = 1 - \tfrac{(p+1)(p+2)}{2} x^p + p(p+2) x^{p+1} - \tfrac{p(p+1)}{2} x^{p+2}

    Args:
        n_radial: Number of waves.
        cutoff: Radius r_c of the sphere in Å; beyond it every b_n is zero.
        power: p, the order to which 1 − u vanishes in the middle.
    """

    def __init__(self, n_radial: int, cutoff: float, power: int) -> None:
        super().__init__()
        self.frequencies = nn.Parameter(pi * torch.arange(1.0, n_radial + 1))
        self.cutoff = cutoff
        self.power = power

    def forward(self, lengths: Tensor) -> Tensor:
        """The basis at distances in Å, [n]."""
        x, p = lengths / self.cutoff, self.power
        envelope = 1 + x**p * (-(p + 1) * (p + 2) / 2 + x * (p * (p + 2) - x * p * (p + 1) / 2))
        factor = (2 / self.cutoff) ** 0.5 * torch.where(x < 1, envelope, 0.0) / lengths
        return factor[:, None] * torch.sin(x[:, None] * self.frequencies)


class AngularBasis(nn.Module):
    r"""Fourier series of angles, [n, 2 n_frequencies + 1].

    .. math:: a(\theta) = \tfrac{1}{\sqrt\pi} [\tfrac{1}{\sqrt 2}, \sin f_n\theta, \cos f_n\theta]
    """

    def __init__(self, n_frequencies: int) -> None:
        super().__init__()
        self.frequencies = nn.Parameter(torch.arange(1.0, n_frequencies + 1))

    def forward(self, angles: Tensor) -> Tensor:
        """The series at angles in radians, [n]."""
        phases = angles[:, None] * self.frequencies
        constant = torch.full_like(angles, 0.5**0.5)[:, None]
        return torch.cat([constant, torch.sin(phases), torch.cos(phases)], dim=1) / pi**0.5


def angles_between(first: Tensor, second: Tensor) -> Tensor:
    r"""Angles between unit vectors in radians, [n], as CHGNet has them.

    .. math:: \theta = \arccos((1 - 10^{-6})\, \hat n_1 \cdot \hat n_2)

    The factor keeps the derivative finite where three atoms lie on a line. It is some 700 there, and multiplies what
    rounding left of the directions: give float64.
    """
    return torch.acos((1 - 1e-6) * (first * second).sum(dim=1))


class GatedPerceptron(nn.Module):
    r"""The gated perceptron of CHGNet, SiLU(core) · σ(gate), on inputs that are never written side by side.

    Its first layer is linear in [x_1 || x_2 || …]. What an atom contributes is the same in all its edges, so each part
    is multiplied by its own block of the weights where it lives, on atoms, bonds or angles (`project`), gathered and
    summed there, and `forward` goes on from the sum. Core and gate are one matrix in this layer.

    Args:
        n_parts: Number of inputs, `N_FEATURES` each.
        is_deep: Whether a hidden layer comes first; otherwise the first layer is the last.
        is_normalised: Whether core and gate are normalised over their features.
    """

    def __init__(self, n_parts: int, is_deep: bool, is_normalised: bool) -> None:
        super().__init__()
        self.parts = nn.ParameterList([nn.Parameter(torch.empty(2 * N_FEATURES, N_FEATURES)) for _ in range(n_parts)])
        self.bias = nn.Parameter(torch.empty(2 * N_FEATURES))
        self.core = _Branch(is_deep, is_normalised)
        self.gate = _Branch(is_deep, is_normalised)

    @property
    def is_frozen(self) -> bool:
        return is_frozen(self)

    def project(self, part: int, features: Tensor) -> Tensor:
        """What one input contributes to the first layer, [n, 2 N_FEATURES]; the first input brings the bias."""
        return linear(features, self.parts[part], self.bias if part == 0 else None)

    def forward(self, first_layer: Tensor) -> Tensor:
        """Output [n, N_FEATURES], from the sum of all contributions to the first layer, [n, 2 N_FEATURES]."""
        core, gate = first_layer.split(N_FEATURES, dim=1)
        return silu(self.core(core)) * torch.sigmoid(self.gate(gate))


class _Branch(nn.Module):
    """Core or gate of a gated perceptron, between its first layer and its last activation."""

    def __init__(self, is_deep: bool, is_normalised: bool) -> None:
        super().__init__()
        self.hidden = nn.Linear(N_FEATURES, N_FEATURES) if is_deep else None
        self.norm = nn.LayerNorm(N_FEATURES) if is_normalised else None

    def forward(self, values: Tensor) -> Tensor:
        if self.hidden is not None:
            values = self.hidden(silu(values))
        return values if self.norm is None else self.norm(values)


def is_frozen(module: nn.Module) -> bool:
    """Whether a module only answers: it is not in training, and none of its weights is differentiated."""
    return not module.training and not any(weight.requires_grad for weight in module.parameters())
