import numpy as np
import pytest

from models.potential.chgnet import kernels

NUMBERS = np.linspace(-40, 40, 100_001, dtype=np.float32)


def test_silu_is_x_times_sigma_of_x():
    found, x = np.empty_like(NUMBERS), NUMBERS.astype(np.float64)
    kernels.set_silu(found, NUMBERS)
    np.testing.assert_allclose(found, x / (1 + np.exp(-x)), rtol=1e-6)


def test_its_slope_is_that_of_finite_differences():
    found, x = np.ones_like(NUMBERS), NUMBERS.astype(np.float64)
    kernels.multiply_by_slope_of_silu(found, NUMBERS)
    above, below = ((x + step) / (1 + np.exp(-x - step)) for step in (1e-5, -1e-5))
    np.testing.assert_allclose(found, (above - below) / 2e-5, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("x", "expected"), [(1e-21, 0), (-1e-30, 0), (1e-19, 1e-19), (-2, -2)])
def test_tiny_numbers_become_zero(x, expected):
    assert kernels.without_trace(np.float32(x)) == np.float32(expected)
