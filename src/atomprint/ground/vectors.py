"""Vectors of 8 numbers inside compiled loops.

Numba leaves it to the compiler to find out that a loop can work on vectors, and with indices that
it computes the compiler seldom can. These functions say it: a vector is a value of its own in a
compiled function, read with :func:`load`, made with :func:`spread` or :func:`spread_from`, combined
with ``+ - *`` and :func:`fma`, compared with :func:`below`, and written with :func:`store`.
Processors whose registers are narrower than 8 numbers take two or four. Indices count numbers in
flat arrays and are not checked.
"""

import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.extending import intrinsic, overload, register_model

LANES = 8
"""Numbers in a vector; runs of numbers are padded to a multiple of this."""


class VectorType(types.Type):  # type: ignore[misc]
    """Numba's type of a vector of float32 or float64."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(name=f"Vector{LANES}({dtype})")


def _element(dtype: Any) -> Any:
    return ir.FloatType() if dtype == types.float32 else ir.DoubleType()


@register_model(VectorType)
class _VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, frontend: Any) -> None:
        super().__init__(manager, frontend, ir.VectorType(_element(frontend.dtype), LANES))


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    """Pointer to a vector that starts at a number of an array, and its alignment."""
    data = context.make_array(array_type)(context, builder, array).data
    vector = ir.VectorType(_element(array_type.dtype), LANES)
    return builder.bitcast(builder.gep(data, [index]), vector.as_pointer())


def _size(dtype: Any) -> int:
    return 4 if dtype == types.float32 else 8


@intrinsic
def load(typing_context: Any, array: Any, index: Any) -> Any:
    """Read 8 numbers from ``array[index]`` on."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], *arguments)
        return builder.load(pointer, align=_size(signature.args[0].dtype))

    return VectorType(array.dtype)(array, types.intp), generate


@intrinsic
def store(typing_context: Any, array: Any, index: Any, vector: Any) -> Any:
    """Write 8 numbers from ``array[index]`` on."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], *arguments[:2])
        builder.store(arguments[2], pointer, align=_size(signature.args[0].dtype))
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), generate


@intrinsic
def spread(typing_context: Any, number: Any) -> Any:
    """Make a vector of one number, 8 times."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = ir.VectorType(_element(signature.args[0]), LANES)
        undefined = ir.Constant(vector, ir.Undefined)
        lone = builder.insert_element(undefined, arguments[0], ir.IntType(32)(0))
        first = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return builder.shuffle_vector(lone, undefined, first)

    return VectorType(number)(number), generate


@intrinsic
def spread_from(typing_context: Any, array: Any, index: Any) -> Any:
    """Make a vector of the number ``array[index]``, 8 times."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        number = builder.load(builder.gep(data, [arguments[1]]))
        vector = ir.VectorType(_element(signature.args[0].dtype), LANES)
        undefined = ir.Constant(vector, ir.Undefined)
        lone = builder.insert_element(undefined, number, ir.IntType(32)(0))
        first = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return builder.shuffle_vector(lone, undefined, first)

    return VectorType(array.dtype)(array, types.intp), generate


@intrinsic
def fma(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    """``a * b + c``, rounded once."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = ir.VectorType(_element(signature.args[0].dtype), LANES)
        name = f"llvm.fma.v{LANES}f{8 * _size(signature.args[0].dtype)}"
        kind = ir.FunctionType(vector, [vector] * 3)
        function = cgutils.get_or_insert_function(builder.module, kind, name)
        return builder.call(function, arguments)

    return a(a, a, a), generate


@intrinsic
def below(typing_context: Any, vector: Any, limit: Any) -> Any:
    """Bits of the lanes that are less than a number, lane 0 in the lowest bit."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.VectorType(_element(signature.args[0].dtype), LANES)
        undefined = ir.Constant(kind, ir.Undefined)
        lone = builder.insert_element(undefined, arguments[1], ir.IntType(32)(0))
        first = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        limits = builder.shuffle_vector(lone, undefined, first)
        bits = builder.fcmp_ordered("<", arguments[0], limits)
        return builder.zext(builder.bitcast(bits, ir.IntType(LANES)), ir.IntType(64))

    return types.int64(vector, vector.dtype), generate


@intrinsic
def lowest_bit(typing_context: Any, bits: Any) -> Any:
    """Index of the lowest bit that is set; not defined for zero."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.IntType(1)(1))

    return types.int64(types.int64), generate


def _binary(instruction: str) -> Any:
    @intrinsic
    def combine(typing_context: Any, a: Any, b: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return getattr(builder, instruction)(*arguments)

        return a(a, a), generate

    return combine


_add, _subtract, _multiply = _binary("fadd"), _binary("fsub"), _binary("fmul")


@overload(operator.add, strict=False)
def _overload_add(a: Any, b: Any) -> Any:
    if isinstance(a, VectorType) and isinstance(b, VectorType):
        return lambda a, b: _add(a, b)
    return None


@overload(operator.sub, strict=False)
def _overload_sub(a: Any, b: Any) -> Any:
    if isinstance(a, VectorType) and isinstance(b, VectorType):
        return lambda a, b: _subtract(a, b)
    return None


@overload(operator.mul, strict=False)
def _overload_mul(a: Any, b: Any) -> Any:
    if isinstance(a, VectorType) and isinstance(b, VectorType):
        return lambda a, b: _multiply(a, b)
    return None
