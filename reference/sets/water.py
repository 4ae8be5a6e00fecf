"""Liquid water: boxes of 32 molecules to learn from and of 64 to test the transfer to larger boxes.

A batch is one trajectory of flexible SPC/Fw water with its own density and temperature: 4 ps to forget the start, then
a snapshot each 2 ps. Trajectories are never divided between training and test; every seventh has 64 molecules.
"""

import os

import numpy as np
from ase import Atoms, units
from ase.data import atomic_masses
from ase.md.langevin import Langevin
from ase.optimize import FIRE

from reference.sets.motion import set_in_motion
from reference.sets.spc_fw import ANGLE, BOND_LENGTH, FlexibleWater
from reference.settings import LIQUID, set_settings
from reference.structure import ReferenceStructure, StructureSet, generator, split_by_turn

SNAPSHOTS = 5
"""Of each trajectory."""

TIME_STEP = 0.5
"""fs; an O–H bond swings in 9 fs."""

FRICTION = 0.01
"""fs⁻¹."""

EQUILIBRATION = 8000
"""Steps before the first snapshot: 4 ps."""

SPACING = 4000
"""Steps between snapshots: 2 ps."""

TEMPERATURES = (300.0, 340.0, 280.0, 400.0, 320.0, 360.0)
"""K."""

DENSITIES = (1.00, 0.95, 1.03, 0.90, 1.10)
"""g/cm³."""

MOLECULAR_MASS = float(atomic_masses[8] + 2 * atomic_masses[1])
"""u."""

GRAM_PER_CM3 = units.kg / units.m**3 * 1000
"""In u/Å³."""


def structure_set() -> StructureSet:
    about = "boxes of 32 and 64 water molecules, five snapshots of each trajectory"
    return StructureSet(about, SNAPSHOTS, _batch, set_settings("water"))


def n_molecules(number: int) -> int:
    """Molecules in a trajectory's box."""
    return 64 if number % 7 == 6 else 32


def _batch(seed: int, number: int) -> list[ReferenceStructure]:
    rng = generator("water", seed, number)
    temperature, density = TEMPERATURES[number % len(TEMPERATURES)], DENSITIES[number % len(DENSITIES)]
    size = n_molecules(number)
    box = packed_box(size, density, rng)
    return [
        ReferenceStructure(
            set_name="water",
            seed=seed,
            index=number * SNAPSHOTS + frame,
            numbers=box.numbers.astype(np.int64),
            positions=positions,
            cell=box.cell.array,
            is_periodic=True,
            group=f"water-{size}-{seed}-{number}",
            split="test" if size == 64 else split_by_turn(number),
            settings=LIQUID,
            provenance={
                "kind": "liquid",
                "n_molecules": size,
                "temperature": temperature,
                "density": density,
                "trajectory": number,
                "time_ps": (EQUILIBRATION + frame * SPACING) * TIME_STEP / 1000,
            },
        )
        for frame, positions in enumerate(snapshots(box, temperature, rng))
    ]


def packed_box(size: int, density: float, rng: np.random.Generator) -> Atoms:
    """A cubic box of molecules on a lattice, turned at random.

    Args:
        size: Number of molecules.
        density: g/cm³.
        rng: Source of the orientations.
    """
    length = float((size * MOLECULAR_MASS / (density * GRAM_PER_CM3)) ** (1 / 3))
    half = ANGLE / 2
    hydrogens = BOND_LENGTH * np.array([[np.cos(half), np.sin(half), 0], [np.cos(half), -np.sin(half), 0]])
    molecule = np.vstack([np.zeros(3), hydrogens])
    positions = []
    for centre in _lattice_points(size) * length:
        turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        positions.append(centre + molecule @ turn)
    return Atoms("OHH" * size, positions=np.concatenate(positions), cell=np.full(3, length), pbc=True)


def _lattice_points(size: int) -> np.ndarray:
    """The most even fractional positions for so many molecules: fcc if it is 4·n³, else cubic."""
    n = round((size / 4) ** (1 / 3))
    basis = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    if 4 * n**3 != size:
        n, basis = int(np.ceil(size ** (1 / 3) - 1e-9)), np.zeros((1, 3))
    corners = np.stack(np.meshgrid(*3 * [np.arange(n)], indexing="ij"), -1).reshape(-1, 3)
    return ((corners[:, None] + basis).reshape(-1, 3) / n)[:size]


def snapshots(box: Atoms, temperature: float, rng: np.random.Generator) -> list[np.ndarray]:
    """Positions in Å of decorrelated frames, [n_atoms, 3] each; molecules stay whole.

    Args:
        box: Where it starts; moved.
        temperature: K.
        rng: Source of velocities and of the thermostat's noise.
    """
    box.calc = FlexibleWater()
    FIRE(box, logfile=os.devnull).run(fmax=1.0, steps=200)
    set_in_motion(box, temperature, rng)
    dynamics = Langevin(
        box, TIME_STEP * units.fs, temperature_K=temperature, friction=FRICTION / units.fs, rng=rng, fixcm=False
    )
    frames = []
    for frame in range(SNAPSHOTS):
        dynamics.run(SPACING if frame else EQUILIBRATION)
        frames.append(box.positions.copy())
    return frames
