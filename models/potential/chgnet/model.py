"""CHGNet as a potential: energies, forces, stresses and magnetic moments of a batch in one pass there and back."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.interface import FloatArray, OutOfMemory, PotentialPrediction
from models.potential.chgnet.checkpoint import network_of
from models.potential.chgnet.derivatives import forces_and_stresses
from models.potential.chgnet.graph import BondGraph, bond_graph
from models.potential.chgnet.info import INFOS
from models.potential.chgnet.network import Network
from rhocast.errors import UnsupportedByModel, UnusableWeights
from rhocast.model_info import ModelInfo, Property
from rhocast.structure import Structure


class Chgnet:
    """The potential of one published checkpoint.

    Args:
        info: What it says of itself.
        network: The network with its weights.
        device: Where it runs, "cpu" or "cuda".
    """

    def __init__(self, info: ModelInfo, network: Network, device: str = "cpu") -> None:
        self._info = info
        self._device = torch.device(device)
        self._network = network.to(self._device)

    @classmethod
    def read(cls, file: Path, sha256: str, device: str = "cpu") -> "Chgnet":
        """The potential whose weights are in a file of the package `chgnet`.

        Args:
            file: One of the package's checkpoints.
            sha256: The hash that it must have; it also says which one it is.
            device: Where the network runs.

        Raises:
            UnusableWeights: If the file is missing, altered, or not one of those that this module knows.
        """
        infos = {info.weights_sha256: info for info in INFOS}
        if sha256 not in infos:
            raise UnusableWeights(
                f"found that weights of sha256 {sha256} are meant; expected those of "
                f"{', '.join(info.name for info in INFOS)}; see models/potential/chgnet/info.py"
            )
        return cls(infos[sha256], network_of(file, sha256), device)

    @property
    def info(self) -> ModelInfo:
        return self._info

    @property
    def network(self) -> Network:
        return self._network

    def predict(self, structures: Sequence[Structure], want: frozenset[Property]) -> list[PotentialPrediction]:
        """Energy, and what else is wanted, of each structure, computed in one batch.

        Raises:
            UnsupportedByModel: If `check` refuses one of them; the others are not computed.
            OutOfMemory: If the batch does not fit.
        """
        for structure in structures:
            self.check(structure, want)
        if not structures:
            return []
        try:
            return self._predictions(structures, want)
        except (MemoryError, RuntimeError) as error:  # torch.OutOfMemoryError is a RuntimeError
            if not _is_out_of_memory(error):
                raise
            reason = str(error).partition("\n")[0]
        # Raised after the handler: within it, the first error's traceback would keep every tensor of the batch alive
        # while the worker tries the halves.
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        n_atoms = sum(structure.n_atoms for structure in structures)
        raise OutOfMemory(
            f"found {len(structures)} structures with {n_atoms} atoms in one batch; expected what fits the memory of "
            f"{self._device}; send fewer at once ({reason})"
        )

    def check(self, structure: Structure, want: frozenset[Property]) -> None:
        """Refusal of a structure or of a property that this model cannot answer for, and nothing otherwise.

        Raises:
            UnsupportedByModel: If something is wanted that CHGNet lacks, an element is not in its list, or the stress
                of a molecule is wanted.
        """
        missing = sorted(want - set(self.info.provides))
        if missing:
            raise UnsupportedByModel(
                f"found a request for {', '.join(missing)}; expected some of {', '.join(self.info.provides)}; "
                "choose another model for the rest"
            )
        unknown = sorted({symbol for symbol in structure.symbols if symbol not in self.info.elements})
        if unknown:
            raise UnsupportedByModel(
                f"found {', '.join(unknown)}; expected the {len(self.info.elements)} elements that {self.info.name} "
                "has learned from (H to Pu but for a few, listed by /v1/models); choose another model"
            )
        if Property.STRESS in want and not structure.is_periodic:
            raise UnsupportedByModel(
                "found a request for the stress of a molecule; expected a crystal, for stress is a derivative with "
                "respect to its cell; leave out 'stress'"
            )

    def _predictions(self, structures: Sequence[Structure], want: frozenset[Property]) -> list[PotentialPrediction]:
        config = self._network.config
        graph = bond_graph(structures, config.cutoff, config.angle_cutoff).to(self._device)
        found = self._computed(graph, want)
        answers = {one: tensor.detach().cpu().double().numpy() for one, tensor in found.items()}
        return _split(structures, want, graph.n_neighbours.cpu().numpy() == 0, answers)

    def _computed(self, graph: BondGraph, want: frozenset[Property]) -> dict[Property, Tensor]:
        """Energies of the atoms of a batch, and at least what else is wanted."""
        is_differentiated = not want.isdisjoint({Property.FORCES, Property.STRESS})
        graph.vectors.requires_grad_(is_differentiated)
        with torch.set_grad_enabled(is_differentiated):
            found: dict[Property, Tensor] = dict(
                zip((Property.ENERGY, Property.MAGMOMS), self._network(graph), strict=True)
            )
            if is_differentiated:
                derivatives = forces_and_stresses(found[Property.ENERGY], graph)
                found |= dict(zip((Property.FORCES, Property.STRESS), derivatives, strict=True))
        return found


def _split(
    structures: Sequence[Structure],
    want: frozenset[Property],
    is_isolated: NDArray[np.bool_],
    answers: dict[Property, FloatArray],
) -> list[PotentialPrediction]:
    """What belongs to each structure of a batch, of the energies of atoms and whatever else was computed."""
    predictions: list[PotentialPrediction] = []
    last = 0
    for index, structure in enumerate(structures):
        first, last = last, last + structure.n_atoms
        wanted = {one: answers[one][index if one == Property.STRESS else slice(first, last)] for one in want}
        predictions.append(
            PotentialPrediction(
                float(answers[Property.ENERGY][first:last].sum()),
                forces=wanted.get(Property.FORCES),
                stress=wanted.get(Property.STRESS),
                magmoms=wanted.get(Property.MAGMOMS),
                energies=wanted.get(Property.ENERGY),
                isolated=tuple(np.flatnonzero(is_isolated[first:last]).tolist()),
            )
        )
    return predictions


def _is_out_of_memory(error: Exception) -> bool:
    """Whether an error means that memory ran out: Python's, torch's on a GPU, or the CPU allocator's RuntimeError."""
    text = str(error)
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
        sign in text for sign in ("can't allocate memory", "not enough memory", "CUDA error: out of memory")
    )
