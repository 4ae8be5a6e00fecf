from itertools import product

import numpy as np
import pytest

from models.potential.chgnet.graph import bond_graph
from tests.models.potential_contract import distorted_rock_salt
from training.balance import StepCost, counts_of, imbalance, in_turn, longest_first


def test_each_example_goes_to_one_process():
    costs = np.random.default_rng(0).uniform(1, 9, 17).tolist()
    for shares in (longest_first(costs, 4), in_turn(17, 4)):
        assert sorted(place for share in shares for place in share) == list(range(17))


def test_equal_costs_are_dealt_in_turn():
    assert longest_first([2.0] * 7, 3) == in_turn(7, 3) == [[0, 3, 6], [1, 4], [2, 5]]


def test_one_process_takes_everything_and_waits_for_nobody():
    assert sorted(longest_first([3.0, 1.0, 2.0], 1)[0]) == [0, 1, 2]
    assert imbalance([3.0, 1.0, 2.0], [[0, 1, 2]]) == 1


def test_a_process_without_examples_is_told_so():
    assert longest_first([1.0], 3) == [[0], [], []]
    assert imbalance([1.0], [[0], [], []]) == 3


@pytest.mark.parametrize("seed", range(5))
def test_the_largest_load_is_near_the_least_possible(seed):
    """Against all ways to share eight examples between three."""
    costs = np.random.default_rng(seed).exponential(size=8)
    best = min(np.bincount(ways, weights=costs, minlength=3).max() for ways in product(range(3), repeat=8))
    largest = max(costs[share].sum() for share in longest_first(costs.tolist(), 3))
    assert best - 1e-12 <= largest <= (4 / 3 - 1 / 9) * best


def test_longest_first_waits_less_than_taking_turns():
    rng = np.random.default_rng(1)
    batches = [rng.lognormal(sigma=1.0, size=16).tolist() for _ in range(50)]
    before = np.mean([imbalance(costs, in_turn(16, 4)) for costs in batches])
    after = np.mean([imbalance(costs, longest_first(costs, 4)) for costs in batches])
    assert before > 1.3
    assert after < 1.15


def test_costs_are_found_again_from_what_steps_took():
    rng = np.random.default_rng(2)
    counts = rng.uniform([10, 300, 100], [90, 5000, 20000], (40, 3))
    true = StepCost(0.3, 0.02, 0.004)
    found = StepCost.fitted(counts, true.of(counts) * rng.normal(1, 0.02, 40))
    np.testing.assert_allclose(found.of(counts), true.of(counts), rtol=0.05)
    assert found.per_angle == pytest.approx(true.per_angle, rel=0.1)


def test_no_cost_is_negative():
    counts = np.array([[1.0, 10, 100], [2, 20, 100], [3, 10, 300]])
    found = StepCost.fitted(counts, np.array([5.0, 9, 2]))
    assert min(found.per_atom, found.per_edge, found.per_angle) >= 0


def test_a_graph_is_counted_by_atoms_edges_and_angles():
    crystal = distorted_rock_salt()
    graph = bond_graph([crystal], 6.0, 3.0)
    distances = []
    for shift in product(range(-4, 5), repeat=3):
        between = crystal.positions[None] + np.array(shift) @ crystal.cell - crystal.positions[:, None]
        distances.append(np.linalg.norm(between, axis=-1))
    there = np.array(distances)
    n_arms = ((there > 0) & (there < 3)).sum(axis=(0, 2))
    assert counts_of(graph).tolist() == [4, ((there > 0) & (there < 6)).sum(), (n_arms * (n_arms - 1)).sum()]
