from itertools import islice

import numpy as np
import pytest

from models.catalog import load_model
from reference.shards import write_shard
from reference.structure import split_by_group
from rhocast.model_info import Property
from rhocast.structure import Structure
from tests.models.potential_contract import bent_molecule, distorted_rock_salt
from tests.training.test_dataset import record
from training.dataset import NoData
from training.teacher import (
    MIXTURES,
    Question,
    crystal_questions,
    mixture_questions,
    reference_questions,
    taught,
    teacher_crystals,
    teacher_mixtures,
)


@pytest.fixture(scope="module")
def chgnet():
    return load_model("chgnet")


def questions(*structures: Structure) -> list[Question]:
    return [Question(one, "toys", one.formula, "train") for one in structures]


@pytest.mark.parametrize("sequence", [teacher_crystals, teacher_mixtures])
def test_the_same_seed_gives_the_same_crystals_and_another_gives_others(sequence):
    first, again, other = (list(islice(sequence(seed), 8)) for seed in (5, 5, 6))
    for (one, group), (same, same_group) in zip(first, again, strict=True):
        assert np.array_equal(one.positions, same.positions)
        assert group == same_group
    assert [group for _, group in first] != [group for _, group in other]


def test_crystals_have_elements_that_the_reference_data_cannot_have():
    present = {symbol for structure, _ in islice(teacher_crystals(0), 300) for symbol in structure.symbols}
    assert present & {"Cr", "Mn", "Fe", "Co", "Ni"}
    assert present & {"Ce", "Nd", "Gd", "Yb"}
    assert len(present) > 60


def test_mixtures_have_more_elements_and_more_compositions_than_crystals():
    crystals, mixtures = (list(islice(sequence(0), 200)) for sequence in (teacher_crystals, teacher_mixtures))
    n_elements = [np.mean([len(set(structure.symbols)) for structure, _ in there]) for there in (crystals, mixtures)]
    assert n_elements[1] > 1.3 * n_elements[0]
    assert len({group for _, group in mixtures}) > 190 > len({group for _, group in crystals})


@pytest.mark.parametrize("sequence", [teacher_crystals, teacher_mixtures])
def test_no_crystal_has_a_single_atom_and_none_is_compressed(sequence):
    for structure, _ in islice(sequence(1), 100):
        assert structure.n_atoms > 1
        assert structure.volume / structure.n_atoms > 4


def test_compositions_are_divided_as_in_the_reference_data():
    found = crystal_questions(60, seed=0) + mixture_questions(20, seed=0)
    assert found[-1].source == MIXTURES
    assert {one.split for one in found} >= {"train", "validation"}
    assert all(one.split == split_by_group(one.group) for one in found)


def test_a_teacher_labels_crystals_and_molecules(chgnet):
    crystal, water = distorted_rock_salt(), bent_molecule(("O", "H", "H"), 0.97)
    found = list(taught(chgnet, questions(water, crystal)))
    assert [one.structure.is_periodic for one in found] == [True, False]
    want = frozenset({Property.ENERGY, Property.FORCES, Property.STRESS, Property.MAGMOMS})
    (expected,) = chgnet.predict([crystal], want)
    assert found[0].energy == pytest.approx(expected.energy, abs=1e-5)
    for name in ("forces", "stress", "magmoms"):
        np.testing.assert_allclose(getattr(found[0], name), getattr(expected, name), atol=1e-5)
    assert found[1].stress is None


def test_what_a_teacher_does_not_cover_or_finds_torn_apart_is_left_out(chgnet):
    radium = distorted_rock_salt("Ra", "O", 2.6)
    squeezed = bent_molecule(("O", "H", "H"), 0.5)
    assert list(taught(chgnet, questions(radium, squeezed))) == []


def test_sets_of_reference_structures_keep_their_splits(tmp_path):
    (tmp_path / "crystals").mkdir()
    write_shard(tmp_path / "crystals" / "a.h5", [record("a"), record("b", "test")])
    assert [(one.source, one.split) for one in reference_questions(["crystals"], tmp_path)] == [
        ("crystals", "train"),
        ("crystals", "test"),
    ]


def test_a_set_with_nothing_to_learn_from_is_missed(tmp_path):
    with pytest.raises(NoData, match="found no shard of the set 'crystals'"):
        reference_questions(["crystals"], tmp_path)
