import pytest

from models.density.deep_density.config import BackgroundConfig, ClusterConfig, DeepDensityConfig, EnvironmentConfig
from tests.models.density.deep_density.toys import CONFIGS


@pytest.mark.parametrize("name", CONFIGS)
def test_a_configuration_survives_its_table(name):
    assert DeepDensityConfig.from_dict(CONFIGS[name].as_dict()) == CONFIGS[name]


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: EnvironmentConfig(0.0, 2, 4, 2, 4), "expected sizes above zero"),
        (lambda: EnvironmentConfig(3.0, -1, 4, 2, 4), "degrees from 0 on"),
        (lambda: EnvironmentConfig(3.0, 2, 2, 4, 4), "no more contracted channels"),
        (lambda: EnvironmentConfig(3.0, 2, 4, 2, 4, correlation=3), "found a correlation of 3; expected 1 or 2"),
        (lambda: ClusterConfig(3.0, 0, 8, 0.5), "expected sizes above zero"),
        (lambda: ClusterConfig(3.0, 4, 8, 0.0), "expected sizes above zero"),
        (lambda: BackgroundConfig(3.0, 1), "two functions at least"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()


@pytest.mark.parametrize("elements", [[], [8, 1], [1, 1], [0, 1], [500]])
def test_elements_are_rising_atomic_numbers(elements):
    with pytest.raises(ValueError, match="rising, each once"):
        DeepDensityConfig.from_dict(CONFIGS["probe"].as_dict() | {"elements": elements})


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"colour": 1}, "found colour in a Deep Density model"),
        ({"clusters": {"cutoff": 2.0, "n_radial": 4, "n_hidden": 4, "colour": 1}}, "found colour"),
        ({"clusters": {"cutoff": 2.0}}, "lacks something"),
    ],
)
def test_a_table_of_something_else_is_refused(change, match):
    with pytest.raises(ValueError, match=match):
        DeepDensityConfig.from_dict(CONFIGS["probe"].as_dict() | change)


def test_points_that_look_around_multiply_nothing():
    environment = CONFIGS["triples"].as_dict()["environment"]
    with pytest.raises(ValueError, match="found a correlation of 2 without clusters"):
        DeepDensityConfig.from_dict(CONFIGS["probe"].as_dict() | {"environment": environment})


def test_a_table_without_environment_is_refused():
    with pytest.raises(ValueError, match="lacks something: 'environment'"):
        DeepDensityConfig.from_dict({"elements": [1], "background": {"cutoff": 3.0, "n_radial": 4}})


def test_points_see_as_far_as_clusters_reach_or_else_as_environments_do():
    assert CONFIGS["clusters"].probe_cutoff == 2.5
    assert CONFIGS["probe"].probe_cutoff == 3.5
