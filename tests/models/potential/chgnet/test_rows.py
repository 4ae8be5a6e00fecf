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


def product(first: Tensor, second: Tensor, third: Tensor) -> Tensor:
    return torch.sin(first) * second + third * first**2


def value_and_gradients(inputs: list[Rows], owners: Owners | None, is_frozen: bool) -> list[Tensor]:
    value = of_rows(product, inputs, owners, is_frozen=is_frozen)
    tables = [one.table for one in inputs if one.table.requires_grad]
    return [value, *torch.autograd.grad((value * torch.cos(value)).sum(), tables)]


def test_runs_give_what_all_rows_at_once_give(inputs, owners, monkeypatch):
    monkeypatch.setattr(rows, "_ROWS_KEPT", 10)
    monkeypatch.setattr(rows, "_ROWS_OF_A_RUN", 8)
    in_runs, at_once = (value_and_gradients(inputs, owners, is_frozen) for is_frozen in (True, False))
    for found, expected in zip(in_runs, at_once, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_runs_keep_nothing_but_their_tables(inputs, owners, monkeypatch):
    monkeypatch.setattr(rows, "_ROWS_KEPT", 10)
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda one: kept.append(one) or one, lambda one: one):
        of_rows(product, inputs, owners, is_frozen=True)
    assert {one.data_ptr() for one in kept} == {one.table.data_ptr() for one in inputs}


def test_runs_refuse_a_second_derivative(inputs, owners, monkeypatch):
    monkeypatch.setattr(rows, "_ROWS_KEPT", 10)
    value = of_rows(product, inputs, owners, is_frozen=True).square().sum()
    (slope,) = torch.autograd.grad(value, inputs[0].table, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        slope.sum().backward()


def test_an_owner_without_rows_has_zero(inputs):
    sums = of_rows(product, inputs, Owners(torch.arange(N_ROWS) // 6, 11), is_frozen=True)
    assert sums.shape == (11, 3)
    assert not sums[9:].any()
