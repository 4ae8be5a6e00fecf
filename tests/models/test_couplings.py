import pytest
import torch
from e3nn import o3

from models.basis.harmonics import degrees, n_harmonics
from models.couplings import (
    Constant,
    EdgeKernels,
    components,
    coupling,
    path_blocks,
    square_constants,
)
from tests.models.structures import TRANSFORMATIONS, wigner_matrix

L_MAX = 3


def test_components_lie_degree_after_degree():
    assert degrees(2).tolist() == [0, 1, 1, 1, 2, 2, 2, 2, 2]
    assert [components(degree) for degree in range(3)] == [slice(0, 1), slice(1, 4), slice(4, 9)]
    assert n_harmonics(2) == 9


def test_every_path_of_natural_parity_is_there_once():
    found = {
        (l_in, l_by, block.l_out)
        for l_in in range(L_MAX + 1)
        for block in path_blocks(l_in, L_MAX)
        for l_by in block.l_by
    }
    irreps = o3.Irreps([(1, (degree, (-1) ** degree)) for degree in range(L_MAX + 1)])
    expected = {(a.l, b.l, product.l) for _, a in irreps for _, b in irreps for product in a * b if product in irreps}
    assert found == expected
    assert len(found) == sum(block.n_paths for l_in in range(L_MAX + 1) for block in path_blocks(l_in, L_MAX))


@pytest.mark.parametrize("path", [(1, 1, 2), (2, 3, 1), (3, 3, 2)], ids=str)
def test_a_product_of_independent_normal_components_has_variance_one(path):
    torch.testing.assert_close(coupling(*path).square().sum((1, 2)), torch.ones(2 * path[2] + 1, dtype=torch.float64))


def test_two_vectors_couple_to_their_scalar_product():
    x, y = torch.tensor([[1.0, 2.0, -1.0], [0.5, 0.3, 4.0]], dtype=torch.float64)
    torch.testing.assert_close(torch.einsum("kij,i,j->k", coupling(1, 1, 0), x, y), (x @ y)[None] / 3**0.5)


def test_kernels_multiply_features_by_harmonics():
    harmonics, features = torch.randn(5, 16, dtype=torch.float64), torch.randn(5, 16, dtype=torch.float64)
    kernels = EdgeKernels(L_MAX).double()(harmonics)
    for l_in, kernel in enumerate(kernels):
        rows = torch.einsum("eri,ei->er", kernel, features[:, components(l_in)])
        row = 0
        for block in path_blocks(l_in, L_MAX):
            found = rows[:, row : row + block.n_rows].reshape(5, -1, block.n_paths)
            row += block.n_rows
            for path, l_by in enumerate(block.l_by):
                expected = torch.einsum(
                    "kij,ei,ej->ek",
                    coupling(l_in, l_by, block.l_out),
                    features[:, components(l_in)],
                    harmonics[:, components(l_by)],
                )
                torch.testing.assert_close(found[..., path], expected)
        assert row == kernel.shape[1]


def test_squares_turn_with_what_is_squared():
    constants, n_paths = square_constants(L_MAX)
    wigner = wigner_matrix(TRANSFORMATIONS["roto-inversion"], L_MAX)
    features = torch.randn(16, dtype=torch.float64)
    i, j = torch.triu_indices(16, 16)

    def squares(features):
        rows = [(2 * degree + 1) * n for degree, n in enumerate(n_paths)]
        parts = (constants @ (features[i] * features[j])).split(rows)
        return [part.reshape(-1, n) for part, n in zip(parts, n_paths, strict=True)]

    for degree, (turned, before) in enumerate(zip(squares(wigner @ features), squares(features), strict=True)):
        block = wigner[components(degree), components(degree)]
        torch.testing.assert_close(turned, block @ before)
        assert (before.norm(dim=0) > 1e-3).all()


def test_constants_are_exact_in_every_type():
    constant = Constant(torch.tensor([1 / 3], dtype=torch.float64))
    assert constant.value.dtype == torch.float32
    assert constant.double().value.item() == 1 / 3
    assert constant.float().value.item() == torch.tensor(1 / 3).item()
    assert constant.state_dict() == {}
