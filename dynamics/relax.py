"""Relaxation of many structures at once: each descends by itself, all are evaluated together.

A structure that has converged leaves the batch, and the next one takes its place.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from dynamics.coordinates import Positions, PositionsAndCell
from dynamics.fire import Fire
from models.interface import FloatArray, OutOfMemory, Potential, PotentialPrediction
from rhocast.errors import InvalidField, PredictionFailed, RhocastError
from rhocast.model_info import Property
from rhocast.structure import Structure

Item = TypeVar("Item")


@dataclass(frozen=True)
class Goal:
    """When a structure counts as relaxed, and when it is given up.

    Attributes:
        fmax: Largest force in eV/Å on an atom, and on each row of the cell's coordinates where the cell relaxes.
        steps: Most moves; the energy is computed once more.
        relax_cell: Whether the cell relaxes too.

    Raises:
        InvalidField: If `fmax` is not positive, or `steps` is negative.
    """

    fmax: float
    steps: int
    relax_cell: bool

    def __post_init__(self) -> None:
        if not 0 < self.fmax < np.inf:
            raise InvalidField(f"found fmax = {self.fmax} eV/Å; expected a positive number such as 0.05")
        if self.steps < 0:
            raise InvalidField(f"found {self.steps} steps; expected at least 0, with which nothing moves")


@dataclass(frozen=True, eq=False)
class Relaxation:
    """How a relaxation ended.

    Attributes:
        structure: The last structure. Atoms are not wrapped into the cell.
        energy_before: Energy of the first structure, eV.
        energy: Energy of the last one, eV.
        forces: Forces on its atoms, eV/Å, [n_atoms, 3].
        stress: Its stress in eV/Å³, tension positive, [3, 3]; None if the cell was held.
        n_steps: Moves made.
        is_converged: Whether all forces are below the goal's.
    """

    structure: Structure
    energy_before: float
    energy: float
    forces: FloatArray
    stress: FloatArray | None
    n_steps: int
    is_converged: bool


class Descent:
    """One structure on its way down.

    Args:
        start: Where it begins.
        goal: Where it ends.

    Attributes:
        n_steps: Moves made.
        end: How it ended, or why it failed; None while it goes on.

    Raises:
        InvalidStructure: If the cell of a molecule is to relax.
    """

    def __init__(self, start: Structure, goal: Goal) -> None:
        self.goal = goal
        self.n_steps = 0
        self.end: Relaxation | Exception | None = None
        self._coordinates = PositionsAndCell(start) if goal.relax_cell else Positions(start)
        self._fire = Fire()
        self._energy_before = 0.0
        self._last_good = "there is none: it is the structure that was sent"

    @property
    def structure(self) -> Structure:
        """Where it is."""
        return self._coordinates.structure

    @property
    def wanted(self) -> frozenset[Property]:
        """What a potential must say of it."""
        stress = {Property.STRESS} if self.goal.relax_cell else set[Property]()
        return frozenset({Property.ENERGY, Property.FORCES} | stress)

    def take(self, prediction: PotentialPrediction) -> None:
        """Ends, or makes the next move.

        Args:
            prediction: What the potential says of the present structure.
        """
        if not _is_finite(prediction):
            self.end = self._broken_off()
            return
        forces = self._coordinates.forces(prediction)
        largest = float(np.linalg.norm(forces, axis=1).max())
        if self.n_steps == 0:
            self._energy_before = prediction.energy
        is_converged = largest < self.goal.fmax
        if is_converged or self.n_steps == self.goal.steps:
            self.end = self._relaxation(prediction, is_converged)
            return
        self._last_good = (
            f"that of step {self.n_steps} has an energy of {prediction.energy:.6f} eV and forces up to "
            f"{largest:.4g} eV/Å; steps={self.n_steps} gives it"
        )
        self._coordinates.move(self._fire.move(forces))
        self.n_steps += 1

    def fail(self, error: Exception) -> None:
        """Ends with what the potential raised; an error of ours says at which step.

        Args:
            error: What was raised.
        """
        if isinstance(error, RhocastError) and self.n_steps > 0:
            error = type(error)(f"{error.detail} (at step {self.n_steps} of a relaxation; {self._last_good})")
        self.end = error

    def _relaxation(self, prediction: PotentialPrediction, is_converged: bool) -> Relaxation:
        return Relaxation(
            structure=self.structure,
            energy_before=self._energy_before,
            energy=prediction.energy,
            forces=np.asarray(prediction.forces),
            stress=prediction.stress if self.goal.relax_cell else None,
            n_steps=self.n_steps,
            is_converged=is_converged,
        )

    def _broken_off(self) -> PredictionFailed:
        return PredictionFailed(
            f"found energy, forces or stress that are no numbers at step {self.n_steps} of a relaxation; expected "
            f"finite ones; the last good state: {self._last_good}; look for atoms that are too near each other"
        )


def advance(potential: Potential, descents: Sequence[Descent]) -> None:
    """Takes each of some structures one evaluation further; one that fails does not take its neighbours with it.

    Args:
        potential: What computes them.
        descents: Structures on their way, with the same `wanted`.

    Raises:
        OutOfMemory: If they do not fit together. Whatever has moved by then has moved rightly.
    """
    try:
        predictions = potential.predict([one.structure for one in descents], descents[0].wanted)
    except OutOfMemory:
        raise
    except Exception as error:  # noqa: BLE001  (whatever a potential raises belongs to the structure that caused it)
        if len(descents) == 1:
            descents[0].fail(error)
            return
        half = len(descents) // 2
        advance(potential, descents[:half])
        advance(potential, descents[half:])
        return
    for one, prediction in zip(descents, predictions, strict=True):
        one.take(prediction)


def relaxations(
    potential: Potential, structures: Iterable[Structure], goal: Goal, max_atoms: int
) -> Iterator[tuple[int, Relaxation]]:
    """Relaxations as they end, each with the place of its structure, counted from 0.

    Args:
        potential: What computes them.
        structures: They are taken as there is room for them.
        goal: Where each ends.
        max_atoms: Most atoms in one evaluation; a larger structure is evaluated alone. Halved whenever a batch does
            not fit the device.

    Raises:
        OutOfMemory: If one structure alone does not fit.
        Exception: What the potential raises for a structure.
    """
    waiting = enumerate(structures)
    following = next(waiting, None)
    active: list[tuple[int, Descent]] = []
    while active or following is not None:
        while following is not None and _fits(following[1], active, max_atoms):
            active.append((following[0], Descent(following[1], goal)))
            following = next(waiting, None)
        for row in chunks([descent for _, descent in active], _n_atoms, max_atoms):
            try:
                advance(potential, row)
            except OutOfMemory:
                if len(row) == 1:
                    raise
                max_atoms = sum(map(_n_atoms, row)) // 2
                break
        for place, descent in active:
            if isinstance(descent.end, Exception):
                raise descent.end
            if descent.end is not None:
                yield place, descent.end
        active = [one for one in active if one[1].end is None]


def chunks(items: Sequence[Item], size: Callable[[Item], float], most: float) -> Iterator[list[Item]]:
    """Items in rows of at most some size; a larger one stands alone.

    Args:
        items: What is to be divided.
        size: Size of one.
        most: Largest size of a row.
    """
    row: list[Item] = []
    total = 0.0
    for item in items:
        if row and total + size(item) > most:
            yield row
            row, total = [], 0.0
        row.append(item)
        total += size(item)
    if row:
        yield row


def _n_atoms(descent: Descent) -> int:
    return descent.structure.n_atoms


def _fits(structure: Structure, active: Sequence[tuple[int, Descent]], max_atoms: int) -> bool:
    return not active or sum(_n_atoms(descent) for _, descent in active) + structure.n_atoms <= max_atoms


def _is_finite(prediction: PotentialPrediction) -> bool:
    parts = (prediction.energy, prediction.forces, prediction.stress)
    return all(np.isfinite(part).all() for part in parts if part is not None)
