"""The innermost loop, written for vector registers: sums of outer products.

Numba's own loops keep sums over neighbours in memory; here 8 radial functions times up to 13
harmonics stay in registers while the neighbours pass by.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from atomprint.ground.compiled import compiled
from atomprint.ground.vectors import LANES

BATCH = 64
"""Neighbours taken at a time: what is made of them stays in the first-level cache."""

# A fused multiply-add takes four cycles and two start in each: eight sums hide the wait.
_SUMS_IN_FLIGHT = 8


def _make_tile(n_rows: int) -> Any:
    """Make the intrinsic of a tile with a fixed number of rows."""

    @intrinsic
    def tile(
        typing_context: Any,
        left: Any,
        left_start: Any,
        left_stride: Any,
        left_step: Any,
        right: Any,
        right_start: Any,
        right_stride: Any,
        count: Any,
        out: Any,
        out_start: Any,
        out_stride: Any,
    ) -> Any:
        signature = types.void(
            left, types.intp, types.intp, types.intp, right, types.intp, types.intp, types.intp,
            out, types.intp, types.intp,
        )  # fmt: skip

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            arrays = [
                context.make_array(signature.args[k])(context, builder, arguments[k]).data
                for k in (0, 4, 8)
            ]
            emit = _Emitter(builder, context.get_value_type(signature.args[0].dtype))
            _, start, stride, step, _, right_start, right_stride, count, *_ = arguments

            def left_at(m: int, j: Any) -> Any:
                column = builder.add(start, builder.mul(step, j))
                place = builder.add(column, builder.mul(stride, stride.type(m)))
                return emit.spread(arrays[0], place)

            def right_at(j: Any) -> Any:
                return emit.load(arrays[1], builder.add(right_start, builder.mul(j, right_stride)))

            _emit_tile(emit, n_rows, left_at, right_at, count, arrays[2], *arguments[9:])
            return context.get_dummy_value()

        return signature, generate

    return tile


def _make_cubic_tile(n_rows: int) -> Any:
    """Make the intrinsic of a tile whose right side is evaluated from cubics on the way."""

    @intrinsic
    def tile(
        typing_context: Any,
        left: Any,
        left_start: Any,
        table: Any,
        cells: Any,
        places: Any,
        first: Any,
        column: Any,
        width: Any,
        count: Any,
        out: Any,
        out_start: Any,
        out_stride: Any,
    ) -> Any:
        signature = types.void(
            left, types.intp, table, cells, places, types.intp, types.intp, types.intp, types.intp,
            out, types.intp, types.intp,
        )  # fmt: skip

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            harmonics, cubics, of_cells, of_places, total = [
                context.make_array(signature.args[k])(context, builder, arguments[k]).data
                for k in (0, 2, 3, 4, 9)
            ]
            emit = _Emitter(builder, context.get_value_type(signature.args[0].dtype))
            _, start, _, _, _, first, column, width, count, *_ = arguments

            def left_at(m: int, j: Any) -> Any:
                # The stride is a constant, so that rows need no registers for their addresses.
                return emit.spread(harmonics, builder.add(builder.add(start, j), j.type(m * BATCH)))

            def right_at(j: Any) -> Any:
                j = builder.add(first, j)
                place = builder.add(builder.load(builder.gep(of_cells, [j])), column)
                t = emit.spread(of_places, j)
                terms = []
                for _ in range(4):
                    terms.append(emit.load(cubics, place))
                    place = builder.add(place, width)
                value = emit.fma(terms[3], t, terms[2])
                value = emit.fma(value, t, terms[1])
                return emit.fma(value, t, terms[0])

            _emit_tile(emit, n_rows, left_at, right_at, count, total, *arguments[10:])
            return context.get_dummy_value()

        return signature, generate

    return tile


class _Emitter:
    """What tiles have in common: reading numbers and vectors of one float type."""

    def __init__(self, builder: Any, element: Any) -> None:
        self.builder = builder
        self.vector = ir.VectorType(element, LANES)
        self.size = 4 if isinstance(element, ir.FloatType) else 8
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        name = f"llvm.fma.v{LANES}f{8 * self.size}"
        self._fma = cgutils.get_or_insert_function(builder.module, kind, name)

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        return self.builder.call(self._fma, [a, b, c])

    def pointer(self, array: Any, index: Any) -> Any:
        pointer = self.builder.gep(array, [index])
        return self.builder.bitcast(pointer, self.vector.as_pointer())

    def load(self, array: Any, index: Any) -> Any:
        return self.builder.load(self.pointer(array, index), align=self.size)

    def spread(self, array: Any, index: Any) -> Any:
        """One number of an array in all places of a vector."""
        value = self.builder.load(self.builder.gep(array, [index]), align=self.size)
        undefined = ir.Constant(self.vector, ir.Undefined)
        lone = self.builder.insert_element(undefined, value, ir.IntType(32)(0))
        first = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return self.builder.shuffle_vector(lone, undefined, first)


def _emit_tile(
    emit: _Emitter,
    n_rows: int,
    left: Callable[[int, Any], Any],
    right: Callable[[Any], Any],
    count: Any,
    out: Any,
    out_start: Any,
    out_stride: Any,
) -> None:
    """Emit ``out[m, :] += sum_j left(m, j) right(j)`` for n_rows rows m of 8 numbers."""
    builder, integer = emit.builder, count.type
    unroll = max(1, min(4, _SUMS_IN_FLIGHT // n_rows))

    def step(j: Any, sums: list[Any]) -> list[Any]:
        """Add neighbour j to n_rows sums."""
        radial = right(j)
        return [emit.fma(left(m, j), radial, sums[m]) for m in range(n_rows)]

    zero = ir.Constant(emit.vector, [0.0] * LANES)

    def loop(start: Any, stop: Any, stride: int, sums: list[Any]) -> list[Any]:
        """Run over neighbours; every ``stride`` of them have sums of their own."""
        before = builder.block
        head = builder.append_basic_block("tile.head")
        body = builder.append_basic_block("tile.body")
        after = builder.append_basic_block("tile.after")
        builder.branch(head)
        builder.position_at_end(head)
        j = builder.phi(integer)
        j.add_incoming(start, before)
        phis = []
        for value in sums:
            phi = builder.phi(emit.vector)
            phi.add_incoming(value, before)
            phis.append(phi)
        builder.cbranch(builder.icmp_signed("<", j, stop), body, after)
        builder.position_at_end(body)
        new: list[Any] = []
        for u in range(stride):
            new += step(builder.add(j, integer(u)), phis[u * n_rows : (u + 1) * n_rows])
        j.add_incoming(builder.add(j, integer(stride)), builder.block)
        for phi, value in zip(phis, new, strict=True):
            phi.add_incoming(value, builder.block)
        builder.branch(head)
        builder.position_at_end(after)
        return phis

    if unroll > 1:
        whole = builder.sub(count, builder.srem(count, integer(unroll)))
        sums = loop(integer(0), whole, unroll, [zero] * (n_rows * unroll))
        folded = sums[:n_rows]
        for u in range(1, unroll):
            parts = sums[u * n_rows : (u + 1) * n_rows]
            folded = [builder.fadd(a, b) for a, b in zip(folded, parts, strict=True)]
        sums = loop(whole, count, 1, folded)
    else:
        sums = loop(integer(0), count, 1, [zero] * n_rows)
    for m in range(n_rows):
        index = builder.add(out_start, builder.mul(out_stride, integer(m)))
        pointer = emit.pointer(out, index)
        total = builder.fadd(builder.load(pointer, align=emit.size), sums[m])
        builder.store(total, pointer, align=emit.size)


_tile_1 = _make_tile(1)
_tile_3 = _make_tile(3)
_tile_5 = _make_tile(5)
_tile_7 = _make_tile(7)
_tile_9 = _make_tile(9)
_tile_11 = _make_tile(11)
_tile_13 = _make_tile(13)


@compiled()
def add_outer(
    n_rows: int,
    left: Any,
    left_start: int,
    left_stride: int,
    left_step: int,
    right: Any,
    right_start: int,
    right_stride: int,
    count: int,
    out: Any,
    out_start: int,
    out_stride: int,
) -> None:
    """Add ``sum_j left[m, j] right[j, :]`` to 8 numbers of each of ``n_rows`` rows m of ``out``.

    All arrays are flat and of one float type. ``left[m, j]`` is at ``left_start + m left_stride +
    j left_step``, ``right[j, :]`` the 8 numbers from ``right_start + j right_stride`` on,
    ``out[m, :]`` those from ``out_start + m out_stride`` on; j runs over ``count`` neighbours.
    """
    done = 0
    while done < n_rows:
        # fmt: off
        left_over = n_rows - done
        l0 = left_start + done * left_stride
        o0 = out_start + done * out_stride
        r0, dl, sl, dr, do = right_start, left_stride, left_step, right_stride, out_stride
        if left_over >= 13:
            rows = 13
            _tile_13(left, l0, dl, sl, right, r0, dr, count, out, o0, do)
        elif left_over >= 11:
            rows = 11
            _tile_11(left, l0, dl, sl, right, r0, dr, count, out, o0, do)
        elif left_over >= 9:
            rows = 9
            _tile_9(left, l0, dl, sl, right, r0, dr, count, out, o0, do)
        elif left_over >= 7:
            rows = 7
            _tile_7(left, l0, dl, sl, right, r0, dr, count, out, o0, do)
        elif left_over >= 5:
            rows = 5
            _tile_5(left, l0, dl, sl, right, r0, dr, count, out, o0, do)
        elif left_over >= 3:
            rows = 3
            _tile_3(left, l0, dl, sl, right, r0, dr, count, out, o0, do)
        else:
            rows = 1
            _tile_1(left, l0, dl, sl, right, r0, dr, count, out, o0, do)
        # fmt: on
        done += rows


_cubic_tile_1 = _make_cubic_tile(1)
_cubic_tile_3 = _make_cubic_tile(3)
_cubic_tile_5 = _make_cubic_tile(5)
_cubic_tile_7 = _make_cubic_tile(7)
_cubic_tile_9 = _make_cubic_tile(9)
_cubic_tile_11 = _make_cubic_tile(11)
_cubic_tile_13 = _make_cubic_tile(13)


@compiled()
def add_outer_cubic(
    n_rows: int,
    left: Any,
    left_start: int,
    table: Any,
    cells: Any,
    places: Any,
    first: int,
    column: int,
    width: int,
    count: int,
    out: Any,
    out_start: int,
    out_stride: int,
) -> None:
    """Add ``sum_j left[m, j] right[j, :]`` with ``right`` read from cubics, see :func:`add_outer`.

    ``left[m, j]`` is at ``left_start + m BATCH + j``. ``right[j, :]`` are the 8 cubics whose
    constant terms begin at ``table[cells[first + j] + column]``, with the further terms ``width``
    numbers apart, at ``places[first + j]`` from 0 to 1.
    """
    done = 0
    while done < n_rows:
        # fmt: off
        left_over = n_rows - done
        l0, t0, c = left_start + done * BATCH, first, column
        o0, do = out_start + done * out_stride, out_stride
        if left_over >= 13:
            rows = 13
            _cubic_tile_13(left, l0, table, cells, places, t0, c, width, count, out, o0, do)
        elif left_over >= 11:
            rows = 11
            _cubic_tile_11(left, l0, table, cells, places, t0, c, width, count, out, o0, do)
        elif left_over >= 9:
            rows = 9
            _cubic_tile_9(left, l0, table, cells, places, t0, c, width, count, out, o0, do)
        elif left_over >= 7:
            rows = 7
            _cubic_tile_7(left, l0, table, cells, places, t0, c, width, count, out, o0, do)
        elif left_over >= 5:
            rows = 5
            _cubic_tile_5(left, l0, table, cells, places, t0, c, width, count, out, o0, do)
        elif left_over >= 3:
            rows = 3
            _cubic_tile_3(left, l0, table, cells, places, t0, c, width, count, out, o0, do)
        else:
            rows = 1
            _cubic_tile_1(left, l0, table, cells, places, t0, c, width, count, out, o0, do)
        # fmt: on
        done += rows
