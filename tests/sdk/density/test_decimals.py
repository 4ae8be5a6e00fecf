"""The fast text of numbers against Python's own, digit for digit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rhocast.density.decimals import C_E13, FORTRAN_E11, FORTRAN_E17, refuse_unwritable, rounded_sum, text_of_rows
from rhocast.errors import InvalidFile

LAYOUTS = pytest.mark.parametrize("layout", [FORTRAN_E17, FORTRAN_E11, C_E13], ids=["CHGCAR", "CHG", "cube"])
magnitudes = st.floats(min_value=1e-99, max_value=9.9e97)
short_decimals = st.builds(lambda m, e: float(f"{m}e{e}"), st.integers(1, 10**13), st.integers(-90, 80))
writable = st.one_of(magnitudes, magnitudes.map(lambda x: -x), short_decimals, st.just(0.0))


def python_text(value, layout):
    """What C prints, and Fortran from it: 1.23E+04 is 0.123E+05, and -1.23E+04 is -.123E+05."""
    text = f"{value:.{layout.n_digits - 1}E}"
    if layout is C_E13:
        return f"{text:>13s}"
    digits, exponent = text.lstrip("-").split("E")
    exponent = int(exponent) + 1 if value else 0
    return f"{' -' if value < 0 else ' 0'}.{digits.replace('.', '')}E{exponent:+03d}"


@LAYOUTS
@given(values=st.lists(writable, min_size=1, max_size=40))
def test_text_is_that_of_python(layout, values):
    text = text_of_rows(np.array([values]), layout).decode()
    assert text.replace("\n", "") == "".join(python_text(value, layout) for value in values)


@LAYOUTS
def test_every_power_of_ten_and_its_neighbours_are_written_as_python_does(layout):
    powers = [float(f"1e{k}") for k in range(-98, 98)]
    values = [f(x) for x in powers for f in (lambda x: np.nextafter(x, 0), float, lambda x: np.nextafter(x, 1e99))]
    text = text_of_rows(np.array([values]), layout).decode()
    assert text.replace("\n", "") == "".join(python_text(value, layout) for value in values)


@LAYOUTS
def test_exact_halves_round_to_even(layout):
    unit = 10.0 ** -(layout.n_digits - 1)
    values = [1 + unit * (k + 0.5) for k in range(50)] + [k / 4096 for k in range(1, 4096)]
    text = text_of_rows(np.array([values]), layout).decode()
    assert text.replace("\n", "") == "".join(python_text(value, layout) for value in values)


@LAYOUTS
def test_what_needs_a_third_exponent_digit_is_zero(layout):
    values = [0.0, -0.0, 9.9e-100, -1e-300, 5e-324]
    assert [float(x) for x in text_of_rows(np.array([values]), layout).split()] == [0.0] * 5
    assert b"-" not in text_of_rows(np.array([values]), layout)


@pytest.mark.parametrize("n_columns", [1, 4, 5, 6, 12, 13])
@LAYOUTS
def test_every_row_starts_a_line_and_is_broken_after_the_values_of_a_line(layout, n_columns):
    text = text_of_rows(np.ones((3, n_columns)), layout)
    row = [min(layout.per_line, n_columns - k) for k in range(0, n_columns, layout.per_line)]
    assert [len(line.split()) for line in text.splitlines()] == row * 3
    assert text.endswith(b"\n")


@LAYOUTS
def test_the_rounded_sum_is_the_sum_of_the_text(layout):
    values = np.random.default_rng(0).normal(size=1000) * 10.0 ** np.arange(-10, 10).repeat(50)
    text = text_of_rows(values[None], layout)
    assert rounded_sum(values, layout) == pytest.approx(sum(map(float, text.split())), rel=1e-14)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 2e98])
def test_values_without_text_are_refused_with_their_number(bad):
    values = np.ones((3, 4, 5))
    values[1, 2, 3] = values[2, 0, 0] = bad
    with pytest.raises(InvalidFile, match=r"found 2 of 60 values that are NaN, infinite or above"):
        refuse_unwritable(values, 1.0)
