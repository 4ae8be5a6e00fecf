"""Laws of the canonical form: equal structures, equal keys; answers come back in the user's order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.canonical import canonical, content_key, restored, structure_from_record, structure_record
from rhocast.structure import Structure

CELL = [[5.6, 0.1, 0.0], [0.3, 5.9, 0.2], [0.0, -0.4, 6.1]]
SYMBOLS = ["Na", "Cl", "Na", "O", "Cl"]
POSITIONS = [[0.0, 0.0, 0.0], [2.8, 0.1, 0.1], [2.7, 2.9, 0.3], [0.2, 2.9, 3.1], [1.1, 1.2, 5.0]]


@pytest.fixture
def salt() -> Structure:
    return Structure.from_symbols(SYMBOLS, POSITIONS, CELL)


def key(structure: Structure) -> str:
    return content_key(canonical(structure).structure, {"model": "x"})


@given(order=st.permutations(range(5)), shifts=st.lists(st.tuples(*[st.integers(-3, 3)] * 3), min_size=5, max_size=5))
def test_order_of_atoms_and_lattice_translations_do_not_change_the_key(
    order: list[int], shifts: list[tuple[int, int, int]]
) -> None:
    salt = Structure.from_symbols(SYMBOLS, POSITIONS, CELL)
    moved = Structure(salt.numbers, salt.positions + np.array(shifts) @ salt.cell, salt.cell)
    assert key(moved.reordered(np.array(order))) == key(salt)


def test_noise_below_the_resolution_does_not_change_the_key(salt: Structure) -> None:
    noisy = Structure(salt.numbers, salt.positions + 1e-10, salt.cell - 1e-10)
    assert key(noisy) == key(salt)


@pytest.mark.parametrize("step", [1e-7, -1e-7])
def test_a_displacement_above_the_resolution_changes_the_key(salt: Structure, step: float) -> None:
    positions = salt.positions.copy()
    positions[3, 1] += step
    assert key(Structure(salt.numbers, positions, salt.cell)) != key(salt)


def test_another_cell_element_domain_or_setting_changes_the_key(salt: Structure) -> None:
    others = [
        Structure(salt.numbers, salt.positions, salt.cell * 1.001),
        Structure(salt.numbers[::-1].copy(), salt.positions, salt.cell),
        Structure(salt.numbers, salt.positions, salt.cell, is_periodic=False),
    ]
    assert len({key(salt), *map(key, others)}) == 4
    assert content_key(salt, {"model": "x"}) != content_key(salt, {"model": "y"})


def test_an_atom_on_a_face_of_the_cell_has_one_place() -> None:
    cell = np.eye(3) * 4.0
    below = Structure.from_symbols(["Si"], [[3.9999999999, 0.0, 0.0]], cell)
    above = Structure.from_symbols(["Si"], [[0.0, -1e-11, 4.0]], cell)
    assert key(below) == key(above)


def test_atoms_lie_in_the_cell_and_a_molecule_is_not_wrapped(salt: Structure) -> None:
    outside = Structure(salt.numbers, salt.positions + 40.0, salt.cell)
    fractional = canonical(outside).structure.fractional_positions
    assert fractional.min() > -1e-8
    assert fractional.max() < 1.0
    molecule = Structure(salt.numbers, salt.positions + 40.0, salt.cell, is_periodic=False)
    assert np.allclose(np.sort(canonical(molecule).structure.positions, axis=0), np.sort(molecule.positions, axis=0))


def test_values_of_atoms_come_back_in_the_order_of_the_user(salt: Structure) -> None:
    form = canonical(salt)
    per_atom = form.structure.numbers.astype(float)[:, None] * [1.0, 2.0, 3.0]
    assert np.array_equal(restored(per_atom, form.order)[:, 0], salt.numbers)
    assert np.allclose(restored(form.structure.positions, form.order), salt.positions % 100, atol=6.2)


def test_a_record_gives_the_structure_back_to_the_last_bit(salt: Structure) -> None:
    again = structure_from_record(structure_record(canonical(salt).structure))
    assert np.array_equal(again.positions, canonical(salt).structure.positions)
    assert again.symbols == canonical(salt).structure.symbols
