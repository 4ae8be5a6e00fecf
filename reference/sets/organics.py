"""Small organic molecules of H, C, N, O and F with up to nine heavy atoms.

A batch is one molecule: a random graph, embedded and relaxed (ETKDG, MMFF94, GFN2-xTB), then set in motion for 60 to
160 fs at 300, 500 or 800 K. Its first structure comes from that motion; its second is the relaxed geometry or, for one
molecule in three, from another motion. Formulas are never divided between training and test.
"""

import numpy as np
from ase import Atoms

from reference.sets.conformers import TIME_STEP, Motion, NoGeometry, frames, relaxed
from reference.sets.molecular_graphs import random_smiles
from reference.settings import MOLECULE, set_settings
from reference.structure import ReferenceStructure, StructureSet, generator, molecular_box, split_by_group

TEMPERATURES = (300.0, 500.0, 800.0)
"""K."""

TIMES = (60.0, 160.0)
"""fs."""

RELAXED = 2 / 3
"""Share of molecules whose relaxed geometry is kept."""


def structure_set() -> StructureSet:
    about = "random molecules of H C N O F, up to nine heavy atoms, relaxed or in motion"
    return StructureSet(about, 2, _batch, set_settings("organics"))


def _batch(seed: int, number: int) -> list[ReferenceStructure]:
    rng = generator("organics", seed, number)
    while True:
        smiles = random_smiles(rng)
        try:
            geometries = _geometries(smiles, rng)
        except NoGeometry:
            continue
        return [_structure((seed, number * 2 + which), smiles, *geometry) for which, geometry in enumerate(geometries)]


def _geometries(smiles: str, rng: np.random.Generator) -> list[tuple[Atoms, str, float]]:
    """Two geometries, each with its kind and its temperature in K."""
    rest = relaxed(smiles, int(rng.integers(2**31)))
    moving = _moved(rest, rng)
    second = (rest.copy(), "relaxed", 0.0) if rng.random() < RELAXED else _moved(rest, rng)
    return [moving, second]


def _moved(rest: Atoms, rng: np.random.Generator) -> tuple[Atoms, str, float]:
    atoms = rest.copy()
    atoms.calc = rest.calc
    temperature = float(rng.choice(TEMPERATURES))
    n_steps = round(float(rng.uniform(*TIMES)) / TIME_STEP)
    atoms.positions = frames(atoms, Motion(temperature, n_steps), rng)[0]
    return atoms, "md", temperature


def _structure(place: tuple[int, int], smiles: str, atoms: Atoms, kind: str, temperature: float) -> ReferenceStructure:
    cell, positions = molecular_box(atoms.positions)
    formula = atoms.get_chemical_formula("hill")
    return ReferenceStructure(
        set_name="organics",
        seed=place[0],
        index=place[1],
        numbers=atoms.numbers.astype(np.int64),
        positions=positions,
        cell=cell,
        is_periodic=False,
        group=formula,
        split=split_by_group(formula),
        settings=MOLECULE,
        provenance={"kind": kind, "smiles": smiles, "temperature": temperature, "formula": formula},
    )
