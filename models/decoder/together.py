"""Several structures' orbitals at points of each: a step of training on a GPU takes one pass, not one a structure."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from models.basis.gaussian import Orbitals
from models.decoder.frame import FloatArray
from models.decoder.orbital import RealSpaceDecoder


class Placed(NamedTuple):
    """Where the centres of a structure are, and where its density is asked for.

    Attributes:
        cell: Cell vectors in Å, one a row, [3, 3]; for a molecule any box.
        is_periodic: Whether the cell repeats.
        positions: Cartesian positions of the centres in Å, [n_centres, 3].
        points: Cartesian points in Å, [n_points, 3].
    """

    cell: FloatArray
    is_periodic: bool
    positions: FloatArray
    points: FloatArray


def at_points_of_each(placed: Sequence[Placed], orbitals: Orbitals) -> Tensor:
    """Values in e/Å³ at the points of every structure, of its own orbitals, float64, [Σ n_points].

    It runs where the orbitals are, as a decoder of each structure does (`models.decoder.choice`), with gradients to
    exponents and coefficients.

    Args:
        placed: The structures.
        orbitals: Functions of all their centres, in the order of the structures.

    Raises:
        ValueError: If the structures have not as many centres together as the orbitals, positions or points are not
            finite, or a degree is too high.
    """
    n_centres = [len(one.positions) for one in placed]
    if sum(n_centres) != orbitals.n_centres:
        raise ValueError(
            f"found {sum(n_centres)} centres in {len(placed)} structures and orbitals of {orbitals.n_centres}; "
            "expected as many"
        )
    if not placed:
        return orbitals.coefficients.new_zeros(0, dtype=torch.float64)
    if orbitals.coefficients.device.type == "cuda":
        # Triton comes with torch for CUDA, and need not be there without.
        from models.decoder.tiled import side_by_side  # noqa: PLC0415

        return side_by_side(placed, orbitals)
    of_each = zip(placed, orbitals.exponents.split(n_centres), orbitals.coefficients.split(n_centres), strict=True)
    return torch.cat(
        [
            RealSpaceDecoder(one.cell, one.is_periodic, one.positions, Orbitals(*functions)).at_points(one.points)
            for one, *functions in of_each
        ]
    )
