r"""What clusters bring to points, compiled for the CPU: `ClusterNetwork` in float32, with gradients of its weights.

Written in torch, six sevenths of the time are passes over [n_pairs, n_hidden] that multiply, add, and take logistic
functions. Here a pair passes twice, with one product of matrices between; and what a cluster asks of its distance is
read from a table, four knots of a cubic B-spline,

.. math:: g(r) = \sum_j B(r/h - j)\, c_j, \qquad c_j = \tfrac16 (8 g_j - g_{j-1} - g_{j+1})

which is exact for cubics, and linear in the weights: their gradients follow from the table's.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numba import njit, prange
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd import Function

from models.basis.harmonics import degrees, leading_factors
from models.density.deep_density.config import ClusterConfig, EnvironmentConfig
from models.exponential import exponential
from models.radial import gaussian_shells

Array = NDArray[np.float32]
IntArray = NDArray[np.int64]

KNOTS_PER_SHELL = 16
"""Intervals of the table between the centres of two shells; a spline's error is 10⁻⁶ of a shell then."""

_PAIRS_AT_ONCE = 64
"""Whose harmonics stay in the first cache."""

_N_PARTS = 8
"""Shares of the atoms, whose gradients of the table are added up apart; at most one thread each."""

_FAST = {"reassoc", "contract", "arcp", "nsz"}
"""Sums in any order, which lets them run in lanes; NaN and infinity keep their meaning."""

_ONE, _SIX = np.float32(1), np.float32(6)


class Seen(NamedTuple):
    """Pairs of points with atoms of one element.

    Attributes:
        vectors: From the atom to the point in Å, those of the first atom first, [n_pairs, 3].
        counts: Pairs of each atom, [n_atoms].
        softening: δ in Å.
        factors: Of each harmonic over its first monomial, [(L + 1)²].
        knots_per_length: Knots of the table in an Å.
    """

    vectors: Array
    counts: IntArray
    softening: np.float32
    factors: Array
    knots_per_length: np.float32

    @classmethod
    def of(cls, vectors: Tensor, counts: list[int], environment: EnvironmentConfig, clusters: ClusterConfig) -> "Seen":
        """The pairs of some vectors.

        Args:
            vectors: From the atom to the point in Å, those of the first atom first, float32, [n_pairs, 3].
            counts: Pairs of each atom.
            environment: Has the degree of the harmonics, and δ.
            clusters: Has the table's cutoff and shells.
        """
        return cls(
            _array(vectors),
            np.array(counts, dtype=np.int64),
            np.float32(environment.softening),
            _factors(environment.highest_degree),
            np.float32(clusters.n_radial * KNOTS_PER_SHELL / clusters.cutoff),
        )


class ClusterWeights(NamedTuple):
    """Weights of what an atom brings to a point.

    Attributes:
        radial: What a gate and a shift ask of its distance, [n_radial, 2 n_hidden].
        first_bias: Of the first layer, [n_hidden].
        hidden: From the first to the second, [n_hidden, n_hidden].
        second_bias: Of the second, [n_hidden].
        last: Of the sum, [n_hidden].
    """

    radial: Tensor
    first_bias: Tensor
    hidden: Tensor
    second_bias: Tensor
    last: Tensor


@lru_cache(maxsize=16)
def shells_at_knots(cutoff: float, n_shells: int) -> Tensor:
    """The coefficients c of each of `gaussian_shells`, from a knot before 0 to two beyond the cutoff, [n_knots, K]."""
    spacing = cutoff / (n_shells * KNOTS_PER_SHELL)
    places = spacing * torch.arange(-2, n_shells * KNOTS_PER_SHELL + 4, dtype=torch.float64)
    values = gaussian_shells(places.abs(), cutoff, n_shells)
    return ((8 * values[1:-1] - values[:-2] - values[2:]) / 6).float()


@lru_cache(maxsize=16)
def _factors(highest_degree: int) -> Array:
    """Harmonics of mean square 1 over their first monomial, [(L + 1)²]."""
    return (leading_factors(highest_degree) * torch.sqrt(2.0 * degrees(highest_degree) + 1)).float().numpy()


class _Layer(NamedTuple):
    """What pairs pass through first.

    Attributes:
        layers: A of each atom, [n_atoms, (L + 1)², n_hidden].
        table: Of g beside a, [n_knots, 2 n_hidden].
        angular: Σ_lm A_lm Y_lm of each pair, which the first pass leaves for the gradients, [n_pairs, n_hidden].
    """

    layers: Array
    table: Array
    angular: Array


class FirstLayer(Function):
    r"""s(g(|x|) Σ_lm A_lm Y_lm(x̂) + a(|x|)) for each pair, s(x) = x σ(x), [n_pairs, n_hidden].

    Its arguments are the pairs; A of their atoms, [n_atoms, (L + 1)², n_hidden]; and the table of g beside a,
    [n_knots, 2 n_hidden]. Gradients are those of A and of the table.
    """

    @staticmethod
    def forward(ctx: Any, seen: Seen, layers: Tensor, table: Tensor) -> Tensor:
        shape = (len(seen.vectors), layers.shape[2])
        angular, activated = np.zeros(shape, dtype=np.float32), np.empty(shape, dtype=np.float32)
        ctx.seen, ctx.layer = seen, _Layer(_array(layers), _array(table), angular)
        _activate_first(ctx.seen, ctx.layer, activated)
        return torch.from_numpy(activated)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor, Tensor]:
        of_layers = np.zeros_like(ctx.layer.layers)
        of_tables = np.zeros((_N_PARTS, *ctx.layer.table.shape), dtype=np.float32)
        _gradients_of_first(ctx.seen, ctx.layer, _array(gradients[0]), of_layers, of_tables)
        return None, torch.from_numpy(of_layers), torch.from_numpy(of_tables.sum(0))


class LastLayer(Function):
    """w · s(x) for each pair, s(x) = x σ(x), from x, [n_pairs, n_hidden], and w, [n_hidden]; → [n_pairs]."""

    @staticmethod
    def forward(ctx: Any, before: Tensor, last: Tensor) -> Tensor:
        values = np.empty(len(before), dtype=np.float32)
        ctx.before, ctx.last = _array(before), _array(last)
        _activate_last(ctx.before, ctx.last, values)
        return torch.from_numpy(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        of_before, of_last = np.empty_like(ctx.before), np.zeros((_N_PARTS, len(ctx.last)), dtype=np.float32)
        _gradients_of_last(ctx.before, ctx.last, _array(gradients[0]), of_before, of_last)
        return torch.from_numpy(of_before), torch.from_numpy(of_last.sum(0))


def _array(tensor: Tensor) -> Array:
    return tensor.detach().contiguous().numpy()


@njit(parallel=True, nogil=True, fastmath=_FAST, error_model="numpy", cache=True)
def _activate_first(seen: Seen, layer: _Layer, activated: Array) -> None:
    layers, table, angular = layer
    n_hidden = layers.shape[2]
    ends = np.cumsum(seen.counts)
    for atom in prange(len(layers)):
        harmonics = np.empty((len(seen.factors), _PAIRS_AT_ONCE), dtype=np.float32)
        lengths = np.empty(_PAIRS_AT_ONCE, dtype=np.float32)
        radial = np.empty(2 * n_hidden, dtype=np.float32)
        for first in range(ends[atom] - seen.counts[atom], ends[atom], _PAIRS_AT_ONCE):
            last = min(first + _PAIRS_AT_ONCE, ends[atom])
            _look(seen, first, last, harmonics, lengths)
            for pair in range(first, last):
                _add_rows(angular[pair], harmonics[:, pair - first], layers[atom])
                _set_radial(table, _spline(lengths[pair - first] * seen.knots_per_length, len(table)), radial)
                there, out = angular[pair], activated[pair]
                for hidden in range(n_hidden):
                    x = radial[hidden] * there[hidden] + radial[n_hidden + hidden]
                    out[hidden] = x / (_ONE + exponential(-x))


@njit(parallel=True, nogil=True, fastmath=_FAST, error_model="numpy", cache=True)
def _gradients_of_first(seen: Seen, layer: _Layer, arriving: Array, of_layers: Array, of_tables: Array) -> None:
    layers, table, angular = layer
    n_hidden = layers.shape[2]
    ends = np.cumsum(seen.counts)
    for part in prange(_N_PARTS):
        harmonics = np.empty((len(seen.factors), _PAIRS_AT_ONCE), dtype=np.float32)
        lengths = np.empty(_PAIRS_AT_ONCE, dtype=np.float32)
        radial, of_radial = np.empty(2 * n_hidden, dtype=np.float32), np.empty(2 * n_hidden, dtype=np.float32)
        of_angular = np.empty((_PAIRS_AT_ONCE, n_hidden), dtype=np.float32)
        for atom in range(part, len(layers), _N_PARTS):
            for first in range(ends[atom] - seen.counts[atom], ends[atom], _PAIRS_AT_ONCE):
                last = min(first + _PAIRS_AT_ONCE, ends[atom])
                _look(seen, first, last, harmonics, lengths)
                for pair in range(first, last):
                    spline = _spline(lengths[pair - first] * seen.knots_per_length, len(table))
                    _set_radial(table, spline, radial)
                    there, gradient, out = angular[pair], arriving[pair], of_angular[pair - first]
                    for hidden in range(n_hidden):
                        x = radial[hidden] * there[hidden] + radial[n_hidden + hidden]
                        change = gradient[hidden] * _slope(x)
                        out[hidden] = change * radial[hidden]
                        of_radial[hidden] = change * there[hidden]
                        of_radial[n_hidden + hidden] = change
                    _add_to_table(of_radial, spline, of_tables[part])
                for row in range(len(harmonics)):
                    _add_rows(of_layers[atom, row], harmonics[row], of_angular[: last - first])


@njit(parallel=True, nogil=True, fastmath=_FAST, error_model="numpy", cache=True)
def _activate_last(before: Array, last: Array, values: Array) -> None:
    for pair in prange(len(before)):
        there, total = before[pair], np.float32(0)
        for hidden in range(len(last)):
            x = there[hidden]
            total += last[hidden] * x / (_ONE + exponential(-x))
        values[pair] = total


@njit(parallel=True, nogil=True, fastmath=_FAST, error_model="numpy", cache=True)
def _gradients_of_last(before: Array, last: Array, arriving: Array, of_before: Array, of_last: Array) -> None:
    n_pairs = len(before)
    for part in prange(_N_PARTS):
        mine = of_last[part]
        for pair in range(n_pairs * part // _N_PARTS, n_pairs * (part + 1) // _N_PARTS):
            there, out, gradient = before[pair], of_before[pair], arriving[pair]
            for hidden in range(len(last)):
                x = there[hidden]
                sigma = _ONE / (_ONE + exponential(-x))
                mine[hidden] += gradient * x * sigma
                out[hidden] = gradient * last[hidden] * sigma * (_ONE + x * (_ONE - sigma))


@njit(fastmath=_FAST, error_model="numpy", cache=True, inline="always")
def _slope(x):
    """Derivative of x σ(x)."""
    sigma = _ONE / (_ONE + exponential(-x))
    return sigma * (_ONE + x * (_ONE - sigma))


@njit(fastmath=_FAST, error_model="numpy", cache=True)
def _look(seen: Seen, first: int, last: int, harmonics: Array, lengths: Array) -> None:
    """Lengths, [n], and harmonics, [(L + 1)², n], of the pairs from `first` to before `last`."""
    n_pairs = last - first
    room = np.empty((8, n_pairs), dtype=np.float32)
    eta, zeta, xi, squared = room[0], room[1], room[2], room[3]
    cosine, sine, before, now = room[4], room[5], room[6], room[7]
    for pair in range(n_pairs):
        x, y, z = seen.vectors[first + pair, 0], seen.vectors[first + pair, 1], seen.vectors[first + pair, 2]
        square = x * x + y * y + z * z
        lengths[pair] = np.sqrt(square)
        softened = square + seen.softening * seen.softening
        inverse = _ONE / np.sqrt(softened)
        eta[pair], zeta[pair], xi[pair] = x * inverse, y * inverse, z * inverse
        squared[pair] = square / softened
        cosine[pair], sine[pair] = _ONE, np.float32(0)
    highest_degree = int(np.sqrt(len(seen.factors))) - 1
    for m in range(highest_degree + 1):
        for pair in range(n_pairs):
            before[pair], now[pair] = np.float32(0), _ONE
        for degree in range(m, highest_degree + 1):
            up, down = degree * degree + degree + m, degree * degree + degree - m
            weight = np.float32((degree + m) * (degree - m)) / np.float32((2 * degree + 1) * (2 * degree - 1))
            with_cosine, with_sine = seen.factors[up], seen.factors[down]
            for pair in range(n_pairs):
                harmonics[down, pair] = with_sine * now[pair] * sine[pair]
                harmonics[up, pair] = with_cosine * now[pair] * cosine[pair]
                following = zeta[pair] * now[pair] - weight * squared[pair] * before[pair]
                before[pair] = now[pair]
                now[pair] = following
        for pair in range(n_pairs):
            turned = xi[pair] * cosine[pair] - eta[pair] * sine[pair]
            sine[pair] = xi[pair] * sine[pair] + eta[pair] * cosine[pair]
            cosine[pair] = turned


@njit(fastmath=_FAST, error_model="numpy", cache=True)
def _add_rows(total: Array, weights: Array, rows: Array) -> None:
    """Adds a weighted sum of rows, [n] and [n, n_hidden], to [n_hidden].

    Eight rows at a time, for otherwise most of the time would go to reading and writing the sum.
    """
    n_odd = len(rows) % 8
    for row in range(n_odd):
        for k in range(len(total)):
            total[k] += weights[row] * rows[row, k]
    for n in range(n_odd, len(rows), 8):
        a, b, c, d = weights[n], weights[n + 1], weights[n + 2], weights[n + 3]
        e, f, g, h = weights[n + 4], weights[n + 5], weights[n + 6], weights[n + 7]
        for k in range(len(total)):
            first = a * rows[n, k] + b * rows[n + 1, k] + c * rows[n + 2, k] + d * rows[n + 3, k]
            second = e * rows[n + 4, k] + f * rows[n + 5, k] + g * rows[n + 6, k] + h * rows[n + 7, k]
            total[k] += first + second


@njit(fastmath=_FAST, error_model="numpy", cache=True)
def _spline(place, n_rows):
    """First of the four rows of a table that a place between knots asks for, and their weights; the last beyond it."""
    row = max(0, min(int(place), n_rows - 4))
    t = place - np.float32(row)
    s, square = _ONE - t, t * t
    cube = square * t
    third = (np.float32(3) * (t + square - cube) + _ONE) / _SIX
    return row, (s * s * s / _SIX, (np.float32(3) * cube - _SIX * square + np.float32(4)) / _SIX, third, cube / _SIX)


@njit(fastmath=_FAST, error_model="numpy", cache=True)
def _set_radial(table: Array, spline: Any, radial: Array) -> None:
    row, (a, b, c, d) = spline
    of_a, of_b, of_c, of_d = table[row], table[row + 1], table[row + 2], table[row + 3]
    for column in range(len(radial)):
        radial[column] = a * of_a[column] + b * of_b[column] + c * of_c[column] + d * of_d[column]


@njit(fastmath=_FAST, error_model="numpy", cache=True)
def _add_to_table(of_radial: Array, spline: Any, of_table: Array) -> None:
    row, weights = spline
    for step in range(4):
        weight, there = weights[step], of_table[row + step]
        for column in range(len(of_radial)):
            there[column] += weight * of_radial[column]
