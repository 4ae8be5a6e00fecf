"""Reference data as training needs them: structures with densities at points, energies, forces."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reference.checks import SPLITS
from reference.record import Record
from reference.shards import read_listing, read_records, shards
from reference.soft_density import wave_vectors
from rhocast.elements import SYMBOLS
from rhocast.structure import Structure

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

DATA = Path(__file__).parent.parent / "data"
"""The compact records that ship."""


class NoData(Exception):
    """The reference data that were asked for are not there."""


@dataclass(frozen=True)
class Sample:
    """One labelled structure.

    Attributes:
        name: Name of its record.
        set_name: Name of its set.
        group: Formula, composition or trajectory; never divided between splits.
        structure: Atoms, cell, periodicity.
        n_electrons: Valence electrons.
        grid_shape: Points of the grid that the density was drawn on.
        point_indices: Which points of that grid are there, in C order, [n_points].
        density: Reference density at these points in e/Å³, [n_points].
        weights: Å³ that each point stands for, [n_points]: Σ w·f estimates ∫f without bias.
        wave_vectors: G in Å⁻¹ of one of each pair ±G up to 3 Å⁻¹, [n_waves, 3].
        wave_electrons: ∫ρ exp(−iG·r) in electrons, [n_waves].
        energy: eV; of the cell, smearing extrapolated to zero.
        free_energy: eV; what the forces are the derivative of.
        forces: eV/Å, [n_atoms, 3].
        stress: eV/Å³, xx yy zz yz xz xy, tension positive, [6]; None for a molecule.
        settings_hash: Of the DFT settings: energies of different settings are not comparable.
    """

    name: str
    set_name: str
    group: str
    structure: Structure
    n_electrons: int
    grid_shape: tuple[int, int, int]
    point_indices: NDArray[np.int64]
    density: NDArray[np.float32]
    weights: FloatArray
    wave_vectors: FloatArray
    wave_electrons: ComplexArray
    energy: float
    free_energy: float
    forces: FloatArray
    stress: FloatArray | None
    settings_hash: str

    @classmethod
    def of_record(cls, record: Record) -> "Sample":
        """The sample that a record is."""
        arrays, attributes = record.arrays, record.attributes
        structure = Structure(arrays["numbers"], arrays["positions"], arrays["cell"], bool(arrays["pbc"].all()))
        return cls(
            name=record.name,
            set_name=attributes["set"],
            group=attributes["group"],
            structure=structure,
            n_electrons=attributes["n_electrons"],
            grid_shape=record.grid_shape,
            point_indices=np.arange(np.prod(record.grid_shape)) if record.is_whole else arrays["point_indices"],
            density=arrays["density"],
            weights=record.weights,
            wave_vectors=wave_vectors(structure.cell, arrays["fourier_indices"].astype(np.int64)),
            wave_electrons=arrays["fourier_coefficients"].astype(np.complex128) @ np.array([1, 1j]),
            energy=attributes["energy"],
            free_energy=attributes["free_energy"],
            forces=arrays["forces"].astype(np.float64),
            stress=arrays.get("stress"),
            settings_hash=attributes["settings_hash"],
        )

    @property
    def is_whole(self) -> bool:
        """Whether the density is there at every point of its grid."""
        return len(self.density) == np.prod(self.grid_shape)

    @property
    def points(self) -> FloatArray:
        """Cartesian positions of the density's points in Å, [n_points, 3]."""
        ijk = np.column_stack(np.unravel_index(self.point_indices, self.grid_shape))
        return ijk / np.array(self.grid_shape) @ self.structure.cell

    def thinned(self, n_points: int, rng: np.random.Generator) -> "Sample":
        """The same with so many of its points, each of which then stands for more; with all, if there are no more.

        Args:
            n_points: How many.
            rng: Source of the choice.
        """
        n_there = len(self.density)
        chosen = np.sort(rng.choice(n_there, min(n_points, n_there), replace=False))
        return self.part(chosen, self.weights[chosen] * (n_there / len(chosen)))

    def part(self, chosen: NDArray[np.int64], weights: FloatArray) -> "Sample":
        """The same with some of its points, by their indices, and with what each then stands for, [n_chosen]."""
        return replace(self, point_indices=self.point_indices[chosen], density=self.density[chosen], weights=weights)


def samples(set_names: Sequence[str], split: str, data: Path = DATA) -> list[Sample]:
    """All samples of a split of some sets, in order of their names.

    Args:
        set_names: Names of sets.
        split: train, validation or test.
        data: Folder with one folder of shards for each set.

    Raises:
        NoData: If a set has no shard there, or the split is empty.
        DamagedShard: If a shard cannot be read.
        ValueError: If the split is none of the three.
    """
    if split not in SPLITS:
        raise ValueError(f"found split {split!r}; expected one of {', '.join(SPLITS)}")
    found = [sample for name in set_names for sample in _samples(name, split, data)]
    if not found:
        raise NoData(f"found no {split} record of {', '.join(set_names)} in {data}")
    return sorted(found, key=lambda sample: sample.name)


def elements_of(there: Sequence[Sample]) -> set[int]:
    """Atomic numbers of the elements of some samples."""
    return {number for sample in there for number in sample.structure.numbers.tolist()}


def covered(there: Sequence[Sample], elements: Sequence[int]) -> list[Sample]:
    """Samples that have no other elements than these, which are atomic numbers."""
    return [sample for sample in there if set(sample.structure.numbers.tolist()) <= set(elements)]


def refuse_untaught(there: Sequence[Sample], elements: Sequence[int]) -> None:
    """Nothing, if the samples have each of these elements: what is never learned must not be answered.

    Raises:
        NoData: If not.
    """
    taught = elements_of(there)
    if untaught := [SYMBOLS[number] for number in elements if number not in taught]:
        raise NoData(
            f"found no structure to learn {', '.join(untaught)} from; "
            "leave them out of the model's elements, or make data"
        )


def _samples(set_name: str, split: str, data: Path) -> Iterator[Sample]:
    paths = shards(data / set_name)
    if not paths:
        raise NoData(
            f"found no shard of the set {set_name!r} in {data}; make some: python -m reference make {set_name}"
        )
    for path in paths:
        names = {name for name, attributes in read_listing(path).items() if attributes["split"] == split}
        yield from map(Sample.of_record, read_records(path, names))
