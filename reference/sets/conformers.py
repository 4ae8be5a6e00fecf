"""Geometries of small molecules: RDKit's start, relaxed by GFN2-xTB, then set in motion. Needs RDKit and tblite."""

import os
from dataclasses import dataclass

import numpy as np
from ase import Atoms, units
from ase.data import covalent_radii
from ase.md.langevin import Langevin
from ase.optimize import LBFGS
from rdkit import Chem  # pyright: ignore[reportMissingImports]
from rdkit.Chem import AllChem  # pyright: ignore[reportMissingImports]
from tblite.ase import TBLite  # pyright: ignore[reportMissingImports]
from tblite.exceptions import TBLiteRuntimeError  # pyright: ignore[reportMissingImports]

from reference.sets.motion import set_in_motion

TIME_STEP = 0.5
"""fs."""

FRICTION = 0.02
"""fs⁻¹."""

FORCE_TOLERANCE = 0.02
"""eV/Å; largest force of a relaxed molecule."""

BOND_REACH = 1.3
"""Atoms closer than this times the sum of their covalent radii are bonded."""


class NoGeometry(Exception):
    """A molecule could not be embedded, or fell apart."""


@dataclass(frozen=True)
class Motion:
    """A stretch of molecular dynamics.

    Attributes:
        temperature: K.
        n_equilibration: Steps before the first frame.
        n_frames: Frames.
        n_spacing: Steps between frames.
    """

    temperature: float
    n_equilibration: int
    n_frames: int = 1
    n_spacing: int = 0


def relaxed(smiles: str, seed: int) -> Atoms:
    """The relaxed molecule with its calculator.

    Args:
        smiles: Which molecule.
        seed: Of the embedding.

    Raises:
        NoGeometry: If it cannot be embedded or changes its bonds.
    """
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    if AllChem.EmbedMolecule(molecule, randomSeed=seed):
        raise NoGeometry(f"found no way to embed {smiles}")
    if AllChem.MMFFHasAllMoleculeParams(molecule):
        AllChem.MMFFOptimizeMolecule(molecule, maxIters=500)
    atoms = Atoms([atom.GetSymbol() for atom in molecule.GetAtoms()], molecule.GetConformer().GetPositions())
    graph = Chem.GetAdjacencyMatrix(molecule).astype(bool)
    atoms.calc = TBLite(method="GFN2-xTB", verbosity=0)
    try:
        is_relaxed = LBFGS(atoms, logfile=os.devnull).run(fmax=FORCE_TOLERANCE, steps=300)
    except (TBLiteRuntimeError, RuntimeError) as error:
        raise NoGeometry(f"found no way to relax {smiles}: {error}") from None
    if not is_relaxed or not np.array_equal(bonds(atoms), graph):
        raise NoGeometry(f"found {smiles} not at rest, or with other bonds than it should have")
    return atoms


def frames(atoms: Atoms, motion: Motion, rng: np.random.Generator) -> list[np.ndarray]:
    """Positions in Å along a Langevin trajectory, [n_atoms, 3] each.

    Args:
        atoms: Where it starts, with its calculator; moved.
        motion: How warm and how long.
        rng: Source of velocities and of the thermostat's noise.

    Raises:
        NoGeometry: If the molecule changes its bonds on the way.
    """
    graph = bonds(atoms)
    # Twice the temperature: half of it goes into stretching the bonds of a molecule at rest.
    set_in_motion(atoms, 2 * motion.temperature, rng)
    dynamics = Langevin(
        atoms,
        TIME_STEP * units.fs,
        temperature_K=motion.temperature,
        friction=FRICTION / units.fs,
        rng=rng,
        fixcm=False,
    )
    found = []
    for frame in range(motion.n_frames):
        try:
            dynamics.run(motion.n_spacing if frame else motion.n_equilibration)
        except (TBLiteRuntimeError, RuntimeError) as error:
            raise NoGeometry(f"found {atoms.symbols} in pieces: {error}") from None
        if not np.array_equal(bonds(atoms), graph):
            raise NoGeometry(f"found {atoms.symbols} with other bonds after a while")
        found.append(atoms.positions.copy())
    return found


def bonds(atoms: Atoms) -> np.ndarray:
    """Which atoms are bonded, by distance, [n_atoms, n_atoms]."""
    radii = covalent_radii[atoms.numbers]
    is_near = atoms.get_all_distances() < BOND_REACH * (radii[:, None] + radii)
    return is_near & ~np.eye(len(atoms), dtype=bool)
