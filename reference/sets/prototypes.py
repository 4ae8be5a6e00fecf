"""Crystal prototypes and the elements that go into them, by oxidation state."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_CUBIC = np.eye(3)
_FCC = np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
_BCC = np.array([[-0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.5, 0.5, -0.5]])


def _hexagonal(c_over_a: float) -> FloatArray:
    return np.array([[1, 0, 0], [-0.5, np.sqrt(0.75), 0], [0, 0, c_over_a]])


def _tetragonal(c_over_a: float) -> FloatArray:
    return np.diag([1, 1, c_over_a])


_U = 0.305  # rutile's free parameter


@dataclass(frozen=True, eq=False)
class Prototype:
    """A crystal structure with places for elements.

    Attributes:
        name: Short name.
        cell: Rows in units of the lattice constant a, [3, 3].
        sites: Fractional positions, [n_atoms, 3].
        places: Which element sits on each site: 0 is the first of the composition, [n_atoms].
        states: Oxidation states of the elements, or () for metals.
    """

    name: str
    cell: FloatArray
    sites: FloatArray
    places: tuple[int, ...]
    states: tuple[tuple[int, ...], ...] = ()

    @property
    def n_elements(self) -> int:
        return max(self.places) + 1


def _prototype(
    name: str, cell: FloatArray, sites: list[list[float]], places: str, *states: tuple[int, ...]
) -> Prototype:
    elements = tuple("abc".index(letter) for letter in places)
    return Prototype(name, cell, np.array(sites), elements, states)


_Q, _H, _T, _S = 0.25, 0.5, 1 / 3, 2 / 3
PROTOTYPES: tuple[Prototype, ...] = (
    _prototype("rs", _FCC, [[0, 0, 0], [_H, _H, _H]], "ab", (1, -1), (2, -2), (3, -3)),
    _prototype("zb", _FCC, [[0, 0, 0], [_Q, _Q, _Q]], "ab", (1, -1), (2, -2), (3, -3)),
    _prototype("perov", _CUBIC, [[0, 0, 0], [_H, _H, _H], [_H, _H, 0], [_H, 0, _H], [0, _H, _H]], "abccc",
               (1, 5, -2), (2, 4, -2), (3, 3, -2), (1, 2, -1)),
    _prototype("cscl", _CUBIC, [[0, 0, 0], [_H, _H, _H]], "ab", (1, -1), (2, -2)),
    _prototype("wz", _hexagonal(1.63), [[_T, _S, 0], [_S, _T, _H], [_T, _S, 0.375], [_S, _T, 0.875]], "aabb",
               (1, -1), (2, -2), (3, -3)),
    _prototype("antifl", _FCC, [[0, 0, 0], [_Q, _Q, _Q], [-_Q, -_Q, -_Q]], "abb", (-2, 1), (-4, 2)),
    _prototype("fluorite", _FCC, [[0, 0, 0], [_Q, _Q, _Q], [-_Q, -_Q, -_Q]], "abb", (2, -1), (4, -2)),
    _prototype("rutile", _tetragonal(0.65), [[0, 0, 0], [_H, _H, _H], [_U, _U, 0], [-_U, -_U, 0],
               [_H + _U, _H - _U, _H], [_H - _U, _H + _U, _H]], "aabbbb", (2, -1), (4, -2)),
    _prototype("halfh", _FCC, [[_H, _H, _H], [_Q, _Q, _Q], [0, 0, 0]], "abc", (1, 2, -3), (1, 3, -4)),
    _prototype("diamond", _FCC, [[0, 0, 0], [_Q, _Q, _Q]], "aa", (0,)),
    _prototype("elemfcc", _FCC, [[0, 0, 0]], "a"),
    _prototype("elembcc", _BCC, [[0, 0, 0]], "a"),
    _prototype("elemhcp", _hexagonal(1.62), [[_T, _S, _Q], [_S, _T, 0.75]], "aa"),
    _prototype("b2", _CUBIC, [[0, 0, 0], [_H, _H, _H]], "ab"),
    _prototype("l12", _CUBIC, [[0, 0, 0], [_H, _H, 0], [_H, 0, _H], [0, _H, _H]], "abbb"),
)  # fmt: skip

OXIDATION_STATES: dict[int, tuple[str, ...]] = {
    -4: ("C", "Si", "Ge", "Sn"),
    -3: ("N", "P", "As", "Sb", "Bi"),
    -2: ("O", "S", "Se", "Te"),
    -1: ("H", "F", "Cl", "Br", "I"),
    0: ("C", "Si", "Ge", "Sn"),
    1: ("Li", "Na", "K", "Rb", "Cs", "Cu", "Ag", "Au", "Tl"),
    2: ("Be", "Mg", "Ca", "Sr", "Ba", "Zn", "Cd", "Hg", "Sn", "Pb"),
    3: ("B", "Al", "Ga", "In", "Tl", "Sc", "Y", "La", "Lu", "Sb", "Bi"),
    4: ("Si", "Ge", "Sn", "Pb", "Ti", "Zr", "Hf"),
    5: ("Nb", "Ta"),
}
"""Elements with closed shells in each state, none of them magnetic."""

METALS: tuple[str, ...] = (
    "Li", "Na", "K", "Rb", "Cs", "Be", "Mg", "Ca", "Sr", "Ba", "Al", "Ga", "In", "Tl", "Sn", "Pb", "Bi",
    "Sc", "Y", "La", "Lu", "Ti", "Zr", "Hf", "V", "Nb", "Ta", "Mo", "W", "Re", "Ru", "Os", "Rh", "Ir", "Pd", "Pt",
    "Cu", "Ag", "Au", "Zn", "Cd", "Hg",
)  # fmt: skip
"""Metals without local moments; Tc has no data set."""

ELECTROPOSITIVE = frozenset(METALS[:13]) | {"Sc", "Y", "La", "Ti", "Zr", "Hf"}
"""First partners of ordered alloys."""


def compositions(prototype: Prototype) -> Iterator[tuple[tuple[str, ...], tuple[int, ...]]]:
    """Elements of each place with their oxidation states, () for metals, in a fixed order."""
    for states in prototype.states:
        for symbols in product(*(OXIDATION_STATES[state] for state in states)):
            if len(set(symbols)) == len(symbols):
                yield symbols, states
    if not prototype.states:
        for symbols in product(METALS, repeat=prototype.n_elements):
            if len(symbols) == 1 or (symbols[0] in ELECTROPOSITIVE and symbols[1] not in ELECTROPOSITIVE):
                yield symbols, ()
