"""Checkpoints: the weights of a network and the configuration that builds it, in one safetensors file."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from models.weights import sha256_of, verified_bytes
from rhocast.errors import UnusableWeights


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What builds a network and fills it.

    Attributes:
        config: Tables of numbers, strings and lists, as JSON has them.
        weights: State of the network, by name.
    """

    config: Mapping[str, Any]
    weights: Mapping[str, Tensor]

    def write(self, file: Path) -> str:
        """The SHA-256 of the file that was written; equal checkpoints make equal files."""
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in self.weights.items()}
        # One entry, for the library writes several in an order of its own; and whole or not at all.
        unfinished = file.with_name(file.name + ".unfinished")
        unfinished.write_bytes(save(weights, {"config": json.dumps(self.config, sort_keys=True)}))
        os.replace(unfinished, file)
        return sha256_of(file)

    @classmethod
    def read(cls, file: Path, sha256: str) -> "Checkpoint":
        """The checkpoint in a file, on the CPU.

        Args:
            file: File that `write` has made.
            sha256: The hash that it must have.

        Raises:
            UnusableWeights: If the file is missing, has another hash, or is no checkpoint.
        """
        contents = verified_bytes(file, sha256)
        try:
            weights = load(contents)
            # The library gives the metadata of files alone, and a file could have changed since it was hashed.
            n_bytes = int.from_bytes(contents[:8], "little")
            config = json.loads(json.loads(contents[8 : 8 + n_bytes])["__metadata__"]["config"])
        except (SafetensorError, KeyError, ValueError) as error:
            raise UnusableWeights(
                f"found {file.name} without weights and configuration; expected a safetensors file that "
                "`models.checkpoint` wrote"
            ) from error
        return cls(config, weights)

    def inside(self, part: str) -> dict[str, Tensor]:
        """The weights whose names begin with the name of a part and a dot, by what follows."""
        start = f"{part}."
        return {name.removeprefix(start): tensor for name, tensor in self.weights.items() if name.startswith(start)}

    def outside(self, part: str) -> dict[str, Tensor]:
        """The other weights, by their names."""
        return {name: tensor for name, tensor in self.weights.items() if not name.startswith(f"{part}.")}
