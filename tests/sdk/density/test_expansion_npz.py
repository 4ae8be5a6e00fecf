"""Files of coefficients, above all what is refused."""

import io
import zipfile

import numpy as np
import pytest

from rhocast.density import DensityExpansion, write_npz
from rhocast.density.expansion_npz import (
    CONVENTION,
    CONVENTION_OF_PRODUCTS,
    UNIT_OF_PRODUCTS,
    UNITS,
    read_expansion,
    write_expansion,
)
from rhocast.errors import InvalidFile
from tests.sdk.density.expansions import crystal, molecule, with_products

POINTS = np.random.default_rng(3).uniform(0, 10, (300, 3))


def content_of(expansion) -> bytes:
    stream = io.BytesIO()
    write_expansion(expansion, stream)
    return stream.getvalue()


def read(content):
    return read_expansion(io.BytesIO(content))


def with_arrays(content, **arrays):
    """A file with some arrays replaced, or left out where None is given."""
    kept = {name: array for name, array in np.load(io.BytesIO(content)).items() if name not in arrays}
    stream = io.BytesIO()
    np.savez(stream, **kept, **{name: array for name, array in arrays.items() if array is not None})
    return stream.getvalue()


class TestRoundTrip:
    @pytest.mark.parametrize("made", [crystal, molecule])
    def test_coefficients_return_bit_for_bit_and_the_density_to_seven_digits(self, made):
        expansion = made()
        found = read(content_of(expansion))
        np.testing.assert_array_equal(found.on_atoms.coefficients, expansion.on_atoms.coefficients)
        np.testing.assert_array_equal(found.on_bonds.exponents, expansion.on_bonds.exponents)
        np.testing.assert_array_equal(found.bond_positions, expansion.bond_positions)
        np.testing.assert_array_equal(found.structure.positions, expansion.structure.positions)
        assert found.structure.is_periodic == expansion.structure.is_periodic
        assert found.comment == expansion.comment
        assert found.n_electrons == expansion.n_electrons
        expected = expansion.at_points(POINTS)
        np.testing.assert_allclose(found.at_points(POINTS), expected, atol=2e-7 * np.abs(expected).max())

    def test_free_atoms_alone(self):
        expansion = molecule()
        alone = DensityExpansion(expansion.structure, expansion.free_atoms)
        found = read(content_of(alone))
        assert found.on_atoms is None
        assert found.on_bonds is None
        assert found.n_electrons == 8

    def test_only_elements_that_occur_are_in_it(self):
        assert list(read(content_of(molecule())).free_atoms.valence) == ["H", "O"]

    def test_equal_densities_give_equal_bytes(self):
        assert content_of(molecule()) == content_of(molecule())

    def test_numpy_alone_reads_it_and_it_says_units_and_convention(self):
        arrays = np.load(io.BytesIO(content_of(molecule())), allow_pickle=False)
        assert tuple(arrays["units"]) == UNITS
        assert str(arrays["convention"]) == CONVENTION
        assert arrays["atom_coefficients"].shape == (3, 3, 16)

    def test_products_return_bit_for_bit_in_a_file_of_a_higher_version(self):
        expansion = with_products(crystal())
        content = content_of(expansion)
        found = read(content)
        np.testing.assert_array_equal(found.products.coefficients, expansion.products.coefficients)
        np.testing.assert_array_equal(found.products.exponents, expansion.products.exponents)
        assert found.n_electrons == expansion.n_electrons
        arrays = np.load(io.BytesIO(content))
        assert arrays["format_version"] == 2
        assert tuple(arrays["units"]) == (*UNITS, UNIT_OF_PRODUCTS)
        assert str(arrays["convention"]) == CONVENTION + CONVENTION_OF_PRODUCTS
        assert np.load(io.BytesIO(content_of(crystal())))["format_version"] == 1

    def test_a_path(self, tmp_path):
        path = tmp_path / "water.coefficients.npz"
        molecule().write(path)
        assert DensityExpansion.read(path).n_electrons == molecule().n_electrons
        assert [file.name for file in tmp_path.iterdir()] == ["water.coefficients.npz"]

    def test_a_folder_that_is_missing(self, tmp_path):
        with pytest.raises(OSError, match="cannot write the coefficients: the folder does not exist"):
            molecule().write(tmp_path / "nowhere" / "x.npz")


class TestRefusals:
    @pytest.mark.parametrize("n_bytes", [0, 10, 500, 3000])
    def test_a_truncated_file(self, n_bytes):
        with pytest.raises(InvalidFile, match="found no readable npz"):
            read(content_of(molecule())[:n_bytes])

    def test_a_density_on_a_grid(self, density):
        stream = io.BytesIO()
        write_npz(density, stream)
        with pytest.raises(InvalidFile, match=r"found an npz without coefficients; .* rhocast.density.Density.read"):
            read(stream.getvalue())

    def test_a_newer_version(self):
        newer = with_arrays(content_of(molecule()), format_version=np.int64(3))
        with pytest.raises(InvalidFile, match="of format version 3; expected 1 or 2: update rhocast"):
            read(newer)

    def test_a_bomb(self, monkeypatch):
        monkeypatch.setattr("rhocast.density.expansion_npz.LARGEST_SIZE", 5000)
        with pytest.raises(InvalidFile, match=r"found arrays of \d+ bytes; expected at most 5000"):
            read(content_of(molecule()))

    def test_a_bomb_behind_a_small_header(self):
        stream = io.BytesIO(with_arrays(content_of(molecule()), atom_exponents=None))
        member = io.BytesIO()
        np.lib.format.write_array(member, np.ones((3, 3)))
        with zipfile.ZipFile(stream, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("atom_exponents.npy", member.getvalue() + b"\0" * 1_000_000)
        with pytest.raises(InvalidFile, match=r"bytes for 'atom_exponents' .*: damaged"):
            read(stream.getvalue())

    @pytest.mark.parametrize(
        ("arrays", "message"),
        [
            ({"atom_exponents": None}, "found no array 'atom_exponents'"),
            ({"bond_positions": None}, "found no array 'bond_positions'"),
            ({"numbers": None}, "found no array 'numbers'"),
            ({"comment": np.array([{}], dtype=object)}, "found 'comment' of type object"),
            ({"atom_coefficients": np.ones((3, 3, 16), dtype=int)}, "found 'atom_coefficients' of type int64"),
            ({"atom_coefficients": np.full((3, 3, 16), np.nan)}, "found numbers in 'atom_coefficients' that are NaN"),
            ({"atom_coefficients": np.full((3, 3, 16), 1e40)}, "found numbers in 'atom_coefficients' .* huge"),
            ({"atom_coefficients": np.ones((3, 2, 16))}, "cannot be used: found exponents of shape"),
            ({"atom_coefficients": np.ones((3, 3, 15))}, "cannot be used: found 15 harmonics"),
            ({"atom_coefficients": np.ones((2, 3, 1)), "atom_exponents": np.ones((2, 3))}, "on 2 of 3 atoms"),
            ({"atom_exponents": -np.ones((3, 3))}, "found exponents from -1 to -1"),
            ({"bond_positions": np.ones((1, 3))}, "cannot be used: found functions on 3 of 3 atoms and on 2 bonds"),
            ({"positions": np.full((3, 3), np.inf)}, "cannot be used: found positions or a cell that are NaN"),
            ({"cell": np.zeros((3, 3))}, "expected numbers from 1 to 118 and a cell of some volume"),
            ({"numbers": np.array([8, 1, 26])}, "cannot be used: found Fe; expected elements of this table"),
            ({"free_atom_numbers": np.array([1, 200])}, r"found the numbers \[1, 200\]"),
            ({"free_atom_density": np.ones((2, 601))}, "found a density of H that integrates to"),
            ({"free_atom_spacing": np.float64(0)}, "found radii"),
            ({"free_atom_spacing": np.float64(np.nan)}, "found numbers in 'free_atom_spacing' that are NaN"),
            ({"free_atom_valence": np.ones(3)}, "found arrays of shapes"),
            ({"free_atom_cutoff": np.full(2, 1e9)}, "found cutoffs from"),
        ],
    )
    def test_arrays_that_do_not_fit(self, arrays, message):
        with pytest.raises(InvalidFile, match=message):
            read(with_arrays(content_of(molecule()), **arrays))

    @pytest.mark.parametrize(
        ("arrays", "message"),
        [
            ({"product_exponents": None}, "found no array 'product_exponents'"),
            ({"product_coefficients": np.ones((2, 2, 3, 2))}, "found 'product_coefficients'"),
            ({"product_coefficients": np.ones((2, 3, 3, 2, 4))}, "cannot be used: found coefficients of products of"),
            ({"product_exponents": np.ones((2, 2))}, "cannot be used: found exponents of shape"),
        ],
    )
    def test_products_that_do_not_fit(self, arrays, message):
        with pytest.raises(InvalidFile, match=message):
            read(with_arrays(content_of(with_products(molecule())), **arrays))
