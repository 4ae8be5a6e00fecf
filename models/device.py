"""Where networks run."""

import torch


def resolved_device(name: str) -> str:
    """The device that a setting names; for "auto" a GPU if there is one, else the CPU."""
    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"
