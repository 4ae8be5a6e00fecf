"""Radial densities of free atoms, as a table in a file or in arrays."""

import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rhocast.density.radial import RadialCubic
from rhocast.elements import ATOMIC_NUMBERS, SYMBOLS
from rhocast.errors import InvalidFile, UnsupportedByModel
from rhocast.structure import Structure

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_ENTRIES = {"numbers": 1, "radius": 1, "density": 2, "cutoff": 1, "valence": 1}
_SAFETENSORS_TYPES = {"F64": "<f8", "F32": "<f4", "I64": "<i8", "I32": "<i4"}
_LARGEST_HEADER = 10_000_000
_LARGEST_FILE = 100_000_000
_COUNT_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class FreeAtoms:
    """Spherical densities of free atoms: clamped cubic splines, zero beyond their cutoffs.

    Attributes:
        densities: Radial density in e/Å³ by symbol.
        valence: Electrons of each, by symbol.
    """

    densities: Mapping[str, RadialCubic]
    valence: Mapping[str, float]

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "FreeAtoms":
        """The table in a safetensors or npz file; nothing in it is executed.

        Args:
            path: The file, with the arrays that `from_arrays` takes.

        Raises:
            InvalidFile: If it is neither, or `from_arrays` refuses what is in it.
        """
        file = Path(path)
        if file.stat().st_size > _LARGEST_FILE:
            raise InvalidFile(f"found {file.stat().st_size} bytes in {str(path)!r}; expected a table of free atoms")
        try:
            arrays = _npz_arrays(file) if file.suffix == ".npz" else _safetensors_arrays(file.read_bytes())
        except (ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
            raise InvalidFile(
                f"found no readable table in {str(path)!r} ({error}); expected an npz or safetensors file of free "
                "atoms, such as models/density/promolecule.safetensors"
            ) from error
        return cls.from_arrays(arrays)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> "FreeAtoms":
        """The table in some arrays.

        Args:
            arrays: `numbers`, atomic numbers [n_elements]; `radius`, equidistant radii in Å from 0 on, [n_radii];
                `density` in e/Å³ [n_elements, n_radii]; `cutoff`, the radius in Å at which each ends; `valence`, the
                electrons of each. Other arrays are left alone.

        Raises:
            InvalidFile: If one is missing or its shape does not fit, radii are not equidistant, or a density does
                not integrate to its electrons.
        """
        _refuse_bad_arrays(arrays)
        radius = arrays["radius"].astype(np.float64)
        spacing = float(radius[1])
        densities: dict[str, RadialCubic] = {}
        valence: dict[str, float] = {}
        for line, number in enumerate(arrays["numbers"].tolist()):
            symbol, n_knots = SYMBOLS[number], round(float(arrays["cutoff"][line]) / spacing) + 1
            density = RadialCubic.clamped(arrays["density"][line, :n_knots].astype(np.float64), spacing)
            expected = float(arrays["valence"][line])
            if not abs(density.integral - expected) <= _COUNT_TOLERANCE * max(1.0, expected):
                raise InvalidFile(
                    f"found a density of {symbol} that integrates to {density.integral:.6g} electrons; expected its "
                    f"valence, {expected:g}: look at its radii (Å), values (e/Å³) and cutoff"
                )
            densities[symbol], valence[symbol] = density, expected
        return cls(densities, valence)

    def valence_of(self, structure: Structure) -> FloatArray:
        """Electrons of each free atom of a structure, [n_atoms].

        Args:
            structure: The atoms.

        Raises:
            UnsupportedByModel: If the table lacks an element.
        """
        unknown = sorted(set(structure.symbols) - set(self.valence))
        if unknown:
            raise UnsupportedByModel(
                f"found {', '.join(unknown)}; expected elements of this table of free atoms, which has "
                f"{len(self.valence)}; give a table that has these too"
            )
        return np.array([self.valence[symbol] for symbol in structure.symbols])


def _npz_arrays(file: Path) -> dict[str, NDArray[Any]]:
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
        return {name: archive[name] for name in _ENTRIES if name in archive}


def _safetensors_arrays(contents: bytes) -> dict[str, NDArray[Any]]:
    """Arrays of a safetensors file: the length of a JSON header, the header, and the bytes that it describes."""
    length = int.from_bytes(contents[:8], "little")
    if not 2 <= length <= min(_LARGEST_HEADER, len(contents) - 8):
        raise ValueError("no header of safetensors")
    header = json.loads(contents[8 : 8 + length])
    data = contents[8 + length :]
    arrays: dict[str, NDArray[Any]] = {}
    for name in _ENTRIES.keys() & header.keys():
        start, end = header[name]["data_offsets"]
        dtype = np.dtype(_SAFETENSORS_TYPES[header[name]["dtype"]])
        arrays[name] = np.frombuffer(data[start:end], dtype=dtype).reshape(header[name]["shape"])
    return arrays


def _refuse_bad_arrays(arrays: Mapping[str, NDArray[Any]]) -> None:
    missing = [name for name in _ENTRIES if name not in arrays]
    if missing:
        raise InvalidFile(f"found no array {missing[0]!r}; expected {', '.join(_ENTRIES)} in a table of free atoms")
    shapes = {name: arrays[name].shape for name in _ENTRIES}
    n_elements, n_radii = (shapes["density"] + (0, 0))[:2]
    expected = {"numbers": (n_elements,), "radius": (n_radii,), "density": (n_elements, n_radii)}
    expected |= {"cutoff": (n_elements,), "valence": (n_elements,)}
    if shapes != expected or n_radii < 2:
        raise InvalidFile(f"found arrays of shapes {shapes}; expected n_elements or n_radii in each, as in {expected}")
    if not all(np.isfinite(arrays[name]).all() for name in _ENTRIES):
        raise InvalidFile("found numbers in the table of free atoms that are NaN or infinite; expected finite ones")
    numbers, radius = arrays["numbers"], arrays["radius"]
    if numbers.dtype.kind != "i" or not set(numbers.tolist()) <= set(ATOMIC_NUMBERS.values()):
        raise InvalidFile(f"found the numbers {numbers.tolist()}; expected atomic numbers from 1 to {len(SYMBOLS) - 1}")
    if not radius[1] > 0 or not np.allclose(radius, np.arange(n_radii) * radius[1], rtol=1e-6):
        raise InvalidFile(f"found radii {radius[:3].tolist()}, …; expected equidistant ones in Å that start at 0")
    knots = arrays["cutoff"] / radius[1]
    if not (np.allclose(knots, np.rint(knots), atol=1e-3) and knots.min() >= 1 and round(knots.max()) < n_radii):
        raise InvalidFile(
            f"found cutoffs from {arrays['cutoff'].min():g} to {arrays['cutoff'].max():g} Å; expected radii of the "
            f"table, from {radius[1]:g} to {radius[-1]:g} Å"
        )
