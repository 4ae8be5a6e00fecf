"""Products of fields that are sums of Gaussian-type functions on atoms, and what is known of them in closed form.

ρ(r) = Σ_k ψ_k(r) χ_k(r), where each field ψ and χ is a sum of the functions of `rhocast.density.gaussians`. Lengths in
bohr end here: what is returned is in Å, e and e/Å³.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import log
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rhocast.density.cube import BOHR
from rhocast.density.gaussians import Gaussians
from rhocast.density.harmonics import solid_harmonics
from rhocast.density.spheres import Sphere, pairs_with_points
from rhocast.errors import InvalidField
from rhocast.structure import IntArray, Structure

FloatArray = NDArray[np.float64]

_SMALLEST_EXPONENTIAL = 1e-15
"""Primitives on two centres whose product has a smaller factor than this are left out of integrals."""

_NODES_AT_ONCE = 2**18


class Moments(NamedTuple):
    """Integrals of the products, by the atom that ψ is about, and about that atom.

    Attributes:
        charges: Electrons, [n_atoms].
        first: ∫ ρ r in e·Å, [n_atoms, 3].
        second: ∫ ρ r_i r_j in e·Å², [n_atoms, 3, 3].
    """

    charges: FloatArray
    first: FloatArray
    second: FloatArray


@dataclass(frozen=True, eq=False)
class GaussianProducts:
    """Σ_k ψ_k(r) χ_k(r), with ψ and χ amplitudes about the atoms.

    Attributes:
        exponents: α in bohr⁻², [n_atoms, n_radial].
        coefficients: Of ψ and χ of each product in e^(1/2), [n_products, 2, n_atoms, n_radial, (L + 1)²].

    Raises:
        InvalidField: If the shapes disagree, there is no product, or a field cannot be.
    """

    exponents: FloatArray
    coefficients: FloatArray

    def __post_init__(self) -> None:
        if self.coefficients.ndim != 5 or self.coefficients.shape[1] != 2 or not len(self.coefficients):
            raise InvalidField(
                f"found coefficients of products of shape {self.coefficients.shape}; "
                "expected [n_products, 2, n_atoms, n_radial, (L + 1)²] with a product at least: give None"
            )
        _ = self.fields

    @property
    def n_centres(self) -> int:
        return len(self.exponents)

    @property
    def highest_degree(self) -> int:
        return self.fields[0][0].highest_degree

    @cached_property
    def fields(self) -> list[tuple[Gaussians, Gaussians]]:
        """ψ and χ of each product. Gaussians are densities: ψχ is what they are in e/Å³ each, times `BOHR³`."""
        return [(Gaussians(self.exponents, psi), Gaussians(self.exponents, chi)) for psi, chi in self.coefficients]

    def reordered(self, order: IntArray) -> "GaussianProducts":
        """The same products with atom k taken from atom `order[k]`.

        Args:
            order: A permutation of the atoms, [n_atoms].
        """
        return GaussianProducts(self.exponents[order], self.coefficients[:, :, order])

    def moments(self, structure: Structure) -> Moments:
        """Integrals over all space of the functions of ψ on each atom with those of χ on all atoms and images.

        The product of two Gaussians is a Gaussian between them times a polynomial, which Gauss–Hermite quadrature
        integrates exactly.

        Args:
            structure: The atoms, in the order of the centres.
        """
        found = Moments(*(np.zeros((structure.n_atoms, *[3] * order)) for order in range(3)))
        # No farther pair has a point within the radius of both.
        radius = 2 * float(self.fields[0][0].radii.max())
        for atom, position in enumerate(structure.positions):
            for others, vectors in pairs_with_points(structure, structure.positions, Sphere(position, radius)):
                for piece in self._primitives(atom, others, vectors):
                    for total, part in zip(found, self._integrated(atom, piece), strict=True):
                        total[atom] += part
        return found

    @cached_property
    def _in_angstrom(self) -> tuple[FloatArray, FloatArray]:
        """Exponents in Å⁻², and factors of exp(−α r²) r^l Y_lm in ψ and χ, whose products are in e·Å^(−3 − l − l')."""
        of_fields = [[one.in_angstrom for one in pair] for pair in self.fields]
        weights = np.array([[weights for _, weights in pair] for pair in of_fields])
        return of_fields[0][0][0], BOHR**1.5 * weights

    def _primitives(self, atom: int, others: IntArray, vectors: FloatArray) -> Iterator["_Primitives"]:
        """Pairs of primitives, one on an atom and one on others that are so far from it, in pieces."""
        exponents, _ = self._in_angstrom
        alpha, beta = exponents[atom][:, None], exponents[others][:, None]
        reduced = alpha * beta / (alpha + beta)
        which, mine, theirs = np.nonzero(
            reduced * np.square(vectors).sum(axis=1)[:, None, None] < -log(_SMALLEST_EXPONENTIAL)
        )
        n_at_once = max(1, _NODES_AT_ONCE // (self.highest_degree + 2) ** 3)
        for start in range(0, len(which), n_at_once):
            part = slice(start, start + n_at_once)
            some = which[part]
            yield _Primitives(mine[part], others[some], theirs[part], vectors[some])

    def _integrated(self, atom: int, some: "_Primitives") -> tuple[FloatArray, FloatArray, FloatArray]:
        """Moments about an atom of the products of its primitives in ψ with others in χ: orders 0, 1 and 2, summed."""
        exponents, weights = self._in_angstrom
        highest_degree = self.highest_degree
        alpha, beta = exponents[atom, some.mine], exponents[some.others, some.theirs]
        total = alpha + beta
        factors = np.exp(-alpha * beta / total * np.square(some.vectors).sum(axis=1)) * total**-1.5
        # L + 2 nodes along each axis are exact up to degree 2L + 3: two harmonics and a second moment.
        nodes, node_weights = np.polynomial.hermite.hermgauss(highest_degree + 2)
        grid = np.array(list(product(nodes, repeat=3)))
        grid_weights = np.prod(list(product(node_weights, repeat=3)), axis=1)
        points = (beta / total)[:, None, None] * some.vectors[:, None] + grid / np.sqrt(total)[:, None, None]
        shape = (-1, *points.shape[:2])
        mine = solid_harmonics(points.reshape(-1, 3), highest_degree).reshape(shape)
        from_others = (points - some.vectors[:, None]).reshape(-1, 3)
        theirs = solid_harmonics(from_others, highest_degree).reshape(shape)
        psi = np.einsum("kpm,mpg->kpg", weights[:, 0, atom, some.mine], mine)
        chi = np.einsum("kpm,mpg->kpg", weights[:, 1, some.others, some.theirs], theirs)
        electrons = ((psi * chi).sum(axis=0) * factors[:, None] * grid_weights).ravel()
        flat = points.reshape(-1, 3)
        return electrons.sum(), electrons @ flat, (electrons[:, None] * flat).T @ flat


class _Primitives(NamedTuple):
    """Pairs of primitives on two atoms.

    Attributes:
        mine: Index of the exponent on the first atom, [n].
        others: Second atom, [n].
        theirs: Index of the exponent there, [n].
        vectors: From the first atom to the second, or its image, in Å, [n, 3].
    """

    mine: IntArray
    others: IntArray
    theirs: IntArray
    vectors: FloatArray
