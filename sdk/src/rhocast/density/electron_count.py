"""When two numbers of electrons are the same, and whether a density holds those of its atoms."""

import numpy as np
from numpy.typing import NDArray

from rhocast.density.volumetric import Density
from rhocast.errors import InvalidField

FloatArray = NDArray[np.float64]

_LEAST = 0.01
_RELATIVE = 1e-3
_MOST = 0.5


def are_same_count(found: float, expected: float) -> bool:
    """Whether two numbers of electrons differ by no more than the sums over their grids may.

    Foreign grids and models drift by up to 0.1 %; half an electron is another charge or another valence however
    large the cell.

    Args:
        found: One number of electrons; NaN is no number of electrons.
        expected: The other.
    """
    return abs(found - expected) <= min(_MOST, max(_LEAST, _RELATIVE * abs(expected)))


def refuse_other_valence(density: Density, valence: FloatArray, charge: float) -> None:
    """Refusal of a density that does not hold the electrons of its atoms.

    Args:
        density: The density.
        valence: Electrons of each neutral atom, [n_atoms].
        charge: Charge of the whole cell in e.

    Raises:
        InvalidField: If the density has another number of electrons than the atoms less the charge.
    """
    expected = float(valence.sum()) - charge
    if not are_same_count(density.n_electrons, expected):
        each = dict(zip(density.structure.symbols, valence.tolist(), strict=True))
        listed = ", ".join(f"{symbol} {count:g}" for symbol, count in each.items())
        raise InvalidField(
            f"found {density.n_electrons:.6g} electrons; expected {expected:.6g}, of {listed} and the charge "
            f"{charge:g}: give the valence electrons that this density counts (VASP's often differ), or its charge"
        )
