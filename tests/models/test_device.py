"""The device that a setting names, and what is moved there."""

from dataclasses import dataclass

import pytest
import torch

from models.device import moved, resolved_device
from tests.elsewhere import DEVICE, Elsewhere


@pytest.fixture
def two_gpus(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.fixture
def no_gpu(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize("name", ["cuda", "cuda:1", "cpu"])
def test_a_named_device_is_taken_as_it_is(name) -> None:
    assert resolved_device(name) == name


@pytest.mark.usefixtures("two_gpus")
def test_auto_is_a_gpu_where_there_is_one() -> None:
    assert resolved_device("auto") == "cuda"


@pytest.mark.usefixtures("no_gpu")
def test_auto_is_the_cpu_where_there_is_no_gpu(monkeypatch) -> None:
    assert resolved_device("auto") == "cpu"
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert resolved_device("auto") == "cpu"


@pytest.mark.usefixtures("two_gpus")
def test_each_process_of_a_machine_has_a_gpu_of_its_own(monkeypatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert resolved_device("auto") == resolved_device("cuda") == "cuda:1"
    assert resolved_device("cuda:0") == "cuda:0"


@pytest.mark.usefixtures("two_gpus")
def test_a_gpu_that_is_not_there_is_refused(monkeypatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ValueError, match="found device cuda:2, and 2 GPUs"):
        resolved_device("auto")


@pytest.mark.usefixtures("no_gpu")
def test_a_gpu_where_there_is_none_is_refused() -> None:
    with pytest.raises(
        ValueError, match="found device cuda, and 0 GPUs that torch can use; expected one of them, or cpu"
    ):
        resolved_device("cuda")


@dataclass(frozen=True)
class Inner:
    values: torch.Tensor


@dataclass(frozen=True)
class Outer:
    inner: Inner
    values: torch.Tensor
    n: int


def test_tensors_of_a_record_and_of_records_in_it_are_moved() -> None:
    with Elsewhere():
        found = moved(Outer(Inner(torch.ones(2)), torch.zeros(3), 4), DEVICE)
        assert found.inner.values.device == found.values.device == DEVICE
        assert found.inner.values.cpu().tolist() == [1, 1]
        assert found.n == 4
