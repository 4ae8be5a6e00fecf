"""The zipped Zarr format: exact sums, small files, any part of it readable alone, and what it refuses."""

import builtins
import io
import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import zarr
from zarr.storage import ZipStore

from rhocast.density import Density, read_zarr, shape_like, write_zarr
from rhocast.density.zarr_archive import CHUNK, FULL_MANTISSA, planes_of_slabs, read_zarr_shape, rounded
from rhocast.errors import InvalidFile

pytestmark = pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in")


def zarr_of(density, **options):
    stream = io.BytesIO()
    write_zarr(density, stream, **options)
    return stream.getvalue()


def read(content, **options):
    return read_zarr(io.BytesIO(content), **options)


def changed(content, without=(), **members):
    """The archive without some members and with the text of others replaced."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(stream, "w") as new:
        for name in old.namelist():
            if name not in without:
                new.writestr(name, members.get(name, old.read(name)))
    return stream.getvalue()


def described(content, name, **changes):
    """The archive with other entries in the description of an array or, where the name is empty, of the group."""
    member = f"{name}/zarr.json" if name else "zarr.json"
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return changed(content, **{member: json.dumps(json.loads(archive.read(member)) | changes)})


@pytest.mark.parametrize("n_planes", [1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_slabs_cover_every_plane_once(n_planes):
    planes = [plane for first, last in planes_of_slabs((n_planes, 2, 2)) for plane in range(first, last)]
    assert planes == list(range(n_planes))


class TestRoundTrip:
    def test_all_but_the_last_digits_of_float32_comes_back(self, spin_density):
        found = read(zarr_of(spin_density))
        np.testing.assert_allclose(found.values, spin_density.values, rtol=1.3e-7)
        np.testing.assert_allclose(found.magnetization, spin_density.magnetization, rtol=1.3e-7)
        np.testing.assert_array_equal(found.structure.numbers, spin_density.structure.numbers)
        np.testing.assert_array_equal(found.structure.positions, spin_density.structure.positions)
        np.testing.assert_array_equal(found.structure.cell, spin_density.structure.cell)
        assert found.comment == spin_density.comment

    @pytest.mark.parametrize("bits", [6, 12, FULL_MANTISSA])
    def test_the_number_of_electrons_survives_any_rounding(self, density, bits):
        found = read(zarr_of(density, mantissa_bits=bits))
        np.testing.assert_allclose(found.values, density.values, rtol=1.01 * 0.5**bits)
        assert found.n_electrons == pytest.approx(density.n_electrons, rel=1e-12)

    def test_what_was_rounded_once_is_not_rounded_again(self, density):
        once = read(zarr_of(density, mantissa_bits=12))
        np.testing.assert_allclose(read(zarr_of(once, mantissa_bits=12)).values, once.values, rtol=1e-12)

    def test_nor_is_it_when_it_was_scaled_in_between(self, density):
        once = read(zarr_of(density, mantissa_bits=12))
        scaled = replace(once, values=once.values * 1.003)
        again = read(zarr_of(scaled, mantissa_bits=12, scale=1.00303))
        np.testing.assert_allclose(again.values, scaled.values, rtol=1e-12)

    def test_a_molecule_stays_one(self, density):
        molecule = replace(density.structure, is_periodic=False)
        assert not read(zarr_of(replace(density, structure=molecule))).structure.is_periodic

    def test_a_density_of_nothing(self, density):
        assert read(zarr_of(replace(density, values=np.zeros((2, 3, 4))))).n_electrons == 0

    def test_a_grid_of_several_chunks(self, density):
        values = np.random.default_rng(0).random((CHUNK + 3, 5, 2 * CHUNK))
        np.testing.assert_allclose(read(zarr_of(replace(density, values=values))).values, values, rtol=1.3e-7)

    def test_equal_densities_give_equal_bytes(self, density):
        assert zarr_of(density) == zarr_of(density)

    def test_names_of_files_say_the_format(self, density, tmp_path):
        path = tmp_path / "Density.ZARR.zip"
        density.write(path)
        np.testing.assert_allclose(Density.read(path).values, density.values, rtol=1.3e-7)
        assert shape_like(path) == density.shape


def test_zarr_alone_reads_a_part_of_it(density, tmp_path):
    path = tmp_path / "density.zarr.zip"
    path.write_bytes(zarr_of(density, mantissa_bits=12))
    with ZipStore(path, mode="r") as store:
        array = zarr.open_array(store, path="density", mode="r")
        part = array[2:4, 3, :] * array.attrs["scale_factor"]
    np.testing.assert_allclose(part, density.values[2:4, 3], rtol=1.3e-4)


def test_rounding_saves_the_room_of_the_bits_that_it_drops(density):
    noise = replace(density, values=np.random.default_rng(0).lognormal(size=(32, 32, 32)))
    saved = len(zarr_of(noise)) - len(zarr_of(noise, mantissa_bits=12))
    assert saved > 0.9 * (FULL_MANTISSA - 12) / 8 * noise.values.size


def test_rounding_keeps_the_bits_it_says():
    values = np.random.default_rng(0).lognormal(size=1000)
    np.testing.assert_allclose(rounded(values, 8), values, rtol=0.5**9 * 1.001)
    assert np.count_nonzero(rounded(values, 8).view(np.uint32) & (2**15 - 1)) == 0


class TestRefusals:
    def test_values_that_are_no_numbers(self, density):
        with pytest.raises(InvalidFile, match="found 630 of 630 values that are NaN"):
            zarr_of(replace(density, values=density.values * np.nan))

    @pytest.mark.parametrize("n_bytes", [0, 10, 500, 3000])
    def test_a_truncated_file(self, density, n_bytes):
        content = zarr_of(density)
        assert n_bytes < len(content)
        with pytest.raises(InvalidFile, match="no readable zipped Zarr"):
            read(content[:n_bytes])

    @pytest.mark.parametrize("name", ["density/zarr.json", "cell/zarr.json", "zarr.json"])
    def test_an_archive_without_one_of_its_parts(self, density, name):
        with pytest.raises(InvalidFile, match=r"found no (density in this|readable) zipped Zarr"):
            read(changed(zarr_of(density), without=(name,)))

    def test_a_missing_chunk_is_not_taken_for_zeros(self, density):
        values = np.ones((CHUNK + 1, 2, 2))
        content = zarr_of(replace(density, values=values))
        with pytest.raises(InvalidFile, match="'density' without some of its 2 chunks"):
            read(changed(content, without=("density/c/1/0/0",)))

    def test_a_group_without_its_attributes(self, density):
        with pytest.raises(InvalidFile, match="no density in this zipped Zarr"):
            read(described(zarr_of(density), "", attributes={}))

    @pytest.mark.parametrize("scale", [0.0, 3.0, float("nan")])
    def test_a_scale_far_from_one(self, density, scale):
        with pytest.raises(InvalidFile, match="expected near 1, and finite"):
            read(described(zarr_of(density), "density", attributes={"scale_factor": scale}))

    def test_a_grid_that_says_it_is_huge(self, density):
        bomb = described(zarr_of(density), "density", shape=[10**6, 10**6, 10**6])
        assert read_zarr_shape(io.BytesIO(bomb)) == (10**6,) * 3
        with pytest.raises(InvalidFile, match="expected at most"):
            read(bomb)

    def test_a_grid_beyond_what_the_caller_allows(self, density):
        with pytest.raises(InvalidFile, match="found a grid of 5040 bytes; expected at most 5000"):
            read(zarr_of(density), largest_size=5000)

    def test_atoms_that_do_not_fit(self, density):
        lone = replace(density, structure=density.structure.reordered(np.array([0])))
        with zipfile.ZipFile(io.BytesIO(zarr_of(lone))) as archive:
            members = {name: archive.read(name) for name in archive.namelist() if name.startswith("numbers/")}
        with pytest.raises(InvalidFile, match="found 1 atoms, positions"):
            read(changed(zarr_of(density), **members))

    def test_without_zarr_it_says_what_to_install(self, density, monkeypatch):
        find = builtins.__import__

        def without_pcodec(name, *rest):
            if name == "pcodec":
                raise ImportError(name)
            return find(name, *rest)

        monkeypatch.setattr(builtins, "__import__", without_pcodec)
        with pytest.raises(ImportError, match=r"pip install 'rhocast\[zarr\]'"):
            zarr_of(density)
