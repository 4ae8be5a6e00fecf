"""The one record format: what a record holds, with units and shapes, and how raw labels become a record."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference.errors import BadRecord
from reference.soft_density import fourier_coefficients, wave_vector_indices
from reference.structure import ReferenceStructure

MANTISSA_BITS = 12
"""Of float32's 23; the rest of a stored density is noise that would not compress. Costs an NMAE of ≤ 5e-5."""

Array = NDArray[Any]


@dataclass(frozen=True)
class Field:
    """An array of a record.

    Attributes:
        dtype: NumPy type that is written.
        shape: Letters stand for a length that must be the same in every field of a record.
        unit: Unit, or an empty string.
        about: What it is.
        is_required: False if only some records have it.
    """

    dtype: str
    shape: tuple[str | int, ...]
    unit: str
    about: str
    is_required: bool = True


FIELDS: dict[str, Field] = {
    "numbers": Field("int64", ("n",), "", "atomic numbers"),
    "positions": Field("float64", ("n", 3), "Å", "Cartesian positions"),
    "cell": Field("float64", (3, 3), "Å", "cell vectors, as rows; a molecule's box"),
    "pbc": Field("bool", (3,), "", "whether it repeats; all false for a molecule"),
    "forces": Field("float64", ("n", 3), "eV/Å", "minus the derivative of the free energy"),
    "stress": Field("float64", (6,), "eV/Å³", "xx yy zz yz xz xy, tension positive; periodic only", False),
    "density": Field("float32", ("n0", "n1", "n2"), "e/Å³", "reference density at grid points, 12 mantissa bits"),
    "compensation_width": Field("float64", ("n",), "Å", "w of each atom's compensation charges"),
    "multipoles": Field("float32", ("n", 9), "bohr^l", "Q of each atom: s | y z x | xy yz 3z²−r² xz x²−y²"),
    "atomic_density_matrices": Field("float32", ("d",), "e", "upper triangles, one atom after the other"),
    "atomic_density_matrix_offsets": Field("int64", ("n+1",), "", "where each atom's triangle begins"),
    "fourier_indices": Field("int16", ("g", 3), "", "(h, k, l) of one of each pair ±G, |G| ≤ 3 Å⁻¹"),
    "fourier_coefficients": Field("float32", ("g", 2), "e", "real and imaginary part of ∫ρ exp(−iG·r)"),
    "k_mesh": Field("int64", (3,), "", "points of the Γ-centred mesh along each reciprocal vector"),
}

ATTRIBUTES: dict[str, tuple[type, str, str]] = {
    "energy": (float, "eV", "total energy of the cell, smearing extrapolated to zero"),
    "free_energy": (float, "eV", "the energy whose derivative the forces are"),
    "n_electrons": (int, "", "valence electrons of the PAW data sets"),
    "gap": (float, "eV", "lowest empty minus highest filled level; negative where bands overlap"),
    "integral_before_rescaling": (float, "e", "what the density integrated to before it was scaled to n_electrons"),
    "rounding_nmae": (float, "", "∫|change| / N by the rounding to 12 bits"),
    "density_min": (float, "e/Å³", "lowest value before negative ones were set to zero"),
    "clipped_electrons": (float, "e", "charge of the negative values that were set to zero"),
    "is_converged": (bool, "", "whether the SCF converged"),
    "n_irreducible_k": (int, "", "k-points after symmetry; 0 where it is not known"),
    "wall_time": (float, "s", "of the labelling process; 0 where it is not known"),
    "set": (str, "", "name of the set"),
    "seed": (int, "", "seed of the set; −1 for a pilot record"),
    "index": (int, "", "position in the set"),
    "split": (str, "", "train, validation or test"),
    "group": (str, "", "key that is never divided between splits"),
    "provenance": (str, "", "JSON: kind, temperature in K, prototype, SMILES …"),
    "settings": (str, "", "JSON of the DFT settings"),
    "settings_hash": (str, "", "of the settings"),
    "content_hash": (str, "", "of structure and settings"),
    "code": (str, "", "DFT code with versions"),
    "code_version": (str, "", "rhocast's version and commit"),
}


@dataclass(frozen=True)
class Record:
    """One labelled structure.

    Attributes:
        name: Its name, which is that of its HDF5 group.
        arrays: What `FIELDS` lists.
        attributes: What `ATTRIBUTES` lists.
    """

    name: str
    arrays: Mapping[str, Array]
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class RawLabels:
    """What the DFT process hands back.

    Attributes:
        arrays: forces, stress (periodic only), density (float64, as integrated), compensation_width, multipoles,
            atomic_density_matrices, atomic_density_matrix_offsets, k_mesh.
        attributes: energy, free_energy, gap, is_converged, n_irreducible_k, wall_time, code, settings_hash.
    """

    arrays: Mapping[str, Array]
    attributes: Mapping[str, Any]


def rounded_mantissa(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Values with `MANTISSA_BITS` bits, rounded to nearest."""
    dropped = 23 - MANTISSA_BITS
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    half = np.uint32((1 << (dropped - 1)) - 1) + ((bits >> np.uint32(dropped)) & np.uint32(1))
    return ((bits + half) & np.uint32(0xFFFFFFFF << dropped & 0xFFFFFFFF)).view(np.float32)


def density_fields(density: Array, cell: Array, n_electrons: int) -> tuple[dict[str, Array], dict[str, float]]:
    """Stored density with its Fourier coefficients, and the figures that say what was done to it.

    Args:
        density: e/Å³, [n0, n1, n2].
        cell: Rows in Å, [3, 3].
        n_electrons: What it is scaled to.
    """
    voxel = abs(np.linalg.det(cell)) / density.size
    clipped = np.maximum(density, 0)
    exact = clipped * (n_electrons / (clipped.sum() * voxel))
    stored = rounded_mantissa(exact.astype(np.float32))
    indices = wave_vector_indices(cell)
    coefficients = fourier_coefficients(exact, cell, indices)
    arrays: dict[str, Array] = {
        "density": stored,
        "fourier_indices": indices.astype(np.int16),
        "fourier_coefficients": np.column_stack([coefficients.real, coefficients.imag]).astype(np.float32),
    }
    return arrays, {
        "integral_before_rescaling": float(density.sum() * voxel),
        "rounding_nmae": float(np.abs(stored - exact).sum() * voxel / n_electrons),
        "density_min": float(density.min()),
        "clipped_electrons": float((clipped - density).sum() * voxel),
    }


def assembled_record(structure: ReferenceStructure, labels: RawLabels, code_version: str) -> Record:
    """The record of a structure and its labels.

    Args:
        structure: What was labelled, with the settings that it was labelled with.
        labels: What came back.
        code_version: Version of this program.

    Raises:
        BadRecord: If something is missing from the labels.
    """
    try:
        arrays, figures = density_fields(labels.arrays["density"], structure.cell, structure.n_electrons)
        arrays |= {name: array for name, array in labels.arrays.items() if name in FIELDS and name not in arrays}
        attributes = {name: labels.attributes[name] for name in LABEL_ATTRIBUTES}
    except KeyError as missing:
        raise BadRecord(f"found no {missing} in the labels of {structure.name}; expected what FIELDS lists") from None
    arrays |= {
        "numbers": structure.numbers,
        "positions": structure.positions,
        "cell": structure.cell,
        "pbc": np.full(3, structure.is_periodic),
    }
    attributes |= figures | {
        "n_electrons": structure.n_electrons,
        "set": structure.set_name,
        "seed": structure.seed,
        "index": structure.index,
        "split": structure.split,
        "group": structure.group,
        "provenance": json.dumps(dict(structure.provenance), sort_keys=True, ensure_ascii=False),
        "settings": structure.settings.text,
        "content_hash": structure.content_hash,
        "code_version": code_version,
    }
    return Record(structure.name, arrays, attributes)


LABEL_ATTRIBUTES = (
    "energy", "free_energy", "gap", "is_converged", "n_irreducible_k", "wall_time", "code", "settings_hash",
)  # fmt: skip
"""What only the DFT process knows."""
