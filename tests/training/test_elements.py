import numpy as np
import pytest
import torch

from models.density.promolecule import Promolecule
from models.network import Trunk, TrunkConfig
from rhocast.elements import ATOMIC_NUMBERS
from training.elements import blurred, likenesses, start_alike

FREE = Promolecule().table
ELEMENTS = tuple(sorted(ATOMIC_NUMBERS[one] for one in ("O", "F", "Na", "S", "Cl", "K", "Se", "Br", "Rb", "Pd", "Pt")))
PAIRS = [("K", "Rb"), ("Cl", "Br"), ("S", "Se"), ("O", "F"), ("Pd", "Pt")]


def trunk(elements=ELEMENTS) -> Trunk:
    return Trunk(TrunkConfig(elements, 3.0, 1, 16, 1, n_radial=4, n_hidden=8), seed=1)


def test_elements_of_like_chemistry_are_near_and_all_have_the_size_of_random_ones():
    found = likenesses(ELEMENTS, 16, FREE, seed=0)
    assert found.shape == (len(ELEMENTS), 16)
    assert np.mean(found**2) == pytest.approx(1)
    apart = np.linalg.norm(found[:, None] - found, axis=2)
    place = {number: index for index, number in enumerate(ELEMENTS)}
    typical = np.median(apart[np.triu_indices(len(ELEMENTS), 1)])
    for pair in PAIRS:
        first, second = (place[ATOMIC_NUMBERS[one]] for one in pair)
        assert apart[first, second] < 0.6 * typical


def test_an_element_looks_the_same_whatever_the_seed_and_alone_it_is_like_nothing():
    def products(seed: int) -> np.ndarray:
        found = likenesses(ELEMENTS, 4000, FREE, seed)
        return found @ found.T / 4000

    np.testing.assert_allclose(products(0), products(1), atol=0.25)
    assert not likenesses((13,), 8, FREE, seed=0).any()


@pytest.mark.parametrize("likeness", [0.0, 0.7, 1.0])
def test_a_trunk_starts_with_as_much_likeness_as_it_is_told(likeness):
    new, other = trunk(), trunk()
    start_alike(new, likeness, FREE, seed=2)
    alike = torch.from_numpy(likenesses(ELEMENTS, 16, FREE, seed=2)).float()
    expected = likeness**0.5 * alike + (1 - likeness) ** 0.5 * other.embedding
    torch.testing.assert_close(new.embedding, expected, rtol=1e-6, atol=1e-6)
    if not likeness:
        assert torch.equal(new.embedding, other.embedding)


def test_elements_are_blurred_inside_and_as_they_were_outside():
    there = trunk()
    before = there.embedding.detach().clone()
    with blurred(there, 0.3, np.random.default_rng(0)):
        off = (there.embedding - before).detach()
        (there.embedding**2).sum().backward()
    assert off.std() == pytest.approx(0.3, rel=0.2)
    torch.testing.assert_close(there.embedding.grad, 2 * (before + off))
    assert torch.equal(there.embedding, before)


def test_elements_are_as_they_were_after_an_error_too():
    there = trunk()
    before = there.embedding.detach().clone()

    def stopped() -> None:
        with blurred(there, 0.3, np.random.default_rng(0)):
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        stopped()
    assert torch.equal(there.embedding, before)


def test_without_noise_no_chance_is_used_up():
    rng = np.random.default_rng(0)
    with blurred(trunk(), 0.0, rng):
        pass
    assert rng.random() == np.random.default_rng(0).random()
