import numpy as np
import pytest
import torch
from scipy.interpolate import CubicHermiteSpline

from models.basis.gaussian import reach
from models.basis.radial_tables import N_INTERVALS, STRETCH, tabulate

DIFFUSE, SHARP = 0.12, 12.0


@pytest.mark.parametrize(("degree", "tolerance"), [(0, 2e-7), (2, 1e-6), (4, 2e-6), (6, 5e-6)])
def test_between_the_knots_it_is_the_sum_of_exponentials(degree, tolerance):
    """Each exponential, times r^l, to this part of its largest value."""
    exponents = torch.from_numpy(np.geomspace(DIFFUSE, SHARP, 7))[None]
    radius = float(np.sqrt(reach(degree) / DIFFUSE))
    knots = tabulate(exponents, torch.eye(7, dtype=torch.float64)[None], torch.tensor([radius])).knots[0].numpy()
    r = np.linspace(0, radius, 20001)
    u = N_INTERVALS * (1 + STRETCH) * r / (r + STRETCH * radius)
    splines = CubicHermiteSpline(np.arange(N_INTERVALS + 1), knots[:, 0], knots[:, 1])
    found = splines(np.minimum(u, N_INTERVALS)) * r[:, None] ** degree
    expected = np.exp(-exponents.numpy() * r[:, None] ** 2) * r[:, None] ** degree
    assert (np.abs(found - expected).max(axis=0) <= tolerance * expected.max(axis=0)).all()


def test_the_table_ends_at_the_radius():
    radius = torch.tensor([3.0], dtype=torch.float64)
    exponents, weights = torch.ones(1, 1, dtype=torch.float64), torch.full((1, 1, 1), 2.0, dtype=torch.float64)
    knots = tabulate(exponents, weights, radius).knots
    assert float(knots[0, 0, 0, 0]) == 2.0
    assert float(knots[0, 0, 1, 0]) == 0.0
    assert float(knots[0, -1, 0, 0]) == pytest.approx(2 * np.exp(-9))
