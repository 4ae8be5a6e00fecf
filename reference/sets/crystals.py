"""Small crystals: fifteen prototypes with charge-balanced elements or metals, squeezed, strained and displaced.

A structure draws a prototype, then an element of it, then a composition with that element, so that rare elements get
their share. Compositions are never divided between training and test. What is expected to have a gap is labelled with
an insulator's mesh and, if its gap turns out below 0.2 eV, again with a metal's.
"""

from functools import cache

import numpy as np
from ase import Atoms
from ase.formula import Formula

from reference.sets.prototypes import PROTOTYPES, Prototype, compositions
from reference.sets.radii import IONIC_RADIUS, closest_contact, lattice_constant
from reference.settings import INSULATOR, METAL, set_settings
from reference.structure import ReferenceStructure, StructureSet, generator, split_by_group

WEIGHTS = {
    "rs": 5, "zb": 4, "perov": 4, "cscl": 3, "wz": 3, "antifl": 2, "fluorite": 3, "rutile": 2, "halfh": 3,
    "diamond": 1, "elemfcc": 3, "elembcc": 3, "elemhcp": 2, "b2": 3, "l12": 2,
}  # fmt: skip
"""How often each prototype comes, relatively."""

MODES = {"ideal": 0.25, "strain": 0.25, "rattle": 0.35, "super": 0.15}
"""Perfect; sheared; also displaced; also doubled. Every mode has a volume of its own."""

VOLUME_SPREAD = 0.08
STRAIN = 0.015
DISPLACEMENTS = (0.02, 0.12)
"""Å, standard deviation of each coordinate."""

LARGEST_DOUBLED = 3
"""Sites that a cell may have to be doubled: more cost too much."""

TOLERANCE_FACTORS = (0.78, 1.08)
"""Goldschmidt's, of perovskites."""

CONTACTS = (0.68, 1.4)
"""Shortest distance over the sum of covalent radii: beyond these the prototype does not suit the elements."""


def structure_set() -> StructureSet:
    about = "prototypes × charge-balanced elements or metals, volume ± 8 %, strained, displaced"
    return StructureSet(about, 1, _batch, set_settings("crystals"))


@cache
def sensible_compositions(prototype: Prototype) -> tuple[tuple[tuple[str, ...], tuple[int, ...]], ...]:
    """Compositions of a prototype whose ions fit."""
    return tuple(
        (symbols, states)
        for symbols, states in compositions(prototype)
        if prototype.name != "perov" or TOLERANCE_FACTORS[0] < tolerance_factor(symbols, states) < TOLERANCE_FACTORS[1]
        if CONTACTS[0] < closest_contact(prototype, symbols, states) < CONTACTS[1]
    )


def tolerance_factor(symbols: tuple[str, ...], states: tuple[int, ...]) -> float:
    """Goldschmidt's factor of a perovskite ABX₃, with radii for six neighbours."""
    a, b, x = (IONIC_RADIUS[state][symbol] for symbol, state in zip(symbols, states, strict=True))
    return (a + x) / (np.sqrt(2) * (b + x))


def _batch(seed: int, number: int) -> list[ReferenceStructure]:
    rng = generator("crystals", seed, number)
    prototype = _drawn_prototype(rng)
    symbols, states = _drawn_composition(prototype, rng)
    mode = str(rng.choice(list(MODES), p=list(MODES.values())))
    if mode == "super" and (len(prototype.sites) > LARGEST_DOUBLED or not states):
        mode = "rattle"
    atoms, volume = distorted(ideal_crystal(prototype, symbols, states), mode, rng)
    composition = Formula.from_list([symbols[place] for place in prototype.places]).reduce()[0].format("hill")
    return [
        ReferenceStructure(
            set_name="crystals",
            seed=seed,
            index=number,
            numbers=atoms.numbers.astype(np.int64),
            positions=atoms.positions,
            cell=atoms.cell.array,
            is_periodic=True,
            group=composition,
            split=split_by_group(composition),
            settings=INSULATOR if states else METAL,
            settings_if_metal=METAL if states else None,
            provenance={
                "kind": "ins" if states else "met",
                "proto": prototype.name,
                "mode": mode,
                "volume": round(volume, 4),
            },
        )
    ]


def _drawn_prototype(rng: np.random.Generator) -> Prototype:
    weights = np.array([WEIGHTS[prototype.name] for prototype in PROTOTYPES], dtype=float)
    return PROTOTYPES[int(rng.choice(len(PROTOTYPES), p=weights / weights.sum()))]


def _drawn_composition(prototype: Prototype, rng: np.random.Generator) -> tuple[tuple[str, ...], tuple[int, ...]]:
    choices = sensible_compositions(prototype)
    elements = sorted({symbol for symbols, _ in choices for symbol in symbols})
    element = elements[int(rng.integers(len(elements)))]
    having = [choice for choice in choices if element in choice[0]]
    return having[int(rng.integers(len(having)))]


def ideal_crystal(prototype: Prototype, symbols: tuple[str, ...], states: tuple[int, ...]) -> Atoms:
    """The perfect crystal with a lattice constant from radii or atomic volumes."""
    return Atoms(
        [symbols[place] for place in prototype.places],
        scaled_positions=prototype.sites,
        cell=prototype.cell * lattice_constant(prototype, symbols, states),
        pbc=True,
    )


def distorted(atoms: Atoms, mode: str, rng: np.random.Generator) -> tuple[Atoms, float]:
    """The crystal in one of the `MODES`, and its volume relative to the perfect one.

    Args:
        atoms: The perfect crystal.
        mode: Which.
        rng: Source of volume, strain and displacements.
    """
    volume = float(1 + rng.uniform(-VOLUME_SPREAD, VOLUME_SPREAD))
    strain = rng.normal(0, STRAIN, (3, 3))
    sigma = float(rng.uniform(*DISPLACEMENTS))
    if mode == "super":
        axis = int(rng.integers(3))
        atoms = atoms.repeat(tuple(2 if k == axis else 1 for k in range(3)))
    deformation = np.eye(3) * volume ** (1 / 3)
    if mode != "ideal":
        symmetric = (strain + strain.T) / 2
        deformation = deformation @ (np.eye(3) + symmetric - np.eye(3) * np.trace(symmetric) / 3)
    atoms.set_cell(atoms.cell.array @ deformation, scale_atoms=True)
    if mode in ("rattle", "super"):
        atoms.positions += rng.normal(0, sigma, atoms.positions.shape)
    return atoms, volume
