"""Functions of rows gathered from tables: messages along edges and in angles, where nearly all the work is.

They are ordinary operations, differentiable as often as one likes, where rows are few. Many are worked on in runs,
nothing but the tables is kept for the way back, and there each run is computed once more; so it is once again where
that way back is differentiated, as a loss of forces needs it. Frozen weights leave a large cell about a fifth of the
memory then, for half as much time again. While weights are trained, the memory runs out sooner, so runs begin sooner.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

RowFunction = Callable[..., Tensor]

_ROWS_KEPT = 2**17
"""Rows whose intermediate results are kept, some 20 kB each in all layers together: 3 GB."""

_ROWS_KEPT_IN_TRAINING = 2**13
"""The same while weights are trained: a gradient of forces keeps several times as much."""

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


def of_rows(
    function: RowFunction, inputs: Sequence[Rows], owners: Owners | None = None, *, weights: Iterable[Tensor]
) -> Tensor:
    """A function of rows, [n_rows, n_out], or its sum over the rows of each owner, [n_owners, n_out].

    Args:
        function: Takes a tensor for each input, of the same rows, and gives one for them.
        inputs: Where the rows come from.
        owners: Who owns each row; None for no sum.
        weights: Whatever else the function knows that may be differentiated.
    """
    tables, indices = [one.table for one in inputs], [one.index for one in inputs]
    trained = [weight for weight in weights if weight.requires_grad]
    if _n_rows(tables, indices) > (_ROWS_KEPT_IN_TRAINING if trained else _ROWS_KEPT):
        return cast(Tensor, _InRuns.apply(_work(function, indices, owners, len(trained)), *tables, *trained))
    rows = function(*map(_gathered, tables, indices))
    return rows if owners is None else summed(rows, owners)


def summed(rows: Tensor, owners: Owners) -> Tensor:
    """Sum of the rows of each owner, [n_owners, n_columns]; zero for an owner without rows."""
    return rows.new_zeros(owners.n, rows.shape[1]).index_add(0, owners.index, rows)


def _gathered(table: Tensor, index: Tensor | None) -> Tensor:
    return table if index is None else table.index_select(0, index)


def _n_rows(tables: Sequence[Tensor], indices: Sequence[Tensor | None]) -> int:
    return len(tables[0] if indices[0] is None else indices[0])


_ALL = slice(None)
"""Where each row finds a weight: all of it."""

Place = Tensor | slice | None
"""Where rows find what they need of a tensor: an index, all of it, or, if None, in the order of the rows."""


class _Work(NamedTuple):
    """What is done to rows.

    Attributes:
        function: The function.
        places: Where the rows find what they need, in each table and then in each weight.
        owner: The same for what comes out.
        n_inputs: Number of tables.
        n_owners: Length of the sum; None for no sum.
    """

    function: RowFunction
    places: Sequence[Place]
    owner: Tensor | None
    n_inputs: int
    n_owners: int | None

    def sources(self, tensors: Sequence[Tensor], run: slice) -> list[Tensor]:
        """Inputs in a run, cut off from the tables that they come from, and the weights themselves."""
        return [
            tensor if place is _ALL else _part(tensor.detach(), place, run).requires_grad_(tensor.requires_grad)
            for tensor, place in zip(tensors, self.places, strict=True)
        ]

    def rows(self, sources: Sequence[Tensor]) -> Tensor:
        """What comes out for the rows of a run."""
        return self.function(*sources[: self.n_inputs])

    def runs(self, tensors: Sequence[Tensor]) -> list[slice]:
        """The rows in runs."""
        n_rows = len(tensors[0] if self.places[0] is None else cast(Tensor, self.places[0]))
        return [slice(first, first + _ROWS_OF_A_RUN) for first in range(0, n_rows, _ROWS_OF_A_RUN)]


def _work(function: RowFunction, indices: Sequence[Tensor | None], owners: Owners | None, n_weights: int) -> _Work:
    places = [*indices, *[_ALL] * n_weights]
    if owners is None:
        return _Work(function, places, None, len(indices), None)
    return _Work(function, places, owners.index, len(indices), owners.n)


def _part(tensor: Tensor, place: Place, run: slice) -> Tensor:
    """What the rows of a run find in a tensor."""
    if isinstance(place, Tensor):
        return tensor.index_select(0, place[run])
    return tensor[run if place is None else place]


def _add(total: Tensor | None, place: Place, run: slice, part: Tensor | None) -> None:
    """Adds what belongs to the rows of a run where they found theirs; nothing if there is nothing."""
    if total is None or part is None:
        return
    if isinstance(place, Tensor):
        total.index_add_(0, place[run], part)
    else:
        total[run if place is None else place].add_(part)


def _zeros(tensors: Sequence[Tensor]) -> list[Tensor | None]:
    """Room for the gradients of those that have one."""
    return [torch.zeros_like(one) if one.requires_grad else None for one in tensors]


def _spread(found: Sequence[Tensor | None], sources: Sequence[Tensor]) -> list[Tensor | None]:
    """Gradients of the differentiated sources, in the order of all of them."""
    following = iter(found)
    return [next(following) if one.requires_grad else None for one in sources]


class _InRuns(torch.autograd.Function):
    """`of_rows`, run by run."""

    @staticmethod
    def forward(ctx: Any, work: _Work, *tensors: Tensor) -> Tensor:
        ctx.work = work
        ctx.save_for_backward(*tensors)
        parts = ((run, work.rows(work.sources(tensors, run)).detach()) for run in work.runs(tensors))
        if work.n_owners is None:
            return torch.cat([part for _, part in parts])
        run, part = next(parts)
        total = part.new_zeros(work.n_owners, part.shape[1])
        _add(total, work.owner, run, part)
        for run, part in parts:
            _add(total, work.owner, run, part)
        return total

    @staticmethod
    def backward(ctx: Any, by_output: Tensor) -> tuple[Tensor | None, ...]:
        return (None, *_Gradients.apply(ctx.work, by_output, *ctx.saved_tensors))


class _Gradients(torch.autograd.Function):
    """Gradients of `_InRuns` with respect to its tensors, run by run."""

    @staticmethod
    def forward(ctx: Any, work: _Work, by_output: Tensor, *tensors: Tensor) -> tuple[Tensor | None, ...]:
        ctx.work = work
        ctx.save_for_backward(by_output, *tensors)
        totals = _zeros(tensors)
        for run in work.runs(tensors):
            sources = work.sources(tensors, run)
            with torch.enable_grad():
                rows = work.rows(sources)
            wanted = [one for one in sources if one.requires_grad]
            found = torch.autograd.grad(rows, wanted, _part(by_output, work.owner, run), allow_unused=True)
            for total, place, part in zip(totals, work.places, _spread(found, sources), strict=True):
                _add(total, place, run, part)
        return tuple(totals)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *by_gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        by_output, *tensors = ctx.saved_tensors
        work, totals, by_totals = ctx.work, _zeros(tensors), torch.zeros_like(by_output)
        for run in work.runs(tensors):
            sources = work.sources(tensors, run)
            by_rows = _part(by_output.detach(), work.owner, run).requires_grad_()
            wanted = [one for one in sources if one.requires_grad]
            with torch.enable_grad():
                found = torch.autograd.grad(work.rows(sources), wanted, by_rows, create_graph=True, allow_unused=True)
            pairs = [
                (gradient, _part(by_gradient, place, run))
                for gradient, by_gradient, place in zip(_spread(found, sources), by_gradients, work.places, strict=True)
                if gradient is not None and by_gradient is not None
            ]
            by_part, *others = torch.autograd.grad(
                [one for one, _ in pairs], [by_rows, *wanted], [one for _, one in pairs], allow_unused=True
            )
            _add(by_totals, work.owner, run, by_part)
            for total, place, part in zip(totals, work.places, _spread(others, sources), strict=True):
                _add(total, place, run, part)
        return (None, by_totals, *totals)
