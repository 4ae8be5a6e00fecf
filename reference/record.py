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
"""Of float32's 23 in a new record; the rest of a density is noise that would not compress. NMAE ≤ 5e-5."""

Array = NDArray[Any]


@dataclass(frozen=True)
class Field:
    """An array of a record.

    Attributes:
        dtype: NumPy type that is written.
        shape: A letter stands for a length that must be the same in every field of a record.
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
    "forces": Field("float32", ("n", 3), "eV/Å", "minus the derivative of the free energy"),
    "stress": Field("float64", (6,), "eV/Å³", "xx yy zz yz xz xy, tension positive; a molecule has none", False),
    "grid_shape": Field("int64", (3,), "", "n0, n1, n2: points of the grid along each cell vector"),
    "density": Field("float32", ("p",), "e/Å³", "reference density at grid points, in C order"),
    "point_indices": Field("int64", ("p",), "", "which points of the grid these are; without it, all", False),
    "compensation_width": Field("float64", ("n",), "Å", "w of each atom's compensation charges"),
    "multipoles": Field("float32", ("n", 9), "bohr^l", "Q of each atom: s | y z x | xy yz 3z²−r² xz x²−y²"),
    "atomic_density_matrices": Field("float32", ("d",), "e", "upper triangles, one atom after the other"),
    "atomic_density_matrix_sizes": Field("int64", ("n",), "", "entries of each atom's triangle"),
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
    "mantissa_bits": (int, "", "of each value of the density"),
    "rounding_nmae": (float, "", "∫|change| / N by the rounding to so many bits"),
    "inclusion_floor": (float, "", "f of a point's chance min(1, f + s·ρ) to be among the points; 1 for a whole grid"),
    "inclusion_slope": (float, "Å³/e", "s of the same"),
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
        name: Its name.
        arrays: What `FIELDS` lists.
        attributes: What `ATTRIBUTES` lists.
    """

    name: str
    arrays: Mapping[str, Array]
    attributes: Mapping[str, Any]

    @property
    def is_whole(self) -> bool:
        """Whether the density is there at every point of the grid."""
        return "point_indices" not in self.arrays

    @property
    def grid_shape(self) -> tuple[int, int, int]:
        n0, n1, n2 = self.arrays["grid_shape"].tolist()
        return n0, n1, n2

    @property
    def density_on_grid(self) -> Array:
        """e/Å³, [n0, n1, n2].

        Raises:
            BadRecord: If the record has only some points.
        """
        if not self.is_whole:
            n_points = len(self.arrays["density"])
            raise BadRecord(f"{self.name}: found {n_points} points of {np.prod(self.grid_shape)}; expected all of them")
        return self.arrays["density"].reshape(self.grid_shape)

    @property
    def point_positions(self) -> Array:
        """Cartesian positions of the density's points in Å, [n_points, 3]."""
        shape = self.grid_shape
        flat = np.arange(np.prod(shape)) if self.is_whole else self.arrays["point_indices"]
        return np.column_stack(np.unravel_index(flat, shape)) / np.array(shape) @ self.arrays["cell"]

    @property
    def weights(self) -> Array:
        r"""Å³ that each point stands for, [n_points].

        A sum over all points of the grid is estimated without bias by Horvitz and Thompson's sum over the points there
        are, each divided by its chance to be there: :math:`\int f \approx \sum_i w_i f(r_i)`.
        """
        floor, slope = self.attributes["inclusion_floor"], self.attributes["inclusion_slope"]
        voxel = abs(np.linalg.det(self.arrays["cell"])) / np.prod(self.grid_shape)
        return voxel / np.minimum(1, floor + slope * self.arrays["density"].astype(np.float64))


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


def rounded_mantissa(values: NDArray[np.float32], n_bits: int = MANTISSA_BITS) -> NDArray[np.float32]:
    """Values with so many bits of mantissa, rounded to nearest."""
    dropped = 23 - n_bits
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    half = np.uint32((1 << (dropped - 1)) - 1) + ((bits >> np.uint32(dropped)) & np.uint32(1))
    return ((bits + half) & np.uint32(0xFFFFFFFF << dropped & 0xFFFFFFFF)).view(np.float32)


def density_fields(density: Array, cell: Array, n_electrons: int) -> tuple[dict[str, Array], dict[str, float | int]]:
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
        "density": stored.ravel(),
        "grid_shape": np.array(density.shape),
        "fourier_indices": indices.astype(np.int16),
        "fourier_coefficients": np.column_stack([coefficients.real, coefficients.imag]).astype(np.float32),
    }
    return arrays, {
        "integral_before_rescaling": float(density.sum() * voxel),
        "mantissa_bits": MANTISSA_BITS,
        "inclusion_floor": 1.0,
        "inclusion_slope": 0.0,
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
        arrays["atomic_density_matrix_sizes"] = np.diff(labels.arrays["atomic_density_matrix_offsets"])
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
