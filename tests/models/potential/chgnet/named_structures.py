"""Some two hundred structures with names: every element of CHGNet, prototypes, supercells, molecules, odd cells.

Each is moved off its ideal places by a seed that its name gives, for at ideal places forces vanish and angles are
straight.
"""

import zlib
from collections.abc import Callable, Iterator

import numpy as np
from ase import Atoms
from ase.build import bulk, graphene, molecule
from ase.data import covalent_radii
from ase.spacegroup import crystal

from models.interface import FloatArray
from models.potential.chgnet.info import INFOS
from rhocast.structure import Structure

_ELEMENTS = next(info.elements for info in INFOS if info.name == "chgnet")
_GASES = ("H", "He", "N", "O", "F", "Ne", "Cl", "Ar", "Br", "Kr", "I", "Xe")
_LATTICES = ("fcc", "bcc", "hcp", "diamond", "sc")
_ROCK_SALTS = ("LiF", "NaCl", "KBr", "MgO", "CaS", "FeO", "MnO", "NiO", "CoO", "TiN", "VC", "ZrN", "PbTe", "EuO", "UN")
_ZINC_BLENDES = ("BN", "SiC", "GaAs", "InP", "AlSb", "ZnS", "CdTe", "CuCl", "AgI", "HgSe")
_CHLORIDES = ("CsCl", "NiAl", "FeTi", "AgMg", "TlBr")
_FLUORITES = (("Ca", "F"), ("Ce", "O"), ("Zr", "O"), ("Th", "O"), ("U", "O"), ("O", "Li"), ("Si", "Mg"), ("Pt", "Al"))
_PEROVSKITES = ("SrTiO", "BaTiO", "LaMnO", "LaFeO", "KNbO", "CsPbI", "NaMgF", "BiFeO", "PbZrO", "CaMnO")
_RUTILES = ("TiO", "SnO", "MnO", "VO", "RuO", "MgF", "FeF", "GeO")
_MOLECULES = ("H2O", "CH4", "C6H6", "CO2", "NH3", "CH3CH2OH", "SiH4", "SO2", "C2H4", "N2")
_CHANGES = {
    "sheared": [[1, 0, 0], [2, 1, 0], [-1, 1, 1]],
    "left-handed": [[0, 1, 0], [1, 0, 0], [0, 0, 1]],
    "long": [[1, 3, 0], [0, 1, 0], [0, 2, 1]],
    "turned round": [[-1, 0, 0], [0, -1, 0], [0, 0, -1]],
}


def named_structures() -> dict[str, Structure]:
    """All of them, by name; the same ones every time."""
    families: tuple[Callable[[], Iterator[tuple[str, Atoms]]], ...] = (
        _elements, _binaries, _oxides, _supercells, _other_cells, _in_vacuum, _alloys,
    )  # fmt: skip
    return {name: _moved(name, atoms) for family in families for name, atoms in family()}


def _moved(name: str, atoms: Atoms) -> Structure:
    """The structure strained by some 2 % and with its atoms moved by some 0.05 Å, and by lattice vectors."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    cell: FloatArray = atoms.cell.array @ (np.eye(3) + rng.uniform(-0.02, 0.02, (3, 3)))
    positions = atoms.get_scaled_positions(wrap=False) @ cell + rng.normal(scale=0.05, size=(len(atoms), 3))
    return Structure(atoms.numbers.astype(np.int64), positions + rng.integers(-1, 2, (len(atoms), 3)) @ cell, cell)


def _bond(first: str, second: str) -> float:
    """Sum of covalent radii in Å, a little enlarged."""
    return 1.1 * sum(max(float(covalent_radii[Atoms(symbol).numbers[0]]), 1.0) for symbol in (first, second))


def _elements() -> Iterator[tuple[str, Atoms]]:
    """Each element in one of five lattices."""
    per_bond = {"fcc": 2**0.5, "bcc": 2 / 3**0.5, "hcp": 1.0, "diamond": 4 / 3**0.5, "sc": 1.0}
    for index, symbol in enumerate(_ELEMENTS):
        lattice = _LATTICES[index % len(_LATTICES)]
        distance = 3.3 if symbol in _GASES else _bond(symbol, symbol)
        yield f"{symbol} {lattice}", bulk(symbol, lattice, a=per_bond[lattice] * distance)


def _split(formula: str) -> list[str]:
    return Atoms(formula).get_chemical_symbols()


def _binaries() -> Iterator[tuple[str, Atoms]]:
    for lattice, formulas, per_bond in (
        ("rocksalt", _ROCK_SALTS, 2.0),
        ("zincblende", _ZINC_BLENDES, 4 / 3**0.5),
        ("cesiumchloride", _CHLORIDES, 2 / 3**0.5),
    ):
        for formula in formulas:
            yield f"{formula} {lattice}", bulk(formula, lattice, a=per_bond * _bond(*_split(formula)))
    for formula in _ROCK_SALTS[::3]:
        yield f"{formula} rocksalt cubic", bulk(formula, "rocksalt", a=2 * _bond(*_split(formula)), cubic=True)


def _oxides() -> Iterator[tuple[str, Atoms]]:
    for metal, anion in _FLUORITES:
        a = 4 / 3**0.5 * _bond(metal, anion)
        yield (
            f"{metal}{anion}2 fluorite",
            crystal(
                [metal, anion],
                [(0, 0, 0), (0.25, 0.25, 0.25)],
                spacegroup=225,
                cellpar=[a, a, a, 90, 90, 90],
                primitive_cell=True,
            ),
        )
    for formula in _PEROVSKITES:
        large, small, anion = _split(formula)
        a = 2 * _bond(small, anion)
        places = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
        yield f"{formula}3 perovskite", Atoms([large, small, *[anion] * 3], scaled_positions=places, cell=[a, a, a])
    for formula in _RUTILES:
        metal, anion = _split(formula)
        a = 2.35 * _bond(metal, anion)
        places = [(0, 0, 0), (0.305, 0.305, 0)]
        cellpar = [a, a, 0.64 * a, 90, 90, 90]
        yield f"{formula}2 rutile", crystal([metal, anion], places, spacegroup=136, cellpar=cellpar)


def _supercells() -> Iterator[tuple[str, Atoms]]:
    """Larger cells, whole, with an atom missing, and with one replaced."""
    for formula, repeats in (("LiF", (2, 2, 2)), ("MgO", (2, 2, 1)), ("NiO", (2, 1, 1)), ("NaCl", (2, 2, 1))):
        whole = bulk(formula, "rocksalt", a=2 * _bond(*_split(formula)), cubic=True).repeat(repeats)
        yield f"{formula} supercell of {len(whole)}", whole
        vacant = whole.copy()
        del vacant[3]
        yield f"{formula} supercell with a vacancy", vacant
        doped = whole.copy()
        doped.symbols[5] = "Mn"
        yield f"{formula} supercell with Mn", doped


def _other_cells() -> Iterator[tuple[str, Atoms]]:
    """The same crystals in skewed, left-handed and long cells."""
    for formula in ("MgO", "GaAs", "CsCl"):
        kind = {"MgO": "rocksalt", "GaAs": "zincblende", "CsCl": "cesiumchloride"}[formula]
        atoms = bulk(formula, kind, a={"MgO": 4.21, "GaAs": 5.65, "CsCl": 4.12}[formula])
        for name, change in _CHANGES.items():
            changed = atoms.copy()
            changed.set_cell(np.array(change) @ atoms.cell.array, scale_atoms=False)
            yield f"{formula} {name}", changed


def _in_vacuum() -> Iterator[tuple[str, Atoms]]:
    """Molecules in periodic boxes, sheets and slabs."""
    for name in _MOLECULES:
        atoms = molecule(name, vacuum=4.5)
        yield f"{name} in a box", atoms
    yield "graphene", graphene(vacuum=6.0)
    for symbol, a in (("Cu", 3.6), ("Al", 4.05), ("Pt", 3.92)):
        slab = bulk(symbol, "fcc", a=a, cubic=True).repeat((1, 1, 2))
        slab.center(vacuum=6.0, axis=2)
        yield f"{symbol} slab", slab
    for symbol in ("Ar", "Xe", "Ne"):  # all bonds longer than those that make angles
        yield f"{symbol} without angles", bulk(symbol, "fcc", a=6.0)


def _alloys() -> Iterator[tuple[str, Atoms]]:
    """Cells of many elements at random places of a lattice."""
    rng = np.random.default_rng(5)
    for index in range(32):
        atoms = bulk("Cu", "fcc" if index % 2 else "bcc", a=4.6 if index % 2 else 3.7, cubic=True)
        atoms = atoms.repeat((1, 1 + index % 2, 2))
        atoms.symbols[:] = rng.choice(_ELEMENTS, len(atoms))
        yield f"alloy {index}", atoms
