"""Labels of a teacher: CHGNet's own energies and derivatives on structures that cost nothing but its time.

Crystals are the prototypes of `reference.sets.crystals`, with elements from their tables or stand-ins for them, so that
magnetic metals, lanthanides and actinides come too; most are displaced, for a head learns nothing of forces that
symmetry makes zero. Mixtures are such crystals whose sites have been given to other elements one by one, for the pure
ones have few thousand compositions. Structures of `data/` can be added. Compositions are divided as those of the
reference data are.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice, product
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.formula import Formula

from models.interface import Potential
from reference.checks import SPLITS
from reference.sets.crystals import WEIGHTS, distorted, ideal_crystal, sensible_compositions
from reference.sets.prototypes import METALS, OXIDATION_STATES, PROTOTYPES, Prototype
from reference.structure import generator, split_by_group
from rhocast.elements import ATOMIC_NUMBERS
from rhocast.model_info import Property
from rhocast.structure import Structure
from training.dataset import DATA, NoData, samples
from training.labels import LabelledStructure

CRYSTALS = "teacher-crystals"
"""Name of the set of seeded crystals."""

MIXTURES = "teacher-mixtures"
"""Name of the set of seeded crystals whose sites were given to other elements one by one."""

SHARES_GIVEN_AWAY = (0.2, 1.0)
"""Of the sites of a mixture; each mixture draws its own."""

MODES = {"strain": 0.1, "rattle": 0.5, "super": 0.4}
"""How often a crystal is sheared; also displaced; also doubled. A cell of one atom, which has no forces, is doubled."""

SHARE_OF_STAND_INS = 0.4
"""Crystals in which an element makes way for one that the tables of prototypes do not have, if any can."""

LARGEST_FORCE = 10.0
"""eV/Å; a structure with a larger one is left out, for no relaxation or molecular dynamics comes near it."""

BATCH_SIZE = 32
"""Structures that the teacher is asked about at once."""

_OF_CRYSTALS = frozenset({Property.ENERGY, Property.FORCES, Property.STRESS, Property.MAGMOMS})

_LANTHANIDES = ("Ce", "Pr", "Nd", "Pm", "Sm", "Eu", "Gd", "Tb", "Dy", "Ho", "Er", "Tm", "Yb")
_IRON_LIKE = ("Cr", "Mn", "Fe", "Co", "Ni")
_STAND_INS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("Mg", "Zn", "Al", "Ga", "V", "Cu", "Pd"), _IRON_LIKE),
    **dict.fromkeys(("Ru", "Re", "Os"), (*_IRON_LIKE, "Tc")),
    **dict.fromkeys(("Y", "La", "Lu", "Sc"), (*_LANTHANIDES, "Ac")),
    **dict.fromkeys(("Ca", "Sr"), ("Eu", "Yb")),
    **dict.fromkeys(("Zr", "Hf"), ("Ce", "Th", "Pa", "U", "Np", "Pu")),
}
"""What may stand in for an element: similar in charge or as a metal."""


def teacher_crystals(seed: int) -> Iterator[tuple[Structure, str]]:
    """An endless sequence of crystals with their compositions; the same for the same seed."""
    number = 0
    while True:
        yield _crystal(generator(CRYSTALS, seed, number))
        number += 1


@dataclass(frozen=True, eq=False)
class _Draw:
    """A distorted crystal and what is known of its sites.

    Attributes:
        atoms: The crystal.
        states: Oxidation state of each site, [n_atoms]; None in metals.
    """

    atoms: Atoms
    states: list[int | None]

    @property
    def labelled(self) -> tuple[Structure, str]:
        """The structure and its reduced formula."""
        composition = Formula.from_list(self.atoms.get_chemical_symbols()).reduce()[0].format("hill")
        return Structure(self.atoms.numbers.astype(np.int64), self.atoms.positions, self.atoms.cell.array), composition


def _draw(rng: np.random.Generator) -> _Draw:
    weights = np.array([WEIGHTS[prototype.name] for prototype in PROTOTYPES], dtype=float)
    prototype = PROTOTYPES[int(rng.choice(len(PROTOTYPES), p=weights / weights.sum()))]
    symbols, states = _drawn_composition(prototype, rng)
    ideal = ideal_crystal(prototype, symbols, states)
    present = _with_a_stand_in(symbols, rng)
    ideal.symbols = [present[place] for place in prototype.places]
    _resize(ideal, symbols, present)
    mode = "super" if len(prototype.sites) == 1 else str(rng.choice(list(MODES), p=list(MODES.values())))
    atoms, _ = distorted(ideal, mode, rng)
    of_sites = [states[place] if states else None for place in prototype.places]
    return _Draw(atoms, of_sites * (len(atoms) // len(of_sites)))


def _crystal(rng: np.random.Generator) -> tuple[Structure, str]:
    return _draw(rng).labelled


def _mixture(rng: np.random.Generator) -> tuple[Structure, str]:
    drawn = _draw(rng)
    atoms, share = drawn.atoms, rng.uniform(*SHARES_GIVEN_AWAY)
    before = atoms.get_chemical_symbols()
    after = [
        str(rng.choice(_alike(state))) if rng.random() < share else symbol
        for symbol, state in zip(before, drawn.states, strict=True)
    ]
    atoms.symbols = after
    _resize(atoms, before, after)
    return drawn.labelled


@cache
def _alike(state: int | None) -> tuple[str, ...]:
    """Elements that a site of this oxidation state, or of a metal, may be given to."""
    table = METALS if state is None else OXIDATION_STATES[state]
    return tuple(sorted({*table, *(one for symbol in table for one in _STAND_INS.get(symbol, ()))}))


def _resize(atoms: Atoms, before: Sequence[str], after: Sequence[str]) -> None:
    """Scales a crystal as its elements' sizes have changed."""
    atoms.set_cell(atoms.cell.array * _size(after) / _size(before), scale_atoms=True)


def teacher_mixtures(seed: int) -> Iterator[tuple[Structure, str]]:
    """An endless sequence of mixtures with their compositions; the same for the same seed."""
    number = 0
    while True:
        yield _mixture(generator(MIXTURES, seed, number))
        number += 1


def _drawn_composition(prototype: Prototype, rng: np.random.Generator) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """A composition of an element that is drawn first, so that rare elements get their share."""
    choices = sensible_compositions(prototype)
    elements = sorted({symbol for symbols, _ in choices for symbol in symbols})
    element = elements[int(rng.integers(len(elements)))]
    having = [choice for choice in choices if element in choice[0]]
    return having[int(rng.integers(len(having)))]


def _with_a_stand_in(symbols: tuple[str, ...], rng: np.random.Generator) -> tuple[str, ...]:
    """The elements, one of them perhaps replaced."""
    replaceable = [place for place, symbol in enumerate(symbols) if symbol in _STAND_INS]
    if not replaceable or rng.random() > SHARE_OF_STAND_INS:
        return symbols
    place = replaceable[int(rng.integers(len(replaceable)))]
    candidates = _STAND_INS[symbols[place]]
    return (*symbols[:place], candidates[int(rng.integers(len(candidates)))], *symbols[place + 1 :])


def _size(symbols: Sequence[str]) -> float:
    """Sum of covalent radii in Å, by which a lattice is scaled when a stand-in comes."""
    return float(sum(covalent_radii[ATOMIC_NUMBERS[symbol]] for symbol in symbols))


@dataclass(frozen=True, eq=False)
class Question:
    """A structure that waits for a teacher's labels.

    Attributes:
        structure: Atoms, cell, periodicity.
        source: Set that it comes from.
        group: Formula or composition.
        split: train, validation or test.
    """

    structure: Structure
    source: str
    group: str
    split: str


def crystal_questions(n: int, seed: int) -> list[Question]:
    """The first n of the seeded crystals; whichever split a composition falls into, it does so as in `data/`."""
    return _questions(CRYSTALS, islice(teacher_crystals(seed), n))


def mixture_questions(n: int, seed: int) -> list[Question]:
    """The first n of the seeded mixtures, in splits by composition too."""
    return _questions(MIXTURES, islice(teacher_mixtures(seed), n))


def _questions(source: str, there: Iterable[tuple[Structure, str]]) -> list[Question]:
    return [Question(structure, source, group, split_by_group(group)) for structure, group in there]


def reference_questions(set_names: Sequence[str], data: Path = DATA) -> list[Question]:
    """The structures of some sets of reference data, in the splits that they have there.

    Args:
        set_names: Names of sets.
        data: Folder of reference data.

    Raises:
        NoData: If a set is not there.
    """
    found = []
    for set_name, split in product(set_names, SPLITS):
        try:
            there = samples([set_name], split, data)
        except NoData:  # a young set lacks a split, but not the one to learn from
            if split == "train":
                raise
            continue
        found += [Question(one.structure, one.set_name, one.group, split) for one in there]
    return found


def taught(teacher: Potential, questions: Sequence[Question]) -> Iterator[LabelledStructure]:
    """The labels of a teacher, crystals first; what it does not cover and what has huge forces is left out.

    Args:
        teacher: What labels them.
        questions: Structures.
    """
    covered = set(teacher.info.elements)
    there = [one for one in questions if covered.issuperset(one.structure.symbols)]
    for is_periodic in (True, False):
        want = _OF_CRYSTALS if is_periodic else _OF_CRYSTALS - {Property.STRESS}
        kind = [one for one in there if one.structure.is_periodic == is_periodic]
        for first in range(0, len(kind), BATCH_SIZE):
            batch = kind[first : first + BATCH_SIZE]
            answers = teacher.predict([one.structure for one in batch], want)
            for one, answer in zip(batch, answers, strict=True):
                if answer.forces is not None and np.abs(answer.forces).max() < LARGEST_FORCE:
                    labels = (answer.forces, answer.energy, answer.stress, answer.magmoms)
                    yield LabelledStructure(one.structure, one.source, one.group, one.split, *labels)
