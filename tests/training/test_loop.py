import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from training.loop import PICTURE, STATE, Diverged, OtherTraining, Schedule, Training, learning_curve

sys.path.append(str(Path(__file__).parent))
import orbital_task
from toy_task import SLOPE, Line, train

HERE = Path(__file__).parent


def weights(folder, which="network"):
    return torch.load(folder / STATE, weights_only=True)[which]


def run_in_two_processes(script, *arguments):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    subprocess.run(
        [*command, str(HERE / script), *map(str, arguments)],
        check=True,
        env=environment,
        timeout=150,
        capture_output=True,
    )


def test_it_learns_and_keeps_the_curve(tmp_path):
    figures = []
    network = train(tmp_path, report=figures.append)
    torch.testing.assert_close(network.weight[0], SLOPE, atol=5e-3, rtol=0)
    curve = list(learning_curve(tmp_path))
    assert [row["epoch"] for row in curve] == list(range(1, 41))
    assert curve[-1]["distance"] < 0.01 * curve[0]["distance"]
    assert curve == [pytest.approx(row) for row in figures]
    assert (tmp_path / PICTURE).read_bytes().startswith(b"\x89PNG")


def test_the_rate_stays_and_then_falls_along_a_cosine():
    schedule = Schedule(1, 1, 0.5, n_warm_up=4, falling=0.25)
    rates = [schedule.rate(step, 80) for step in range(80)]
    assert rates[:4] == [0.125, 0.25, 0.375, 0.5]
    assert set(rates[4:61]) == {0.5}
    assert rates[70] == pytest.approx(0.25)
    assert 0 < rates[79] < 0.01
    whole = Schedule(1, 1, 0.5, n_warm_up=0)
    assert [whole.rate(step, 80) for step in (0, 40)] == [0.5, pytest.approx(0.25)]


@pytest.mark.parametrize("change", [{"falling": 0.0}, {"falling": 1.5}, {"n_finishing": -1}])
def test_a_schedule_that_falls_beyond_its_steps_is_refused(change):
    with pytest.raises(ValueError, match="expected falling above 0 and up to 1, and no fewer than 0 iterations"):
        Schedule(1, 1, 0.5, **change)


def test_a_training_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path):
    whole = train(tmp_path / "whole", 12)

    class Stop(Exception):
        pass

    def stop_at_five(figures):
        if figures["epoch"] == 5:
            raise Stop

    with pytest.raises(Stop):
        train(tmp_path / "halves", 12, stop_at_five)
    (tmp_path / "halves" / "state.pt.part").write_bytes(b"half-written")
    resumed = train(tmp_path / "halves", 12)
    assert torch.equal(whole.weight, resumed.weight)
    assert len(list(learning_curve(tmp_path / "halves"))) == 12


def test_a_training_that_is_done_is_not_done_again(tmp_path):
    first = train(tmp_path, 3)
    figures = []
    assert torch.equal(train(tmp_path, 3, figures.append).weight, first.weight)
    assert figures == []


def test_a_folder_of_another_training_is_refused_by_what_differs(tmp_path):
    train(tmp_path, 2)
    with pytest.raises(OtherTraining, match="other schedule; choose another folder"):
        train(tmp_path, 3)
    with pytest.raises(OtherTraining, match="other name"):
        Training(Line(), Schedule(2, 8, 0.1, averaging=0.9, n_warm_up=5), tmp_path, {"name": "curve"}, print).run()


def test_data_that_have_grown_are_another_training(tmp_path):
    schedule = Schedule(2, 8, 0.1)
    Training(Line(n_examples=20), schedule, tmp_path, {}, lambda _: None).run()
    with pytest.raises(OtherTraining, match="other number of examples"):
        Training(Line(n_examples=21), schedule, tmp_path, {}, print).run()


def test_a_loss_that_is_no_number_ends_it_and_keeps_the_last_epoch(tmp_path):
    class Broken(Line):
        def loss(self, indices, rng):
            return super().loss(indices, rng) * (float("nan") if self.calls() else 1.0)

        def calls(self):
            self.n_calls = getattr(self, "n_calls", 0) + 1
            return self.n_calls > 7

    schedule = Schedule(5, 8, 0.1)
    with pytest.raises(Diverged, match="loss of nan in epoch 2, step 1"):
        Training(Broken(), schedule, tmp_path, {}, lambda _: None).run()
    assert torch.load(tmp_path / STATE, weights_only=True)["epoch"] == 2


@pytest.mark.parametrize("changes", [{"n_epochs": 0}, {"batch_size": 0}, {"learning_rate": 0.0}, {"averaging": 1.0}])
def test_a_schedule_of_nonsense_is_refused(changes):
    with pytest.raises(ValueError, match="found"):
        Schedule(**{"n_epochs": 1, "batch_size": 1, "learning_rate": 0.1} | changes)


@pytest.mark.processes
def test_two_processes_learn_what_one_does(tmp_path):
    # The noise is drawn for each process on its own, and is a thousandth of what is learned.
    train(tmp_path / "one", 20)
    run_in_two_processes("toy_task.py", tmp_path / "two", 20)
    torch.testing.assert_close(weights(tmp_path / "two"), weights(tmp_path / "one"), atol=5e-3, rtol=0)
    assert len(list(learning_curve(tmp_path / "two"))) == 20


@pytest.mark.processes
def test_two_processes_go_along_the_gradients_of_one_with_both_their_batches(tmp_path):
    orbital_task.train(tmp_path / "one", 2)
    run_in_two_processes("orbital_task.py", tmp_path / "two", 2)
    one, two = (torch.load(tmp_path / name / orbital_task.GRADIENTS, weights_only=True) for name in ("one", "two"))
    largest = max(gradient.abs().max() for gradient in one.values())
    assert largest > 0
    for name, gradient in one.items():
        torch.testing.assert_close(two[name], gradient, atol=1e-5 * float(largest), rtol=0)
    for which in ("network", "average"):
        torch.testing.assert_close(
            weights(tmp_path / "two", which), weights(tmp_path / "one", which), atol=1e-5, rtol=0
        )
    curves = [[row["training_loss"] for row in learning_curve(tmp_path / name)] for name in ("one", "two")]
    assert curves[1] == pytest.approx(curves[0], rel=1e-6)


class UnevenLine(Line):
    """The same line, whose first examples cost most."""

    @property
    def costs(self):
        return np.exp(-np.arange(self.n_examples) / 4.0)


@pytest.mark.parametrize("task", [Line(), UnevenLine()], ids=["equal", "uneven"])
def test_costs_are_shared_out_and_no_example_is_left(task, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    training = Training(task, Schedule(2, 8, 0.1), tmp_path, {}, print)
    before, after = training.imbalances()
    if isinstance(task, UnevenLine):
        assert 1 <= after < before - 0.1
    else:
        assert before == after == pytest.approx(np.mean([3 * 3 / 8, 3 * 3 / 8, 3 * 3 / 7]))
    shares = training._shares(np.array([20, 3, 4, 11, 0, 7, 9, 2]))
    assert sorted(place for share in shares for place in share) == list(range(8))
