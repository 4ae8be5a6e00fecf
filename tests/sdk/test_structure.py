import numpy as np
import pytest

from rhocast import Structure
from rhocast.elements import ATOMIC_NUMBERS, SYMBOLS
from rhocast.errors import InvalidStructure
from rhocast.model_info import Cost

CELL = np.array([[0.0, 2.0, 2.0], [2.0, 0.0, 2.0], [2.0, 2.0, 0.0]])


@pytest.fixture
def salt() -> Structure:
    return Structure.from_symbols(["Na", "Cl", "Cl"], [[0, 0, 0], [2, 2, 2], [1, 1, 1]], CELL)


def test_symbols_and_numbers_agree(salt):
    assert salt.numbers.tolist() == [11, 17, 17]
    assert salt.symbols == ["Na", "Cl", "Cl"]
    assert salt.n_atoms == 3
    assert salt.formula == "NaCl2"
    assert SYMBOLS[ATOMIC_NUMBERS["Og"]] == "Og"
    assert ATOMIC_NUMBERS["Og"] == 118
    assert "X" not in ATOMIC_NUMBERS


def test_a_volume_is_positive_for_either_handedness(salt):
    assert salt.volume == pytest.approx(16.0)
    assert Structure(salt.numbers, salt.positions, CELL[::-1]).volume == pytest.approx(16.0)


def test_fractional_times_cell_is_cartesian(salt):
    assert np.allclose(salt.fractional_positions @ salt.cell, salt.positions)


def test_reordered_takes_atoms_from_where_it_is_told(salt):
    turned = salt.reordered(np.array([1, 2, 0]))
    assert turned.symbols == ["Cl", "Cl", "Na"]
    assert turned.positions.tolist() == [[2, 2, 2], [1, 1, 1], [0, 0, 0]]


def test_an_unknown_symbol_is_refused():
    with pytest.raises(InvalidStructure, match="found 'Xx', 'na'; expected chemical symbols such as 'Si'"):
        Structure.from_symbols(["na", "Xx", "H"], np.zeros((3, 3)), CELL)


@pytest.mark.parametrize("cell", [np.eye(2), np.zeros(3)])
def test_shapes_that_disagree_are_refused(cell):
    with pytest.raises(InvalidStructure, match=r"found 1 atomic numbers, .*; expected \(n_atoms,\), \(n_atoms, 3\)"):
        Structure.from_symbols(["H"], [[0, 0, 0]], cell)
    with pytest.raises(InvalidStructure, match="found 1 atomic numbers"):
        Structure.from_symbols(["H"], [[0, 0, 0], [1, 1, 1]], CELL)


def test_a_cost_is_linear_in_edges_and_points():
    assert Cost(1.0, 2.0, 3.0).of(10, 100) == 321.0
