import json

import numpy as np
import pytest

from reference.checks import check_record
from reference.errors import BadRecord
from reference.record import FIELDS
from reference.sampling import compact, inclusion, systematic_sample, thinned
from reference.settings import set_settings
from reference.shards import read_records, write_shard


def test_each_point_is_drawn_as_often_as_its_chance_says():
    chances = np.array([0.1, 1.0, 0.5, 0.25, 0.0, 1.0, 0.65])
    rng = np.random.default_rng(0)
    counts = np.zeros(7)
    for _ in range(20_000):
        drawn = systematic_sample(chances, rng)
        assert len(set(drawn)) == len(drawn)
        assert len(drawn) in (3, 4)
        counts[drawn] += 1
    np.testing.assert_allclose(counts / 20_000, chances, atol=0.012)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_chances_sum_to_the_number_of_points_even_where_they_are_cut_at_one(share):
    density = np.random.default_rng(1).lognormal(0, 3, 5000)
    floor, slope = inclusion(density, 2000, share)
    assert np.minimum(1, floor + slope * density).sum() == pytest.approx(2000)


def test_a_compact_record_obeys_the_laws_and_comes_back(record, tmp_path):
    found = compact(record, 1500)
    assert abs(len(found.arrays["density"]) - 1500) <= 1
    check_record(found, set_settings("crystals"))
    write_shard(tmp_path / "a.h5", [found, record, compact(record, None), found])
    back = list(read_records(tmp_path / "a.h5"))
    for name, array in found.arrays.items():
        np.testing.assert_array_equal(back[3].arrays[name], np.asarray(array).astype(FIELDS[name].dtype))
    np.testing.assert_array_equal(back[1].arrays["density"], record.arrays["density"])
    assert back[1].is_whole
    assert not back[0].is_whole
    assert back[0].attributes == found.attributes


def test_its_values_are_those_of_the_grid_at_its_positions(record):
    found = compact(record, 1500)
    i, j, k = np.rint(found.point_positions @ np.linalg.inv(found.arrays["cell"]) * found.grid_shape).astype(int).T
    np.testing.assert_allclose(found.arrays["density"], record.density_on_grid[i, j, k], rtol=2**-11)
    np.testing.assert_array_equal(record.point_positions[found.arrays["point_indices"]], found.point_positions)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_weighted_sums_over_its_points_are_those_over_the_grid(record, share):
    def weighted(of):
        # The number of electrons, and the same beside a plane wave.
        wave = np.cos(of.point_positions @ np.array([1.0, 0.5, -0.7]))
        electrons = of.weights * of.arrays["density"]
        return np.array([electrons.sum(), electrons @ wave])

    np.testing.assert_allclose(weighted(compact(record, 1500, share)), weighted(record), rtol=0.02, atol=0.3)


def test_the_same_points_are_drawn_again(record):
    first, second = compact(record, 1000), compact(record, 1000)
    np.testing.assert_array_equal(first.arrays["point_indices"], second.arrays["point_indices"])


def test_a_grid_with_no_more_points_stays_whole(record):
    found = compact(record, 16**3)
    assert found.is_whole
    assert found.attributes["rounding_nmae"] < 2.6e-4
    check_record(found)


def test_points_cannot_be_drawn_twice(record):
    with pytest.raises(BadRecord, match="1500 points of 4096"):
        compact(compact(record, 1500), 100)


def test_a_compact_record_may_be_thinned_and_still_stands_for_the_grid(record):
    before = compact(record, 1500)
    found = thinned(before, 700)
    check_record(found, set_settings("crystals"))
    assert abs(len(found.arrays["density"]) - 700) <= 1
    assert set(found.arrays["point_indices"]) < set(before.arrays["point_indices"])
    assert found.weights @ found.arrays["density"] == pytest.approx(record.weights @ record.arrays["density"], rel=0.02)
    np.testing.assert_array_equal(thinned(before, 700).arrays["point_indices"], found.arrays["point_indices"])


def test_chances_of_thinned_points_are_those_of_points_drawn_at_once(record):
    """Where chances were cut at one, too."""
    at_once, found = compact(record, 700), thinned(compact(record, 3000), 700)
    density = record.arrays["density"]
    for one in (at_once, found):
        chances = np.minimum(1, one.attributes["inclusion_floor"] + one.attributes["inclusion_slope"] * density)
        assert chances.sum() == pytest.approx(700, rel=0.03)
    assert found.attributes["inclusion_slope"] == pytest.approx(at_once.attributes["inclusion_slope"], rel=0.05)


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda a: {"density": a["density"] * 1.2}, "other points"),
        (lambda a: {"point_indices": a["point_indices"][::-1]}, "out of order"),
        (lambda a: {"point_indices": a["point_indices"] + 16**3}, "beyond the grid"),
        (lambda a: {"point_indices": a["point_indices"] - a["point_indices"][0] - 1}, "beyond the grid"),
        (lambda a: {"point_indices": np.arange(len(a["density"]))}, "other points"),
        (lambda a: {"point_indices": a["point_indices"][1:]}, "point_indices of shape"),
    ],
)
def test_points_that_are_not_those_of_the_density_are_refused(record, spoil, match):
    good = compact(record, 1500)
    bad = type(good)(good.name, dict(good.arrays) | spoil(good.arrays), good.attributes)
    with pytest.raises(BadRecord, match=match):
        check_record(bad)


def test_provenance_and_labels_stay(record):
    found = compact(record, 100)
    assert json.loads(found.attributes["provenance"]) == json.loads(record.attributes["provenance"])
    np.testing.assert_array_equal(found.arrays["forces"], record.arrays["forces"])
