from dataclasses import replace

import numpy as np
import pytest

from rhocast.structure import Structure
from tests.models.potential_contract import bent_molecule, distorted_rock_salt
from tests.training.test_dataset import record
from training.dataset import NoData, Sample
from training.labels import LabelledStructure, labelled_by_dft, read_labels, write_labels


def labelled(structure: Structure, split: str = "train") -> LabelledStructure:
    rng = np.random.default_rng(structure.n_atoms)
    stress = rng.normal(size=(3, 3)) if structure.is_periodic else None
    forces, magmoms = rng.normal(size=(structure.n_atoms, 3)), rng.uniform(size=structure.n_atoms)
    return LabelledStructure(structure, "toys", structure.formula, split, forces, rng.normal(), stress, magmoms)


def test_what_is_written_is_read_again_split_by_split(tmp_path):
    file = tmp_path / "new" / "teacher.npz"
    crystal, water = labelled(distorted_rock_salt()), labelled(bent_molecule(("O", "H", "H"), 0.97))
    held_out = labelled(distorted_rock_salt("Mg", "O", 2.1), "validation")
    write_labels(file, [crystal, held_out, water])
    assert [one.group for one in read_labels(file, "validation")] == [held_out.group]
    for found, expected in zip(read_labels(file, "train"), [crystal, water], strict=True):
        assert (found.source, found.group, found.split) == (expected.source, expected.group, "train")
        assert found.energy == expected.energy
        assert found.structure.is_periodic == expected.structure.is_periodic
        for name in ("numbers", "positions", "cell"):
            assert np.array_equal(getattr(found.structure, name), getattr(expected.structure, name))
        for name in ("forces", "stress", "magmoms"):
            values, wanted = getattr(found, name), getattr(expected, name)
            assert (values is None and wanted is None) or np.array_equal(values, wanted)


def test_labels_that_are_not_there_are_missed(tmp_path):
    file = tmp_path / "teacher.npz"
    with pytest.raises(NoData, match=r"found no file .*teacher\.npz; expected a teacher's labels"):
        read_labels(file, "train")
    write_labels(file, [labelled(distorted_rock_salt())])
    with pytest.raises(NoData, match=r"found no test structure in .*make more"):
        read_labels(file, "test")
    with pytest.raises(ValueError, match="found split 'tests'; expected one of train, validation, test"):
        read_labels(file, "tests")


def test_a_reference_record_gives_forces_and_stress_but_no_energy():
    sample = replace(Sample.of_record(record("a")), stress=np.arange(1.0, 7.0))
    found = labelled_by_dft(sample, "train")
    assert found.energy is None
    assert found.magmoms is None
    assert np.array_equal(found.forces, sample.forces)
    assert found.stress.tolist() == [[1, 6, 5], [6, 2, 4], [5, 4, 3]]
    assert labelled_by_dft(replace(sample, stress=None), "train").stress is None
