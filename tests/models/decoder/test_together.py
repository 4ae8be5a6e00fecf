"""Several structures at once on processors; `test_tiled` has GPUs."""

import numpy as np
import pytest
import torch

from models.basis.gaussian import Orbitals
from models.decoder.orbital import RealSpaceDecoder
from models.decoder.together import Placed, at_points_of_each
from tests.models.decoder.brute_force import SHEARED, TINY, Example


def test_each_has_its_own_orbitals():
    examples = [Example(SHEARED, True, 2), Example(TINY, False, 2)]
    points = [np.random.default_rng(n).uniform(-1, 1, (n, 3)) @ SHEARED for n in (3, 5)]
    placed = [Placed(e.cell, e.is_periodic, e.positions, at) for e, at in zip(examples, points, strict=True)]
    of_each = [example.orbitals() for example in examples]
    together = Orbitals(
        *(torch.cat(parts) for parts in zip(*((o.exponents, o.coefficients) for o in of_each), strict=True))
    )
    expected = [
        RealSpaceDecoder(e.cell, e.is_periodic, e.positions, orbitals).at_points(at)
        for e, orbitals, at in zip(examples, of_each, points, strict=True)
    ]
    assert torch.equal(at_points_of_each(placed, together), torch.cat(expected))


def test_no_structures_have_no_values():
    assert at_points_of_each([], Orbitals(torch.ones(0, 1), torch.zeros(0, 1, 1))).shape == (0,)


def test_centres_without_functions_are_refused():
    placed = [Placed(SHEARED, True, np.zeros((2, 3)), np.zeros((1, 3)))]
    with pytest.raises(ValueError, match="found 2 centres in 1 structures and orbitals of 1; expected as many"):
        at_points_of_each(placed, Orbitals(torch.ones(1, 1), torch.zeros(1, 1, 1)))
