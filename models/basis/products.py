"""Products of fields that are sums of Gaussian-type functions: what is known of them in closed form.

In the model's density a product is what a density matrix of low rank would add: functions on two near atoms make
charge between them, which rises and fades smoothly with their distance and needs no centre there.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from models.basis.gaussian import Orbitals
from models.basis.harmonics import degree_of
from models.basis.overlaps import hermite_powers, hermite_products, overlaps
from models.graph import Graph
from rhocast.density.cube import BOHR

NUMBERS_PER_PIECE = 2**22
"""Numbers in the largest array that is held while pairs are worked off."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of centres that may overlap, each once, and each centre with itself.

    Attributes:
        sender: First centre of each pair, [n_pairs].
        receiver: Second one, [n_pairs].
        vectors: From the first to the second, or its image, in Å, float64, [n_pairs, 3].
        weights: 1; and ½ for a centre with itself, whose two orders are one, float64, [n_pairs].
    """

    sender: Tensor
    receiver: Tensor
    vectors: Tensor
    weights: Tensor

    @classmethod
    def of(cls, graph: Graph) -> "Pairs":
        """The pairs of a graph's atoms that have an edge, and its atoms."""
        atoms = torch.arange(graph.n_atoms, device=graph.sender.device)
        here = torch.arange(graph.n_edges, device=graph.sender.device)
        once = here < graph.reverse
        vectors = graph.vectors
        zeros, ones = vectors.new_zeros(graph.n_atoms, 3), vectors.new_ones(int(once.sum()))
        return cls(
            sender=torch.cat([graph.sender[once], atoms]),
            receiver=torch.cat([graph.receiver[once], atoms]),
            vectors=torch.cat([vectors[once], zeros]),
            weights=torch.cat([ones, 0.5 * vectors.new_ones(graph.n_atoms)]),
        )

    def within(self, centres: Tensor) -> "Pairs":
        """The pairs of some centres, which are counted from the first of them.

        Args:
            centres: Indices of centres that follow one another and have no pair with others, [n].
        """
        first, last = int(centres[0]), int(centres[-1])
        chosen = (self.sender >= first) & (self.sender <= last)
        return Pairs(
            self.sender[chosen] - first, self.receiver[chosen] - first, self.vectors[chosen], self.weights[chosen]
        )


@dataclass(frozen=True, eq=False)
class OrbitalProducts:
    """Σ_k ψ_k(r) χ_k(r), where every ψ_k and χ_k is Σ_jlm c_jlm N(α_j, l) r^l exp(−α_j r²) Y_lm about the centres.

    ψ and χ are amplitudes: c is in e^(1/2), and the functions in bohr^(−3/2).

    Attributes:
        exponents: α in bohr⁻², [n_centres, n_radial].
        first: Coefficients of ψ, [n_products, n_centres, n_radial, (L + 1)²].
        second: Coefficients of χ, of the same shape.

    Raises:
        ValueError: If one of the fields cannot be, or ψ and χ have other shapes.
    """

    exponents: Tensor
    first: Tensor
    second: Tensor

    def __post_init__(self) -> None:
        if self.first.shape != self.second.shape:
            raise ValueError(
                f"found coefficients of shapes {tuple(self.first.shape)} and {tuple(self.second.shape)}; "
                "expected two fields of the same functions"
            )
        self.fields()

    @property
    def highest_degree(self) -> int:
        return degree_of(self.first.shape[3])

    def fields(self) -> list[tuple[Orbitals, Orbitals]]:
        """ψ_k and χ_k of each product."""
        return [
            (Orbitals(self.exponents, first), Orbitals(self.exponents, second))
            for first, second in zip(self.first, self.second, strict=True)
        ]

    def of(self, centres: Tensor) -> "OrbitalProducts":
        """The products of the parts of ψ and χ that are about some centres.

        Args:
            centres: Their indices, [n].
        """
        return OrbitalProducts(self.exponents[centres], self.first[:, centres], self.second[:, centres])

    def charges(self, pairs: Pairs) -> Tensor:
        """Electrons in the product of the functions of each pair, both orders together, float64, [n_pairs].

        Their sum is ∫ Σ_k ψ_k χ_k d³r. Differentiable in exponents, coefficients and vectors.

        Args:
            pairs: All pairs that overlap.
        """

        def charges_of(some: Pairs) -> Tensor:
            first, second = self._ends(some)
            integrals = overlaps(
                self.exponents[some.sender],
                self.exponents[some.receiver],
                some.vectors / BOHR,
                self.highest_degree,
            )
            n_functions = integrals.shape[1] * integrals.shape[2]
            integrals = integrals.reshape(-1, n_functions, n_functions)
            return some.weights * ((first @ integrals) * second).sum((1, 2))

        n_functions = self.first.shape[2] * self.first.shape[3]
        return torch.cat(list(_in_pieces(charges_of, pairs, n_functions**2)))

    def electrons_in_waves(self, positions: Tensor, pairs: Pairs, waves: Tensor) -> Tensor:
        r"""∫ Σ_k ψ_k χ_k exp(−iG·r) d³r over all space (a crystal: over the cell) in electrons, complex128, [n_waves].

        .. math:: \rho(G) = \sum_{pairs} e^{-iG\cdot R} \sum_{jj'} (\pi/p)^{3/2} e^{-G^2/4p - iG\cdot P}
            \sum_{tuv} E_{tuv}\, (-iG_x)^t (-iG_y)^u (-iG_z)^v

        Differentiable in exponents and coefficients, not in positions.

        Args:
            positions: R of the centres in Å, float64, [n_centres, 3].
            pairs: All pairs that overlap.
            waves: G in Å⁻¹, float64, [n_waves, 3].
        """
        in_bohr = waves * BOHR
        powers = hermite_powers(2 * self.highest_degree).to(waves.device)
        order = powers.sum(1)
        # (−i)^n is 1, −i, −1, i.
        factors = (in_bohr[:, None] ** powers).prod(2) * (1 - 2 * (order // 2 % 2))
        is_odd = order % 2 == 1

        def waves_of(some: Pairs) -> Tensor:
            first, second = self._ends(some)
            shape = (self.first.shape[2], self.first.shape[3])
            products = hermite_products(
                self.exponents[some.sender],
                self.exponents[some.receiver],
                some.vectors / BOHR,
                self.highest_degree,
                2 * self.highest_degree,
            )
            both = torch.einsum("pkjm,pkin->pjmin", first.unflatten(2, shape), second.unflatten(2, shape))
            summed = torch.einsum("pjmin,pjmint->pjit", both, products.coefficients)
            even, odd = (summed[..., chosen] @ factors[:, chosen].T for chosen in (~is_odd, is_odd))
            centres = positions[some.sender][:, None, None] / BOHR + products.centres
            exponents = products.exponents[..., None]
            sizes = (pi / exponents) ** 1.5 * torch.exp(-in_bohr.square().sum(1) / (4 * exponents))
            phases = torch.exp(-1j * (centres @ in_bohr.T))
            weighted = some.weights[:, None, None, None] * sizes
            return (phases * torch.complex(weighted * even, -weighted * odd)).sum((0, 1, 2))

        n_numbers = self.first.shape[2] ** 2 * max(len(waves), self.first.shape[3] ** 2 * len(powers))
        return torch.stack(list(_in_pieces(waves_of, pairs, n_numbers))).sum(0)

    def _ends(self, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """Coefficients of the functions that meet at both ends, ψ with χ and χ with ψ, [n_pairs, 2 n_products, JM]."""
        psi, chi = (one.double().flatten(2).transpose(0, 1) for one in (self.first, self.second))
        first, second = torch.cat([psi, chi], 1), torch.cat([chi, psi], 1)
        return first[pairs.sender], second[pairs.receiver]


def _in_pieces(what: Callable[[Pairs], Tensor], pairs: Pairs, n_numbers: int) -> Iterator[Tensor]:
    """What is said of the pairs, piece by piece, so that the arrays of all of them never exist at once.

    Args:
        what: Of some pairs.
        pairs: All of them, one at least.
        n_numbers: Numbers in the largest array, for one pair.
    """
    size = max(1, NUMBERS_PER_PIECE // n_numbers)
    columns = (pairs.sender, pairs.receiver, pairs.vectors, pairs.weights)
    for piece in zip(*(column.split(size) for column in columns), strict=True):
        # The arrays are made again on the way back, so that they do not add up there either.
        yield checkpoint(what, Pairs(*piece), use_reentrant=False)
