"""CHGNet 0.3.0: energies, forces, stresses and magnetic moments, over the `chgnet` package and its weights."""

import gc
import io
import threading
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import numpy as np
import torch
from chgnet.graph.crystalgraph import CrystalGraph
from chgnet.model.model import CHGNet
from pymatgen.core import Lattice
from pymatgen.core import Structure as PymatgenStructure

from models.interface import FloatArray, OutOfMemory, PotentialPrediction
from models.weights import verified_bytes, weights_path
from rhocast.elements import SYMBOLS
from rhocast.errors import UnsupportedByModel
from rhocast.model_info import Cost, ModelInfo, Property
from rhocast.structure import Structure

CHECKPOINT = "pretrained/0.3.0/chgnet_0.3.0_e29f68s314m37.pth.tar"
WEIGHTS_SHA256 = "d14ab7c0f093efe64b60a7bcd540bca10e74fb7f46c86108a079af60524659d1"

CUTOFF = 6.0
"""Radius of the atom graph, Å."""

VACUUM = 12.0
"""Empty space between a molecule and its images, Å: twice the cutoff, so no edge reaches an image."""

INFO = ModelInfo(
    name="chgnet",
    provides=(Property.ENERGY, Property.FORCES, Property.STRESS, Property.MAGMOMS),
    description="Universal potential for crystals of 94 elements, trained on relaxations of the Materials Project",
    elements=SYMBOLS[1:95],
    cutoff=CUTOFF,
    weights_sha256=WEIGHTS_SHA256,
    level_of_theory="PBE(+U), VASP, Materials Project settings (MPtrj)",
    licence="Modified BSD (Lawrence Berkeley National Laboratory)",
    energy_reference=(
        "total energy with the corrections of the Materials Project (MP2020 compatibility) added to the VASP energy; "
        "never compare it with a raw VASP energy or with another potential's"
    ),
    domains=("crystal",),
    has_spin=True,
    is_conservative=True,
    needs_neighbours=True,
    no_uncertainty_because="CHGNet is one network, not an ensemble, and nobody has calibrated an error for it",
    # Some 5 MB an atom in dense LiF, measured up to 512 atoms: 10 GB.
    max_atoms=2000,
    # Milliseconds on one CPU core with everything wanted, fitted to 17 crystals of 1 to 216 atoms. Angles within 3 Å
    # cost most and edges only stand for them: the fit is off by a third in the median, by 2.2 at worst.
    cost=Cost(per_structure=9.0, per_edge=0.14),
    labels={"package": "chgnet 0.4.2", "checkpoint": "0.3.0"},
)

_ONE_AT_A_TIME = threading.Lock()


class Chgnet:
    """The potential; one thread predicts at a time.

    Args:
        device: Where the network runs, "cpu" or "cuda".
        weights: Checkpoint to read instead of the installed package's; its hash must be the same.

    Raises:
        UnusableWeights: If the checkpoint is missing or altered.
    """

    def __init__(self, device: str = "cpu", weights: Path | None = None) -> None:
        checkpoint = verified_bytes(weights or weights_path("chgnet", CHECKPOINT), WEIGHTS_SHA256)
        self._device = torch.device(device)
        self._network = _network_of(checkpoint).to(self._device)

    @property
    def info(self) -> ModelInfo:
        return INFO

    def predict(self, structures: Sequence[Structure], want: frozenset[Property]) -> list[PotentialPrediction]:
        """Energy, and what else is wanted, of each structure, computed in one batch.

        Raises:
            UnsupportedByModel: If `check` refuses one of them; the others are not computed.
            OutOfMemory: If the batch does not fit.
        """
        try:
            for structure in structures:
                self.check(structure, want)
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
            UnsupportedByModel: If something is wanted that CHGNet lacks, an element is heavier than Pu, the stress of
                a molecule is wanted, or an atom has no neighbour within the cutoff.
        """
        missing = sorted(want - set(INFO.provides))
        if missing:
            raise UnsupportedByModel(
                f"found a request for {', '.join(missing)}; expected some of {', '.join(INFO.provides)}; "
                "choose another model for the rest"
            )
        unknown = sorted({symbol for symbol in structure.symbols if symbol not in INFO.elements})
        if unknown:
            raise UnsupportedByModel(
                f"found {', '.join(unknown)}; expected elements from H to Pu (atomic numbers 1 to 94), "
                "which CHGNet was trained on; choose another model"
            )
        if Property.STRESS in want and not structure.is_periodic:
            raise UnsupportedByModel(
                "found a request for the stress of a molecule; expected a crystal, for stress is a derivative with "
                "respect to its cell; leave out 'stress'"
            )
        _refuse_isolated_atoms(structure)

    def _predictions(self, structures: Sequence[Structure], want: frozenset[Property]) -> list[PotentialPrediction]:
        if not structures:
            return []
        boxes = [_periodic(structure) for structure in structures]
        is_differentiated = not want.isdisjoint({Property.FORCES, Property.STRESS})
        with _library_kept_in_bounds(), torch.set_grad_enabled(is_differentiated):
            graphs = [self._network.graph_converter(box) for box in boxes]
            answer = self._network(
                [graph.to(str(self._device)) for graph in graphs],
                task="em" if Property.MAGMOMS in want else "e",
                return_site_energies=True,
            )
        # Summed here: the library's own energy per atom is a float32 sum over the whole cell.
        energies = [float(sites.detach().sum(dtype=torch.float64)) for sites in answer["site_energies"]]
        forces = stresses = magmoms = [None] * len(structures)
        if is_differentiated:
            forces, stresses = _forces_and_stresses(graphs, answer["site_energies"])
        if Property.MAGMOMS in want:
            magmoms = [_float64(moments) for moments in answer["m"]]
        return [
            PotentialPrediction(
                energy,
                force if Property.FORCES in want else None,
                stress if Property.STRESS in want else None,
                moments,
            )
            for energy, force, stress, moments in zip(energies, forces, stresses, magmoms, strict=True)
        ]


def _forces_and_stresses(
    graphs: Sequence[CrystalGraph], site_energies: Sequence[torch.Tensor]
) -> tuple[list[FloatArray], list[FloatArray]]:
    r"""Forces in eV/Å, [n_atoms, 3], and stress in eV/Å³, [3, 3], of each structure, by one backward pass.

    .. math:: F = -\frac{\partial E}{\partial f} L^{-T}, \qquad \sigma = \frac{1}{|V|} L^T \frac{\partial E}{\partial L}

    with the fractions f and the cell L (rows) that the graph converter made leaves. The library's own derivatives take
    two passes, keep the graph of the second derivative, and flip the stress of a left-handed cell.
    """
    leaves = [graph.atom_frac_coord for graph in graphs] + [graph.lattice for graph in graphs]
    gradients = [_float64(gradient) for gradient in torch.autograd.grad(torch.cat(list(site_energies)).sum(), leaves)]
    forces: list[FloatArray] = []
    stresses: list[FloatArray] = []
    for graph, by_fraction, by_cell in zip(graphs, gradients[: len(graphs)], gradients[len(graphs) :], strict=True):
        cell = _float64(graph.lattice)
        forces.append(-by_fraction @ np.linalg.inv(cell).T)
        virial = cell.T @ by_cell
        stresses.append((virial + virial.T) / 2 / abs(np.linalg.det(cell)))
    return forces, stresses


def _float64(values: torch.Tensor) -> FloatArray:
    return values.detach().cpu().numpy().astype(np.float64)


def _network_of(checkpoint: bytes) -> CHGNet:
    """Network built from the arguments and the state that the checkpoint stores, without unpickling code."""
    stored = torch.load(io.BytesIO(checkpoint), map_location="cpu", weights_only=True)["model"]
    with redirect_stdout(io.StringIO()):  # the constructor prints its number of parameters
        network = CHGNet(**stored["model_args"], mlp_out_bias=False, version="0.3.0")
    network.load_state_dict(stored["state_dict"])
    # Only positions and cells are differentiated; frozen weights need no intermediate results kept for their sake.
    network.requires_grad_(requires_grad=False)
    # `check` has refused isolated atoms before, with their index and distance.
    network.graph_converter.set_isolated_atom_response("ignore")
    return network.eval()


@contextmanager
def _library_kept_in_bounds() -> Generator[None]:
    """Scope in which the library can neither change the process nor warn of what is none of the user's business.

    The C code of its graph converter switches garbage collection off and on again: an error in between, or a second
    thread, would leave it off for ever. It sorts the formula of each graph by electronegativity, which He, Ne and Ar
    lack, and reads cell volumes out of tensors that carry gradients.
    """
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="No Pauling electronegativity")
        warnings.filterwarnings("ignore", message="Converting a tensor with requires_grad=True to a scalar")
        thresholds = gc.get_threshold()
        try:
            yield
        finally:
            gc.set_threshold(*thresholds)


def _periodic(structure: Structure) -> PymatgenStructure:
    """The structure for the library: atoms wrapped into the cell, a molecule in a box with `VACUUM` to its images."""
    if structure.is_periodic:
        cell, fractional = structure.cell, structure.fractional_positions
    else:
        extent = np.ptp(structure.positions, axis=0) + VACUUM
        cell, fractional = np.diag(extent), (structure.positions - structure.positions.min(axis=0)) / extent
    # The network sees float32 fractions: far outside the cell they would lose their digits.
    return PymatgenStructure(Lattice(cell), structure.symbols, fractional - np.floor(fractional))


def _refuse_isolated_atoms(structure: Structure) -> None:
    """Refusal of a structure with an atom that no message would ever reach."""
    periodic = _periodic(structure)
    connected = periodic.get_neighbor_list(CUTOFF)[0]
    isolated = np.setdiff1d(np.arange(structure.n_atoms), connected)
    if isolated.size:
        index = int(isolated[0])
        distance = _nearest_distance(structure, periodic, index)
        where = "it is alone" if distance is None else f"its nearest neighbour is {distance:.2f} Å away"
        # By its place, not its index: a service sorts the atoms before a model sees them.
        place = ", ".join(f"{x:.3f}" for x in structure.positions[index])
        raise UnsupportedByModel(
            f"found the {structure.symbols[index]} atom at ({place}) Å isolated: {where}; expected a neighbour within "
            f"{CUTOFF:g} Å of every atom; move it closer, remove it or choose another model"
        )


def _nearest_distance(structure: Structure, periodic: PymatgenStructure, index: int) -> float | None:
    """Distance in Å from an atom to its nearest neighbour, images included; None for a molecule of one atom."""
    if not structure.is_periodic:
        others = np.delete(structure.positions, index, axis=0) - structure.positions[index]
        return float(np.linalg.norm(others, axis=1).min()) if len(others) else None
    radius = CUTOFF
    distances = np.empty(0)
    while not distances.size:  # ends at the shortest cell vector at the latest: the atom's own image
        radius *= 2
        distances = periodic.get_neighbor_list(radius, sites=[periodic[index]], exclude_self=True)[3]
    return float(distances.min())


def _is_out_of_memory(error: Exception) -> bool:
    """Whether an error means that memory ran out: Python's, torch's on a GPU, or the CPU allocator's RuntimeError."""
    text = str(error)
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
        sign in text for sign in ("can't allocate memory", "not enough memory", "CUDA error: out of memory")
    )
