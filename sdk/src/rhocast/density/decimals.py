"""Fixed-width decimal text of many numbers at once, correctly rounded.

A number is 0.m × 10^e with an integer m of `n_digits` digits. m is found with one multiplication by a power of ten;
where that could fall on the wrong side of a half, Python's own exact formatting decides. The digits come from
tables, several at a time, so that a value costs nanoseconds and not a call.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rhocast.errors import InvalidFile

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

SMALLEST = 1e-99
"""Anything smaller is written as zero: a third exponent digit would not fit its column."""
LARGEST = 1e98
"""Anything larger is refused, for the same reason."""


@dataclass(frozen=True)
class DecimalFormat:
    """A scientific format of fixed width, as Fortran and C write it.

    Attributes:
        n_digits: Significant digits.
        per_line: Values on a full line.
        positive: Two characters before the digits of a positive value.
        negative: The same for a negative one.
        groups: Digits taken from one table at a time, with the text that they become.
        exponent_shift: What the printed exponent has above e in 0.m × 10^e.
    """

    n_digits: int
    per_line: int
    positive: bytes
    negative: bytes
    groups: tuple[tuple[int, str], ...]
    exponent_shift: int

    @property
    def relative_error(self) -> float:
        """Largest relative rounding error of one value."""
        return 0.5 * 10.0 ** (1 - self.n_digits)


# Fortran drops the optional zero of a negative number when the column is too narrow for both: -.123 beside 0.123.
FORTRAN_E17 = DecimalFormat(11, 5, b" 0", b" -", ((3, ".%03d"), (4, "%04d"), (4, "%04d")), 0)
"""(1X,E17.11), the format of CHGCAR."""
FORTRAN_E11 = DecimalFormat(5, 10, b" 0", b" -", ((1, ".%d"), (4, "%04d")), 0)
"""(1X,E11.5), the format of CHG: its column and digits, with the exponent always written."""
C_E13 = DecimalFormat(6, 6, b"  ", b" -", ((1, "%d."), (1, "%d"), (4, "%04d")), -1)
"""%13.5E, the format of Gaussian cube."""


def refuse_unwritable(values: FloatArray, factor: float, largest: float = LARGEST) -> None:
    """Refusal of values that no decimal field can hold.

    Args:
        values: Values of any unit.
        factor: What they are multiplied by before they are written.
        largest: Bound on the magnitude of the products.

    Raises:
        InvalidFile: If a value is NaN, infinite or above the bound.
    """
    # The extremes tell it without a temporary of the size of the grid; they are NaN if any value is.
    if max(abs(float(values.min())), abs(float(values.max()))) * factor < largest:
        return
    n_bad = sum(np.count_nonzero(~(np.abs(plane) * factor < largest)) for plane in values)
    raise InvalidFile(
        f"found {n_bad} of {values.size} values that are NaN, infinite or above {largest:.0e}; "
        "expected finite numbers: look at where this density comes from before writing it"
    )


@cache
def _powers() -> FloatArray:
    """Powers of ten from 10^-120 on, each correctly rounded."""
    return np.array([float(f"1e{power}") for power in range(-120, 121)])


@cache
def _decimal_exponents(zero: int) -> tuple[IntArray, FloatArray]:
    """Exponent e of 0.m × 10^e at the lower end of each binary octave, and the value from which it is e + 1.

    Octaves outside the writable range answer as 0.1 does; the first, of zero, with the exponent that zero is given.
    """
    exponents = np.full(2048, zero, dtype=np.int64)
    thresholds = np.full(2048, np.inf)
    for octave in range(690, 1356):
        digits, power = f"{2.0 ** (octave - 1023):.17e}".split("e")
        exponents[octave] = int(power) + 1 if float(digits) >= 1 else int(power)
        thresholds[octave] = float(f"1e{exponents[octave]}")
    return exponents, thresholds


def mantissas_and_exponents(values: FloatArray, layout: DecimalFormat) -> tuple[IntArray, IntArray]:
    """Integers m and e with \\|value\\| ≈ m × 10^(e − n_digits), rounded half to even on the exact binary value.

    Args:
        values: Finite values below `LARGEST`; what is below `SMALLEST` counts as zero.
        layout: The format, of which the number of digits is used.
    """
    n_digits = layout.n_digits
    size = np.abs(values)
    size[size < SMALLEST] = 0.0
    octave_exponents, octave_thresholds = _decimal_exponents(-layout.exponent_shift)
    octaves = size.view(np.int64) >> 52
    exponents = octave_exponents[octaves]
    exponents += size >= octave_thresholds[octaves]
    scaled = size * _powers()[120 + n_digits - exponents]
    nearest = np.rint(scaled)
    mantissas = nearest.astype(np.int64)
    carried = mantissas >= 10**n_digits
    mantissas[carried] = 10 ** (n_digits - 1)
    exponents[carried] += 1
    # Power and product are each off by half a unit in the last place at most: 2.3e-16 of 10^n_digits.
    doubtful = np.abs(scaled - nearest) > 0.5 - 10.0**n_digits * 1e-15
    for index in np.flatnonzero(doubtful):
        text = f"{size[index]:.{n_digits - 1}E}"
        digits, power = text.split("E")
        mantissas[index] = int(digits.replace(".", ""))
        exponents[index] = int(power) + 1
    return mantissas, exponents


def rounded_sum(values: FloatArray, layout: DecimalFormat) -> float:
    """Sum of the values as they will read once written."""
    mantissas, exponents = mantissas_and_exponents(values, layout)
    return float(np.sum(np.copysign(mantissas * _powers()[120 + exponents - layout.n_digits], values)))


def _table(texts: list[bytes]) -> NDArray[np.unsignedinteger[Any]]:
    """Texts of 1, 2 or 4 characters as integers of that many bytes, which numpy copies fastest."""
    return np.array(texts, dtype=np.bytes_).view(f"u{len(texts[0])}")


@cache
def _tables(layout: DecimalFormat) -> tuple[NDArray[np.unsignedinteger[Any]], ...]:
    """Texts of the sign, of each group of digits, and of the exponent."""
    groups = [_table([(text % number).encode() for number in range(10**n)]) for n, text in layout.groups]
    exponents = [f"E{exponent + layout.exponent_shift:+03d}".encode() for exponent in range(-98, 100)]
    return (_table([layout.positive, layout.negative]), *groups, _table(exponents))


@cache
def _record(layout: DecimalFormat) -> np.dtype[np.void]:
    """One value: sign, groups of digits and exponent, side by side."""
    return np.dtype([(f"part{k}", table.dtype) for k, table in enumerate(_tables(layout))])


def text_of_rows(rows: FloatArray, layout: DecimalFormat) -> bytes:
    """Text of rows [n_rows, n_columns]; every row starts a line and is broken after `per_line` values.

    Args:
        rows: Finite values below `LARGEST`.
        layout: The format.
    """
    n_rows, n_columns = rows.shape
    values = rows.reshape(-1)
    mantissas, exponents = mantissas_and_exponents(values, layout)
    sign, *groups, exponent_texts = _tables(layout)
    records = np.empty(values.size, dtype=_record(layout))
    records["part0"] = sign[((values < 0) & (mantissas > 0)).astype(np.int64)]
    remaining = layout.n_digits
    for k, ((n_group, _), table) in enumerate(zip(layout.groups, groups, strict=True), start=1):
        remaining -= n_group
        group = mantissas // 10**remaining
        mantissas -= group * 10**remaining
        records[f"part{k}"] = table[group]
    records[f"part{len(groups) + 1}"] = exponent_texts[exponents + 98]
    return _broken_into_lines(records.view(np.uint8).reshape(n_rows, -1), n_columns, layout.per_line)


def _broken_into_lines(characters: NDArray[np.uint8], n_columns: int, per_line: int) -> bytes:
    n_rows, row_length = characters.shape
    line_length = row_length // n_columns * per_line
    n_lines = -(-n_columns // per_line)
    lines = np.full((n_rows, row_length + n_lines), ord("\n"), dtype=np.uint8)
    for line in range(n_lines):
        start, stop = line * line_length, min((line + 1) * line_length, row_length)
        lines[:, start + line : stop + line] = characters[:, start:stop]
    return lines.tobytes()
