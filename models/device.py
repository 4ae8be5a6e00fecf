"""Where networks run."""

import os
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import torch

Record = TypeVar("Record")


def resolved_device(name: str) -> str:
    """The device that a setting names; for "auto" a GPU if there is one, else the CPU.

    Of the processes that `torchrun` starts on a machine, each has the GPU of its own number.

    Raises:
        ValueError: If it is a GPU that is not there.
    """
    n_gpus = torch.cuda.device_count()
    if name == "auto":
        name = "cuda" if n_gpus else "cpu"
    if name == "cuda" and "LOCAL_RANK" in os.environ:
        name = f"cuda:{os.environ['LOCAL_RANK']}"
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= n_gpus:
        raise ValueError(f"found device {name}, and {n_gpus} GPUs that torch can use; expected one of them, or cpu")
    return name


def moved(record: Record, device: torch.device | str) -> Record:
    """The same dataclass with its tensors, and those of the dataclasses in it, on a device."""
    there: Any = record
    found = {one.name: _moved(getattr(there, one.name), device) for one in fields(there)}
    return replace(there, **found)


def _moved(value: Any, device: torch.device | str) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to(device)
    return moved(value, device) if is_dataclass(value) else value
