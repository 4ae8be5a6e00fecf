"""A stored grid sums to the electron count, whatever rounding did to its values."""

from pathlib import Path

import numpy as np
import pytest

from jobs.grids import read_grid, write_grid

VOLUME = 123.4


@pytest.fixture
def values() -> np.ndarray:
    rng = np.random.default_rng(7)
    return rng.lognormal(-2.0, 2.0, size=(9, 70, 11))


@pytest.mark.parametrize("bits", [8, 12, 23])
def test_the_sum_is_exact_after_rounding(tmp_path: Path, values: np.ndarray, bits: int) -> None:
    stored = write_grid(tmp_path / "a.zarr.zip", values, 37.0, VOLUME, bits)
    again = read_grid(tmp_path / "a.zarr.zip")
    assert again.mean() * VOLUME == pytest.approx(37.0, rel=1e-12)
    assert stored.integral == pytest.approx(37.0, rel=1e-12)
    assert stored.minimum == pytest.approx(again.min(), rel=1e-6)
    assert stored.maximum == pytest.approx(again.max(), rel=1e-6)


@pytest.mark.parametrize(("bits", "largest_nmae"), [(12, 7e-5), (23, 1e-7)])
def test_rounding_costs_what_the_conventions_say(
    tmp_path: Path, values: np.ndarray, bits: int, largest_nmae: float
) -> None:
    n_electrons = values.mean() * VOLUME
    write_grid(tmp_path / "a.zarr.zip", values, n_electrons, VOLUME, bits)
    again = read_grid(tmp_path / "a.zarr.zip")
    assert np.abs(again - values).sum() / values.sum() < largest_nmae


def test_a_smooth_grid_is_stored_in_less_than_a_third_of_float32(tmp_path: Path) -> None:
    x = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    smooth = 1.1 + np.sin(x)[:, None, None] * np.cos(x)[:, None] * np.cos(2 * x)
    write_grid(tmp_path / "a.zarr.zip", smooth, 1.0, VOLUME, 12)
    assert (tmp_path / "a.zarr.zip").stat().st_size < 4 * smooth.size / 3
