"""Couplings of angular momenta: which degrees combine to which, and with what constants.

Features have natural parity, (−1)^l for degree l, end to end. A product of l₁ and l₂ therefore yields l₃ only where
l₁ + l₂ + l₃ is even: cross products, which would need pseudovectors, do not occur. All components of a feature lie in
one axis, degree after degree, in e3nn's order: component l² + l + m belongs to (l, m); channels are the last axis.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from e3nn import o3
from torch import Tensor, nn

from models.basis.harmonics import n_harmonics


def components(degree: int) -> slice:
    """Place of the components of one degree."""
    return slice(degree**2, (degree + 1) ** 2)


class Constant(nn.Module):
    """Tensor that is no parameter and stays exact whatever type the network is converted to.

    A plain buffer would keep float32's rounding through `.double()` and break every law at 1e-7.

    Args:
        exact: The value in float64.
    """

    value: Tensor

    def __init__(self, exact: Tensor) -> None:
        super().__init__()
        self._exact = exact
        self.register_buffer("value", exact.to(torch.get_default_dtype()), persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Constant":
        super()._apply(fn, recurse)
        self.value = self._exact.to(self.value)
        return self

    def forward(self) -> Tensor:
        return self.value


@dataclass(frozen=True)
class PathBlock:
    """Paths l_in ⊗ l_by → l_out with the same l_in and l_out.

    Attributes:
        l_out: Degree that comes out.
        l_by: Degrees that l_in is multiplied by, one a path.
    """

    l_out: int
    l_by: tuple[int, ...]

    @property
    def n_paths(self) -> int:
        return len(self.l_by)

    @property
    def n_rows(self) -> int:
        """Components that come out, of all paths together."""
        return (2 * self.l_out + 1) * self.n_paths


def path_blocks(l_in: int, l_max: int, smallest_l_by: int = 0) -> list[PathBlock]:
    """Every path from one degree by a degree up to l_max to a degree up to l_max, in the order of l_out.

    Args:
        l_in: Degree that is multiplied.
        l_max: Highest degree anywhere.
        smallest_l_by: Lowest degree to multiply by; l_in itself for a square, where the order does not matter.
    """
    blocks = [
        PathBlock(
            l_out,
            tuple(
                l_by
                for l_by in range(smallest_l_by, l_max + 1)
                if abs(l_in - l_by) <= l_out <= l_in + l_by and (l_in + l_by + l_out) % 2 == 0
            ),
        )
        for l_out in range(l_max + 1)
    ]
    return [block for block in blocks if block.l_by]


def coupling(l_in: int, l_by: int, l_out: int) -> Tensor:
    """Constants of a product of degrees, float64, [2 l_out + 1, 2 l_in + 1, 2 l_by + 1].

    They are e3nn's Wigner 3j symbols times √(2 l_out + 1): factors with independent components of variance 1 give a
    product with components of variance 1.
    """
    symbols = o3.wigner_3j(l_in, l_by, l_out, dtype=torch.float64)
    return symbols.permute(2, 0, 1) * (2 * l_out + 1) ** 0.5


class EdgeKernels(nn.Module):
    r"""Matrices that multiply a sender's features by the harmonics of an edge, the same for all channels and layers.

    .. math:: K^{l_1}_{(l_3 m_3 p), m_1} = \sqrt{2 l_3 + 1} \sum_{m_2}
        \begin{pmatrix} l_1 & l_2 & l_3 \\ m_1 & m_2 & m_3 \end{pmatrix} Y_{l_2 m_2}, \qquad p \leftrightarrow l_2

    They depend on the geometry alone. Built once, they turn every tensor product into a few batched matrix products.

    Args:
        l_max: Highest degree of features and harmonics.
    """

    def __init__(self, l_max: int) -> None:
        super().__init__()
        self.l_max = l_max
        self.constants = nn.ModuleList(Constant(_kernel_constants(l_in, l_max)) for l_in in range(l_max + 1))

    def forward(self, harmonics: Tensor) -> list[Tensor]:
        """One matrix an edge and degree l₁, [n_edges, n_rows, 2 l₁ + 1]; rows in the order (block, m₃, path)."""
        return [
            (harmonics @ constant()).unflatten(1, (-1, 2 * l_in + 1)) for l_in, constant in enumerate(self.constants)
        ]


def _kernel_constants(l_in: int, l_max: int) -> Tensor:
    """Matrix from harmonics to the entries of a kernel, [(l_max + 1)², n_rows · (2 l_in + 1)]."""
    rows: list[Tensor] = []
    for block in path_blocks(l_in, l_max):
        constants = torch.zeros(
            2 * block.l_out + 1, block.n_paths, 2 * l_in + 1, n_harmonics(l_max), dtype=torch.float64
        )
        for path, l_by in enumerate(block.l_by):
            constants[:, path, :, components(l_by)] = coupling(l_in, l_by, block.l_out)
        rows.append(constants.flatten(0, 1))
    return torch.cat(rows).flatten(0, 1).T.contiguous()


def square_constants(l_max: int) -> tuple[Tensor, list[int]]:
    """Constants of the product of a feature with itself, and the number of paths to each degree.

    Returns:
        Matrix from products of two components, in the order of `torch.triu_indices`, to components that come out, in
        the order (l_out, m, path), [n_rows, n_pairs]; paths to each degree up to l_max.
    """
    size = n_harmonics(l_max)
    by_degree: list[list[Tensor]] = [[] for _ in range(l_max + 1)]
    for l_in in range(l_max + 1):
        for block in path_blocks(l_in, l_max, smallest_l_by=l_in):
            for l_by in block.l_by:
                full = torch.zeros(2 * block.l_out + 1, size, size, dtype=torch.float64)
                full[:, components(l_in), components(l_by)] = coupling(l_in, l_by, block.l_out)
                by_degree[block.l_out].append(full)
    rows = torch.cat([torch.stack(paths, 1).flatten(0, 1) for paths in by_degree])
    i, j = torch.triu_indices(size, size)
    return rows[:, i, j] + rows[:, j, i] * (i != j), [len(paths) for paths in by_degree]
