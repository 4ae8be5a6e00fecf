"""Compiled passes over some rows of a gated perceptron: all of its work but the products with matrices, in float32.

A few hundred rows at a time stay in the second cache from one pass to the next. Core and gate are halves [2, n_rows,
N_FEATURES] of an array. Indices may repeat; what they name is added to row after row.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from models.exponential import exponential
from models.potential.chgnet.layers import N_FEATURES

Array = NDArray[np.float32]
IntArray = NDArray[np.int64]

_FAST = {"reassoc", "contract", "arcp", "nsz"}
"""Sums in any order, which lets them run in lanes; NaN and infinity keep their meaning."""

_EPSILON = np.float32(1e-5)
"""Added to the variance by torch.nn.LayerNorm."""

_TRACE = np.float32(1e-20)
_ONE = np.float32(1)


class Picked(NamedTuple):
    """Rows of a table: the table, [:, n_columns], and where each is in it, [n]."""

    table: Array
    at: IntArray


@njit(fastmath=_FAST, error_model="numpy", cache=True)
def without_trace(x):
    """The number, or zero if it is tiny: processors take a hundred times as long for the least numbers there are."""
    return np.float32(0) if abs(x) < _TRACE else x


@njit(fastmath=_FAST, error_model="numpy", cache=True)
def set_sums(sums: Array, first: Picked, second: Picked, third: Picked):
    """Sets the first layer, [2, n, N_FEATURES], to sums of rows of three tables, [:, 2 N_FEATURES]."""
    for row in range(sums.shape[1]):
        a, b, c = first.table[first.at[row]], second.table[second.at[row]], third.table[third.at[row]]
        for half in range(2):
            out, start = sums[half, row], half * N_FEATURES
            for column in range(N_FEATURES):
                out[column] = a[start + column] + b[start + column] + c[start + column]


@njit(fastmath=_FAST, error_model="numpy", cache=True)
def set_silu(activated: Array, values: Array):
    """Sets an array to x σ(x) of another of its shape, [n]."""
    for index in range(len(values)):
        x = values[index]
        activated[index] = x / (_ONE + exponential(-x))


@njit(fastmath=_FAST, error_model="numpy", cache=True)
def multiply_by_slope_of_silu(gradient: Array, values: Array):
    """Multiplies an array by the derivative of x σ(x) at another of its shape, [n]."""
    for index in range(len(values)):
        x = values[index]
        sigma = _ONE / (_ONE + exponential(-x))
        gradient[index] = without_trace(gradient[index] * sigma * (_ONE + x * (_ONE - sigma)))


@njit(fastmath=_FAST, error_model="numpy", cache=True)
def _set_normalised(normalised: Array, values: Array, bias: Array) -> np.float32:
    """Sets a row, [N_FEATURES], to values plus bias without their mean and over their deviation; one over that."""
    total = np.float32(0)
    for column in range(N_FEATURES):
        normalised[column] = values[column] + bias[column]
        total += normalised[column]
    mean = total / np.float32(N_FEATURES)
    squares = np.float32(0)
    for column in range(N_FEATURES):
        normalised[column] -= mean
        squares += normalised[column] * normalised[column]
    inverse = _ONE / np.sqrt(squares / np.float32(N_FEATURES) + _EPSILON)
    for column in range(N_FEATURES):
        normalised[column] *= inverse
    return inverse


@njit(fastmath=_FAST, error_model="numpy", cache=True)
def add_gated(values: Array, affine: Array, weights: Picked, sums: Picked):
    """Adds weighted outputs of the perceptron to rows of sums.

    Args:
        values: Core and gate before their norms, [2, n, N_FEATURES].
        affine: Bias before the norm, factor and bias after it, of core and gate, [3, 2, N_FEATURES].
        weights: Weight of each output, [:, N_FEATURES].
        sums: What each is added to, [:, N_FEATURES].
    """
    core, gate = np.empty(N_FEATURES, np.float32), np.empty(N_FEATURES, np.float32)
    for row in range(values.shape[1]):
        _set_normalised(core, values[0, row], affine[0, 0])
        _set_normalised(gate, values[1, row], affine[0, 1])
        weight, out = weights.table[weights.at[row]], sums.table[sums.at[row]]
        for column in range(N_FEATURES):
            c = core[column] * affine[1, 0, column] + affine[2, 0, column]
            g = gate[column] * affine[1, 1, column] + affine[2, 1, column]
            core[column] = without_trace(c / ((_ONE + exponential(-c)) * (_ONE + exponential(-g))))
        for column in range(N_FEATURES):
            out[column] += weight[column] * core[column]


@njit(fastmath=_FAST, error_model="numpy", cache=True)
def set_gradient_of_gated(
    gradient: Array, by_weights: Array, values: Array, affine: Array, weights: Picked, by_sums: Picked
):
    """Sets a gradient to that with respect to the values of `add_gated`, [2, n, N_FEATURES].

    Args:
        gradient: What is set.
        by_weights: The gradient with respect to the table of weights, which is added to.
        values: As there.
        affine: As there.
        weights: As there.
        by_sums: The gradient with respect to the sums.
    """
    core, gate = np.empty(N_FEATURES, np.float32), np.empty(N_FEATURES, np.float32)
    output = np.empty(N_FEATURES, np.float32)
    for row in range(values.shape[1]):
        of_core = _set_normalised(core, values[0, row], affine[0, 0])
        of_gate = _set_normalised(gate, values[1, row], affine[0, 1])
        weight, by_out = weights.table[weights.at[row]], by_sums.table[by_sums.at[row]]
        by_core, by_gate, by_weight = gradient[0, row], gradient[1, row], by_weights[weights.at[row]]
        for column in range(N_FEATURES):
            c = core[column] * affine[1, 0, column] + affine[2, 0, column]
            g = gate[column] * affine[1, 1, column] + affine[2, 1, column]
            sigma, opening = _ONE / (_ONE + exponential(-c)), _ONE / (_ONE + exponential(-g))
            both = without_trace(sigma * opening)
            output[column] = by_out[column] * c * both
            change = by_out[column] * weight[column] * both
            by_core[column] = without_trace(change * (_ONE + c * (_ONE - sigma))) * affine[1, 0, column]
            by_gate[column] = without_trace(change * c * (_ONE - opening)) * affine[1, 1, column]
        for column in range(N_FEATURES):
            by_weight[column] += output[column]
        _take_back_norm(by_core, core, of_core)
        _take_back_norm(by_gate, gate, of_gate)


@njit(fastmath=_FAST, error_model="numpy", cache=True)
def _take_back_norm(gradient: Array, normalised: Array, inverse: np.float32):
    """Turns the gradient with respect to a normalised row into that with respect to the row, [N_FEATURES]."""
    total, product = np.float32(0), np.float32(0)
    for column in range(N_FEATURES):
        total += gradient[column]
        product += gradient[column] * normalised[column]
    mean, slope = total / np.float32(N_FEATURES), product / np.float32(N_FEATURES)
    for column in range(N_FEATURES):
        gradient[column] = inverse * (gradient[column] - mean - normalised[column] * slope)


@njit(fastmath=_FAST, error_model="numpy", cache=True)
def add_gradient_of_sums(gradient: Picked, by_sums: Array):
    """Adds to the gradient of one table of `set_sums`, from that of the sums."""
    for row in range(by_sums.shape[1]):
        total, core, gate = gradient.table[gradient.at[row]], by_sums[0, row], by_sums[1, row]
        for column in range(N_FEATURES):
            total[column] += core[column]
        for column in range(N_FEATURES):
            total[N_FEATURES + column] += gate[column]
