"""The promolecule: the density that the atoms of a structure would have if each were alone.

ρ(r) = Σ_a ρ_a(|r − R_a|), with the free-atom densities that `reference/atoms.py` has made. See `promolecule.md`.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load
from scipy.interpolate import CubicSpline

from models.decoder.radial_transforms import radial_transforms
from models.decoder.real_space import Centres, Frame, RadialCubics, sum_at_points, sum_on_planes
from models.interface import FloatArray, GridShape
from rhocast.density.expansion import DensityExpansion
from rhocast.density.free_atoms import FreeAtoms
from rhocast.density.radial import RadialCubic
from rhocast.elements import ATOMIC_NUMBERS, SYMBOLS
from rhocast.errors import UnsupportedByModel
from rhocast.model_info import Cost, ModelInfo, Property
from rhocast.structure import Structure

IntArray = NDArray[np.int64]
ComplexArray = NDArray[np.complex128]

TABLE = Path(__file__).with_name("promolecule.safetensors")

RECOMMENDED_SPACING = 0.18
"""Å. Sums over grid points then miss the number of electrons by 3·10⁻⁵ at worst (N, F); at 0.30 Å by 1·10⁻³."""


@dataclass(frozen=True)
class AtomTable:
    """Free-atom densities.

    Attributes:
        line: Line of each atomic number in the arrays below, [119]; −1 where there is none.
        valence: Valence electrons, [n_elements].
        densities: Radial densities in e/Å³.
        sha256: Hash of the file.
    """

    line: IntArray
    valence: FloatArray
    densities: RadialCubics
    sha256: str

    @classmethod
    def read(cls, file: Path) -> "AtomTable":
        """The table in a file that `reference.atoms` has written."""
        contents = file.read_bytes()
        tensors = load(contents)
        line = np.full(len(SYMBOLS), -1, dtype=np.int64)
        line[tensors["numbers"]] = np.arange(len(tensors["numbers"]))
        radius = tensors["radius"]
        splines = [
            CubicSpline(radius[:n_knots], density[:n_knots], bc_type="clamped")
            for density, n_knots in zip(
                tensors["density"], np.rint(tensors["cutoff"] / radius[1]).astype(int) + 1, strict=True
            )
        ]
        return cls(
            line=line,
            valence=tensors["valence"],
            densities=RadialCubics.of_splines(splines, float(radius[1])),
            sha256=hashlib.sha256(contents).hexdigest(),
        )

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(symbol for symbol, number in ATOMIC_NUMBERS.items() if self.line[number] >= 0)

    def free_atoms(self, symbols: Sequence[str]) -> FreeAtoms:
        """The densities of some elements of the table as the SDK evaluates them: the same splines.

        Args:
            symbols: Chemical symbols; repeated ones count once.
        """
        lines = {symbol: int(self.line[ATOMIC_NUMBERS[symbol]]) for symbol in symbols}
        return FreeAtoms(
            {symbol: self._radial_cubic(line) for symbol, line in lines.items()},
            {symbol: float(self.valence[line]) for symbol, line in lines.items()},
        )

    def _radial_cubic(self, line: int) -> RadialCubic:
        spacing = self.densities.spacing
        coefficients = self.densities.coefficients[line, : round(self.densities.cutoffs[line] / spacing)]
        # At the last knot the function is its last cubic's end, and flat.
        values = np.append(coefficients[:, 0], coefficients[-1].sum())
        return RadialCubic(values, np.append(coefficients[:, 1], 0.0) / spacing, spacing)


class PromoleculeField:
    """Density of one structure.

    Args:
        structure: Atoms that the table covers.
        table: Free-atom densities.
    """

    def __init__(self, structure: Structure, table: AtomTable) -> None:
        self._structure = structure
        self._table = table
        self._densities = table.densities
        lines = table.line[structure.numbers]
        fractional = structure.fractional_positions
        if structure.is_periodic:
            fractional = fractional - np.floor(fractional)
        self._centres = Centres(np.ascontiguousarray(fractional), lines)
        self._n_electrons = float(table.valence[lines].sum())

    @property
    def n_electrons(self) -> float:
        """Exact integral over the cell (a molecule: over all space)."""
        return self._n_electrons

    def on_grid(self, shape: GridShape) -> FloatArray:
        """Point values in e/Å³, [n0, n1, n2]."""
        return self.on_planes(shape, 0, shape[0])

    def on_planes(self, shape: GridShape, first: int, last: int) -> FloatArray:
        """Point values in e/Å³ of the planes from `first` to before `last` of a grid, [last − first, n1, n2]."""
        return sum_on_planes(self._frame(shape), self._densities, self._centres, (first, last))

    def at_points(self, points: FloatArray) -> FloatArray:
        """Values in e/Å³ at Cartesian points in Å, [n_points, 3] → [n_points]."""
        return sum_at_points(self._frame((1, 1, 1)), self._densities, self._centres, points)

    def brought_by_others(self) -> FloatArray:
        """Density at each atom of all others (a crystal: of its own images too) in e/Å³, [n_atoms]."""
        own = self._densities.coefficients[self._centres.function, 0, 0]
        return self.at_points(self._structure.positions) - own

    def expansion(self) -> DensityExpansion:
        """The free atoms alone."""
        return DensityExpansion(self._structure, self._table.free_atoms(self._structure.symbols))

    def _frame(self, shape: GridShape) -> Frame:
        return Frame.of_cell(self._structure.cell, shape, self._structure.is_periodic)


class Promolecule:
    """Superposition of free atoms; neither trained nor approximated, and the yardstick of every other density model.

    Args:
        table: File of free-atom densities.
    """

    def __init__(self, table: Path = TABLE) -> None:
        self._table = AtomTable.read(table)
        self._info = _info(self._table)

    @property
    def info(self) -> ModelInfo:
        return self._info

    @property
    def table(self) -> AtomTable:
        """Its free atoms."""
        return self._table

    def fields(self, structures: Sequence[Structure]) -> list[PromoleculeField]:
        """The density of each structure; nothing is summed before a field is asked for values.

        Raises:
            UnsupportedByModel: If a structure has an element that the table lacks.
        """
        for structure in structures:
            self._refuse_unknown_elements(structure)
        return [PromoleculeField(structure, self._table) for structure in structures]

    def electrons_in_waves(self, structure: Structure, vectors: FloatArray) -> ComplexArray:
        r"""Fourier coefficients of the density in electrons, [n_waves].

        .. math:: \rho(G) = \int \rho(r)\, e^{-iG\cdot r}\, d^3r = \sum_a e^{-iG\cdot R_a}\, f_a(|G|)

        over the cell of a crystal, and over all space for a molecule: for wave vectors of its box's lattice that is
        the coefficient of the density repeated with the box.

        Args:
            structure: The atoms.
            vectors: G in Å⁻¹, of the lattice if the structure is a crystal, [n_waves, 3].

        Raises:
            UnsupportedByModel: If the structure has an element that the table lacks.
        """
        self._refuse_unknown_elements(structure)
        lines, kind = np.unique(self._table.line[structure.numbers], return_inverse=True)
        of_kinds = radial_transforms(self._table.densities.chosen(lines), np.linalg.norm(vectors, axis=1))
        phases = np.exp(-1j * vectors @ structure.positions.T)
        return np.einsum("ga,ag->g", phases, of_kinds[kind])

    def _refuse_unknown_elements(self, structure: Structure) -> None:
        unknown = sorted({symbol for symbol in structure.symbols if symbol not in self._info.elements})
        if unknown:
            raise UnsupportedByModel(
                f"found {', '.join(unknown)}; the promolecule covers H to Rn except Tc, Po and At (the elements with a "
                "PBE data set in gpaw-data); choose another model, or put a neighbour of the same group in their place"
            )


def _info(table: AtomTable) -> ModelInfo:
    symbols = table.symbols
    valence = {symbol: float(table.valence[table.line[ATOMIC_NUMBERS[symbol]]]) for symbol in symbols}
    return ModelInfo(
        name="promolecule",
        provides=(Property.DENSITY,),
        description="Superposition of the valence densities of free atoms; no bonds, no charge transfer",
        elements=symbols,
        cutoff=float(table.densities.cutoffs.max()),
        weights_sha256=table.sha256,
        level_of_theory="PBE, PAW (gpaw-data 1.2.1), free spherical spin-paired atoms",
        licence="CC-BY-4.0",
        density_kind=(
            "valence: PAW pseudo density without partial core, plus soft Gaussian compensation charges "
            "(docs/conventions.md); positive, smooth, no core"
        ),
        valence_electrons=valence,
        recommended_spacing=RECOMMENDED_SPACING,
        domains=("crystal", "molecule"),
        no_uncertainty_because="the promolecule knows no bonds: its error is the bonding itself, not chance",
        max_atoms=20_000,
        max_points=300_000_000,
        cost=Cost(per_structure=1.0, per_point=1e-3),
        labels={"data_sets": "gpaw-data 1.2.1", "cost_unit": "millisecond on one CPU core"},
    )
