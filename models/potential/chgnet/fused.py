"""Messages of a frozen float32 network on a processor, some hundred rows at a time, from gathering to summing.

Ordinary operations write and read an array of all rows for each step. Here a run of rows stays in the cache from its
first step to its last, in compiled passes and small products of matrices, and nothing but the tables is kept for the
way back, where each run is computed once more. The results are differentiable once.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from models.potential.chgnet import kernels
from models.potential.chgnet.kernels import Array, IntArray, Picked
from models.potential.chgnet.layers import N_FEATURES, GatedPerceptron
from models.potential.chgnet.rows import Owners, Rows

_ROWS_OF_A_RUN = 512
"""Their four arrays of 2 N_FEATURES float32 are 1 MB."""

_MOST_THREADS = 2
"""Threads up to which this was seen to be faster: its passes run on one, ordinary operations on all."""


class Inputs(NamedTuple):
    """What messages are made of.

    Attributes:
        first: A contribution to the first layer, [n_first, 2 N_FEATURES], and where each row finds it.
        second: Another.
        third: Another; or, without an index, features of the rows that part 2 of the perceptron is to project.
        weights: Factors of the output, [n_weights, N_FEATURES].
    """

    first: Rows
    second: Rows
    third: Rows
    weights: Rows


def can_fuse(perceptron: GatedPerceptron, features: Tensor) -> bool:
    """Whether `fused_sums` should take the place of ordinary operations: it knows one type, one device, one kind."""
    is_simple = features.dtype == torch.float32 and features.device.type == "cpu"
    is_faster = torch.get_num_threads() <= _MOST_THREADS
    return is_simple and is_faster and perceptron.core.norm is not None and perceptron.is_frozen


def fused_sums(perceptron: GatedPerceptron, inputs: Inputs, owners: Owners, start: Tensor | None = None) -> Tensor:
    """Weighted outputs of a perceptron, summed over the rows of each owner, [n_owners, N_FEATURES].

    Args:
        perceptron: One that `can_fuse`.
        inputs: Where its inputs and the weights come from.
        owners: Who owns each row.
        start: What the outputs are added to, [n_owners, N_FEATURES]; zeros if None.
    """
    if start is None:
        start = inputs.first.table.new_zeros(owners.n, N_FEATURES)
    layers = _layers(perceptron, is_projected=inputs.third.index is None)
    places = _Places(*(_array(one.index) for one in inputs), owner=_array(owners.index))
    return cast(Tensor, _Fused.apply(layers, places, start, *(one.table for one in inputs)))


class _Layers(NamedTuple):
    """Weights of a perceptron.

    Attributes:
        projection: Those of part 2, [2 N_FEATURES, N_FEATURES], if it is to be projected.
        hidden: Those of the hidden layers of core and gate, [2, N_FEATURES, N_FEATURES], if it has any.
        affine: Bias before the norm, factor and bias after it, of core and gate, [3, 2, N_FEATURES].
    """

    projection: Tensor | None
    hidden: Tensor | None
    affine: Array


def _layers(perceptron: GatedPerceptron, is_projected: bool) -> _Layers:
    branches = (perceptron.core, perceptron.gate)
    hidden = [one.hidden for one in branches if one.hidden is not None]
    norms = [one.norm for one in branches if one.norm is not None]
    after = [torch.stack([one.weight for one in norms]), torch.stack([one.bias for one in norms])]
    before = torch.stack([one.bias for one in hidden]) if hidden else torch.zeros_like(after[0])
    return _Layers(
        projection=perceptron.parts[2] if is_projected else None,
        hidden=torch.stack([one.weight for one in hidden]) if hidden else None,
        affine=torch.stack([before, *after]).numpy(),
    )


class _Places(NamedTuple):
    """Where each row finds its inputs, and its owner, [n_rows] each; nothing, [0], for an input without an index."""

    first: IntArray
    second: IntArray
    third: IntArray
    weights: IntArray
    owner: IntArray


def _array(index: Tensor | None) -> IntArray:
    """An index as numpy has it; none is empty."""
    return np.empty(0, np.int64) if index is None else index.numpy()


def _runs(places: _Places) -> Iterator[tuple[slice, _Places]]:
    """The rows in runs, and their places; what is projected has its place in the run."""
    n_rows = len(places.owner)
    for first in range(0, n_rows, _ROWS_OF_A_RUN):
        run = slice(first, min(first + _ROWS_OF_A_RUN, n_rows))
        of_run = _Places(*(index[run] for index in places))
        yield run, of_run if len(places.third) else of_run._replace(third=np.arange(run.stop - run.start))


class _Scratch:
    """Memory for the layers of a run.

    Attributes:
        projected: Third input, [n, 2 N_FEATURES].
        first_layer: Sum of the inputs, [2, n, N_FEATURES].
        activated: After its activation; on the way back the gradient with respect to the first layer.
        values: Core and gate before their norms.
        by_values: The gradient with respect to these.
    """

    def __init__(self, n_rows: int) -> None:
        self.projected = torch.empty(n_rows, 2 * N_FEATURES)
        self.first_layer, self.activated, self.values, self.by_values = (
            torch.empty(2, n_rows, N_FEATURES) for _ in range(4)
        )

    def of(self, n_rows: int) -> "_Scratch":
        """Memory for a run of some number of rows: this one, or a smaller one."""
        return self if n_rows == len(self.projected) else _Scratch(n_rows)


def _values(scratch: _Scratch, layers: _Layers, at: _Places, tables: Sequence[Tensor]) -> Array:
    """Core and gate before their norms, [2, n, N_FEATURES]; the scratch then holds the first layer."""
    first_layer = scratch.first_layer.numpy()
    kernels.set_sums(first_layer, *(Picked(one.numpy(), where) for one, where in zip(tables, at[:3], strict=True)))
    if layers.hidden is None:
        return first_layer
    kernels.set_silu(scratch.activated.numpy().reshape(-1), first_layer.reshape(-1))
    return torch.bmm(scratch.activated, layers.hidden.mT, out=scratch.values).numpy()


def _of_run(scratch: _Scratch, layers: _Layers, run: slice, tables: Sequence[Tensor]) -> list[Tensor]:
    """Tables of the first layer's three inputs, the third projected if it is to be."""
    first, second, third, _ = tables
    if layers.projection is not None:
        third = torch.mm(third[run], layers.projection.T, out=scratch.projected)
    return [first, second, third]


def _by_first_layer(scratch: _Scratch, layers: _Layers) -> Array:
    """The gradient with respect to the first layer, [2, n, N_FEATURES], from that with respect to the values."""
    if layers.hidden is None:
        return scratch.by_values.numpy()
    gradient = torch.bmm(scratch.by_values, layers.hidden, out=scratch.activated).numpy()
    kernels.multiply_by_slope_of_silu(gradient.reshape(-1), scratch.first_layer.numpy().reshape(-1))
    return gradient


def _add_to_tables(
    gradients: Sequence[Tensor], layers: _Layers, run: slice, at: _Places, by_first_layer: Array
) -> None:
    """Adds to the gradients of the first layer's three inputs, from that with respect to it."""
    n_picked = 3 if layers.projection is None else 2
    for gradient, where in zip(gradients[:n_picked], at[:n_picked], strict=True):
        kernels.add_gradient_of_sums(Picked(gradient.numpy(), where), by_first_layer)
    if layers.projection is not None:
        for half, weights in zip(torch.from_numpy(by_first_layer), layers.projection.split(N_FEATURES), strict=True):
            gradients[2][run].addmm_(half, weights)


class _Fused(torch.autograd.Function):
    """`fused_sums` of tables."""

    @staticmethod
    def forward(ctx: Any, layers: _Layers, places: _Places, start: Tensor, *given: Tensor) -> Tensor:
        tables = [table.detach().contiguous() for table in given]
        ctx.layers, ctx.places = layers, places
        ctx.save_for_backward(*tables)
        sums, weights, whole = start.detach().clone(), tables[3].numpy(), _Scratch(_ROWS_OF_A_RUN)
        for run, at in _runs(places):
            scratch = whole.of(len(at.owner))
            values = _values(scratch, layers, at, _of_run(scratch, layers, run, tables))
            kernels.add_gated(values, layers.affine, Picked(weights, at.weights), Picked(sums.numpy(), at.owner))
        return sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_sums: Tensor) -> tuple[Tensor | None, ...]:
        layers, tables = ctx.layers, ctx.saved_tensors
        gradients = [torch.zeros_like(table) for table in tables]
        weights, by_weights, by_output = (one.numpy() for one in (tables[3], gradients[3], by_sums.contiguous()))
        whole = _Scratch(_ROWS_OF_A_RUN)
        for run, at in _runs(ctx.places):
            scratch = whole.of(len(at.owner))
            values = _values(scratch, layers, at, _of_run(scratch, layers, run, tables))
            picked, by_picked = Picked(weights, at.weights), Picked(by_output, at.owner)
            by_values = scratch.by_values.numpy()
            kernels.set_gradient_of_gated(by_values, by_weights, values, layers.affine, picked, by_picked)
            _add_to_tables(gradients[:3], layers, run, at, _by_first_layer(scratch, layers))
        return (None, None, by_sums, *gradients)
