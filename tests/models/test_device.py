"""The device that a setting names."""

import torch

from models.device import resolved_device


def test_a_named_device_is_taken_as_it_is() -> None:
    assert resolved_device("cuda:1") == "cuda:1"


def test_auto_is_a_gpu_where_there_is_one() -> None:
    assert resolved_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
