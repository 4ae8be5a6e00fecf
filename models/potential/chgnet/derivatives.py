"""Forces and stresses from energies, by one derivative with respect to the vectors of bonds."""

import torch
from torch import Tensor

from models.potential.chgnet.graph import BondGraph
from models.potential.chgnet.rows import Owners, summed


def forces_and_stresses(energies: Tensor, graph: BondGraph, create_graph: bool = False) -> tuple[Tensor, Tensor]:
    r"""Forces in eV/Å, [n_atoms, 3], and stresses in eV/Å³, [n_structures, 3, 3], symmetric, tension positive.

    An energy depends on positions and cell through its bonds' vectors r alone; a strain ε makes each of them
    r (1 + ε). So with g = ∂E/∂r of each bond, which pulls its first atom and pushes its second one,

    .. math:: F_i = \sum_{b\ \text{from}\ i} g_b - \sum_{b\ \text{to}\ i} g_b, \qquad
        \sigma = \frac{1}{V} \sum_b r_b \otimes g_b

    Neither the handedness of a cell nor the choice of its vectors enters.

    Args:
        energies: Energies in eV, of atoms or of structures; `graph.vectors` are what they were computed from.
        graph: The batch; its vectors require a gradient.
        create_graph: Whether forces and stresses can be differentiated in turn, as training does.
    """
    (by_vector,) = torch.autograd.grad(energies.sum(), graph.vectors, create_graph=create_graph)
    pulls, pushes = (summed(by_vector, Owners(atoms, graph.n_atoms)) for atoms in (graph.first, graph.second))
    of_bonds = (graph.vectors[:, :, None] * by_vector[:, None, :]).flatten(1)
    virials = summed(of_bonds, Owners(graph.structure_of_bond, graph.n_structures)).view(-1, 3, 3)
    return pulls - pushes, (virials + virials.mT) / (2 * graph.volumes[:, None, None])
