"""A density on the grid of a cell."""

# pymatgen ships no types.
# pyright: reportMissingTypeStubs=false

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rhocast.density.grids import spacing_of
from rhocast.errors import InvalidGrid
from rhocast.structure import Structure

if TYPE_CHECKING:
    from ase.calculators.vasp import VaspChargeDensity
    from pymatgen.io.vasp import Chgcar

FloatArray = NDArray[np.float64]
_N_AXES = 3


@dataclass(frozen=True, eq=False)
class Augmentation:
    """PAW one-centre occupancies of a CHGCAR, kept as read.

    Attributes:
        total: Occupancies of the charge, one array an atom.
        difference: Occupancies of the magnetization, one array an atom; empty without spin.
        moments: The line of one moment an atom that stands before the magnetization, in Bohr magnetons.
    """

    total: tuple[FloatArray, ...]
    difference: tuple[FloatArray, ...] = ()
    moments: FloatArray | None = None


@dataclass(frozen=True, eq=False)
class Density:
    """Electrons per Å³ on the grid of a cell.

    Point (i, j, k) lies at i/n0·a + j/n1·b + k/n2·c; values are point values, the end point is excluded.

    Attributes:
        structure: The atoms and the cell.
        values: Electron density in e/Å³, [n0, n1, n2].
        magnetization: Spin up minus spin down in e/Å³, [n0, n1, n2]; None without spin.
        augmentation: Occupancies that came with a CHGCAR. Only a CHGCAR keeps them; none are ever invented.
        comment: Where the density comes from, one line.
    """

    structure: Structure
    values: FloatArray
    magnetization: FloatArray | None = None
    augmentation: Augmentation | None = None
    comment: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", np.asarray(self.values, dtype=np.float64))
        if self.values.ndim != _N_AXES or not self.values.size:
            raise InvalidGrid(f"found values of shape {self.values.shape}; expected (n0, n1, n2), none of them 0")
        if self.magnetization is None:
            return
        object.__setattr__(self, "magnetization", np.asarray(self.magnetization, dtype=np.float64))
        if self.magnetization.shape != self.values.shape:
            raise InvalidGrid(
                f"found a magnetization of shape {self.magnetization.shape} beside values of shape "
                f"{self.values.shape}; expected one grid for both"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        n0, n1, n2 = self.values.shape
        return n0, n1, n2

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance of neighbouring points along each axis, in Å."""
        return spacing_of(self.structure.cell, self.shape)

    @property
    def n_electrons(self) -> float:
        """Integral over the cell: Σρ·V/n."""
        return float(self.values.sum()) * self.structure.volume / self.values.size

    def write(self, path: str | os.PathLike[str], format: str | None = None) -> None:
        """This density in a file, which appears whole or not at all.

        Args:
            path: Where to write. CHGCAR* and *.vasp, CHG*, *.cube, *.npz and *.zarr.zip say their format.
            format: chgcar, chg, cube, npz or zarr, where the name does not say it.

        Raises:
            UnsupportedFormat: If neither the name nor `format` is one of these.
            InvalidFile: If a value is NaN, infinite or too large.
            OSError: If the folder is missing or the disk is full.
        """
        from rhocast.density.files import write_density  # noqa: PLC0415  (the formats are built on this class)

        write_density(self, Path(path), format)

    @classmethod
    def read(cls, path: str | os.PathLike[str], format: str | None = None) -> "Density":
        """The density in a file.

        Args:
            path: The file. CHGCAR* and *.vasp, CHG*, *.cube, *.npz and *.zarr.zip say their format.
            format: chgcar, chg, cube, npz or zarr, where the name does not say it.

        Raises:
            UnsupportedFormat: If neither the name nor `format` is one of these.
            InvalidFile: If the file cannot be read as that format.
        """
        from rhocast.density.files import read_density  # noqa: PLC0415

        return read_density(Path(path), format)

    def to_pymatgen(self) -> "Chgcar":
        """The same density as `pymatgen.io.vasp.Chgcar`, in pymatgen's e = ρ·V.

        Raises:
            ImportError: If pymatgen is not installed.
        """
        from rhocast.density.conversions import chgcar_of  # noqa: PLC0415

        return chgcar_of(self)

    def to_ase(self) -> "VaspChargeDensity":
        """The same density as `ase.calculators.vasp.VaspChargeDensity`, in e/Å³; without augmentation.

        Raises:
            ImportError: If ASE is not installed.
        """
        from rhocast.density.conversions import vasp_charge_density_of  # noqa: PLC0415

        return vasp_charge_density_of(self)
