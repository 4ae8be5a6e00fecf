"""Functions of a distance: the envelope that lets edges fade, and the basis in which networks see lengths."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

ENVELOPE_DEGREE = 6
"""p of the polynomial envelope: within 1 % of one up to 0.29 of the cutoff, twice differentiable there."""

SHELL_WIDTH = 1.4
"""Width of a Gaussian shell over the distance between shells: any smooth function is near a sum of them."""

N_MIRRORED = 9
"""Shells whose mirror image reaches r = 0; of the next it is 10⁻¹⁸ there."""


def polynomial_envelope(lengths: Tensor, cutoff: float) -> Tensor:
    r"""Weight of each edge: 1 at length 0, 0 from the cutoff on, with two continuous derivatives everywhere.

    .. math:: u(x) = 1 - \tfrac{(p+1)(p+2)}{2} x^p + p(p+2) x^{p+1} - \tfrac{p(p+1)}{2} x^{p+2}
        = (1 - x)^3 \sum_{k<p} \tbinom{k+2}{2} x^k, \qquad x = r / r_c

    (Gasteiger, Groß, Günnemann, ICLR 2020). The second form is used: near the cutoff the first one is a difference of
    numbers around 50, and in float32 leaves noise of either sign.

    Args:
        lengths: Distances in Å.
        cutoff: Distance in Å from which on the weight is zero.
    """
    x = (lengths / cutoff).clamp(max=1)
    series = torch.zeros_like(x)
    for k in reversed(range(ENVELOPE_DEGREE)):
        series = series * x + math.comb(k + 2, 2)
    return (1 - x) ** 3 * series


def gaussian_shells(lengths: Tensor, cutoff: float, n_radial: int) -> Tensor:
    r"""Gaussian shells that are even in r, hence smooth in space, and of mean square 1 together, [n] → [n, n_radial].

    .. math:: g_k(r) \propto e^{-(r - r_k)^2/w^2} + e^{-(r + r_k)^2/w^2}, \qquad
        r_k = k\, r_c / K, \quad w = 1.4\, r_c / K

    Args:
        lengths: Distances in Å, [n].
        cutoff: r_c in Å.
        n_radial: Number of functions K.
    """
    spacing = cutoff / n_radial
    centres = spacing * torch.arange(n_radial, dtype=lengths.dtype, device=lengths.device)
    inverse_width = 1 / (SHELL_WIDTH * spacing)
    there = (lengths[:, None] - centres) * inverse_width
    mirrored = (lengths[:, None] + centres[:N_MIRRORED]) * inverse_width
    norm = math.sqrt(n_radial / (SHELL_WIDTH * math.sqrt(math.pi / 2)))
    n_far = max(0, n_radial - N_MIRRORED)
    return norm * (torch.exp(-there.square()) + pad(torch.exp(-mirrored.square()), (0, n_far)))


class BesselBasis(nn.Module):
    r"""Spherical Bessel functions of order zero that vanish at the cutoff, of mean square 1 in the ball.

    .. math:: B_n(r) = \sqrt{\tfrac{2}{3}}\, r_c\, \frac{\sin(n \pi r / r_c)}{r}, \qquad n = 1 \dots N

    (Gasteiger, Groß, Günnemann, ICLR 2020, up to the factor.)

    Args:
        n_radial: Number of functions N.
        cutoff: r_c in Å.
    """

    orders: Tensor

    def __init__(self, n_radial: int, cutoff: float) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.register_buffer("orders", torch.arange(1, n_radial + 1, dtype=torch.get_default_dtype()), persistent=False)

    def forward(self, lengths: Tensor) -> Tensor:
        """Values at distances in Å, [n_edges] → [n_edges, n_radial]; finite at zero too."""
        scale = math.sqrt(2 / 3) * math.pi * self.orders
        return scale * torch.sinc(self.orders * (lengths / self.cutoff).unsqueeze(-1))
