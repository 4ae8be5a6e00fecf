"""How sure a model of one material is: its bound needs more held-out structures than there are.

`test_gauged_orbital` is about models that have one.
"""

from dataclasses import replace

import numpy as np
import pytest

from models.catalog import load_model
from models.density.deep_density.model import DeepDensity, DeepDensityField
from models.density.orbital.model import OrbitalDensity
from models.interface import DensityField
from rhocast.structure import Structure
from training.dataset import samples
from training.metrics import nmae

SETS = {
    "deep-density-aluminium": "aluminium",
    "deep-density-malonaldehyde": "molecule-md",
    "deep-density-water": "water",
    "orbital-aluminium-small": "aluminium",
    "orbital-water-small": "water",
}
N_POINTS = 2000
"""Points of a structure that are looked at: a network is asked at each pair of a point and an atom."""


def squeezed(structure: Structure) -> Structure:
    return replace(structure, positions=0.7 * structure.positions, cell=0.7 * structure.cell)


def quickly(field: DensityField) -> DensityField:
    """The field before it is rescaled, which takes a quadrature of the whole cell and hardly changes values."""
    return field.unscaled if isinstance(field, DeepDensityField) else field


@pytest.mark.parametrize("name", SETS)
def test_it_says_how_sure_it_is_and_what_it_does_not_know(name):
    model, sample = load_model(name), samples([SETS[name]], "test")[0].thinned(N_POINTS, np.random.default_rng(0))
    assert isinstance(model, OrbitalDensity | DeepDensity)
    familiar, strange = model.fields([sample.structure, squeezed(sample.structure)])
    error = nmae(sample, quickly(familiar).at_points(sample.points)).value
    expected = familiar.expected_error()
    assert 0.5 < expected.value / error < 2
    assert expected.per_atom.shape == (sample.structure.n_atoms,)
    assert strange.expected_error().value is None
    assert np.all(strange.expected_error().per_atom > 0)
