"""A structure that waits for its labels: where it comes from, which part of the data it belongs to, its name."""

import hashlib
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from reference.settings import COMPENSATION, DftSettings, SetSettings
from rhocast.elements import MAGNETIC_ELEMENTS, SYMBOLS

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

VACUUM = 3.5
"""Å between a molecule's outermost nuclei and each wall of its box."""

HASHED_DIGITS = 6
"""Decimals of Å that a content hash looks at."""

VALENCE: dict[str, int] = {
    symbol: int(row["valence"]) for symbol, row in json.loads(COMPENSATION.read_text()).items() if symbol != "about"
}
"""Valence electrons of every element that has a PAW data set."""


@dataclass(frozen=True)
class ReferenceStructure:
    """One structure of a set.

    Attributes:
        set_name: Set that it belongs to.
        seed: Seed of the set.
        index: Position in the set; the same structure whatever the number that was asked for.
        numbers: Atomic numbers, [n_atoms].
        positions: Å, [n_atoms, 3].
        cell: Rows in Å, [3, 3]; for a molecule the box that frames the grid.
        is_periodic: False for a molecule.
        group: Key that must not be divided between training and test: formula, composition or trajectory.
        split: train, validation or test.
        settings: What it is labelled with.
        settings_if_metal: What it is labelled with again if the gap turns out too small.
        provenance: How it was made, for people: kind, temperature in K, prototype, SMILES …
    """

    set_name: str
    seed: int
    index: int
    numbers: IntArray
    positions: FloatArray
    cell: FloatArray
    is_periodic: bool
    group: str
    split: str
    settings: DftSettings
    settings_if_metal: DftSettings | None = None
    provenance: Mapping[str, str | float | int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return structure_name(self.set_name, self.seed, self.index)

    @property
    def n_electrons(self) -> int:
        """Valence electrons of the PAW data sets."""
        return sum(VALENCE[SYMBOLS[number]] for number in self.numbers)

    @property
    def content_hash(self) -> str:
        return content_hash(self.numbers, self.positions, self.cell, self.is_periodic, self.settings.hash)

    def as_metal(self) -> "ReferenceStructure":
        """The same structure with a metal's settings."""
        if self.settings_if_metal is None:
            raise ValueError(f"found no settings for {self.name} as a metal")
        return replace(self, settings=self.settings_if_metal, settings_if_metal=None)


@dataclass(frozen=True)
class StructureSet:
    """A named, endless, seeded sequence of structures.

    Attributes:
        about: One line for people.
        batch_size: Structures that belong together, such as the frames of a trajectory.
        batch: The structures of one batch, from seed and batch number alone.
        labels: Settings that its records may have.
    """

    about: str
    batch_size: int
    batch: Callable[[int, int], list[ReferenceStructure]]
    labels: SetSettings

    @property
    def name(self) -> str:
        """Name on the command line."""
        return self.labels.name

    def structures(self, seed: int, start: int = 0) -> Iterator[ReferenceStructure]:
        """The sequence from an index on."""
        number, within = divmod(start, self.batch_size)
        while True:
            yield from self.batch(seed, number)[within:]
            number, within = number + 1, 0

    @property
    def settings_hashes(self) -> frozenset[str]:
        return self.labels.settings_hashes


def structure_name(set_name: str, seed: int, index: int) -> str:
    """Name of a structure and of its record; a negative seed is the pilot's."""
    return f"{set_name}-{'pilot' if seed < 0 else seed}-{index:06d}"


def generator(set_name: str, seed: int, number: int) -> np.random.Generator:
    """Random numbers of one batch, independent of those of every other batch and set."""
    return np.random.default_rng([seed, zlib.crc32(set_name.encode()), number])


def content_hash(
    numbers: IntArray, positions: FloatArray, cell: FloatArray, is_periodic: bool, settings_hash: str
) -> str:
    """Thirty-two hexadecimal digits of structure and settings; the order of the atoms does not change them.

    Args:
        numbers: Atomic numbers, [n_atoms].
        positions: Å, [n_atoms, 3].
        cell: Rows in Å, [3, 3].
        is_periodic: False for a molecule.
        settings_hash: Hash of the DFT settings.
    """
    scale = 10**HASHED_DIGITS
    atoms = np.column_stack([numbers, np.rint(np.asarray(positions) * scale)]).astype(np.int64)
    content = {
        "atoms": sorted(atoms.tolist()),
        "cell": np.rint(np.asarray(cell) * scale).astype(np.int64).tolist(),
        "is_periodic": bool(is_periodic),
        "settings": settings_hash,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


def split_by_group(group: str) -> str:
    """train (80 %), validation or test (10 % each), from the group's key alone. For sets of many small groups."""
    share = int.from_bytes(hashlib.sha256(group.encode()).digest()[:4], "big") / 2**32
    return "test" if share < 0.1 else "validation" if share < 0.2 else "train"


def split_by_turn(number: int) -> str:
    """train, but every tenth trajectory is for validation and every tenth for test, first of all numbers 3 and 6.

    A set has so few trajectories that a hash could leave it without any held out.
    """
    return {3: "validation", 6: "test"}.get(number % 10, "train")


def refusal(structure: ReferenceStructure) -> tuple[str, str] | None:
    """Code and sentence that say why a structure is not worth starting, or None."""
    symbols = {SYMBOLS[number] for number in structure.numbers}
    if magnetic := sorted(symbols & MAGNETIC_ELEMENTS):
        return "magnetic-element", f"found {', '.join(magnetic)}; expected no magnetic element: the DFT is spin-paired"
    if missing := sorted(symbols - VALENCE.keys()):
        return "no-data-set", f"found {', '.join(missing)}; expected elements with a PAW data set"
    if not structure.is_periodic and structure.n_electrons % 2:
        return "odd-electrons", f"found {structure.n_electrons} electrons in a molecule; expected an even number"
    return None


def molecular_box(positions: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Orthorhombic box with `VACUUM` on every side, [3, 3], and the positions in its middle, [n_atoms, 3]; Å."""
    lengths = np.ptp(positions, axis=0) + 2 * VACUUM
    return np.diag(lengths), positions - positions.min(axis=0) + VACUUM
