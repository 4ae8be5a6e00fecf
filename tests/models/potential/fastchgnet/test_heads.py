"""The heads alone, with random weights in float64: their laws hold whatever was learned."""

from dataclasses import fields

import numpy as np
import pytest
import torch

from models.potential.fastchgnet.heads import N_OF_ATOMS, N_OF_BONDS, N_VECTORS, HeadInput, Heads
from models.radial import polynomial_envelope
from tests.models.potential_contract import INVERSION, ROTATION

CUTOFF = 6.0
BOTH = pytest.mark.parametrize("is_antisymmetric", [True, False], ids=["antisymmetric", "sided"])


def heads_of(is_antisymmetric: bool) -> Heads:
    torch.manual_seed(3)
    return Heads(CUTOFF, is_antisymmetric).double().requires_grad_(False)


def random_input(n_atoms: int = 5, n_bonds: int = 24, n_structures: int = 2) -> HeadInput:
    """Bonds between atoms of the same structure, some of an atom with itself."""
    rng = np.random.default_rng(0)
    owners = np.sort(np.concatenate([np.arange(n_structures), rng.integers(n_structures, size=n_atoms - n_structures)]))
    first = rng.integers(n_atoms, size=n_bonds)
    second = np.array([rng.choice(np.flatnonzero(owners == owners[one])) for one in first], np.int64)
    vectors = rng.normal(size=(n_bonds, 3))
    directions = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return HeadInput(
        *(torch.from_numpy(rng.normal(size=shape)) for shape in ((n_atoms, N_OF_ATOMS), (n_bonds, N_OF_BONDS))),
        torch.from_numpy(rng.uniform(1.5, CUTOFF, n_bonds)),
        torch.from_numpy(directions),
        torch.from_numpy(first),
        torch.from_numpy(second),
        torch.from_numpy(owners),
        torch.from_numpy(rng.uniform(20, 60, n_structures)),
    )


def changed(there: HeadInput, **changes: torch.Tensor) -> HeadInput:
    return HeadInput(**{one.name: getattr(there, one.name) for one in fields(there)} | changes)


@BOTH
@pytest.mark.parametrize("matrix", [ROTATION, INVERSION, -ROTATION, np.diag([1.0, 1, -1])])
def test_turned_or_mirrored_bonds_turn_forces_and_stresses(is_antisymmetric, matrix):
    there, heads = random_input(), heads_of(is_antisymmetric)
    turn = torch.from_numpy(matrix)
    forces, stresses = heads(there)
    turned_forces, turned_stresses = heads(changed(there, directions=there.directions @ turn.T))
    torch.testing.assert_close(turned_forces, forces @ turn.T, atol=1e-12, rtol=0)
    torch.testing.assert_close(turned_stresses, turn @ stresses @ turn.T, atol=1e-12, rtol=0)
    assert forces.abs().max() > 0.01


@BOTH
def test_which_atom_of_a_bond_is_the_first_does_not_matter(is_antisymmetric):
    there, heads = random_input(), heads_of(is_antisymmetric)
    reversed_bonds = changed(there, directions=-there.directions, first=there.second, second=there.first)
    for found, expected in zip(heads(reversed_bonds), heads(there), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)


def test_antisymmetric_forces_of_each_structure_sum_to_zero_and_sided_ones_do_not():
    there = random_input()
    for is_antisymmetric in (True, False):
        forces, _ = heads_of(is_antisymmetric)(there)
        totals = torch.zeros(2, 3, dtype=torch.float64).index_add(0, there.structure_of_atom, forces)
        assert (totals.abs().max() < 1e-14) == is_antisymmetric


@BOTH
def test_stresses_are_symmetric_and_fall_with_the_volume(is_antisymmetric):
    there, heads = random_input(), heads_of(is_antisymmetric)
    _, stresses = heads(there)
    assert torch.equal(stresses, stresses.mT)
    _, larger = heads(changed(there, volumes=3 * there.volumes))
    torch.testing.assert_close(3 * larger, stresses)
    deviators = stresses - torch.eye(3) * stresses.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
    assert deviators.abs().max() > 1e-4


@BOTH
def test_a_bond_at_the_cutoff_is_as_good_as_none(is_antisymmetric):
    there, heads = random_input(), heads_of(is_antisymmetric)
    without = {name: getattr(there, name)[:-1] for name in ("bonds", "lengths", "directions", "first", "second")}
    at_cutoff = changed(there, lengths=torch.cat([there.lengths[:-1], torch.tensor([CUTOFF - 1e-6])]))
    for found, expected in zip(heads(at_cutoff), heads(changed(there, **without)), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)


@BOTH
def test_a_batch_is_its_members(is_antisymmetric):
    there, heads = random_input(), heads_of(is_antisymmetric)
    parts = [there.part(index) for index in range(2)]
    alone = [heads(part) for part in parts]
    forces, stresses = heads(there)
    torch.testing.assert_close(torch.cat([one for one, _ in alone]), forces)
    torch.testing.assert_close(torch.cat([one for _, one in alone]), stresses)
    again = HeadInput.joined(parts)
    assert torch.equal(again.atoms, there.atoms)
    for found, expected in zip(heads(again), (forces, stresses), strict=True):
        torch.testing.assert_close(found, expected)


@BOTH
def test_forces_and_stresses_are_the_sums_of_the_formula(is_antisymmetric):
    """Bond by bond, with numbers instead of gathered rows."""
    there, heads = random_input(), heads_of(is_antisymmetric)
    view = heads.view(there, polynomial_envelope(there.lengths, CUTOFF)[:, None])
    on_first, on_second = heads.forces.ends(view)
    scalars = heads.stresses(view)
    forces, stresses = np.zeros((5, 3)), np.zeros((2, 3, 3))
    for bond, (i, j) in enumerate(zip(there.first.tolist(), there.second.tolist(), strict=True)):
        x, n = float(there.lengths[bond]) / CUTOFF, there.directions[bond].numpy()
        u = 1 - 28 * x**6 + 48 * x**7 - 21 * x**8
        forces[i] += u * float(on_first[bond]) * n
        forces[j] -= u * float(on_second[bond]) * n
        p, t = scalars[bond].tolist()
        stresses[there.structure_of_atom[i]] += u * (p * np.eye(3) + t * (np.outer(n, n) - np.eye(3) / 3))
    for atom, structure in enumerate(there.structure_of_atom.tolist()):
        stresses[structure] += float(heads.of_atoms(view.atoms[atom])) * np.eye(3)
    found_forces, found_stresses = heads(there)
    np.testing.assert_allclose(found_forces, forces, atol=1e-12)
    np.testing.assert_allclose(found_stresses, stresses / there.volumes.numpy()[:, None, None], atol=1e-12)


def test_a_bond_is_seen_beside_the_vectors_of_its_atoms():
    """Bond by bond: V_i · n_ij, V_j · n_ji and V_i · V_j."""
    there, view = random_input(), heads_of(is_antisymmetric=True).view
    envelope = polynomial_envelope(there.lengths, CUTOFF)[:, None]
    seen = view(there, envelope)
    ends = there.first, there.second
    coefficients = view.coefficients(seen.atoms, (seen.bonds, seen.bonds), ends)
    vectors = np.zeros((5, N_VECTORS, 3))
    for bond, (i, j) in enumerate(zip(*(end.tolist() for end in ends), strict=True)):
        n = float(envelope[bond]) * there.directions[bond].numpy()
        vectors[i] += np.outer(coefficients[0][bond].numpy(), n)
        vectors[j] -= np.outer(coefficients[1][bond].numpy(), n)
    n, i, j = there.directions.numpy(), *(end.numpy() for end in ends)
    np.testing.assert_allclose(seen.at_first, np.einsum("bkx,bx->bk", vectors[i], n), atol=1e-12)
    np.testing.assert_allclose(seen.at_second, np.einsum("bkx,bx->bk", vectors[j], -n), atol=1e-12)
    np.testing.assert_allclose(seen.between, np.einsum("bkx,bkx->bk", vectors[i], vectors[j]), atol=1e-12)
    assert abs(vectors).max() > 0.01


def test_without_bonds_there_are_no_forces():
    lone = random_input(n_atoms=2, n_bonds=0)
    forces, stresses = heads_of(is_antisymmetric=True)(lone)
    assert torch.equal(forces, torch.zeros(2, 3, dtype=torch.float64))
    assert torch.equal(stresses, stresses.diagonal(dim1=1, dim2=2).diag_embed())
