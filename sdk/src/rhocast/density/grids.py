"""Shapes of grids on a cell."""

import math

import numpy as np
from numpy.typing import NDArray

from rhocast.errors import InvalidGrid

FloatArray = NDArray[np.float64]
Shape = tuple[int, int, int]

LARGEST_AXIS = 20_000
"""More points along one axis are taken for a mistake of unit."""
_GCUT_SQUARED_PER_EV = 0.26246582  # 2m/ħ² in 1/(eV·Å²)
_POINTS_PER_SPHERE = {"normal": 3.0, "accurate": 4.0}  # grid points per cutoff radius, VASP's WFACT


def _lengths(cell: FloatArray) -> list[float]:
    """Lengths of the cell vectors in Å."""
    if cell.shape != (3, 3) or not np.isfinite(cell).all() or np.linalg.det(cell) == 0:
        raise InvalidGrid(f"found the cell {cell.tolist()}; expected three independent vectors in Å, one a row")
    return [float(length) for length in np.linalg.norm(cell, axis=1)]


def _is_smooth(number: int) -> bool:
    """Whether a number has no prime factor but 2, 3, 5 and 7."""
    for prime in (2, 3, 5, 7):
        while number % prime == 0:
            number //= prime
    return number == 1


def _smooth_even(n_points: float) -> int:
    """Smallest even number not below `n_points` that a fast Fourier transform likes."""
    if not n_points <= LARGEST_AXIS:
        raise InvalidGrid(
            f"found a grid of {n_points:.3g} points along an axis; expected at most {LARGEST_AXIS}: "
            "take a larger spacing or a lower cutoff, and see that lengths are in Å"
        )
    # A length of 30 spacings may divide to 30.000000000000004, which is still 30 points.
    number = max(2, math.ceil(n_points * (1 - 1e-12)))
    number += number % 2
    while not _is_smooth(number):
        number += 2
    return number


def shape_for_spacing(cell: FloatArray, spacing: float) -> Shape:
    """Smallest shape with points no further apart than `spacing`, each number even and of primes up to 7.

    Args:
        cell: Cell vectors in Å, one a row.
        spacing: Largest distance of neighbouring points along an axis, in Å.

    Raises:
        InvalidGrid: If the cell has no volume or the spacing makes no grid.
    """
    if not (spacing > 0 and math.isfinite(spacing)):
        raise InvalidGrid(f"found a spacing of {spacing} Å; expected a positive number such as 0.1")
    n0, n1, n2 = (_smooth_even(length / spacing) for length in _lengths(cell))
    return n0, n1, n2


def shape_for_encut(cell: FloatArray, encut: float, precision: str = "accurate") -> Shape:
    """VASP's fine grid (NGXF, NGYF, NGZF) for a plane-wave cutoff, approximately.

    The coarse grid has 4 points (PREC = Accurate) or 3 (Normal) per Gcut·length/2π, rounded up to an even number of
    primes up to 7; the fine grid has twice as many. VASP may choose otherwise, above all for its parallel layout: for
    a restart take the numbers from an OUTCAR or a CHGCAR of the same run (`rhocast.density.shape_like`).

    Args:
        cell: Cell vectors in Å, one a row.
        encut: Cutoff ENCUT in eV.
        precision: normal or accurate.

    Raises:
        InvalidGrid: If the cell has no volume, the cutoff makes no grid or the precision is another word.
    """
    if not (encut > 0 and math.isfinite(encut)):
        raise InvalidGrid(f"found a cutoff of {encut} eV; expected a positive number such as 520")
    if precision not in _POINTS_PER_SPHERE:
        raise InvalidGrid(f"found precision {precision!r}; expected 'normal' or 'accurate'")
    gcut = math.sqrt(_GCUT_SQUARED_PER_EV * encut)
    factor = _POINTS_PER_SPHERE[precision]
    # VASP rounds to the nearest integer before it looks for a good one.
    n0, n1, n2 = (
        2 * _smooth_even(math.floor(factor * gcut * length / (2 * math.pi) + 0.5)) for length in _lengths(cell)
    )
    return n0, n1, n2


def spacing_of(cell: FloatArray, shape: Shape) -> tuple[float, float, float]:
    """Distance of neighbouring grid points along each axis, in Å.

    Args:
        cell: Cell vectors in Å, one a row.
        shape: Points along each axis.

    Raises:
        InvalidGrid: If the cell has no volume or an axis no point.
    """
    if min(shape) <= 0:
        raise InvalidGrid(f"found the shape {shape}; expected three positive numbers of points")
    d0, d1, d2 = (length / n_points for length, n_points in zip(_lengths(cell), shape, strict=True))
    return d0, d1, d2
