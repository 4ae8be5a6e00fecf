import pytest
import torch
from torch import Tensor

from models.potential.chgnet import rows
from models.potential.chgnet.rows import Owners, Rows, of_rows

N_ROWS = 50


@pytest.fixture
def inputs() -> list[Rows]:
    generator = torch.Generator().manual_seed(1)

    def table(n: int) -> Tensor:
        return torch.randn(n, 3, dtype=torch.float64, generator=generator).requires_grad_()

    places = torch.randint(0, 7, (N_ROWS,), generator=generator)
    return [Rows(table(7), places), Rows(table(N_ROWS)), Rows(table(9).detach(), places + 2)]


@pytest.fixture(params=[None, Owners(torch.arange(N_ROWS) // 6, 11)], ids=["rows", "sums"])
def owners(request) -> Owners | None:
    return request.param


@pytest.fixture
def weight() -> Tensor:
    return torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64, requires_grad=True)


@pytest.fixture
def few_rows_are_kept(monkeypatch):
    monkeypatch.setattr(rows, "_ROWS_KEPT", 10)
    monkeypatch.setattr(rows, "_ROWS_KEPT_IN_TRAINING", 10)
    monkeypatch.setattr(rows, "_ROWS_OF_A_RUN", 8)


class Product:
    """A function of rows and of a weight, not linear in any of them."""

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight

    def __call__(self, first: Tensor, second: Tensor, third: Tensor) -> Tensor:
        return torch.sin(self.weight * first) * second**2 + third * first**2


def value_and_gradients(inputs: list[Rows], owners: Owners | None, weight: Tensor, create_graph=False) -> list[Tensor]:
    value = of_rows(Product(weight), inputs, owners, weights=[weight])
    sources = [one for one in (*(one.table for one in inputs), weight) if one.requires_grad]
    return [value, *torch.autograd.grad((value * torch.cos(value)).sum(), sources, create_graph=create_graph)]


def loss_and_gradients(inputs: list[Rows], owners: Owners | None, weight: Tensor) -> list[Tensor]:
    """A loss of a value and its gradients, as one of energies and forces is, and the gradients of that."""
    found = value_and_gradients(inputs, owners, weight, create_graph=True)
    loss = torch.stack([torch.cos(one).sum() for one in found]).sum()
    sources = [one for one in (*(one.table for one in inputs), weight) if one.requires_grad]
    return [loss, *torch.autograd.grad(loss, sources)]


@pytest.mark.parametrize("is_trained", [True, False])
@pytest.mark.parametrize("found_by", [value_and_gradients, loss_and_gradients])
def test_runs_give_what_all_rows_at_once_give(inputs, owners, weight, is_trained, found_by, request):
    weight.requires_grad_(is_trained)
    at_once = found_by(inputs, owners, weight)
    request.getfixturevalue("few_rows_are_kept")
    in_runs = found_by(inputs, owners, weight)
    assert len(in_runs) == (4 if is_trained else 3)
    for found, expected in zip(in_runs, at_once, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("few_rows_are_kept")
def test_runs_keep_nothing_but_their_tables_and_weights(inputs, owners, weight):
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda one: kept.append(one) or one, lambda one: one):
        of_rows(Product(weight), inputs, owners, weights=[weight])
    assert {one.data_ptr() for one in kept} == {weight.data_ptr(), *(one.table.data_ptr() for one in inputs)}


@pytest.mark.usefixtures("few_rows_are_kept")
def test_runs_refuse_a_third_derivative(inputs, owners, weight):
    _, slope, *_ = value_and_gradients(inputs, owners, weight, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sin().sum(), inputs[0].table, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        curvature.sum().backward()


def test_an_owner_without_rows_has_zero(inputs, weight):
    sums = of_rows(Product(weight), inputs, Owners(torch.arange(N_ROWS) // 6, 11), weights=[weight])
    assert sums.shape == (11, 3)
    assert not sums[9:].any()
