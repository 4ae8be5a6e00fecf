"""Shapes of grids."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rhocast.density import shape_for_encut, shape_for_spacing, spacing_of
from rhocast.errors import InvalidGrid

CELL = np.array([[4.0, 0, 0], [1.0, 7.0, 0], [0, -2.0, -9.0]])


def prime_factors(number):
    return {p for p in range(2, number + 1) if number % p == 0 and all(p % q for q in range(2, p))}


@given(st.floats(0.05, 5))
def test_points_are_no_further_apart_than_asked_and_their_number_is_even_and_smooth(spacing):
    shape = shape_for_spacing(CELL, spacing)
    assert all(found <= spacing * (1 + 1e-11) for found in spacing_of(CELL, shape))
    assert all(n % 2 == 0 and prime_factors(n) <= {2, 3, 5, 7} for n in shape)


@given(st.floats(0.1, 2))
def test_no_smaller_shape_would_do(spacing):
    smooth = [n for n in range(2, 200, 2) if prime_factors(n) <= {2, 3, 5, 7}]
    lengths = [math.dist((0, 0, 0), vector) for vector in CELL]
    expected = tuple(next(n for n in smooth if length / n <= spacing * (1 + 1e-11)) for length in lengths)
    assert shape_for_spacing(CELL, spacing) == expected


def test_a_length_of_whole_spacings_gets_no_further_point():
    assert shape_for_spacing(np.eye(3) * 3 * 1.1, 0.11) == (30, 30, 30)
    assert shape_for_spacing(np.eye(3) * 10, 100) == (2, 2, 2)


def test_cutoff_of_520_ev_gives_300_points_on_20_angstrom():
    """The grid of a published calculation, PREC = Accurate."""
    assert shape_for_encut(np.diag([20.0, 20, 10]), 520) == (300, 300, 160)


def test_cutoff_of_400_ev_gives_a_tenth_of_an_angstrom_at_normal_precision():
    cell = np.eye(3) * 14.3
    assert spacing_of(cell, shape_for_encut(cell, 400, "normal"))[0] == pytest.approx(0.102, abs=0.0005)


@pytest.mark.parametrize("spacing", [0, -1, math.nan, math.inf])
def test_spacings_that_make_no_grid_are_refused(spacing):
    with pytest.raises(InvalidGrid, match=rf"found a spacing of {spacing} Å; expected a positive number"):
        shape_for_spacing(CELL, spacing)


@pytest.mark.parametrize("encut", [0, -1, math.nan, math.inf])
def test_cutoffs_that_make_no_grid_are_refused(encut):
    with pytest.raises(InvalidGrid, match=rf"found a cutoff of {encut} eV; expected a positive number"):
        shape_for_encut(CELL, encut)


def test_unknown_precision_is_refused():
    with pytest.raises(InvalidGrid, match="found precision 'high'; expected 'normal' or 'accurate'"):
        shape_for_encut(CELL, 500, "high")


def test_a_grid_of_more_points_than_any_is_refused():
    with pytest.raises(InvalidGrid, match="points along an axis; expected at most 20000: take a larger spacing"):
        shape_for_spacing(CELL, 1e-9)
    with pytest.raises(InvalidGrid, match="expected at most 20000"):
        shape_for_encut(CELL, 1e12)


@pytest.mark.parametrize("cell", [np.zeros((3, 3)), np.eye(2), np.full((3, 3), np.nan)])
def test_cells_without_volume_are_refused(cell):
    with pytest.raises(InvalidGrid, match="expected three independent vectors in Å"):
        shape_for_spacing(cell, 0.1)


def test_shapes_without_points_are_refused():
    with pytest.raises(InvalidGrid, match=r"found the shape \(1, 0, 2\); expected three positive numbers"):
        spacing_of(CELL, (1, 0, 2))
