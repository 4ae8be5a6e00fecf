import numpy as np
import pytest

from models.exponential import exponential

NUMBERS = np.linspace(-40, 40, 100_001, dtype=np.float32)


def test_the_exponential_is_right_to_three_units_in_the_last_place():
    found = np.array([exponential(x) for x in NUMBERS], np.float64)
    np.testing.assert_allclose(found, np.exp(NUMBERS.astype(np.float64)), rtol=3 * 2.0**-23, atol=0)


@pytest.mark.parametrize(("x", "nearer_end"), [(50, 40), (1e30, 40), (np.inf, 40), (-50, -40), (-np.inf, -40)])
def test_beyond_its_range_the_exponential_is_that_of_the_nearer_end(x, nearer_end):
    assert exponential(np.float32(x)) == pytest.approx(np.exp(nearer_end), rel=1e-6)


def test_the_exponential_of_no_number_is_none():
    assert np.isnan(exponential(np.float32(np.nan)))
