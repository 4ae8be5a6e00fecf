import numpy as np
import pytest
import torch

from models.decoder import choice
from models.decoder.choice import n_pairs, n_wavevectors, on_grid, real_space_seconds, reciprocal_seconds
from models.decoder.reciprocal import Wavevectors
from tests.models.decoder.brute_force import SHEARED, Example


def test_pairs_and_wavevectors_are_counted():
    example = Example(SHEARED, True, 2)
    orbitals = example.orbitals()
    radius, shape = float(orbitals.radii()[0]), (9, 10, 11)
    grid = np.stack(np.meshgrid(*[np.arange(-6 * n, 6 * n) / n for n in shape], indexing="ij"), -1).reshape(-1, 3)
    counted = (np.linalg.norm(grid @ SHEARED, axis=1) < radius).sum()
    assert n_pairs(SHEARED, shape, orbitals) == pytest.approx(3 * counted, rel=0.02)
    waves = Wavevectors.within(SHEARED, orbitals.wavenumber_limit())
    assert n_wavevectors(SHEARED, orbitals) == pytest.approx(len(waves.lengths), rel=0.02)


@pytest.mark.parametrize("exponents", [(0.3, 11.0), (0.3, 0.5)], ids=["sharp", "smooth"])
def test_either_choice_gives_the_same_values(exponents, monkeypatch):
    example, shape = Example(SHEARED, True, 4, exponents), (12, 12, 12)
    grids = []
    for seconds in (0.0, 1.0):
        monkeypatch.setattr(choice, "reciprocal_seconds", lambda *_, now=seconds: now)
        monkeypatch.setattr(choice, "real_space_seconds", lambda *_: 0.5)
        grids.append(on_grid(SHEARED, True, example.positions, example.orbitals(), shape))
    assert not torch.equal(*grids)
    torch.testing.assert_close(grids[0], grids[1], rtol=0, atol=1e-5 * float(grids[1].abs().max()))


def test_a_smooth_basis_on_a_fine_grid_is_made_in_reciprocal_space():
    smooth, sharp = (Example(SHEARED, True, 4, exponents).orbitals() for exponents in ((0.3, 0.5), (0.3, 11.0)))
    fine, coarse = (60, 60, 60), (8, 8, 8)
    assert reciprocal_seconds(SHEARED, smooth) < real_space_seconds(SHEARED, fine, smooth)
    assert reciprocal_seconds(SHEARED, sharp) > real_space_seconds(SHEARED, coarse, sharp)


def test_a_molecule_is_decoded_in_real_space(monkeypatch):
    monkeypatch.setattr(choice, "reciprocal_seconds", lambda *_: 0.0)
    example = Example(SHEARED, False, 4)
    found = on_grid(SHEARED, False, example.positions, example.orbitals(), (2, 2, 2))
    np.testing.assert_allclose(found[0, 0, 0], example.values(np.zeros((1, 3)))[0], rtol=1e-4)
