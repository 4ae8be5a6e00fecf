"""What a network says of structures whose density is known, atom by atom: traits, and errors.

An atom's error is its Hirshfeld share, e_i = ∫ w_i |Δρ|, with w_i the part of the free atom in the promolecule: the
shares of a structure add up to its error.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from models.checkpoint import Checkpoint
from models.density.deep_density.background import background_atoms
from models.density.deep_density.config import DeepDensityConfig
from models.density.deep_density.model import Batch
from models.density.deep_density.network import DeepDensityNetwork, deep_density_network
from models.density.orbital.config import OrbitalConfig
from models.density.orbital.model import OrbitalField, centres_of, products_of, traits_of
from models.density.orbital.network import OrbitalNetwork, expanded
from models.density.promolecule import Promolecule
from models.interface import DensityField
from models.uncertainty import AtomTraits
from rhocast.structure import Structure
from training.config import DEEP_DENSITY
from training.dataset import Sample

FloatArray = NDArray[np.float64]

Network = OrbitalNetwork | DeepDensityNetwork


def network_of_checkpoint(checkpoint: Checkpoint, architecture: str) -> Network:
    """A network of a checkpoint's shape, without its weights."""
    table = checkpoint.config["model"]
    if architecture == DEEP_DENSITY:
        return deep_density_network(DeepDensityConfig.from_dict(table))
    return OrbitalNetwork(OrbitalConfig.from_dict(table))


def elements_of_network(network: Network) -> tuple[int, ...]:
    """Atomic numbers of the elements that it knows."""
    return network.config.trunk.elements if isinstance(network, OrbitalNetwork) else network.config.elements


@dataclass(frozen=True, eq=False)
class Case:
    """One structure with what is known of its error.

    Attributes:
        traits: Of its atoms.
        errors: ∫ w_i |Δρ| of each atom in electrons, [n_atoms].
        n_electrons: Valence electrons.
        group: What is never divided when some are left out.
    """

    traits: AtomTraits
    errors: FloatArray
    n_electrons: float
    group: str

    @classmethod
    def of(cls, network: Network, sample: Sample, promolecule: Promolecule) -> "Case":
        """The case of a sample that has no other elements than the network."""
        structure, points = sample.structure, sample.points
        traits, field = _seen_by(network, structure, promolecule)
        missed = sample.weights * np.abs(field.at_points(points) - sample.density)
        shares = hirshfeld_shares(structure, points, promolecule)
        return cls(traits, shares @ missed, sample.n_electrons, sample.group)

    @property
    def nmae(self) -> float:
        return float(self.errors.sum()) / self.n_electrons


def hirshfeld_shares(structure: Structure, points: FloatArray, promolecule: Promolecule) -> FloatArray:
    """Part of each free atom in the promolecule at some points, equal where no atom reaches, [n_atoms, n_points].

    Args:
        structure: The atoms.
        points: Cartesian positions in Å, [n_points, 3].
        promolecule: Where the free atoms come from.
    """
    numbers, positions = structure.numbers, structure.positions
    alone = [
        replace(structure, numbers=numbers[[atom]], positions=positions[[atom]]) for atom in range(structure.n_atoms)
    ]
    densities = np.array([field.at_points(points) for field in promolecule.fields(alone)])
    together = densities.sum(0)
    equal = np.full_like(densities, 1 / structure.n_atoms)
    return np.divide(densities, together, out=equal, where=together > 0)


def traits_of_samples(network: Network, there: Sequence[Sample]) -> list[AtomTraits]:
    """What a gauge looks at of the atoms of some samples."""
    promolecule = Promolecule()
    return [_seen_by(network, sample.structure, promolecule)[0] for sample in there]


def cases_of(network: Network, held_out: Sequence[Sample]) -> list[Case]:
    """The cases of some samples."""
    promolecule = Promolecule()
    return [Case.of(network, sample, promolecule) for sample in held_out]


def _seen_by(network: Network, structure: Structure, promolecule: Promolecule) -> tuple[AtomTraits, DensityField]:
    """Traits of the atoms of a structure, and its density; a Deep Density before it is rescaled."""
    if isinstance(network, DeepDensityNetwork):
        batch, free = Batch.of(network, [structure]), promolecule.table
        return batch.traits(free), batch.unscaled_fields(network, background_atoms(network, free))[0]
    floor = promolecule.fields([structure])[0]
    with torch.no_grad():
        expansion = expanded(network, [structure])
    field = OrbitalField(structure, floor, centres_of(expansion, 0), products_of(expansion, 0))
    return traits_of(expansion, [floor]), field
