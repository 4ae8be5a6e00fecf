"""Functions of rows gathered from tables: messages along edges and in angles, where nearly all the work is.

They are ordinary operations, differentiable as often as one likes, unless weights are frozen and the rows many. Those
are worked on in runs, nothing but the tables is kept for the way back, and there each run is computed once more: a
large cell then takes about a fifth of the memory and half as much time again.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

RowFunction = Callable[..., Tensor]

_ROWS_KEPT = 2**17
"""Rows whose intermediate results are kept, some 20 kB each in all layers together: 3 GB."""

_ROWS_OF_A_RUN = 2**13


class Rows(NamedTuple):
    """One input of a function of rows.

    Attributes:
        table: Values, [n, n_columns].
        index: Place in the table of each row, [n_rows]; None if the rows are the table.
    """

    table: Tensor
    index: Tensor | None = None


class Owners(NamedTuple):
    """Who rows belong to.

    Attributes:
        index: Owner of each row, [n_rows].
        n: How many there are.
    """

    index: Tensor
    n: int


def of_rows(function: RowFunction, inputs: Sequence[Rows], owners: Owners | None = None, *, is_frozen: bool) -> Tensor:
    """A function of rows, [n_rows, n_out], or its sum over the rows of each owner, [n_owners, n_out].

    Args:
        function: Takes a tensor for each input, of the same rows, and gives one for them; it knows no other tensor
            that is differentiated, unless `is_frozen` is false.
        inputs: Where the rows come from.
        owners: Who owns each row; None for no sum.
        is_frozen: Whether the tables alone are differentiated, and once.
    """
    tables, indices = [one.table for one in inputs], [one.index for one in inputs]
    if is_frozen and _n_rows(tables, indices) > _ROWS_KEPT:
        return _InRuns.apply(function, indices, owners, *tables)  # type: ignore[no-any-return]
    rows = function(*map(_gathered, tables, indices))
    return rows if owners is None else summed(rows, owners)


def summed(rows: Tensor, owners: Owners) -> Tensor:
    """Sum of the rows of each owner, [n_owners, n_columns]; zero for an owner without rows."""
    return rows.new_zeros(owners.n, rows.shape[1]).index_add(0, owners.index, rows)


def _gathered(table: Tensor, index: Tensor | None) -> Tensor:
    return table if index is None else table.index_select(0, index)


def _n_rows(tables: Sequence[Tensor], indices: Sequence[Tensor | None]) -> int:
    return len(tables[0] if indices[0] is None else indices[0])


def _runs(tables: Sequence[Tensor], indices: Sequence[Tensor | None]) -> list[slice]:
    return [slice(first, first + _ROWS_OF_A_RUN) for first in range(0, _n_rows(tables, indices), _ROWS_OF_A_RUN)]


def _of_run(tables: Sequence[Tensor], indices: Sequence[Tensor | None], run: slice) -> list[Tensor]:
    """The rows of each input in a run."""
    return [
        table[run] if index is None else table.index_select(0, index[run])
        for table, index in zip(tables, indices, strict=True)
    ]


class _InRuns(torch.autograd.Function):
    """`of_rows`, run by run."""

    @staticmethod
    def forward(
        ctx: Any, function: RowFunction, indices: list[Tensor | None], owners: Owners | None, *tables: Tensor
    ) -> Tensor:
        ctx.function, ctx.indices, ctx.owners = function, indices, owners
        ctx.save_for_backward(*tables)
        if owners is None:
            return torch.cat([function(*_of_run(tables, indices, run)) for run in _runs(tables, indices)])
        first, *others = _runs(tables, indices)
        total = summed(function(*_of_run(tables, indices, first)), Owners(owners.index[first], owners.n))
        for run in others:
            total.index_add_(0, owners.index[run], function(*_of_run(tables, indices, run)))
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_output: Tensor) -> tuple[Tensor | None, ...]:
        tables, indices, owners = ctx.saved_tensors, ctx.indices, ctx.owners
        is_wanted = ctx.needs_input_grad[3:]
        gradients = [torch.zeros_like(one) if wanted else None for one, wanted in zip(tables, is_wanted, strict=True)]
        for run in _runs(tables, indices):
            inputs = [
                one.requires_grad_(wanted) for one, wanted in zip(_of_run(tables, indices, run), is_wanted, strict=True)
            ]
            by_rows = by_output[run] if owners is None else by_output.index_select(0, owners.index[run])
            with torch.enable_grad():
                rows = ctx.function(*inputs)
            found = iter(torch.autograd.grad(rows, [one for one in inputs if one.requires_grad], by_rows))
            for gradient, index in zip(gradients, indices, strict=True):
                if gradient is None:
                    continue
                if index is None:
                    gradient[run] = next(found)
                else:
                    gradient.index_add_(0, index[run], next(found))
        return (None, None, None, *gradients)
