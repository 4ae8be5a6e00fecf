"""numpy's npz of coefficients: what `format=coefficients` answers, tens of kilobytes for tens of atoms.

Arrays: `format_version`; `numbers`, `positions`, `cell`, `is_periodic` of the structure; `free_atom_numbers`,
`free_atom_density`, `free_atom_cutoff`, `free_atom_valence` and `free_atom_spacing`: clamped cubic splines through
values at equidistant radii from 0 to the cutoff, one line an element; perhaps `atom_exponents`, `atom_coefficients`,
with a line an atom; perhaps `bond_positions`, `bond_exponents`, `bond_coefficients`, with a line a centre; `comment`,
`units`, `convention`. A file with more terms than these has a higher `format_version`: 2 has `product_exponents`, with
a line an atom, and `product_coefficients`, [product, field, atom, exponent, harmonic].

Values of free atoms are float32, which keeps them to 10⁻⁷ of the largest; coefficients are float64, for those of the
diffuse functions cancel.
"""

import zipfile
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from rhocast.density.expansion import DensityExpansion
from rhocast.density.free_atoms import FreeAtoms
from rhocast.density.gaussian_products import GaussianProducts
from rhocast.density.gaussians import Gaussians
from rhocast.density.npz_archive import array_of, opened_archive, structure_arrays, structure_of, write_array
from rhocast.elements import ATOMIC_NUMBERS
from rhocast.errors import InvalidFile, InvalidRequest

FORMAT_VERSION = 1
FORMAT_VERSION_OF_PRODUCTS = 2
UNITS = (
    "positions, bond_positions: Å, Cartesian",
    "cell: Å, one vector a row",
    "free_atom_density: e/Å^3",
    "free_atom_cutoff, free_atom_spacing: Å",
    "exponents: bohr^-2",
    "coefficients: e bohr^(-3/2)",
)
CONVENTION = (
    "rho(r) = sum of free atoms + sum_jlm c_jlm N_jl r^l exp(-alpha_j r^2) Y_lm(r/|r|) about each centre, r in bohr, "
    "and rho in e/bohr^3; N_jl^2 = 2 (2 alpha_j)^(l+3/2) / Gamma(l+3/2); real Y_lm in e3nn's order and 'norm' "
    "normalisation: l = 1 is (x, y, z), sum_m Y_lm^2 = 1; arrays [centre, j, l^2 + l + m]; functions of a centre end "
    "where alpha_min r^2 = 16, or where x^(L/2) exp(-x) is 1e-6 of its largest value if that is farther; "
    "electrons count positive"
)
UNIT_OF_PRODUCTS = "product_coefficients: e^(1/2)"
CONVENTION_OF_PRODUCTS = (
    "; and added to that sum_k psi_k chi_k, where psi_k (product_coefficients[k, 0]) and chi_k ([k, 1]) are sums of "
    "such functions with product_exponents about the atoms, in e^(1/2) bohr^(-3/2)"
)
LARGEST_SIZE = 2**30
"""Bytes of all arrays together that are read."""
_GREATEST_NUMBER = 1e30  # products of finite numbers stay finite


def write_expansion(expansion: DensityExpansion, stream: BinaryIO) -> None:
    """A density's coefficients as npz. Equal ones give equal bytes.

    Args:
        expansion: The density.
        stream: Binary file.
    """
    products = expansion.products
    arrays: dict[str, Any] = {
        "format_version": np.int64(FORMAT_VERSION_OF_PRODUCTS if products else FORMAT_VERSION),
        **structure_arrays(expansion.structure),
        **_free_atom_arrays(expansion),
        "comment": np.str_(expansion.comment),
        "units": np.array((*UNITS, UNIT_OF_PRODUCTS) if products else UNITS),
        "convention": np.str_(CONVENTION + (CONVENTION_OF_PRODUCTS if products else "")),
    }
    for name, gaussians in (("atom", expansion.on_atoms), ("bond", expansion.on_bonds)):
        if gaussians is not None:
            arrays[f"{name}_exponents"] = gaussians.exponents
            arrays[f"{name}_coefficients"] = gaussians.coefficients
    if expansion.on_bonds is not None:
        arrays["bond_positions"] = expansion.bond_positions
    if products is not None:
        arrays["product_exponents"] = products.exponents
        arrays["product_coefficients"] = products.coefficients
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            write_array(archive, name, array, zipfile.ZIP_DEFLATED)


def read_expansion(stream: BinaryIO) -> DensityExpansion:
    """The density of an npz that `write_expansion` wrote. Nothing in the file is executed.

    Args:
        stream: Binary file, seekable.

    Raises:
        InvalidFile: If it is truncated, another kind of file, of a newer version, lacks an array, or holds numbers
            that cannot be used.
    """
    with opened_archive(stream, largest_size=LARGEST_SIZE) as archive:
        names = archive.namelist()
        if "format_version.npy" not in names:
            raise InvalidFile(
                "found an npz without coefficients; expected one of format=coefficients: a density on a grid is read "
                "by rhocast.density.Density.read"
            )
        version = int(array_of(archive, "format_version", "i", 0))
        if version not in (FORMAT_VERSION, FORMAT_VERSION_OF_PRODUCTS):
            raise InvalidFile(
                f"found coefficients of format version {version}; expected {FORMAT_VERSION} or "
                f"{FORMAT_VERSION_OF_PRODUCTS}: update rhocast"
            )
        try:
            has_bonds = "bond_coefficients.npy" in names
            return DensityExpansion(
                structure_of(archive),
                _free_atoms(archive),
                _gaussians(archive, "atom") if "atom_coefficients.npy" in names else None,
                _gaussians(archive, "bond") if has_bonds else None,
                _numbers(archive, "bond_positions", 2) if has_bonds else np.empty((0, 3)),
                str(array_of(archive, "comment", "U", 0)),
                _products(archive) if version == FORMAT_VERSION_OF_PRODUCTS else None,
            )
        except InvalidFile:
            raise
        except InvalidRequest as error:
            raise InvalidFile(f"found coefficients that cannot be used: {error.detail}") from error


def _free_atom_arrays(expansion: DensityExpansion) -> dict[str, Any]:
    """Tables of the elements that occur, lines filled up with zeros.

    They are named as `FreeAtoms.from_arrays` names them, but for radii, of which the spacing is enough: all elements
    share it.
    """
    symbols = sorted(set(expansion.structure.symbols), key=ATOMIC_NUMBERS.__getitem__)
    tables = [expansion.free_atoms.densities[symbol] for symbol in symbols]
    density = np.zeros((len(tables), max(len(table.values) for table in tables)), dtype=np.float32)
    for line, table in zip(density, tables, strict=True):
        line[: len(table.values)] = table.values
    return {
        "free_atom_numbers": np.array([ATOMIC_NUMBERS[symbol] for symbol in symbols]),
        "free_atom_density": density,
        "free_atom_cutoff": np.array([table.cutoff for table in tables]),
        "free_atom_valence": np.array([expansion.free_atoms.valence[symbol] for symbol in symbols]),
        "free_atom_spacing": np.float64(tables[0].spacing),
    }


def _free_atoms(archive: zipfile.ZipFile) -> FreeAtoms:
    density = _numbers(archive, "free_atom_density", 2)
    spacing = float(_numbers(archive, "free_atom_spacing", 0))
    return FreeAtoms.from_arrays(
        {
            "numbers": array_of(archive, "free_atom_numbers", "i", 1),
            "density": density,
            "cutoff": _numbers(archive, "free_atom_cutoff", 1),
            "valence": _numbers(archive, "free_atom_valence", 1),
            "radius": spacing * np.arange(density.shape[1]),
        }
    )


def _gaussians(archive: zipfile.ZipFile, name: str) -> Gaussians:
    return Gaussians(_numbers(archive, f"{name}_exponents", 2), _numbers(archive, f"{name}_coefficients", 3))


def _products(archive: zipfile.ZipFile) -> GaussianProducts:
    return GaussianProducts(_numbers(archive, "product_exponents", 2), _numbers(archive, "product_coefficients", 5))


def _numbers(archive: zipfile.ZipFile, name: str, n_axes: int) -> NDArray[np.float64]:
    found = array_of(archive, name, "f", n_axes).astype(np.float64)
    if not (np.abs(found) <= _GREATEST_NUMBER).all():
        raise InvalidFile(f"found numbers in {name!r} that are NaN, infinite or huge; expected finite ones")
    return found
