"""The orbital model as the service sees it: structures in, fields of density out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.basis.gaussian import Orbitals
from models.basis.products import OrbitalProducts, Pairs
from models.decoder.choice import OrbitalDecoder, real_space_decoder
from models.decoder.product import ProductDecoder
from models.decoder.together import Placed, at_points_of_each
from models.density.learned import Domain, learned_info, read_learned
from models.density.orbital.config import OrbitalConfig
from models.density.orbital.network import Expansion, OrbitalNetwork, expanded
from models.density.promolecule import Promolecule, PromoleculeField
from models.interface import DensityField, ExpandedField, ExpectedError, FloatArray, GridShape, OutOfMemory
from models.uncertainty import AtomTraits, Gauge, crowding_of
from rhocast.density.expansion import DensityExpansion
from rhocast.density.gaussian_products import GaussianProducts
from rhocast.density.gaussians import Gaussians
from rhocast.model_info import Cost, ModelInfo
from rhocast.structure import Structure

IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Centres:
    """Centres of one kind in one structure.

    Attributes:
        positions: Å, [n_centres, 3].
        orbitals: Their functions.
    """

    positions: FloatArray
    orbitals: Orbitals

    def decoder(self, structure: Structure) -> OrbitalDecoder:
        """Their sum in real space, on the device of the orbitals."""
        return real_space_decoder(structure.cell, structure.is_periodic, self.positions, self.orbitals)

    def gaussians(self) -> Gaussians:
        """Their functions as the SDK evaluates them."""
        exponents, coefficients = (
            one.detach().cpu().double().numpy() for one in (self.orbitals.exponents, self.orbitals.coefficients)
        )
        return Gaussians(exponents, coefficients)


def centres_of(expansion: Expansion, index: int) -> list[Centres]:
    """Centres of one structure of a batch, by kind; kinds of which it has none are left out.

    Args:
        expansion: Orbitals of the batch.
        index: Place of the structure in the batch.
    """
    found = []
    for positions, structure_of, orbitals in _kinds(expansion):
        chosen = torch.nonzero(structure_of == index).squeeze(1)
        if len(chosen):
            of_structure = Orbitals(orbitals.exponents[chosen], orbitals.coefficients[chosen])
            found.append(Centres(positions[chosen].detach().cpu().numpy(), of_structure))
    return found


def _kinds(expansion: Expansion) -> list[tuple[Tensor, Tensor, Orbitals]]:
    """Positions, structures and functions of atoms, and of bonds if the model has them; ordered by structures."""
    kinds = [(expansion.graph.positions, expansion.graph.structure_of_atom, expansion.atoms)]
    if expansion.bonds is not None:
        kinds.append((expansion.bond_positions, expansion.structure_of_bond, expansion.bonds))
    return kinds


def added_at_points(expansion: Expansion, structures: Sequence[Structure], points: Sequence[FloatArray]) -> Tensor:
    """What orbitals and products add to promolecules at points of each structure in e/Å³, float64, [Σ n_points].

    Args:
        expansion: Orbitals of the batch.
        structures: Its structures.
        points: Cartesian points of each in Å, [n_points, 3].
    """
    added = torch.zeros(sum(map(len, points)), dtype=torch.float64, device=expansion.graph.positions.device)
    for positions, structure_of, orbitals in _kinds(expansion):
        counts = torch.bincount(structure_of, minlength=len(structures)).tolist()
        places = positions.detach().cpu().split(counts)
        placed = [
            Placed(structure.cell, structure.is_periodic, place.numpy(), wanted)
            for structure, place, wanted in zip(structures, places, points, strict=True)
        ]
        added = added + at_points_of_each(placed, orbitals)
    products = [products_of(expansion, index) for index in range(len(structures))]
    of_products = [
        one.decoder(structure).at_points(wanted)
        for one, structure, wanted in zip(products, structures, points, strict=True)
        if one
    ]
    return added + torch.cat(of_products) if of_products else added


@dataclass(frozen=True, eq=False)
class AtomProducts:
    """Products of fields on the atoms of one structure.

    Attributes:
        positions: Å, [n_atoms, 3].
        products: The fields.
        pairs: Atoms that overlap in them.
    """

    positions: FloatArray
    products: OrbitalProducts
    pairs: Pairs

    def decoder(self, structure: Structure) -> ProductDecoder:
        """Their sum in real space."""
        return ProductDecoder(structure.cell, structure.is_periodic, self.positions, self.products)

    def gaussian_products(self) -> GaussianProducts:
        """The fields as the SDK evaluates them."""
        products = self.products
        fields = torch.stack([products.first, products.second], 1)
        exponents, coefficients = (one.detach().cpu().double().numpy() for one in (products.exponents, fields))
        return GaussianProducts(exponents, coefficients)


def products_of(expansion: Expansion, index: int) -> AtomProducts | None:
    """Products of fields in one structure of a batch; None if the model has none.

    Args:
        expansion: Orbitals of the batch.
        index: Place of the structure in the batch.
    """
    if expansion.products is None or expansion.pairs is None:
        return None
    graph = expansion.graph
    chosen = torch.nonzero(graph.structure_of_atom == index).squeeze(1)
    positions = graph.positions[chosen].detach().cpu().numpy()
    return AtomProducts(positions, expansion.products.of(chosen), expansion.pairs.within(chosen))


def traits_of(expansion: Expansion, floors: Sequence[PromoleculeField]) -> AtomTraits:
    """What a gauge looks at of the atoms of a batch, on the CPU.

    Args:
        expansion: Orbitals of the batch.
        floors: Promolecules of its structures.
    """
    graph = expansion.graph
    return AtomTraits(
        graph.species.cpu(),
        expansion.features.detach().cpu(),
        crowding_of(graph, [floor.brought_by_others() for floor in floors]),
    )


class OrbitalField:
    """Density of one structure: the promolecule and the orbitals that the network adds.

    Args:
        structure: The structure.
        promolecule: Its neutral atoms.
        centres: Orbitals on its atoms, in their order, and then those on bonds if there are any.
        products: Products of fields on its atoms, if the model has them.
        expected: How far it is from the reference, if the model has been calibrated.
    """

    def __init__(
        self,
        structure: Structure,
        promolecule: ExpandedField,
        centres: Sequence[Centres],
        products: AtomProducts | None = None,
        expected: ExpectedError | None = None,
    ) -> None:
        self._promolecule = promolecule
        self._centres = centres
        self._products = products
        self._expected = expected
        parts = [*centres, products] if products else centres
        self._decoders = [one.decoder(structure) for one in parts]

    @property
    def n_electrons(self) -> float:
        """Exact integral over the cell (a molecule: over all space): orbitals only move charge."""
        return self._promolecule.n_electrons

    def on_grid(self, shape: GridShape) -> FloatArray:
        """Point values in e/Å³, [n0, n1, n2]."""
        return self.on_planes(shape, 0, shape[0])

    def on_planes(self, shape: GridShape, first: int, last: int) -> FloatArray:
        """Point values in e/Å³ of the planes from `first` to before `last` of a grid, [last − first, n1, n2]."""
        values = self._promolecule.on_planes(shape, first, last)
        for decoder in self._decoders:
            values += decoder.on_planes(shape, first, last).cpu().numpy()
        return values

    def at_points(self, points: FloatArray) -> FloatArray:
        """Values in e/Å³ at Cartesian points in Å, [n_points, 3] → [n_points]."""
        values = self._promolecule.at_points(points)
        for decoder in self._decoders:
            values += decoder.at_points(points).cpu().numpy()
        return values

    def expansion(self) -> DensityExpansion:
        """The free atoms and the orbitals."""
        on_atoms, *on_bonds = self._centres
        expansion = replace(self._promolecule.expansion(), on_atoms=on_atoms.gaussians())
        for bonds in on_bonds:
            expansion = replace(expansion, on_bonds=bonds.gaussians(), bond_positions=bonds.positions)
        if self._products:
            expansion = replace(expansion, products=self._products.gaussian_products())
        return expansion

    def expected_error(self) -> ExpectedError | None:
        """Its expected error; None if the model has not been calibrated."""
        return self._expected


def orbital_fields(
    network: OrbitalNetwork, promolecule: Promolecule, structures: Sequence[Structure], gauge: Gauge | None = None
) -> list[DensityField]:
    """The density of each structure, from one pass of the network.

    Args:
        network: The network.
        promolecule: Its floor.
        structures: Structures of the batch.
        gauge: What knows how far they are from the reference.

    Raises:
        UnsupportedByModel: If a structure has an element that network or promolecule do not know.
    """
    floors = promolecule.fields(structures)
    with torch.no_grad():
        expansion = expanded(network, structures)
        expected = _expected_errors(gauge, expansion, floors) if gauge else [None] * len(floors)
        return [
            OrbitalField(structure, floor, centres_of(expansion, index), products_of(expansion, index), expected[index])
            for index, (structure, floor) in enumerate(zip(structures, floors, strict=True))
        ]


def _expected_errors(gauge: Gauge, expansion: Expansion, floors: Sequence[PromoleculeField]) -> list[ExpectedError]:
    structure_of_atom = expansion.graph.structure_of_atom.cpu()
    return gauge.expected_errors(traits_of(expansion, floors), structure_of_atom, [one.n_electrons for one in floors])


class OrbitalDensity:
    """The orbital model.

    Args:
        network: Network with its weights.
        about: What the checkpoint says of itself: `name`, `description` and `domains`.
        weights_sha256: Hash of the file of weights.
        gauge: What knows how far a density is from the reference; None for a model that nobody has calibrated.
    """

    def __init__(
        self, network: OrbitalNetwork, about: Mapping[str, Any], weights_sha256: str, gauge: Gauge | None = None
    ) -> None:
        self.network = network.eval().requires_grad_(False)
        self.gauge = gauge
        self._promolecule = Promolecule()
        domain = Domain(
            elements=network.config.trunk.elements,
            cutoff=network.config.trunk.cutoff,
            max_points=100_000_000,
            cost=Cost(per_structure=8.0, per_edge=0.02, per_point=2e-4),
        )
        self._info = learned_info(domain, self._promolecule.info, about, weights_sha256, gauge)

    @classmethod
    def read(cls, file: Path, sha256: str, device: str = "cpu") -> "OrbitalDensity":
        """The model in a checkpoint that `python -m training` has written.

        Raises:
            UnusableWeights: If the file is missing, has another hash, or holds something else.
        """
        network, about, gauge = read_learned(file, sha256, _empty, "orbital")
        return cls(network.to(device), about, sha256, gauge)

    @property
    def info(self) -> ModelInfo:
        return self._info

    def fields(self, structures: Sequence[Structure]) -> list[DensityField]:
        """The density of each structure, from one pass of the network.

        Raises:
            UnsupportedByModel: If a structure has an element that the model was not trained on.
            OutOfMemory: If the batch does not fit.
        """
        if not structures:
            return []
        try:
            return orbital_fields(self.network, self._promolecule, structures, self.gauge)
        except torch.OutOfMemoryError as error:
            raise OutOfMemory(str(error)) from error


def _empty(config: Mapping[str, Any]) -> OrbitalNetwork:
    return OrbitalNetwork(OrbitalConfig.from_dict(config))
