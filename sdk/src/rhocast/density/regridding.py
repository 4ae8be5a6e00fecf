"""A density on another grid of its cell, by Fourier interpolation."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rhocast.density.grids import LARGEST_AXIS
from rhocast.density.volumetric import Density
from rhocast.errors import InvalidGrid

FloatArray = NDArray[np.float64]
Shape = tuple[int, int, int]


def regridded(density: Density, shape: Sequence[int]) -> Density:
    r"""The same density on another grid of its cell, electron count unchanged.

    .. math:: \rho(r) = \sum_{|k_x| \le n_x/2} \rho_k\, e^{2\pi i\, k \cdot s}, \qquad r = s \cdot \mathrm{cell}

    Waves are added with weight 0, or those that the new grid cannot carry are dropped: exact for what both grids
    carry. On an even axis the wave of n/2 stands for +n/2 and −n/2 in equal parts. A density with features as narrow
    as the grid (a core, an edge at the wall of a box) rings between its points. Occupancies of a CHGCAR belong to
    the atoms and are kept.

    Args:
        density: Any density. A molecule's must have vanished at the walls of its box, as it repeats here.
        shape: Points along each cell vector of the new grid.

    Raises:
        InvalidGrid: If the shape is not three numbers of points.
    """
    new = checked_shape(shape)
    if new == density.shape:
        return density
    magnetization = density.magnetization
    old = " x ".join(map(str, density.shape))
    return replace(
        density,
        values=resampled(density.values, new),
        magnetization=None if magnetization is None else resampled(magnetization, new),
        comment=f"regridded from {old} points; {density.comment}",
    )


def checked_shape(shape: Sequence[int]) -> Shape:
    """A shape that a grid can have.

    Args:
        shape: Points along each cell vector.

    Raises:
        InvalidGrid: If these are not three numbers from 1 to 20,000.
    """
    if len(shape) != 3 or not all(1 <= n_points <= LARGEST_AXIS for n_points in shape):
        raise InvalidGrid(
            f"found the shape {tuple(shape)}; expected three numbers of points from 1 to {LARGEST_AXIS}, "
            "such as (48, 48, 48)"
        )
    n0, n1, n2 = (int(n_points) for n_points in shape)
    return n0, n1, n2


def resampled(values: FloatArray, shape: Shape) -> FloatArray:
    """Values of the Fourier interpolant of a periodic grid on another one, [n0, n1, n2].

    Args:
        values: Values of any unit on the old grid.
        shape: The new grid.
    """
    # Axes that lose points go first: less is left to transform.
    for axis in sorted(range(3), key=lambda axis: shape[axis] / values.shape[axis]):
        if shape[axis] != values.shape[axis]:
            values = _resampled_along(values, axis, shape[axis])
    return values


def _resampled_along(values: FloatArray, axis: int, n_new: int) -> FloatArray:
    n_old = values.shape[axis]
    n_carried = min(n_old, n_new)
    waves = np.fft.rfft(values, axis=axis, norm="forward")
    waves = np.moveaxis(waves, axis, 0)[: n_carried // 2 + 1]
    if n_carried % 2 == 0:
        # An even grid cannot tell +n/2 from −n/2: half of it is either, or the two of the finer grid add up.
        waves[-1] *= 0.5 if n_new > n_old else 2.0
    return np.ascontiguousarray(np.fft.irfft(np.moveaxis(waves, 0, axis), n_new, axis=axis, norm="forward"))
