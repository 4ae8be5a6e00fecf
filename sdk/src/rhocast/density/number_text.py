"""Numbers read from text, in pieces of bounded size, with an error that names the first bad one."""

import math
import re
from itertools import islice
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from rhocast.errors import InvalidFile

FloatArray = NDArray[np.float64]

_LINES_AT_ONCE = 20_000
_LONGEST_HEADER_LINE = 1_000_000
_NUMBER = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_GLUED_EXPONENT = re.compile(rb"[+-]?\d*\.\d+[+-]\d+")
_COMPLETE_EXPONENT = re.compile(rb"[eE][+-]?\d\d+\s*$")
_SHAPE_LENGTH = 3


def read_line(stream: BinaryIO) -> bytes:
    """Next line with its end; empty at the end of the file.

    Raises:
        InvalidFile: If the line is longer than any header has.
    """
    line = stream.readline(_LONGEST_HEADER_LINE)
    if len(line) == _LONGEST_HEADER_LINE:
        raise InvalidFile(f"found a line of more than {_LONGEST_HEADER_LINE} bytes; expected a text file of lines")
    return line


def read_filled_line(stream: BinaryIO) -> bytes:
    """Next line that is not blank; empty at the end of the file."""
    line = read_line(stream)
    while line and not line.strip():
        line = read_line(stream)
    return line


def shape_of_line(line: bytes) -> tuple[int, int, int] | None:
    """Grid shape on a line of three positive integers; None if it is any other line."""
    tokens = line.split()
    if len(tokens) != _SHAPE_LENGTH or not all(token.isdigit() and 0 < len(token) < 10 for token in tokens):
        return None
    n0, n1, n2 = map(int, tokens)
    return (n0, n1, n2) if min(n0, n1, n2) > 0 else None


def numbers_of_line(line: bytes, name: str) -> list[float]:
    """Every number of a line.

    Args:
        line: The line.
        name: What the numbers are, for the error.

    Raises:
        InvalidFile: If something on the line is no finite number.
    """
    return [float(value) for value in _parsed(line, name, 0)]


def read_values(stream: BinaryIO, n_values: int, name: str) -> FloatArray:
    """The next `n_values` numbers, which must end where a line ends.

    Args:
        stream: File at the start of a line.
        n_values: How many numbers to read.
        name: What the numbers are, for the errors.

    Raises:
        InvalidFile: If there are fewer numbers, more on the last line, or something that is none.
    """
    pieces: list[FloatArray] = []
    n_read, per_line, n_lines = 0, 1, 1
    while n_read < n_values:
        # Lines have the length of the first or are shorter, so this many cannot reach beyond the last value.
        lines = list(islice(stream, n_lines))
        if not lines:
            raise InvalidFile(
                f"expected {n_values} values of the {name}, found {n_read}: the file is truncated; copy it again"
            )
        _refuse_cut_number(lines, name)
        piece = _parsed(b"".join(lines), name, n_read)
        pieces.append(piece)
        n_read += piece.size
        per_line = max(per_line, piece.size) if n_lines == 1 else per_line
        n_lines = min(-(-(n_values - n_read) // per_line), _LINES_AT_ONCE)
    if n_read > n_values:
        raise InvalidFile(
            f"expected {n_values} values of the {name}, found {n_read}: the shape on the line before does not fit them"
        )
    return np.concatenate([np.empty(0), *pieces])


def _parsed(text: bytes, name: str, n_before: int) -> FloatArray:
    """Numbers in a text, or the error that names the first token that is none."""
    characters = np.frombuffer(text, dtype=np.uint8)
    is_filled = characters > ord(" ")
    n_tokens = int(np.count_nonzero(is_filled[1:] & ~is_filled[:-1])) + int(is_filled[:1].sum())
    if not n_tokens:
        return np.empty(0)
    try:
        values = np.fromstring(text, dtype=np.float64, sep=" ")
    except ValueError:
        values = np.empty(0)
    # numpy reads 0.1-100 as two numbers, and nan as one: tokens and finite values are counted to see it.
    if values.size != n_tokens or not np.isfinite(values).all():
        raise InvalidFile(_offence(text, name, n_before))
    return values


def _is_number(token: bytes) -> bool:
    return bool(_NUMBER.fullmatch(token)) and math.isfinite(float(token))


def _offence(text: bytes, name: str, n_before: int) -> str:
    tokens = enumerate(text.split(), start=n_before + 1)
    position, token = next((pair for pair in tokens if not _is_number(pair[1])), (n_before + 1, text))
    found = f"found {token[:40].decode('latin-1')!r} as value {position} of the {name}"
    if b"*" in token:
        return f"{found}: a number too wide for its column; write the file again with a wider format"
    if _GLUED_EXPONENT.fullmatch(token):
        return f"{found}: an exponent without its E, too long for its column; write the file again, with 0 for it"
    return f"{found}; expected a finite number"


def _refuse_cut_number(lines: list[bytes], name: str) -> None:
    """Refusal of a last number that ends inside its exponent, which would be wrong by powers of ten."""
    last = lines[-1]
    if last.endswith(b"\n") or not last.strip() or b"e" not in lines[0].lower():
        return
    if not _COMPLETE_EXPONENT.search(last):
        found = last.split()[-1].decode("latin-1")
        raise InvalidFile(f"found {found!r} at the end of the {name}: the file is truncated; copy it again")
