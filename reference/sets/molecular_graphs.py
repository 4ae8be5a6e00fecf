"""Random small organic molecules as graphs, drawn atom by atom. Needs RDKit."""

import numpy as np
from rdkit import Chem, rdBase  # pyright: ignore[reportMissingImports]

HEAVY_ELEMENTS = {"C": 0.68, "N": 0.13, "O": 0.14, "F": 0.05}
"""How often each is drawn."""

VALENCE = {"C": 4, "N": 3, "O": 2, "F": 1}
SIZES = {1: 1, 2: 2, 3: 4, 4: 7, 5: 10, 6: 14, 7: 18, 8: 22, 9: 22}
"""Heavy atoms, with weights."""

RING_SIZES = {3: 0.1, 4: 0.1, 5: 0.4, 6: 0.4}
RINGS = (0.45, 0.4, 0.15)
"""Chance of none, one and two ring closures."""

DOUBLE_BOND = 0.25
"""Chance of raising the order of a bond that both ends have valence for; again for a triple bond."""

UNSTABLE = tuple(
    Chem.MolFromSmarts(smarts)
    for smarts in (
        "[O]~[O]", "[O]~[F]", "[N]~[F]", "[N]~[N]~[N]", "[N]~[N]~[O]", "[N]~[O]~[N]", "[O]~[N]~[O]",
        "*=*=*",  # cumulated double bonds, so ketenes too
        "[r3]=,#[r3]", "[r4]#*", "[r5]#[r5]", "[r6]#[r6]",  # strained rings
        "[OX2H][#6]=[#6]", "[NX3;H1,H2][CX4][OX2H]", "[OX2H][CX4][OX2H]",  # lose water or turn at once
        "[OX2H]C#*", "[NH]C#*", "[F][CX4][OX2H]", "[F][CX4][NX3;H1,H2]",
        "[r3]12[r3][r3]1[r3]2", "[x4;r3]",  # tetrahedrane, spiro carbons in three-rings
    )
)  # fmt: skip
"""Groups that fall apart or react at once."""


def random_smiles(rng: np.random.Generator) -> str:
    """Canonical SMILES of a closed-shell molecule of H, C, N, O, F with up to nine heavy atoms.

    Args:
        rng: Source of the graph; drawn from until a stable graph comes.
    """
    while True:
        molecule = _grown(rng)
        if molecule is not None and not any(molecule.HasSubstructMatch(group) for group in UNSTABLE):
            return Chem.MolToSmiles(molecule)


def _grown(rng: np.random.Generator) -> Chem.Mol | None:
    sizes = np.array(list(SIZES.values()), dtype=float)
    n_heavy = int(rng.choice(list(SIZES), p=sizes / sizes.sum()))
    symbols = ["C" if n_heavy > 1 else str(rng.choice(["C", "N", "O", "F"]))]
    free, bonds = [VALENCE[symbols[0]]], {}
    while len(symbols) < n_heavy:
        anchor = [atom for atom, n in enumerate(free) if n > 0]
        if not anchor:
            return None
        symbol = str(rng.choice(list(HEAVY_ELEMENTS), p=list(HEAVY_ELEMENTS.values())))
        partner = int(rng.choice(anchor))
        bonds[partner, len(symbols)] = 1
        free[partner] -= 1
        symbols.append(symbol)
        free.append(VALENCE[symbol] - 1)
    for _ in range(int(rng.choice(len(RINGS), p=RINGS))):
        _close_ring(bonds, free, rng)
    _raise_orders(bonds, free, rng)
    return _molecule(symbols, bonds)


def _close_ring(bonds: dict[tuple[int, int], int], free: list[int], rng: np.random.Generator) -> None:
    distances = _distances(len(free), bonds)
    size = int(rng.choice(list(RING_SIZES), p=list(RING_SIZES.values())))
    pairs = [pair for pair in zip(*np.where(np.triu(distances) == size - 1), strict=True) if min(_both(free, pair)) > 0]
    if pairs:
        i, j = (int(atom) for atom in pairs[int(rng.integers(len(pairs)))])
        bonds[i, j] = 1
        free[i] -= 1
        free[j] -= 1


def _both(free: list[int], pair: tuple[int, int]) -> tuple[int, int]:
    return free[pair[0]], free[pair[1]]


def _distances(n_atoms: int, bonds: dict[tuple[int, int], int]) -> np.ndarray:
    distances = np.full((n_atoms, n_atoms), n_atoms + 9)
    np.fill_diagonal(distances, 0)
    for i, j in bonds:
        distances[i, j] = distances[j, i] = 1
    for k in range(n_atoms):
        distances = np.minimum(distances, distances[:, k, None] + distances[None, k])
    return distances


def _raise_orders(bonds: dict[tuple[int, int], int], free: list[int], rng: np.random.Generator) -> None:
    for i, j in [pair for pair in bonds for _ in range(2)]:
        if min(free[i], free[j]) > 0 and rng.random() < DOUBLE_BOND:
            bonds[i, j] += 1
            free[i] -= 1
            free[j] -= 1


def _molecule(symbols: list[str], bonds: dict[tuple[int, int], int]) -> Chem.Mol | None:
    molecule = Chem.RWMol()
    for symbol in symbols:
        molecule.AddAtom(Chem.Atom(symbol))
    for (i, j), order in bonds.items():
        molecule.AddBond(i, j, (Chem.BondType.SINGLE, Chem.BondType.DOUBLE, Chem.BondType.TRIPLE)[order - 1])
    with rdBase.BlockLogs():
        return None if Chem.SanitizeMol(molecule, catchErrors=True) else molecule.GetMol()
