"""Products of fields in real space: decoded one by one and multiplied point by point."""

from collections.abc import Callable

import torch
from torch import Tensor

from models.basis.products import OrbitalProducts
from models.decoder.choice import OrbitalDecoder, real_space_decoder
from models.decoder.frame import FloatArray
from models.interface import GridShape
from rhocast.density.cube import BOHR


class ProductDecoder:
    """Σ_k ψ_k(r) χ_k(r), where each field is a sum over centres (a crystal: and their images).

    Differentiable in exponents and coefficients, not in positions.

    Args:
        cell: Cell vectors in Å, one a row, [3, 3]; for a molecule the box that frames its grid.
        is_periodic: Whether the cell repeats.
        positions: Cartesian positions of the centres in Å, inside the cell or not, [n_centres, 3].
        products: The fields.
        dtype: Of the radial tables; float64 is for tests. Values are float64 always.

    Raises:
        ValueError: If the positions are not finite or not as many as the centres, or a degree is too high.
    """

    def __init__(
        self, cell: FloatArray, is_periodic: bool, positions: FloatArray, products: OrbitalProducts, dtype=torch.float32
    ) -> None:
        self._fields = [
            (
                real_space_decoder(cell, is_periodic, positions, psi, dtype),
                real_space_decoder(cell, is_periodic, positions, chi, dtype),
            )
            for psi, chi in products.fields()
        ]

    def on_grid(self, shape: GridShape) -> Tensor:
        """Point values in e/Å³, float64, [n0, n1, n2]."""
        return self.on_planes(shape, 0, shape[0])

    def on_planes(self, shape: GridShape, first: int, last: int) -> Tensor:
        """Point values of the planes from `first` to before `last` of a grid, float64, [last − first, n1, n2].

        Raises:
            ValueError: If the grid has no such planes.
        """
        return self._summed(lambda field: field.on_planes(shape, first, last))

    def at_points(self, points: FloatArray) -> Tensor:
        """Values in e/Å³ at Cartesian points in Å, [n_points, 3] → float64, [n_points].

        Raises:
            ValueError: If the points have another shape or are not finite.
        """
        return self._summed(lambda field: field.at_points(points))

    def _summed(self, decoded: Callable[[OrbitalDecoder], Tensor]) -> Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for psi, chi in self._fields:
            # Decoders divide by bohr³ once for each field.
            total = total + BOHR**3 * decoded(psi) * decoded(chi)
        return total
