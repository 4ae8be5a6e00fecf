"""Fourier regridding, against waves written out."""

from dataclasses import replace

import numpy as np
import pytest

from rhocast.density import regridded
from rhocast.errors import InvalidGrid

SHAPES = pytest.mark.parametrize("shape", [(7, 10, 9), (14, 20, 18), (8, 11, 10), (9, 31, 9), (7, 12, 40)])


@SHAPES
def test_up_and_down_again_is_the_identity(density, shape):
    there_and_back = regridded(regridded(density, shape), density.shape)
    scale = np.abs(density.values).max()
    np.testing.assert_allclose(there_and_back.values, density.values, atol=1e-13 * scale)


@pytest.mark.parametrize("shape", [(14, 20, 18), (3, 4, 5), (1, 1, 1), (2, 2, 2), (5, 24, 9), (6, 9, 20)])
def test_the_number_of_electrons_stays(density, shape):
    found = regridded(density, shape)
    assert found.shape == shape
    assert found.n_electrons == pytest.approx(density.n_electrons, rel=1e-13)


@pytest.mark.parametrize(("old", "new"), [((6, 7, 8), (9, 16, 12)), ((9, 16, 12), (6, 7, 8)), ((6, 7, 8), (7, 6, 11))])
def test_what_both_grids_carry_is_exact(density, old, new):
    def waves(shape):
        x, y, z = np.meshgrid(*(np.arange(n) / n for n in shape), indexing="ij")
        turn = 2 * np.pi
        return 2 + np.cos(turn * (2 * x - y + 0.1)) + np.sin(turn * (x + 2 * y - 3 * z)) + np.cos(turn * (2 * y + z))

    np.testing.assert_allclose(
        regridded(replace(density, values=waves(old)), new).values, waves(new), rtol=0, atol=1e-13
    )


def test_the_wave_at_the_end_of_an_even_axis_is_a_cosine(density):
    alternating = np.broadcast_to([1.0, -1.0, 1.0, -1.0], (2, 2, 4)).copy()
    fine = regridded(replace(density, values=alternating), (2, 2, 16)).values[0, 0]
    np.testing.assert_allclose(fine, np.cos(2 * np.pi * 2 * np.arange(16) / 16), atol=1e-14)


def test_turning_the_crystal_inside_out_turns_the_regridded_one(density):
    def inverted(values):
        return np.roll(values[::-1, ::-1, ::-1], 1, axis=(0, 1, 2))

    even = replace(density, values=density.values[:6, :, :8])
    found = regridded(replace(even, values=inverted(even.values)), (9, 14, 13))
    expected = inverted(regridded(even, (9, 14, 13)).values)
    np.testing.assert_allclose(found.values, expected, atol=1e-12 * np.abs(expected).max())


def test_a_smooth_density_is_interpolated_to_its_own_values(gaussian_density, sheared):
    coarse, fine = (gaussian_density(sheared, shape, [7, 7], [0.8, 0.9]) for shape in [(20, 30, 24), (30, 36, 45)])
    np.testing.assert_allclose(regridded(coarse, fine.shape).values, fine.values, atol=1e-6)


def test_magnetization_goes_along_and_occupancies_stay(spin_density):
    found = regridded(spin_density, (14, 20, 18))
    np.testing.assert_allclose(found.magnetization[::2, ::2, ::2], spin_density.magnetization, atol=1e-12)
    assert found.augmentation is spin_density.augmentation
    assert found.comment == "regridded from 7 x 10 x 9 points; with spin"


def test_the_same_grid_changes_nothing(density):
    assert regridded(density, density.shape) is density


@pytest.mark.parametrize("shape", [(0, 2, 2), (2, 2), (2, 2, 20_001), (2, 2, -1)])
def test_shapes_that_are_no_grid_are_refused(density, shape):
    with pytest.raises(InvalidGrid, match=r"found the shape \(.*; expected three numbers of points from 1 to 20000"):
        regridded(density, shape)
