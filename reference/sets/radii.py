"""How far apart atoms sit: ionic and tetrahedral radii and atomic volumes, to a few per cent.

Structures are only a start: their volumes are spread by ± 8 % in any case.
"""

from itertools import combinations_with_replacement

import numpy as np
from ase.data import atomic_numbers, covalent_radii, reference_states

from reference.sets.prototypes import FloatArray, Prototype

IONIC_RADIUS: dict[int, dict[str, float]] = {
    -4: {"C": 1.50, "Si": 2.20, "Ge": 2.20, "Sn": 2.40},
    -3: {"N": 1.46, "P": 1.90, "As": 2.00, "Sb": 2.20, "Bi": 2.30},
    -2: {"O": 1.40, "S": 1.84, "Se": 1.98, "Te": 2.21},
    -1: {"H": 1.40, "F": 1.33, "Cl": 1.81, "Br": 1.96, "I": 2.20},
    1: {"Li": 0.76, "Na": 1.02, "K": 1.38, "Rb": 1.52, "Cs": 1.67, "Cu": 0.77, "Ag": 1.15, "Au": 1.37, "Tl": 1.50},
    2: {
        "Be": 0.45, "Mg": 0.72, "Ca": 1.00, "Sr": 1.18, "Ba": 1.35, "Zn": 0.74, "Cd": 0.95, "Hg": 1.02, "Sn": 1.18,
        "Pb": 1.19,
    },
    3: {
        "B": 0.27, "Al": 0.535, "Ga": 0.62, "In": 0.80, "Tl": 0.885, "Sc": 0.745, "Y": 0.90, "La": 1.032, "Lu": 0.861,
        "Sb": 0.76, "Bi": 1.03,
    },
    4: {"Si": 0.40, "Ge": 0.53, "Sn": 0.69, "Pb": 0.775, "Ti": 0.605, "Zr": 0.72, "Hf": 0.71},
    5: {"Nb": 0.64, "Ta": 0.64},
}  # fmt: skip
"""Å by oxidation state, for six neighbours: Shannon's, and estimates for anions below −2 and hydride."""

TETRAHEDRAL_RADIUS = {"C": 0.772, "Si": 1.176, "Ge": 1.225, "Sn": 1.405}
"""Å."""

_OTHER_VOLUMES = {"Ga": 19.6, "In": 26.2, "Sn": 27.0, "Hg": 23.4, "Bi": 35.4, "La": 37.4}
"""Å³ per atom of metals whose own structure is none of fcc, bcc and hcp."""

ALLOY_CONTRACTION = 0.95
"""Volume of an ordered alloy over that of its elements."""

_COORDINATION_FACTOR = {4: 0.95, 6: 1.0, 8: 1.04, 12: 1.08}
_BOND_SPREAD = 1.05
"""Sites up to this much farther than the nearest count as neighbours."""


def atomic_volume(symbol: str) -> float:
    """Å³ per atom of a metal at rest."""
    if symbol in _OTHER_VOLUMES:
        return _OTHER_VOLUMES[symbol]
    state = reference_states[atomic_numbers[symbol]]
    if state is None or state["symmetry"] not in ("fcc", "bcc", "hcp"):
        raise ValueError(f"found no atomic volume of {symbol}")
    a = state["a"]
    return float({"fcc": a**3 / 4, "bcc": a**3 / 2}.get(state["symmetry"]) or np.sqrt(3) / 4 * a**3 * state["c/a"])


def lattice_constant(prototype: Prototype, symbols: tuple[str, ...], states: tuple[int, ...]) -> float:
    """a in Å at which no bond is shorter than its radii ask for, or at which metals fill their volumes.

    Args:
        prototype: The structure.
        symbols: Element of each place.
        states: Oxidation state of each place; () for metals.
    """
    if not states:
        volume = sum(atomic_volume(symbols[place]) for place in prototype.places)
        contraction = ALLOY_CONTRACTION if len(symbols) > 1 else 1.0
        return float((contraction * volume / abs(np.linalg.det(prototype.cell))) ** (1 / 3))
    if states == (0,):
        return 2 * TETRAHEDRAL_RADIUS[symbols[0]] / neighbours(prototype, 0, 0)[0]
    lengths = []
    for cation in (place for place, state in enumerate(states) if state > 0):
        for anion in (place for place, state in enumerate(states) if state < 0):
            distance, coordination = neighbours(prototype, cation, anion)
            lengths.append(_bond(symbols, states, (cation, anion), coordination) / distance)
    return max(lengths)


def _bond(symbols: tuple[str, ...], states: tuple[int, ...], pair: tuple[int, int], coordination: int) -> float:
    nearest = min(_COORDINATION_FACTOR, key=lambda n: abs(n - coordination))
    ionic = sum(IONIC_RADIUS[states[place]][symbols[place]] for place in pair) * _COORDINATION_FACTOR[nearest]
    covalent = sum(covalent_radii[atomic_numbers[symbols[place]]] for place in pair)
    return float((ionic + covalent) / 2 if coordination <= 4 else ionic)


def neighbours(prototype: Prototype, of: int, to: int) -> tuple[float, int]:
    """Shortest distance in units of a, and the number of sites of one place that close to one site of another."""
    shifts = np.stack(np.meshgrid(*3 * [np.arange(-2, 3)], indexing="ij"), -1).reshape(-1, 3)
    places = np.array(prototype.places)
    start = prototype.sites[places == of][0]
    arms: FloatArray = (prototype.sites[places == to][:, None] + shifts - start).reshape(-1, 3) @ prototype.cell
    distances = np.linalg.norm(arms, axis=1)
    distances = distances[distances > 1e-6]
    return float(distances.min()), int((distances < distances.min() * _BOND_SPREAD).sum())


def closest_contact(prototype: Prototype, symbols: tuple[str, ...], states: tuple[int, ...]) -> float:
    """Shortest distance between two atoms, over the sum of their covalent radii.

    Args:
        prototype: The structure.
        symbols: Element of each place.
        states: Oxidation state of each place; () for metals.
    """
    a = lattice_constant(prototype, symbols, states)
    radius = [covalent_radii[atomic_numbers[symbol]] for symbol in symbols]
    pairs = combinations_with_replacement(range(prototype.n_elements), 2)
    return min(a * neighbours(prototype, of, to)[0] / (radius[of] + radius[to]) for of, to in pairs)
