"""Structures with what potentials learn from: energies, forces, stresses and moments, of a DFT or of a teacher."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reference.checks import SPLITS
from rhocast.structure import Structure
from training.dataset import NoData, Sample

FloatArray = NDArray[np.float64]

_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


@dataclass(frozen=True, eq=False)
class LabelledStructure:
    """One structure and what is known of it.

    Attributes:
        structure: Atoms, cell, periodicity.
        source: Set that it comes from.
        group: Formula or composition; never divided between splits.
        split: train, validation or test.
        forces: eV/Å, [n_atoms, 3].
        energy: eV, of the cell; None where its zero is not the potential's.
        stress: eV/Å³, [3, 3], tension positive; None where there is none.
        magmoms: Bohr magnetons, [n_atoms]; None where there are none.
    """

    structure: Structure
    source: str
    group: str
    split: str
    forces: FloatArray
    energy: float | None = None
    stress: FloatArray | None = None
    magmoms: FloatArray | None = None


def labelled_by_dft(sample: Sample, split: str) -> LabelledStructure:
    """Forces and stress of a reference record; not its energy, whose zero is that of its own pseudopotentials.

    Args:
        sample: The record's sample.
        split: Which part of the data it belongs to.
    """
    stress = None
    if sample.stress is not None:
        stress = np.empty((3, 3))
        for value, (row, column) in zip(sample.stress, _VOIGT, strict=True):
            stress[row, column] = stress[column, row] = value
    return LabelledStructure(
        sample.structure, sample.set_name, sample.group, split, sample.forces.astype(np.float64), stress=stress
    )


def write_labels(file: Path, labelled: Sequence[LabelledStructure]) -> None:
    """A file of a teacher's labels, which are all there but for the stress of molecules."""
    structures = [one.structure for one in labelled]
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as stream:
        np.savez(
            stream,
            n_atoms=np.array([structure.n_atoms for structure in structures]),
            numbers=np.concatenate([structure.numbers for structure in structures]),
            positions=np.concatenate([structure.positions for structure in structures]),
            cells=np.array([structure.cell for structure in structures]),
            is_periodic=np.array([structure.is_periodic for structure in structures]),
            sources=np.array([one.source for one in labelled]),
            groups=np.array([one.group for one in labelled]),
            splits=np.array([one.split for one in labelled]),
            energies=np.array([one.energy for one in labelled], np.float64),
            forces=np.concatenate([one.forces for one in labelled]),
            stresses=np.array([np.full((3, 3), np.nan) if one.stress is None else one.stress for one in labelled]),
            magmoms=np.concatenate([one.magmoms for one in labelled if one.magmoms is not None]),
        )


def read_labels(file: Path, split: str) -> list[LabelledStructure]:
    """The labelled structures of a split, from a file that `write_labels` has made.

    Args:
        file: The file.
        split: train, validation or test.

    Raises:
        NoData: If there is no such file, or nothing of the split in it.
        ValueError: If the split is none of the three.
    """
    if split not in SPLITS:
        raise ValueError(f"found split {split!r}; expected one of {', '.join(SPLITS)}")
    if not file.is_file():
        raise NoData(f"found no file {file}; expected a teacher's labels; make some: python -m training teach")
    with np.load(file, allow_pickle=False) as archive:
        arrays = dict(archive)
    ends = arrays["n_atoms"].cumsum()
    found = []
    for index in np.flatnonzero(arrays["splits"] == split):
        atoms = slice(ends[index] - arrays["n_atoms"][index], ends[index])
        numbers, positions = arrays["numbers"][atoms], arrays["positions"][atoms]
        is_periodic = bool(arrays["is_periodic"][index])
        found.append(
            LabelledStructure(
                Structure(numbers, positions, arrays["cells"][index], is_periodic),
                str(arrays["sources"][index]),
                str(arrays["groups"][index]),
                split,
                arrays["forces"][atoms],
                float(arrays["energies"][index]),
                arrays["stresses"][index] if is_periodic else None,
                arrays["magmoms"][atoms],
            )
        )
    if not found:
        raise NoData(f"found no {split} structure in {file}; make more: python -m training teach")
    return found
