"""The laws for the weights that ship, and that these weights are worth something."""

from functools import cache

import numpy as np
import pytest

from models.catalog import catalog, load_model
from models.density.deep_density.model import DeepDensity
from training.dataset import Sample, samples
from training.metrics import Spread, nmae

SETS = {
    "deep-density-aluminium": "aluminium",
    "deep-density-malonaldehyde": "molecule-md",
    "deep-density-water": "water",
}
LARGEST_ERRORS = {"deep-density-aluminium": 0.003, "deep-density-malonaldehyde": 0.004, "deep-density-water": 0.004}
"""NMAE on the first held-out structures, which hold no liquid metal; the cards say how much smaller it is."""

N_POINTS = 2000
"""Points of a structure that are looked at: a network is asked at each pair of a point and an atom."""


def thinned(sample: Sample) -> Sample:
    return sample.thinned(N_POINTS, np.random.default_rng(0))


@cache
def shipped(name: str) -> DeepDensity:
    model = load_model(name)
    assert isinstance(model, DeepDensity)
    return model


def test_each_deep_density_of_the_catalogue_is_tested_here():
    assert {name for name, entry in catalog().items() if entry.architecture == "deep-density"} == SETS.keys()


@pytest.mark.parametrize("name", SETS)
def test_structures_that_it_never_saw_are_predicted_well_and_three_times_better_than_by_spheres(name):
    model, held_out = shipped(name), [thinned(one) for one in samples([SETS[name]], "test")[:3]]
    fields = model.fields([sample.structure for sample in held_out])
    errors, floors = (
        Spread.of([nmae(sample, field.at_points(sample.points)) for sample, field in zip(held_out, some, strict=True)])
        for some in (fields, [field.unscaled.background for field in fields])
    )
    assert errors.mean < LARGEST_ERRORS[name]
    assert errors.mean < floors.mean / 3
    assert max(abs(field.factor - 1) for field in fields) < 0.001
