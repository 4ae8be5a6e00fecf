"""Aluminium from one cell to 108 atoms: strained, displaced to melting, with vacancies, liquid.

Every structure ends a trajectory of its own (EMT, Langevin), so each is a group. Cells of 64 and 108 atoms are there to
test the transfer to larger cells, and never for training. In a cell of 32 atoms an atom's neighbourhood holds images
that move together; those of 79, to learn from, have none nearer than 10.5 Å.
"""

from dataclasses import dataclass

import numpy as np
from ase import Atoms, units
from ase.build import bulk, make_supercell
from ase.calculators.emt import EMT
from ase.md.langevin import Langevin

from reference.sets.motion import set_in_motion
from reference.settings import ALUMINIUM, set_settings
from reference.structure import ReferenceStructure, StructureSet, generator, split_by_turn

LATTICE_CONSTANT = 4.04
"""Å, PBE at rest."""

TIME_STEP = 3.0
"""fs."""

FRICTION = 0.02
"""fs⁻¹."""

SUPERCELLS = {
    4: np.eye(3, dtype=int),
    16: np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]]),  # body-centred: the most compact cell of 16
    32: 2 * np.eye(3, dtype=int),
    64: np.array([[2, 2, 0], [2, -2, 0], [0, 0, 2]]),  # the least k-points of the shapes that are no mere double of 32
    79: np.array([[-4, 2, -1], [1, 4, -3], [-3, 1, 4]]),  # the fewest atoms with the k-points of 108, strained too
    108: 3 * np.eye(3, dtype=int),
}
"""Rows are the supercell's vectors in those of the cubic cell (79: of the primitive cell), by number of atoms."""

TRANSFER_SIZES = (64, 108)


@dataclass(frozen=True)
class Plan:
    """What one structure is.

    Attributes:
        n_sites: Sites of the perfect cell.
        kind: strained, displaced, vacancy or liquid.
        temperatures: Range in K.
    """

    n_sites: int
    kind: str
    temperatures: tuple[float, float] = (0.0, 0.0)


_SOLID, _HOT, _MOLTEN = (100.0, 500.0), (500.0, 930.0), (1000.0, 1500.0)
_STRAINED, _DISPLACED, _DISPLACED_HOT = Plan(4, "strained"), Plan(4, "displaced", _SOLID), Plan(4, "displaced", _HOT)
_PLAN_32 = (Plan(32, "displaced", _SOLID), Plan(32, "displaced", _HOT), Plan(32, "vacancy", _HOT))
_ROUND = (
    _STRAINED, _DISPLACED, Plan(16, "displaced", _SOLID), _PLAN_32[0], Plan(16, "vacancy", _SOLID),
    _DISPLACED_HOT, _PLAN_32[1], Plan(16, "displaced", _HOT), _PLAN_32[2], _STRAINED,
    _DISPLACED, Plan(32, "liquid", _MOLTEN), Plan(16, "liquid", _MOLTEN), _PLAN_32[1],
)  # fmt: skip
PLANS: tuple[Plan, ...] = (
    *_ROUND, Plan(64, "displaced", _HOT),
    *_ROUND, Plan(64, "liquid", _MOLTEN),
    *_ROUND, Plan(64, "vacancy", _HOT), Plan(108, "displaced", _HOT),
)  # fmt: skip
"""Structures 0 to 45, then again: each round of 14 holds five cells of 32 atoms."""

FIRST_WIDE = 1000
WIDE_PLANS: tuple[Plan, ...] = (Plan(79, "displaced", _HOT), Plan(79, "liquid", _MOLTEN))
"""Structures from FIRST_WIDE on, in turn."""


def structure_set() -> StructureSet:
    about = "fcc cells of 4 to 108 sites: strained, displaced, with vacancies, liquid"
    return StructureSet(about, 1, _batch, set_settings("aluminium"))


def _batch(seed: int, number: int) -> list[ReferenceStructure]:
    plans = PLANS if number < FIRST_WIDE else WIDE_PLANS
    plan, rng = plans[number % len(plans)], generator("aluminium", seed, number)
    temperature = float(rng.uniform(*plan.temperatures))
    atoms = cell_of(plan, temperature, rng)
    if plan.kind != "strained":
        shake(atoms, temperature, plan.kind == "liquid", rng)
    return [
        ReferenceStructure(
            set_name="aluminium",
            seed=seed,
            index=number,
            numbers=atoms.numbers.astype(np.int64),
            positions=atoms.positions,
            cell=atoms.cell.array,
            is_periodic=True,
            group=f"aluminium-{plan.n_sites}-{seed}-{number}",
            split="test" if plan.n_sites in TRANSFER_SIZES else split_by_turn(number),
            settings=ALUMINIUM,
            provenance={
                "kind": plan.kind,
                "n_sites": plan.n_sites,
                "temperature": round(temperature, 1),
                "trajectory": "none" if plan.kind == "strained" else "EMT, Langevin",
            },
        )
    ]


def cell_of(plan: Plan, temperature: float, rng: np.random.Generator) -> Atoms:
    """Atoms on their sites in a cell of the plan's size: volume ± 8 %, or thermal and ± 3 %, and sheared by 1.5 %."""
    expansion = 2.4e-5 * temperature + (0.02 if plan.kind == "liquid" else 0.0)
    spread = 0.08 if plan.kind == "strained" else 0.03
    length = LATTICE_CONSTANT * (1 + expansion) * (1 + rng.uniform(-spread, spread)) ** (1 / 3)
    unit = bulk("Al", "fcc", a=length, cubic=plan.n_sites % 4 == 0)
    atoms = make_supercell(unit, SUPERCELLS[plan.n_sites])
    strain = rng.normal(0, 0.015, (3, 3))
    strain = (strain + strain.T) / 2
    strain -= np.eye(3) * np.trace(strain) / 3
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    if plan.kind == "vacancy":
        del atoms[int(rng.integers(len(atoms)))]
    return atoms


def shake(atoms: Atoms, temperature: float, is_liquid: bool, rng: np.random.Generator) -> None:
    """Moves atoms by molecular dynamics: 1.2 ps; a liquid is first molten at 3000 K.

    Args:
        atoms: Moved in place and wrapped.
        temperature: K.
        is_liquid: Whether to melt it.
        rng: Source of velocities and of the thermostat's noise.
    """
    # EMT's density of aluminium is right to 2 %; only the snapshot matters, for DFT makes the labels.
    repeated = atoms.repeat(2 if len(atoms) <= 4 else 1)
    repeated.calc = EMT()
    stages = [(3000.0, 400), (temperature, 800)] if is_liquid else [(temperature, 400)]
    set_in_motion(repeated, 2 * stages[0][0], rng)
    for kelvin, n_steps in stages:
        dynamics = Langevin(
            repeated, TIME_STEP * units.fs, temperature_K=kelvin, friction=FRICTION / units.fs, rng=rng, fixcm=False
        )
        dynamics.run(n_steps)
    atoms.positions[:] = repeated.positions[: len(atoms)]
    if len(repeated) == len(atoms):
        atoms.wrap()
