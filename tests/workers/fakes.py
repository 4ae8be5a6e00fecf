"""Small models whose behaviour a test chooses. They run in the real worker; none is in the catalogue."""

import os
import time
from collections.abc import Sequence

import numpy as np

from models.interface import ExpectedError, FloatArray, GridShape, OutOfMemory, PotentialPrediction
from rhocast.errors import UnsupportedByModel
from rhocast.model_info import Cost, ModelInfo, Property
from rhocast.structure import Structure

SHA = "0" * 64


def info(name: str, *provides: Property, cost: Cost = Cost()) -> ModelInfo:  # noqa: B008  (frozen)
    return ModelInfo(
        name=name,
        provides=provides,
        description="a model of the tests",
        elements=("H", "He", "Si", "Na", "Cl"),
        cutoff=3.0,
        weights_sha256=SHA,
        level_of_theory="none",
        licence="MIT",
        max_points=10_000_000,
        cost=cost,
    )


class CountingPotential:
    """Energy = sum of atomic numbers. A helium atom makes it raise, two make it run out of memory, three kill it.

    Args:
        name: Name of the model.
        seconds: How long a batch takes.
        capacity: Most structures that fit into one batch.
    """

    def __init__(self, name: str = "counting", seconds: float = 0.0, capacity: int = 10**9) -> None:
        self._info = info(name, Property.ENERGY, Property.FORCES)
        self._seconds = seconds
        self._capacity = capacity
        self.batches: list[int] = []

    @property
    def info(self) -> ModelInfo:
        return self._info

    def predict(self, structures: Sequence[Structure], want: frozenset[Property]) -> list[PotentialPrediction]:
        helium = [int((structure.numbers == 2).sum()) for structure in structures]
        if 3 in helium:
            os._exit(137)
        if 2 in helium or len(structures) > self._capacity:
            raise OutOfMemory("found too much")
        if 1 in helium:
            raise UnsupportedByModel("found He; expected anything else; choose another model")
        time.sleep(self._seconds)
        self.batches.append(len(structures))
        return [
            PotentialPrediction(float(structure.numbers.sum()), forces=structure.positions.copy())
            for structure in structures
        ]


class Uniform:
    """The electron gas: one electron an atom, the same everywhere.

    Args:
        is_broken: Whether its values are not numbers.
        expected: What it expects of its error.
        seconds: How long planes take that are asked for together.
    """

    def __init__(self, is_broken: bool = False, expected: ExpectedError | None = None, seconds: float = 0.0) -> None:
        self._value = np.nan if is_broken else 1.0
        self._expected = expected
        self._seconds = seconds

    @property
    def info(self) -> ModelInfo:
        return info("uniform", Property.DENSITY)

    def fields(self, structures: Sequence[Structure]) -> list["UniformField"]:
        return [UniformField(structure, self._value, self._expected, self._seconds) for structure in structures]


class UniformField:
    def __init__(
        self, structure: Structure, value: float, expected: ExpectedError | None = None, seconds: float = 0.0
    ) -> None:
        self._expected = expected
        self._seconds = seconds
        self.n_electrons = float(structure.n_atoms)
        self._value = value * structure.n_atoms / structure.volume

    def on_grid(self, shape: GridShape) -> FloatArray:
        return self.on_planes(shape, 0, shape[0])

    def on_planes(self, shape: GridShape, first: int, last: int) -> FloatArray:
        time.sleep(self._seconds)
        return np.full((last - first, *shape[1:]), self._value)

    def at_points(self, points: FloatArray) -> FloatArray:
        return np.full(len(points), self._value)

    def expected_error(self) -> ExpectedError | None:
        return self._expected
