"""Malonaldehyde in motion: trajectories of its enol form at 300 and 500 K by GFN2-xTB.

A batch is one trajectory: 1 ps to forget the start, then a frame each 50 fs. Trajectories are never divided between
training and test. The proton of the hydrogen bond may swing; a trajectory in which bonds change is drawn again.
"""

import numpy as np

from reference.sets.conformers import Motion, NoGeometry, frames, relaxed
from reference.settings import MOLECULE, set_settings
from reference.structure import ReferenceStructure, StructureSet, generator, molecular_box, split_by_turn

SMILES = r"O=C/C=C\O"
FRAMES = 20
"""Of each trajectory."""

TEMPERATURES = (300.0, 500.0)
"""K, by turns."""

EQUILIBRATION, SPACING = 2000, 100
"""Steps of half a femtosecond."""


def structure_set() -> StructureSet:
    about = "malonaldehyde in motion, twenty frames of each trajectory"
    return StructureSet(about, FRAMES, _batch, set_settings("molecule-md"))


def _batch(seed: int, number: int) -> list[ReferenceStructure]:
    rng = generator("molecule-md", seed, number)
    temperature = TEMPERATURES[number % len(TEMPERATURES)]
    numbers, trajectory = _trajectory(temperature, rng)
    structures = []
    for frame, moved in enumerate(trajectory):
        cell, positions = molecular_box(moved)
        structures.append(
            ReferenceStructure(
                set_name="molecule-md",
                seed=seed,
                index=number * FRAMES + frame,
                numbers=numbers,
                positions=positions,
                cell=cell,
                is_periodic=False,
                group=f"molecule-md-{seed}-{number}",
                split=split_by_turn(number),
                settings=MOLECULE,
                provenance={
                    "kind": "md",
                    "smiles": SMILES,
                    "temperature": temperature,
                    "trajectory": number,
                    "frame": frame,
                },
            )
        )
    return structures


def _trajectory(temperature: float, rng: np.random.Generator) -> tuple[np.ndarray, list[np.ndarray]]:
    while True:
        try:
            atoms = relaxed(SMILES, int(rng.integers(2**31)))
            return atoms.numbers.astype(np.int64), frames(
                atoms, Motion(temperature, EQUILIBRATION, FRAMES, SPACING), rng
            )
        except NoGeometry:
            continue
