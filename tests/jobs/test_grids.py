"""A stored grid sums to the electron count, whatever rounding did to its values."""

import itertools
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from jobs.grids import StoredGrid, grid_on_disk, read_grid, read_slabs, write_grid
from rhocast.density.zarr_archive import CHUNK, planes_of_slabs

VOLUME = 123.4


@pytest.fixture
def values() -> np.ndarray:
    rng = np.random.default_rng(7)
    return rng.lognormal(-2.0, 2.0, size=(CHUNK + 9, 70, 11))


def written(path: Path, values: np.ndarray, n_electrons: float, bits: int) -> StoredGrid:
    slabs = (values[first:last] for first, last in planes_of_slabs(values.shape))
    return write_grid(path, values.shape, slabs, n_electrons, VOLUME, bits)


@pytest.mark.parametrize("bits", [8, 12, 23])
def test_the_sum_is_exact_after_rounding(tmp_path: Path, values: np.ndarray, bits: int) -> None:
    stored = written(tmp_path / "a.zarr.zip", values, 37.0, bits)
    again = read_grid(tmp_path / "a.zarr.zip")
    assert again.mean() * VOLUME == pytest.approx(37.0, rel=1e-12)
    assert stored.integral == pytest.approx(37.0, rel=1e-12)
    assert stored.scale_factor == pytest.approx(37.0 / (values.mean() * VOLUME), rel=1e-12)
    assert stored.minimum == pytest.approx(again.min(), rel=1e-12)
    assert stored.maximum == pytest.approx(again.max(), rel=1e-12)


@pytest.mark.parametrize(("bits", "largest_nmae"), [(12, 7e-5), (23, 1e-7)])
def test_rounding_costs_what_the_conventions_say(
    tmp_path: Path, values: np.ndarray, bits: int, largest_nmae: float
) -> None:
    written(tmp_path / "a.zarr.zip", values, values.mean() * VOLUME, bits)
    again = read_grid(tmp_path / "a.zarr.zip")
    assert np.abs(again - values).sum() / values.sum() < largest_nmae


def test_a_smooth_grid_is_stored_in_less_than_a_third_of_float32(tmp_path: Path) -> None:
    x = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    smooth = 1.1 + np.sin(x)[:, None, None] * np.cos(x)[:, None] * np.cos(2 * x)
    written(tmp_path / "a.zarr.zip", smooth, 1.0, 12)
    assert (tmp_path / "a.zarr.zip").stat().st_size < 4 * smooth.size / 3


def test_a_slab_too_few_is_not_stored_as_a_whole_grid(tmp_path: Path, values: np.ndarray) -> None:
    with pytest.raises(ValueError, match="shorter"):
        write_grid(tmp_path / "a.zarr.zip", values.shape, [values[:CHUNK]], 1.0, VOLUME, 12)


def test_what_lies_on_disk_meanwhile_is_the_grid_and_goes_afterwards(tmp_path: Path, values: np.ndarray) -> None:
    written(tmp_path / "a.zarr.zip", values, 37.0, 12)
    with grid_on_disk(tmp_path / "a.zarr.zip", tmp_path) as mapped:
        np.testing.assert_array_equal(mapped, read_grid(tmp_path / "a.zarr.zip"))
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr.zip"]


def test_memory_is_that_of_some_slabs_however_long_the_grid(tmp_path: Path) -> None:
    slab = np.random.default_rng(0).random((CHUNK, 64, 64))
    n_slabs = 12
    tracemalloc.start()
    write_grid(tmp_path / "a.zarr.zip", (n_slabs * CHUNK, 64, 64), itertools.repeat(slab, n_slabs), 1.0, VOLUME, 12)
    n_read = sum(len(values) for _, values in read_slabs(tmp_path / "a.zarr.zip"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert n_read == n_slabs * CHUNK
    assert peak < 6 * slab.nbytes
