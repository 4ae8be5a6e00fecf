"""A density as the coefficients that it was made of: free atoms and Gaussian-type functions.

Some tens of kilobytes hold what a grid of any fineness would; it is exact between grid points, and electron count,
dipole and quadrupole need no grid.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rhocast.density.atom_spheres import sum_of_spheres, sum_of_spheres_at
from rhocast.density.cube import BOHR
from rhocast.density.free_atoms import FreeAtoms
from rhocast.density.gaussian_products import GaussianProducts, Moments
from rhocast.density.gaussians import Gaussians
from rhocast.density.grids import spacing_of
from rhocast.density.radial import RadialCubic
from rhocast.density.spheres import Shape, Sphere, pairs_with_points, parts_on_grid
from rhocast.density.volumetric import Density
from rhocast.errors import InvalidField
from rhocast.structure import IntArray, Structure

FloatArray = NDArray[np.float64]


def _no_bonds() -> FloatArray:
    return np.empty((0, 3))


@dataclass(frozen=True, eq=False)
class DensityExpansion:
    """ρ(r) = Σ_a ρ_a(|r − R_a|) + Σ of Gaussian-type functions on atoms and centres between them + Σ_k ψ_k(r) χ_k(r).

    Values are those of the service's model before a grid is scaled to the number of electrons. They are in e/Å³.

    Attributes:
        structure: The atoms, and the cell; for a molecule the box that frames its grid.
        free_atoms: Spherical densities ρ_a of the neutral atoms.
        on_atoms: Functions on each atom, in the order of the atoms; None for free atoms alone.
        on_bonds: Functions on centres between atoms; None without such.
        bond_positions: Where these centres are in Å, [n_bonds, 3].
        comment: Where the density comes from, one line.
        products: Products of fields ψ and χ, which are sums of functions on the atoms; None without such.

    Raises:
        UnsupportedByModel: If there is no free atom of an element.
        InvalidField: If there are not as many centres as atoms or positions, or a position or the cell is not finite.
    """

    structure: Structure
    free_atoms: FreeAtoms
    on_atoms: Gaussians | None = None
    on_bonds: Gaussians | None = None
    bond_positions: FloatArray = field(default_factory=_no_bonds)
    comment: str = ""
    products: GaussianProducts | None = None

    def __post_init__(self) -> None:
        self.free_atoms.valence_of(self.structure)
        n_on_atoms = self.on_atoms.n_centres if self.on_atoms else self.structure.n_atoms
        n_on_bonds = self.on_bonds.n_centres if self.on_bonds else 0
        if n_on_atoms != self.structure.n_atoms or self.bond_positions.shape != (n_on_bonds, 3):
            raise InvalidField(
                f"found functions on {n_on_atoms} of {self.structure.n_atoms} atoms and on {n_on_bonds} bonds at "
                f"positions of shape {self.bond_positions.shape}; expected all atoms, and a position a bond"
            )
        if self.products and self.products.n_centres != self.structure.n_atoms:
            raise InvalidField(
                f"found products of functions on {self.products.n_centres} of {self.structure.n_atoms} atoms; "
                "expected all atoms"
            )
        if not all(
            np.isfinite(one).all() for one in (self.structure.positions, self.structure.cell, self.bond_positions)
        ):
            raise InvalidField("found positions or a cell that are NaN or infinite; expected finite numbers in Å")

    @property
    def n_electrons(self) -> float:
        """Exact integral over the cell (a molecule: over all space)."""
        added = sum(float(moments.charges.sum()) for moments, _ in self._moments)
        return float(self.free_atoms.valence_of(self.structure).sum()) + added

    @property
    def dipole(self) -> FloatArray:
        r"""Dipole of a molecule and its ions in e·Å, from − to +, [3]; exact.

        .. math:: d = \sum_a Z_a R_a - \int \rho\, r\, d^3r

        Z_a are the valence electrons of the free atoms, which are neutral with their ions and add nothing. Where the
        functions hold charge in sum, it is the dipole about the centre of the ions' charge.

        Raises:
            InvalidField: If the cell repeats: its dipole is undefined.
        """
        self._refuse_crystal("dipole")
        origin = self._centre_of_ions()
        total = np.zeros(3)
        for moments, positions in self._moments:
            total -= moments.charges @ (positions - origin) + moments.first.sum(axis=0)
        return total

    def quadrupole(self, origin: ArrayLike | None = None) -> FloatArray:
        r"""Traceless quadrupole of a molecule and its ions in e·Å², symmetric, [3, 3]; exact.

        .. math:: \Theta_{ij} = \tfrac12 \int q(r)\, (3 r_i r_j - \delta_{ij} r^2)\, d^3r

        with q positive on ions and negative on electrons (A. D. Buckingham, Q. Rev. Chem. Soc. 13, 183, 1959). Free
        atoms are spherical and neutral with their ions, and add nothing to it.

        Args:
            origin: Point in Å that it is about, [3]; the centre of the ions' charge, Σ Z_a R_a / Σ Z_a, if None. Only
                where charge and dipole are zero does it not matter.

        Raises:
            InvalidField: If the cell repeats: its quadrupole is undefined. Or if the origin is no point.
        """
        self._refuse_crystal("quadrupole")
        about = self._centre_of_ions() if origin is None else np.asarray(origin, dtype=np.float64)
        if about.shape != (3,) or not np.isfinite(about).all():
            raise InvalidField(f"found the origin {origin}; expected three coordinates in Å")
        second = np.zeros((3, 3))
        for moments, positions in self._moments:
            away = positions - about
            mixed = away.T @ moments.first
            second += (moments.charges[:, None] * away).T @ away + mixed + mixed.T + moments.second.sum(axis=0)
        return -0.5 * (3 * second - np.trace(second) * np.eye(3))

    def on_grid(self, shape: Shape) -> Density:
        """The density on a grid of the cell, whose sum over points is not scaled to the number of electrons.

        Args:
            shape: Points along each cell vector.

        Raises:
            InvalidGrid: If an axis has no point, or the cell no volume.
        """
        spacing_of(self.structure.cell, shape)  # refuses what is no grid
        values = sum_of_spheres(self.structure, shape, self._free_atom_of_each())
        for gaussians, positions in self._centres():
            values += self._on_grid(shape, gaussians, positions)
        for psi, chi in self.products.fields if self.products else []:
            values += BOHR**3 * np.multiply(
                *(self._on_grid(shape, one, self.structure.positions) for one in (psi, chi))
            )
        return Density(self.structure, values, comment=self.comment)

    def at_points(self, points: ArrayLike) -> FloatArray:
        """Values in e/Å³ at any points, [n_points].

        Args:
            points: Cartesian positions in Å, inside the cell or not, [n_points, 3].

        Raises:
            InvalidField: If they have another shape or are not finite.
        """
        places = np.asarray(points, dtype=np.float64)
        if places.ndim != 2 or places.shape[1] != 3 or not np.isfinite(places).all():
            raise InvalidField(
                f"found points of shape {places.shape}, finite: {bool(np.isfinite(places).all())}; expected finite "
                "positions in Å, [n_points, 3]"
            )
        values = sum_of_spheres_at(self.structure, places, self._free_atom_of_each())
        for gaussians, positions in self._centres():
            values += self._at_points(places, gaussians, positions)
        for psi, chi in self.products.fields if self.products else []:
            values += BOHR**3 * np.multiply(
                *(self._at_points(places, one, self.structure.positions) for one in (psi, chi))
            )
        return values

    def reordered(self, order: IntArray) -> "DensityExpansion":
        """The same density with atom k taken from atom `order[k]`.

        Args:
            order: A permutation of the atoms, [n_atoms].
        """
        on_atoms = self.on_atoms
        if on_atoms is not None:
            on_atoms = Gaussians(on_atoms.exponents[order], on_atoms.coefficients[order])
        products = self.products.reordered(order) if self.products else None
        return replace(self, structure=self.structure.reordered(order), on_atoms=on_atoms, products=products)

    def write(self, path: str | os.PathLike[str]) -> None:
        """These coefficients in an npz file, which appears whole or not at all.

        Args:
            path: Where to write, as a rule *.coefficients.npz.

        Raises:
            OSError: If the folder is missing or the disk is full.
        """
        from rhocast.density.expansion_npz import write_expansion  # noqa: PLC0415  (the format is built on this class)
        from rhocast.density.files import write_whole  # noqa: PLC0415

        write_whole(Path(path), "coefficients", lambda stream: write_expansion(self, stream))

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "DensityExpansion":
        """The density whose coefficients are in a file.

        Args:
            path: The file.

        Raises:
            InvalidFile: If it holds no coefficients, or some that cannot be used.
        """
        from rhocast.density.expansion_npz import read_expansion  # noqa: PLC0415

        with Path(path).open("rb") as stream:
            return read_expansion(stream)

    def _centres(self) -> Iterator[tuple[Gaussians, FloatArray]]:
        """Functions, and where they are, [n_centres, 3]."""
        if self.on_atoms is not None:
            yield self.on_atoms, self.structure.positions
        if self.on_bonds is not None:
            yield self.on_bonds, self.bond_positions

    def _on_grid(self, shape: Shape, gaussians: Gaussians, positions: FloatArray) -> FloatArray:
        """Sum of functions about some centres on a grid in e/Å³."""
        values = np.zeros(shape)
        for centre, sphere in enumerate(_spheres(gaussians, positions)):
            for part in parts_on_grid(self.structure, shape, sphere):
                values[part.block] += part.with_zeros(gaussians.about(centre, part.vectors))
        return values

    def _at_points(self, points: FloatArray, gaussians: Gaussians, positions: FloatArray) -> FloatArray:
        """Sum of functions about some centres at points in e/Å³, [n_points]."""
        values = np.zeros(len(points))
        for centre, sphere in enumerate(_spheres(gaussians, positions)):
            for indices, vectors in pairs_with_points(self.structure, points, sphere):
                values += np.bincount(indices, gaussians.about(centre, vectors), minlength=len(points))
        return values

    @cached_property
    def _moments(self) -> list[tuple[Moments, FloatArray]]:
        """Moments of what is added to the free atoms, each about its centre, and where the centres are."""
        found = [(_moments_of(gaussians.multipoles), positions) for gaussians, positions in self._centres()]
        if self.products:
            found.append((self.products.moments(self.structure), self.structure.positions))
        return found

    def _free_atom_of_each(self) -> list[RadialCubic]:
        return [self.free_atoms.densities[symbol] for symbol in self.structure.symbols]

    def _centre_of_ions(self) -> FloatArray:
        return np.average(self.structure.positions, axis=0, weights=self.free_atoms.valence_of(self.structure))

    def _refuse_crystal(self, what: str) -> None:
        if self.structure.is_periodic:
            raise InvalidField(f"found a crystal; expected a molecule: the {what} of a cell that repeats is undefined")


def _spheres(gaussians: Gaussians, positions: FloatArray) -> list[Sphere]:
    return [Sphere(centre, radius) for centre, radius in zip(positions, gaussians.radii.tolist(), strict=True)]


def _moments_of(multipoles: FloatArray) -> Moments:
    """Moments of functions about their own centres, the second without trace."""
    second = np.array([_second_moment(one) for one in _components(multipoles, 2)])
    return Moments(multipoles[:, 0], _components(multipoles, 1), second)


def _components(multipoles: FloatArray, degree: int) -> FloatArray:
    """Moments of one degree, zero where the functions do not go so far, [n_centres, 2 l + 1]."""
    found = multipoles[:, degree**2 : (degree + 1) ** 2]
    return found if found.size else np.zeros((len(multipoles), 2 * degree + 1))


def _second_moment(harmonic: FloatArray) -> FloatArray:
    """∫ φ (r_i r_j − δ_ij r²/3) d³r from the moments of degree two, [3, 3].

    They belong to √3 xz, √3 xy, y² − (x² + z²)/2, √3 yz and √3/2 (z² − x²).
    """
    xz, xy, yy, yz, zz_less_xx = harmonic / np.sqrt(3)
    yy = yy / np.sqrt(3)
    return np.array([[-yy - zz_less_xx, xy, xz], [xy, 2 * yy, yz], [xz, yz, -yy + zz_less_xx]])
