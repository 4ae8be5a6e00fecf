"""The comment line of a density file, and the factor in it that undoes the rounding of a sum."""

import math
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rhocast.density.decimals import DecimalFormat, rounded_sum
from rhocast.errors import InvalidFile

FloatArray = NDArray[np.float64]

_TOKEN = re.compile(r"\s*rhocast-scale=(\S*)")
_LONGEST_COMMENT = 360
_LONGEST_TITLE = 40
_TOLERANCE = 1e-9


def comment_with_scale(comment: str, scale: float) -> str:
    """One line of a comment, with the factor by which the values have to be multiplied unless it is 1.

    The factor stands behind column 40. VASP keeps 40 characters of a title, so that it cannot travel with a copied
    title to values that it does not belong to.

    Args:
        comment: Any text; line breaks become blanks, and what is beyond 360 characters is cut.
        scale: Exact sum over sum of what is written.
    """
    line = " ".join(_TOKEN.sub("", comment).split())[:_LONGEST_COMMENT]
    return line if scale == 1 else f"{line:<{_LONGEST_TITLE}s} rhocast-scale={scale!r}"


def comment_and_scale(line: str) -> tuple[str, float]:
    """What `comment_with_scale` joined.

    Args:
        line: The comment line of a file.

    Raises:
        InvalidFile: If the factor cannot be read.
    """
    tokens = _TOKEN.findall(line)
    try:
        scale = float(tokens[-1]) if tokens else 1.0
    except ValueError:
        scale = math.nan
    if not 0.5 < scale < 2:
        raise InvalidFile(
            f"found rhocast-scale={tokens[-1]}; expected a number near 1: remove it from the comment line"
        )
    return _TOKEN.sub("", line).strip(), scale


class Sums(NamedTuple):
    """Sums over a grid: of the values, and of their magnitudes."""

    total: float
    magnitude: float


def sums_of(pieces: Iterable[FloatArray]) -> Sums:
    """Sums over the pieces of a grid."""
    sums = [(float(piece.sum()), float(np.abs(piece).sum())) for piece in pieces]
    return Sums(math.fsum(total for total, _ in sums), math.fsum(magnitude for _, magnitude in sums))


def scale_of_text(
    pieces: Callable[[], Iterable[FloatArray]], layout: DecimalFormat, volume_ratio: float = 1.0
) -> float:
    """Factor that makes the integral of a grid exact after its values were rounded to text; 1 if it is already.

    Args:
        pieces: Gives the values to be written, in pieces.
        layout: The format.
        volume_ratio: Exact volume of the cell over that of the written cell.
    """
    total, magnitude = sums_of(pieces())
    is_exact_cell = abs(volume_ratio - 1) < _TOLERANCE / 10
    if is_exact_cell and magnitude * layout.relative_error <= _TOLERANCE * abs(total):
        return 1.0  # however the values round; the second pass is saved
    rounded = math.fsum(rounded_sum(piece, layout) for piece in pieces())
    scale = total / rounded * volume_ratio if rounded else 1.0
    # A grid whose positive and negative parts cancel has no total worth scaling for.
    return scale if _TOLERANCE < abs(scale - 1) <= 2 * layout.relative_error else 1.0
