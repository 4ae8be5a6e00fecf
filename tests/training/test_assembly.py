import pytest

from reference.shards import write_shard
from tests.training.test_command import config_file
from tests.training.test_dataset import record
from training.assembly import chosen_samples, density_task
from training.config import TrainingConfig
from training.dataset import NoData


@pytest.fixture
def data(tmp_path):
    (tmp_path / "data" / "crystals").mkdir(parents=True)
    records = [record(name) for name in "abc"] + [record(name, "validation") for name in "de"]
    write_shard(tmp_path / "data" / "crystals" / "a.h5", records)
    return tmp_path / "data"


def test_a_smaller_choice_is_a_part_of_a_larger_one_and_keeps_the_order():
    names = [chr(ord("a") + index) for index in range(20)]
    for seed in range(3):
        choices = [chosen_samples(names, n, seed) for n in (3, 7, 20)]
        assert [len(choice) for choice in choices] == [3, 7, 20]
        assert set(choices[0]) < set(choices[1])
        assert choices[2] == names
        assert choices[1] == sorted(choices[1])
    assert chosen_samples(names, 3, 0) != chosen_samples(names, 3, 1)
    assert chosen_samples(names, None, 0) is names


def test_a_task_has_as_many_structures_as_the_configuration_says(tmp_path, data):
    config = TrainingConfig.read(config_file(tmp_path, "n_training = 2"))
    task = density_task(config, data, n_validation=1)
    assert (task.n_examples, len(task.validation)) == (2, 1)
    assert task.network.config == config.model
    whole = density_task(TrainingConfig.read(config_file(tmp_path)), data)
    assert (whole.n_examples, len(whole.validation)) == (3, 2)


def test_an_element_that_no_structure_has_is_refused(tmp_path, data):
    file = config_file(tmp_path)
    file.write_text(file.read_text().replace('["O"]', '["O", "S"]'))
    with pytest.raises(NoData, match="found no structure to learn S from"):
        density_task(TrainingConfig.read(file), data)
