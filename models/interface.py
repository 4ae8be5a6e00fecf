"""What every density model and every potential offers; `tests/models/contract.py` holds the laws they obey.

A model is loaded once, answers batches, and keeps no state between calls. Structures come as
`rhocast.structure.Structure`; units are Å, eV, e/Å³ throughout (`docs/conventions.md`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from rhocast.density.expansion import DensityExpansion
from rhocast.model_info import ModelInfo, Property
from rhocast.structure import Structure

FloatArray = NDArray[np.float64]
GridShape = tuple[int, int, int]


class OutOfMemory(Exception):
    """A batch did not fit the device; the worker splits it and lowers its budget."""


class DensityField(Protocol):
    """Electron density of one structure, known everywhere in space."""

    @property
    def n_electrons(self) -> float:
        """Exact integral of the field over the cell (a molecule: over all space), in electrons."""
        ...

    def on_grid(self, shape: GridShape) -> FloatArray:
        """Point values in e/Å³, [n0, n1, n2]; point (i, j, k) lies at i/n0·a + j/n1·b + k/n2·c."""
        ...

    def on_planes(self, shape: GridShape, first: int, last: int) -> FloatArray:
        """The planes from `first` to before `last` of that grid, [last − first, n1, n2], and memory for no others."""
        ...

    def at_points(self, points: FloatArray) -> FloatArray:
        """Values in e/Å³ at Cartesian points in Å, [n_points, 3] → [n_points]."""
        ...


@runtime_checkable
class ExpandedField(DensityField, Protocol):
    """A field that is a sum of free atoms and Gaussian-type functions, and can say of which."""

    def expansion(self) -> DensityExpansion:
        """The same density as its coefficients; to 10⁻⁶ of the largest value at any point."""
        ...


@dataclass(frozen=True, eq=False)
class ExpectedError:
    """How far a density is expected to be from its reference.

    Attributes:
        value: Expected NMAE, ∫|Δρ|/N; None if an atom is unfamiliar, for then nobody knows.
        upper: NMAE that is not exceeded in `coverage` of structures like those that it was calibrated on; None if the
            value is, or if those were too few to say.
        coverage: Nominal share of structures below `upper`.
        per_atom: Expected ∫|Δρ| in each atom's Hirshfeld share in electrons, [n_atoms]; not calibrated for an
            unfamiliar atom.
        unfamiliar: Whether an atom's surroundings are unlike any that the model has learned from, [n_atoms].
    """

    value: float | None
    upper: float | None
    coverage: float
    per_atom: FloatArray
    unfamiliar: NDArray[np.bool_]


@runtime_checkable
class GaugedField(DensityField, Protocol):
    """A field whose model may know how far it is from the reference."""

    def expected_error(self) -> ExpectedError | None:
        """Its expected error; None if the model has not been calibrated."""
        ...


@runtime_checkable
class RescaledField(DensityField, Protocol):
    """A field that its model has clipped at zero and multiplied once, so that its electrons are right."""

    @property
    def factor(self) -> float:
        """By which it was multiplied."""
        ...

    @property
    def n_clipped(self) -> float:
        """Electrons that clipping negative values has added before that."""
        ...


@runtime_checkable
class DensityModel(Protocol):
    """Structure → density."""

    @property
    def info(self) -> ModelInfo: ...

    def fields(self, structures: Sequence[Structure]) -> Sequence[DensityField]:
        """The density of each structure, as if it had been asked for alone.

        Raises:
            UnsupportedByModel: If a structure has an element that the model does not cover.
            OutOfMemory: If the batch does not fit.
        """
        ...


@dataclass(frozen=True)
class PotentialPrediction:
    """What a potential says of one structure.

    Attributes:
        energy: Total energy of the cell (or molecule), eV.
        forces: −dE/dx, eV/Å, [n_atoms, 3]; None if not asked for.
        stress: (1/V) dE/dstrain, eV/Å³, [3, 3], tension positive; None if not asked for.
        magmoms: Magnetic moments, Bohr magnetons, [n_atoms]; None if not asked for.
        energies: Shares of the atoms in the energy, eV, [n_atoms]; None if not asked for, or the model has none.
        isolated: Atoms without a neighbour within the model's cutoff, rising; it knows nothing of them but the element.
    """

    energy: float
    forces: FloatArray | None = None
    stress: FloatArray | None = None
    magmoms: FloatArray | None = None
    energies: FloatArray | None = None
    isolated: tuple[int, ...] = ()


@runtime_checkable
class Potential(Protocol):
    """Structure → energy, forces, stress."""

    @property
    def info(self) -> ModelInfo: ...

    def predict(self, structures: Sequence[Structure], want: frozenset[Property]) -> list[PotentialPrediction]:
        """Energy, and what else is wanted, of each structure, as if it had been asked for alone.

        Raises:
            UnsupportedByModel: If a structure lies outside what the model can answer.
            OutOfMemory: If the batch does not fit.
        """
        ...
