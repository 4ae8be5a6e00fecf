"""The npz format, above all what it refuses."""

import io
import struct
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from rhocast.density import read_npz, write_npz
from rhocast.density.npz import UNITS, read_npz_shape
from rhocast.errors import InvalidFile


def npz_of(density, **options):
    stream = io.BytesIO()
    write_npz(density, stream, **options)
    return stream.getvalue()


def read(content, **options):
    return read_npz(io.BytesIO(content), **options)


def with_arrays(content, **arrays):
    """An npz with some arrays replaced, or left out where None is given."""
    kept = {name: array for name, array in np.load(io.BytesIO(content)).items() if name not in arrays}
    stream = io.BytesIO()
    np.savez(stream, **kept, **{name: array for name, array in arrays.items() if array is not None})
    return stream.getvalue()


class TestRoundTrip:
    def test_float64_returns_bit_for_bit(self, spin_density):
        found = read(npz_of(spin_density))
        np.testing.assert_array_equal(found.values, spin_density.values)
        np.testing.assert_array_equal(found.magnetization, spin_density.magnetization)
        np.testing.assert_array_equal(found.structure.numbers, spin_density.structure.numbers)
        np.testing.assert_array_equal(found.structure.positions, spin_density.structure.positions)
        np.testing.assert_array_equal(found.structure.cell, spin_density.structure.cell)
        assert found.comment == spin_density.comment

    @pytest.mark.parametrize("is_compressed", [False, True])
    def test_float32_keeps_the_number_of_electrons(self, density, is_compressed):
        found = read(npz_of(density, dtype="float32", is_compressed=is_compressed))
        np.testing.assert_allclose(found.values, density.values, rtol=1.3e-7)
        assert found.values.dtype == np.float64
        assert found.n_electrons == pytest.approx(density.n_electrons, rel=1e-12)

    def test_a_molecule_stays_one(self, density):
        molecule = replace(density.structure, is_periodic=False)
        assert not read(npz_of(replace(density, structure=molecule))).structure.is_periodic

    def test_a_density_of_nothing(self, density):
        assert read(npz_of(replace(density, values=np.zeros((2, 3, 4))))).n_electrons == 0

    def test_equal_densities_give_equal_bytes(self, density):
        assert npz_of(density) == npz_of(density)

    def test_numpy_alone_reads_it_and_it_says_its_units(self, density):
        arrays = np.load(io.BytesIO(npz_of(density, dtype="float32")), allow_pickle=False)
        assert tuple(arrays["units"]) == UNITS
        assert arrays["values"].dtype == np.float32
        np.testing.assert_allclose(arrays["values"] * arrays["scale"], density.values, rtol=1.3e-7)


class TestRefusals:
    def test_values_that_are_no_numbers(self, density):
        with pytest.raises(InvalidFile, match="found 630 of 630 values that are NaN"):
            npz_of(replace(density, values=density.values * np.nan))

    def test_values_beyond_float32(self, density):
        values = np.full((2, 2, 2), 1e39)
        npz_of(replace(density, values=values))
        with pytest.raises(InvalidFile, match=r"above 3e.38"):
            npz_of(replace(density, values=values), dtype="float32")

    @pytest.mark.parametrize("n_bytes", [0, 10, 500, 3000])
    def test_a_truncated_file(self, density, n_bytes):
        with pytest.raises(InvalidFile, match="found no readable npz"):
            read(npz_of(density)[:n_bytes])

    @pytest.mark.parametrize("is_compressed", [False, True])
    def test_flipped_bits(self, density, is_compressed):
        content = bytearray(npz_of(density, is_compressed=is_compressed))
        place = content.index(b"values.npy") + 1000
        content[place : place + 8] = b"\xff" * 8
        with pytest.raises(InvalidFile, match="found no readable npz"):
            read(bytes(content))

    def test_a_pickle(self, density):
        pickled = with_arrays(npz_of(density), values=np.array([[[{"a": 1}]]], dtype=object))
        with pytest.raises(InvalidFile, match="found 'values' of type object"):
            read(pickled)

    def test_more_than_the_caller_allows(self, density):
        with pytest.raises(InvalidFile, match=r"found arrays of .* bytes; expected at most 4000"):
            read(npz_of(density), largest_size=4000)

    def test_a_bomb_that_expands_beyond_its_declared_shape(self, density):
        """A few kilobytes that unpack to megabytes behind a header that claims one value."""
        stream = io.BytesIO(with_arrays(npz_of(density), values=None))
        member = io.BytesIO()
        np.lib.format.write_array(member, np.ones((1, 1, 1)))
        with zipfile.ZipFile(stream, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("values.npy", member.getvalue() + b"\0" * 10_000_000)
        with pytest.raises(InvalidFile, match=r"found 1000\d{4} bytes for 'values' .* shape \(1, 1, 1\): damaged"):
            read(stream.getvalue())

    def test_a_header_that_claims_more_than_there_is(self, density):
        stream = io.BytesIO(with_arrays(npz_of(density), values=None))
        member = io.BytesIO()
        np.lib.format.write_array_header_1_0(member, {"descr": "<f8", "fortran_order": False, "shape": (10**6,) * 3})
        with zipfile.ZipFile(stream, "a") as archive:
            archive.writestr("values.npy", member.getvalue())
        with pytest.raises(InvalidFile, match=r"shape \(1000000, 1000000, 1000000\): damaged"):
            read(stream.getvalue())

    def test_a_directory_that_understates_the_size(self, density):
        content = bytearray(npz_of(density, is_compressed=True))
        entry = content.rindex(b"values.npy") - 46
        content[entry + 24 : entry + 28] = struct.pack("<I", 200)
        with pytest.raises(InvalidFile, match=r"Bad CRC-32 for file 'values.npy'"):
            read(bytes(content))

    @pytest.mark.parametrize(
        ("arrays", "message"),
        [
            ({"values": None}, "found no array 'values'; expected an npz of rhocast"),
            ({"cell": None}, "found no array 'cell'"),
            ({"values": np.ones((2, 2))}, "found 'values' of type float64 and shape"),
            ({"values": np.ones((2, 0, 2))}, "found .* bytes for 'values'"),
            ({"values": np.full((2, 2, 2), np.inf)}, "expected a scale near 1 and finite values"),
            ({"magnetization": np.full((7, 10, 9), np.nan)}, "expected a scale near 1 and finite values"),
            ({"scale": np.float64(np.nan)}, "found scale nan"),
            ({"magnetization": np.ones((2, 2, 2))}, "found grids of shapes .* expected the same twice"),
            ({"positions": np.ones((3, 3))}, "found 12 atoms, positions .3, 3. and a cell"),
            ({"cell": np.ones((2, 3))}, "found 12 atoms, positions .12, 3. and a cell .2, 3."),
            ({"numbers": np.full(12, 300)}, "found atomic numbers from 300 to 300 .* expected numbers from 1 to 118"),
        ],
    )
    def test_arrays_that_do_not_fit(self, density, arrays, message):
        with pytest.raises(InvalidFile, match=message):
            read(with_arrays(npz_of(density), **arrays))

    def test_an_npy_of_another_version(self, density):
        stream = io.BytesIO(with_arrays(npz_of(density), values=None))
        member = io.BytesIO()
        np.lib.format.write_array(member, np.ones((1, 1, 1)), version=(2, 0))
        with zipfile.ZipFile(stream, "a") as archive:
            archive.writestr("values.npy", member.getvalue())
        with pytest.raises(InvalidFile, match=r"found npy version \(2, 0\) in 'values'"):
            read_npz_shape(io.BytesIO(stream.getvalue()))
