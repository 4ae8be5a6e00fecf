"""Deep Density as the service sees it: structures in, fields of density out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.decoder.frame import Frame
from models.decoder.pairs import PointPairs, pairs_at_points, pairs_on_plane
from models.density.deep_density.background import background_atoms
from models.density.deep_density.config import DeepDensityConfig
from models.density.deep_density.network import DeepDensityNetwork, Probes, Surroundings, deep_density_network
from models.density.learned import Domain, learned_info, read_learned
from models.density.promolecule import AtomTable, Promolecule, PromoleculeField
from models.graph import Graph, batched_graph
from models.interface import ExpectedError, FloatArray, GridShape, OutOfMemory
from models.neighbours import neighbours_of
from models.uncertainty import AtomTraits, Gauge, crowding_of
from rhocast.errors import PredictionFailed
from rhocast.model_info import Cost, ModelInfo
from rhocast.structure import Structure

QUADRATURE_SPACING = 0.25
"""Å; of the grid on which what the network adds is integrated. The background's integral is exact."""

POINTS_AT_ONCE = 2048
"""Points whose pairs with atoms are held in memory together; chunks of a grid do not cross planes, so that a plane is
the same, to the last bit, whatever is asked for beside it."""

FLOOR_OF_INTEGRAL = 0.5
"""Of the electrons; a density that has less before it is rescaled is no density."""


class AddedDensity:
    """What a network adds to the background of one structure.

    Args:
        network: The network.
        structure: The structure.
        surroundings: Of its atoms, as the network has found them.
    """

    def __init__(self, network: DeepDensityNetwork, structure: Structure, surroundings: Surroundings) -> None:
        self._network, self._structure, self._surroundings = network, structure, surroundings
        # Those of one element together.
        self._order = np.argsort(structure.numbers, kind="stable")
        fractional = structure.fractional_positions[self._order]
        if structure.is_periodic:
            fractional = fractional - np.floor(fractional)
        self._fractional = np.ascontiguousarray(fractional)

    def on_plane(self, shape: GridShape, plane: int) -> FloatArray:
        """Values in e/Å³ on one plane of a grid, [n1, n2]."""
        found = pairs_on_plane(self._frame(shape), self._fractional, self._network.config.probe_cutoff, plane)
        n_points = shape[1] * shape[2]
        with torch.no_grad():
            runs = (range(n_points)[first:][:POINTS_AT_ONCE] for first in range(0, n_points, POINTS_AT_ONCE))
            values = [self._values(found.of_points(run.start, run.stop), len(run)).cpu() for run in runs]
        return torch.cat(values).numpy().reshape(shape[1:])

    def at_points(self, points: FloatArray) -> Tensor:
        """Values in e/Å³ at Cartesian points in Å, [n_points, 3] → [n_points]; with gradients of the weights."""
        frame, cutoff = self._frame((1, 1, 1)), self._network.config.probe_cutoff
        runs = [points[first : first + POINTS_AT_ONCE] for first in range(0, len(points), POINTS_AT_ONCE)]
        found = [self._values(pairs_at_points(frame, self._fractional, cutoff, run), len(run)) for run in runs]
        return torch.cat([torch.zeros(0, dtype=torch.float64, device=self._surroundings.species.device), *found])

    def _values(self, found: PointPairs, n_points: int) -> Tensor:
        probes = Probes.of(found, self._order, n_points, like=self._surroundings.features)
        return self._network.added(self._surroundings, probes)

    def _frame(self, shape: GridShape) -> Frame:
        return Frame.of_cell(self._structure.cell, shape, self._structure.is_periodic)


class UnscaledField:
    """Background and network as they are: a sum over local surroundings, that may be slightly negative.

    Args:
        structure: The structure.
        network: The network.
        surroundings: Of its atoms.
        atoms: The spherical atoms of the background.
    """

    def __init__(
        self, structure: Structure, network: DeepDensityNetwork, surroundings: Surroundings, atoms: AtomTable
    ) -> None:
        self._structure, self._network, self._surroundings, self._atoms = structure, network, surroundings, atoms
        self.background = PromoleculeField(structure, atoms)
        self.added = AddedDensity(network, structure, surroundings)

    @property
    def n_electrons(self) -> float:
        """Integral over the cell (a molecule: over all space), by quadrature of what the network adds."""
        return self.integral.n_electrons

    def on_grid(self, shape: GridShape) -> FloatArray:
        """Point values in e/Å³, [n0, n1, n2]."""
        return self.on_planes(shape, 0, shape[0])

    def on_planes(self, shape: GridShape, first: int, last: int) -> FloatArray:
        """Point values in e/Å³ of the planes from `first` to before `last` of a grid, [last − first, n1, n2]."""
        values = self.background.on_planes(shape, first, last)
        for plane in range(first, last):
            values[plane - first] += self.added.on_plane(shape, plane)
        return values

    def at_points(self, points: FloatArray) -> FloatArray:
        """Values in e/Å³ at Cartesian points in Å, [n_points, 3] → [n_points]."""
        with torch.no_grad():
            return self.background.at_points(points) + self.added.at_points(points).cpu().numpy()

    @cached_property
    def integral(self) -> "Integral":
        """Its electrons, and those that are missing where it is negative."""
        boxed = self if self._structure.is_periodic else self._in_a_box()
        shape = quadrature_shape(boxed._structure)
        n_added = n_negative = 0.0
        for plane in range(shape[0]):
            added = boxed.added.on_plane(shape, plane)
            whole = boxed.background.on_planes(shape, plane, plane + 1)[0] + added
            n_added += float(added.sum())
            n_negative -= float(np.minimum(whole, 0).sum())
        voxel = boxed._structure.volume / np.prod(shape)
        return Integral(self.background.n_electrons + n_added * voxel, n_negative * voxel)

    def _in_a_box(self) -> "UnscaledField":
        """The same molecule where the box holds all that the network adds, and all that may be negative."""
        config, positions = self._network.config, self._structure.positions
        margin = max(config.probe_cutoff, config.background.cutoff)
        low, high = positions.min(0) - margin, positions.max(0) + margin
        boxed = replace(self._structure, positions=positions - low, cell=np.diag(high - low))
        return UnscaledField(boxed, self._network, self._surroundings, self._atoms)


@dataclass(frozen=True)
class Integral:
    """Electrons of a field before it is rescaled.

    Attributes:
        n_electrons: All, negative values counted as they are.
        n_negative: By how much clipping negative values raises that.
    """

    n_electrons: float
    n_negative: float


def quadrature_shape(structure: Structure) -> GridShape:
    """Points along each cell vector of the grid on which fields of a structure are integrated."""
    n0, n1, n2 = np.ceil(np.linalg.norm(structure.cell, axis=1) / QUADRATURE_SPACING).astype(int).tolist()
    return n0, n1, n2


class DeepDensityField:
    """Density of one structure: never negative, and with the right number of electrons after one rescaling.

    Args:
        unscaled: Background and network.
        n_electrons: Valence electrons of its atoms.
        expected: How far it is from the reference, if the model has been calibrated.
    """

    def __init__(self, unscaled: UnscaledField, n_electrons: float, expected: ExpectedError | None = None) -> None:
        self.unscaled = unscaled
        self._n_electrons = n_electrons
        self._expected = expected

    @property
    def n_electrons(self) -> float:
        """Integral over the cell (a molecule: over all space), to the quadrature's error."""
        return self._n_electrons

    @cached_property
    def factor(self) -> float:
        """By which the clipped field is multiplied.

        Raises:
            PredictionFailed: If there is next to nothing to multiply.
        """
        integral = self.unscaled.integral
        found = integral.n_electrons + integral.n_negative
        if not found > FLOOR_OF_INTEGRAL * self._n_electrons:
            raise PredictionFailed(
                f"found {found:.3g} electrons before rescaling; expected about {self._n_electrons:g}; "
                "the structure is unlike all that the model has learned from: choose another model"
            )
        return self._n_electrons / found

    @property
    def n_clipped(self) -> float:
        """Electrons that clipping negative values adds before that, over the cell (a molecule: over all space)."""
        return self.unscaled.integral.n_negative

    def on_grid(self, shape: GridShape) -> FloatArray:
        """Point values in e/Å³, [n0, n1, n2]."""
        return self.on_planes(shape, 0, shape[0])

    def on_planes(self, shape: GridShape, first: int, last: int) -> FloatArray:
        """Point values in e/Å³ of the planes from `first` to before `last` of a grid, [last − first, n1, n2]."""
        return self.factor * np.maximum(self.unscaled.on_planes(shape, first, last), 0)

    def at_points(self, points: FloatArray) -> FloatArray:
        """Values in e/Å³ at Cartesian points in Å, [n_points, 3] → [n_points]."""
        return self.factor * np.maximum(self.unscaled.at_points(points), 0)

    def expected_error(self) -> ExpectedError | None:
        """Its expected error; None if the model has not been calibrated."""
        return self._expected


@dataclass(frozen=True, eq=False)
class Batch:
    """Structures, and what a network has found of their atoms.

    Attributes:
        structures: The structures.
        graph: Their atoms and edges.
        surroundings: Of all atoms.
    """

    structures: Sequence[Structure]
    graph: Graph
    surroundings: Surroundings

    @classmethod
    def of(cls, network: DeepDensityNetwork, structures: Sequence[Structure]) -> "Batch":
        """The batch of some structures, from one pass of the network over their atoms.

        Raises:
            UnsupportedByModel: If a structure has an element that the network does not know.
        """
        neighbours = [neighbours_of(structure, network.config.environment.cutoff) for structure in structures]
        graph = batched_graph(structures, neighbours, network.config.elements).to(network.background.device)
        with torch.no_grad():
            return cls(structures, graph, network.surroundings(graph))

    def unscaled_fields(self, network: DeepDensityNetwork, atoms: AtomTable) -> list[UnscaledField]:
        """The density of each structure before it is rescaled.

        Args:
            network: The network.
            atoms: The spherical atoms of the background.
        """
        return [
            UnscaledField(structure, network, surroundings, atoms)
            for structure, surroundings in zip(
                self.structures, self.surroundings.of_structures(self.graph), strict=True
            )
        ]

    def traits(self, free: AtomTable) -> AtomTraits:
        """What a gauge looks at of all atoms, on the CPU.

        Args:
            free: The free atoms.
        """
        brought = [PromoleculeField(structure, free).brought_by_others() for structure in self.structures]
        return AtomTraits(
            self.graph.species.cpu(),
            self.surroundings.features.cpu(),
            crowding_of(self.graph, brought),
        )


class DeepDensity:
    """The Deep Density model.

    Args:
        network: Network with its weights.
        about: What the checkpoint says of itself: `name`, `description`, `level_of_theory` and `domains`.
        weights_sha256: Hash of the file of weights.
        gauge: What knows how far a density is from the reference; None for a model that nobody has calibrated.
    """

    def __init__(
        self, network: DeepDensityNetwork, about: Mapping[str, Any], weights_sha256: str, gauge: Gauge | None = None
    ) -> None:
        self.network = network.eval().requires_grad_(False)
        self.gauge = gauge
        promolecule = Promolecule()
        self._free = promolecule.table
        self._atoms = background_atoms(network, self._free)
        domain = Domain(
            elements=network.config.elements,
            cutoff=network.config.environment.cutoff,
            max_points=30_000_000,
            cost=Cost(per_structure=10.0, per_edge=0.02, per_point=0.012),
            by_name_only=True,
        )
        self._info = learned_info(domain, promolecule.info, about, weights_sha256, gauge)

    @classmethod
    def read(cls, file: Path, sha256: str, device: str = "cpu") -> "DeepDensity":
        """The model in a checkpoint that `python -m training` has written.

        Raises:
            UnusableWeights: If the file is missing, has another hash, or holds something else.
        """
        network, about, gauge = read_learned(file, sha256, _empty, "Deep Density")
        return cls(network.to(device), about, sha256, gauge)

    @property
    def info(self) -> ModelInfo:
        return self._info

    def fields(self, structures: Sequence[Structure]) -> list[DeepDensityField]:
        """The density of each structure; surroundings of atoms are found now, and nothing at points before it is asked.

        Raises:
            UnsupportedByModel: If a structure has an element that the model was not trained on.
            OutOfMemory: If the batch does not fit.
        """
        if not structures:
            return []
        try:
            batch = Batch.of(self.network, structures)
        except torch.OutOfMemoryError as error:
            raise OutOfMemory(str(error)) from error
        valence = self._info.valence_electrons
        n_electrons = [float(sum(valence[symbol] for symbol in structure.symbols)) for structure in structures]
        unscaled = batch.unscaled_fields(self.network, self._atoms)
        expected = self._expected_errors(batch, n_electrons)
        return [DeepDensityField(*one) for one in zip(unscaled, n_electrons, expected, strict=True)]

    def _expected_errors(self, batch: Batch, n_electrons: Sequence[float]) -> Sequence[ExpectedError | None]:
        if self.gauge is None:
            return [None] * len(n_electrons)
        return self.gauge.expected_errors(batch.traits(self._free), batch.graph.structure_of_atom.cpu(), n_electrons)


def _empty(config: Mapping[str, Any]) -> DeepDensityNetwork:
    return deep_density_network(DeepDensityConfig.from_dict(config))
