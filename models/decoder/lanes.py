"""The inner loops of the orbital decoder, written in vectors of sixteen harmonics.

Sixteen harmonics lie side by side in memory, one a lane; (L + 1)² of them fill ⌈(L + 1)²/16⌉ vectors: one for L ≤ 3,
two for L = 4. Along a row of points each solid harmonic is a polynomial in the position on the row, and each radial
table is a cubic in the stretched distance, so that a point costs a few multiplications of whole vectors and no gather.
Numba's own vectoriser would work in vectors of eight and read every polynomial again for every point, at half the
speed; hence LLVM's vector types, which it cuts to what the processor has.

`degrees` is a tuple (0 … L): its length is part of its type, so that each L is compiled to straight code of its own.
After a change here, as in `models.decoder.frame`, remove `models/decoder/__pycache__`.
"""

from math import isqrt
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import extending, types
from numba.core import cgutils

LANES = 16

FAST = ("fast",)

intrinsic: Any = extending.intrinsic
"""It takes the first argument, numba's context, away, which type checkers do not know."""


class Column(NamedTuple):
    """A monomial u^a v^b of the perpendicular that multiplies w^power of the position on the row, in one vector."""

    vector: int
    power: int
    monomial: tuple[int, int]


def n_vectors(highest_degree: int) -> int:
    """Number of vectors that hold all harmonics up to this degree."""
    return -(-((highest_degree + 1) ** 2) // LANES)


def degrees_in(vector: int, highest_degree: int) -> range:
    """Degrees of the harmonics in a vector."""
    return range(isqrt(LANES * vector), min(highest_degree, isqrt(LANES * vector + LANES - 1)) + 1)


def monomials(highest_degree: int) -> list[tuple[int, int]]:
    """Powers (a, b) of u^a v^b, in the order in which the kernels hold them: by their sum."""
    return [(total - b, b) for total in range(highest_degree + 1) for b in range(total + 1)]


def columns(highest_degree: int) -> list[Column]:
    """Every monomial of every solid harmonic, in the order of the matrix of `RowHarmonics`."""
    return [
        Column(vector, power, (a, b))
        for vector in range(n_vectors(highest_degree))
        for power in range(degrees_in(vector, highest_degree)[-1] + 1)
        for a, b in monomials(highest_degree)
        if a + b + power in degrees_in(vector, highest_degree)
    ]


class _Emitter:
    """Vector instructions for arrays of one element type.

    Args:
        context: Numba's.
        builder: LLVM's.
        element: Type of the elements.
    """

    def __init__(self, context, builder, element) -> None:
        self._context = context
        self._builder = builder
        self._scalar = context.get_value_type(element)
        self._vector = ir.VectorType(self._scalar, LANES)
        self._index = context.get_value_type(types.intp)

    def index(self, value: int) -> ir.Constant:
        return ir.Constant(self._index, value)

    def data(self, array_type, array) -> ir.Value:
        return self._context.make_array(array_type)(self._context, self._builder, array).data

    def shape(self, array_type, array) -> list[ir.Value]:
        made = self._context.make_array(array_type)(self._context, self._builder, array)
        return cgutils.unpack_tuple(self._builder, made.shape)

    def scalar(self, data: ir.Value, position: ir.Value) -> ir.Value:
        return self._builder.load(self._builder.gep(data, [position]))

    def load(self, data: ir.Value, vector: ir.Value) -> ir.Value:
        loaded = self._builder.load(self._at(data, vector))
        loaded.align = 4
        return loaded

    def store(self, value: ir.Value, data: ir.Value, vector: ir.Value) -> None:
        stored = self._builder.store(value, self._at(data, vector))
        stored.align = 4

    def _at(self, data: ir.Value, vector: ir.Value) -> ir.Value:
        position = self._builder.mul(vector, self.index(LANES))
        return self._builder.bitcast(self._builder.gep(data, [position]), self._vector.as_pointer())

    def splat(self, value: ir.Value) -> ir.Value:
        undefined = ir.Constant(self._vector, ir.Undefined)
        first = self._builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return self._builder.shuffle_vector(first, undefined, zeros)

    def zero(self) -> ir.Value:
        return ir.Constant(self._vector, [0.0] * LANES)

    def times_plus(self, left: ir.Value, right: ir.Value, addend: ir.Value) -> ir.Value:
        return self._builder.fadd(self._builder.fmul(left, right, flags=FAST), addend, flags=FAST)

    def sum(self, vector: ir.Value) -> ir.Value:
        name = f"llvm.vector.reduce.fadd.v{LANES}f{32 if self._scalar == ir.FloatType() else 64}"
        kind = ir.FunctionType(self._scalar, [self._scalar, self._vector])
        function = cgutils.get_or_insert_function(self._builder.module, kind, name)
        return self._builder.call(function, [ir.Constant(self._scalar, 0.0), vector], fastmath=FAST)

    def polynomials(self, data: ir.Value, highest_degree: int) -> list[list[ir.Value]]:
        """Coefficients of the row's polynomials, one list a vector, lowest power first."""
        return [
            [
                self.load(data, self.index(vector * (highest_degree + 1) + power))
                for power in range(degrees_in(vector, highest_degree)[-1] + 1)
            ]
            for vector in range(n_vectors(highest_degree))
        ]

    def horner(self, coefficients: list[ir.Value], position: ir.Value) -> ir.Value:
        value = coefficients[-1]
        for coefficient in coefficients[-2::-1]:
            value = self.times_plus(value, position, coefficient)
        return value


@intrinsic
def set_polynomials(_context, degrees, matrix, monomial_values, polynomials):
    """Writes the polynomials of a row: the sum over columns of a monomial's value times a line of the matrix.

    Args:
        degrees: (0 … L).
        matrix: Lines of `RowHarmonics`, [n_columns, LANES].
        monomial_values: u^a v^b of the row, in the order of `monomials`.
        polynomials: Where to write, [n_vectors, L + 1, LANES].
    """
    highest_degree = degrees.count - 1

    def generate(context, builder, signature, arguments):
        emit = _Emitter(context, builder, matrix.dtype)
        lines, values, target = (
            emit.data(kind, array) for kind, array in zip(signature.args[1:], arguments[1:], strict=True)
        )
        place = {powers: index for index, powers in enumerate(monomials(highest_degree))}
        broadcast = [emit.splat(emit.scalar(values, emit.index(index))) for index in place.values()]
        sums: dict[tuple[int, int], ir.Value] = {}
        for line, (vector, power, monomial) in enumerate(columns(highest_degree)):
            sums[vector, power] = emit.times_plus(
                broadcast[place[monomial]], emit.load(lines, emit.index(line)), sums.get((vector, power), emit.zero())
            )
        for (vector, power), total in sums.items():
            emit.store(total, target, emit.index(vector * (highest_degree + 1) + power))
        return context.get_dummy_value()

    return types.void(degrees, matrix, monomial_values, polynomials), generate


@intrinsic
def interpolate(_context, degrees, tables, polynomials, points, n_points):
    """Writes Σ_lm Y_lm t_lm of one centre into points.values, for points along a row.

    Args:
        degrees: (0 … L).
        tables: Radial tables of the centre, [n_vectors, n_intervals + 1, 2, LANES].
        polynomials: What `set_polynomials` has written.
        points: `PointsOfRow`.
        n_points: How many of them.
    """

    def generate(context, builder, signature, arguments):
        emit = _Emitter(context, builder, tables.dtype)
        row = _row(emit, builder, signature.args, arguments)
        with cgutils.for_range(builder, arguments[4]) as loop:
            first, position, weights = _point(emit, builder, row, loop.index)
            total = emit.zero()
            for vector, coefficients in enumerate(row.polynomials):
                base = builder.add(first, builder.mul(row.table_length, emit.index(vector)))
                radial = emit.zero()
                for corner, weight in enumerate(weights):
                    value = emit.load(row.tables, builder.add(base, emit.index(corner)))
                    radial = emit.times_plus(weight, value, radial)
                total = emit.times_plus(radial, emit.horner(coefficients, position), total)
            builder.store(emit.sum(total), row.number(builder, VALUE, loop.index))
        return context.get_dummy_value()

    return types.void(degrees, tables, polynomials, points, n_points), generate


@intrinsic
def accumulate(_context, degrees, gradients, polynomials, points, n_points):
    """Adds to the gradient of a centre's tables what the gradients in points.values, along a row, make of it.

    Args:
        degrees: (0 … L).
        gradients: Gradient of the tables of the centre, [n_vectors, n_intervals + 1, 2, LANES].
        polynomials: What `set_polynomials` has written.
        points: `PointsOfRow`.
        n_points: How many of them.
    """

    def generate(context, builder, signature, arguments):
        emit = _Emitter(context, builder, gradients.dtype)
        row = _row(emit, builder, signature.args, arguments)
        with cgutils.for_range(builder, arguments[4]) as loop:
            first, position, weights = _point(emit, builder, row, loop.index)
            upstream = emit.splat(builder.load(row.number(builder, VALUE, loop.index)))
            for vector, coefficients in enumerate(row.polynomials):
                base = builder.add(first, builder.mul(row.table_length, emit.index(vector)))
                harmonics = builder.fmul(upstream, emit.horner(coefficients, position), flags=FAST)
                for corner, weight in enumerate(weights):
                    place = builder.add(base, emit.index(corner))
                    emit.store(emit.times_plus(weight, harmonics, emit.load(row.tables, place)), row.tables, place)
        return context.get_dummy_value()

    return types.void(degrees, gradients, polynomials, points, n_points), generate


class PointsOfRow(NamedTuple):
    """Scratch for a run of points of a row; two arrays, for every array that is handed on costs a count of references.

    Attributes:
        intervals: Interval of the radial tables, int32, [n].
        numbers: Hermite weights of value and slope at its two ends, then the lines `POSITION`, `VALUE` and `SQUARE`,
            [7, n].
    """

    intervals: np.ndarray
    numbers: np.ndarray


POSITION = 4
"""Position on the row from the foot of the perpendicular, in Å."""

VALUE = 5
"""Value at each point, or its gradient."""

SQUARE = 6
"""Squared distance from the centre, in Å²."""


class _Row(NamedTuple):
    """Where things lie: addresses, `table_length` and `capacity` as numbers, polynomials as vectors."""

    tables: ir.Value
    table_length: ir.Value
    polynomials: list[list[ir.Value]]
    intervals: ir.Value
    numbers: ir.Value
    capacity: ir.Value

    def number(self, builder, line: int, point) -> ir.Value:
        """Address of a number of a point."""
        start = builder.mul(self.capacity, ir.Constant(point.type, line))
        return builder.gep(self.numbers, [builder.add(start, point)])


def _row(emit: _Emitter, builder, kinds, arguments) -> _Row:
    """What `interpolate` and `accumulate` need of their arguments: degrees, tables, polynomials, points."""
    tables_shape = emit.shape(kinds[1], arguments[1])
    arrays = [builder.extract_value(arguments[3], place) for place in range(len(kinds[3].types))]
    return _Row(
        emit.data(kinds[1], arguments[1]),
        builder.mul(tables_shape[1], tables_shape[2]),
        emit.polynomials(emit.data(kinds[2], arguments[2]), kinds[0].count - 1),
        *(emit.data(kind, array) for kind, array in zip(kinds[3].types, arrays, strict=True)),
        capacity=emit.shape(kinds[3].types[1], arrays[1])[1],
    )


def _point(emit: _Emitter, builder, row: _Row, point) -> tuple[ir.Value, ir.Value, list[ir.Value]]:
    """First vector of the point's interval in a table, its position on the row and its four weights, broadcast."""
    interval = builder.sext(emit.scalar(row.intervals, point), point.type)
    weights = [emit.splat(builder.load(row.number(builder, corner, point))) for corner in range(4)]
    return builder.mul(interval, emit.index(2)), emit.splat(builder.load(row.number(builder, POSITION, point))), weights
