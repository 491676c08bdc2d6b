"""What kernels of vector instructions have in common: LLVM code that numba functions call."""

from __future__ import annotations

import platform
from functools import cache
from typing import Any

from llvmlite import binding, ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


@cache
def cpu_has(*features: str) -> bool:
    """Tell whether this CPU is an x86-64 with all of these instructions, by LLVM's names, such as `avx512f`."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return False
    known = binding.get_host_cpu_features()
    return all(known.get(feature) for feature in features)


def data_of(context: Any, builder: Any, array: Any, value: Any) -> Any:
    """Return the pointer to the first item of an array argument of numba's type `array`."""
    return context.make_array(array)(context, builder, value).data


def declared(builder: Any, name: str, result: Any, *takes: Any) -> Any:
    """Return an intrinsic function of LLVM."""
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, takes), name)  # type: ignore[no-untyped-call]


def load(builder: Any, base: Any, place: Any, vector: Any, align: int) -> Any:
    """Return the vector that begins at the item `place` of `base`."""
    return builder.load(builder.bitcast(builder.gep(base, [place]), vector.as_pointer()), align=align)


def store(builder: Any, vector: Any, base: Any, place: Any, align: int) -> None:
    """Write a vector to the items of `base` from `place` on."""
    builder.store(vector, builder.bitcast(builder.gep(base, [place]), vector.type.as_pointer()), align=align)


def splat(builder: Any, number: Any, lanes: int) -> Any:
    """Return a vector of one number again and again."""
    kind = ir.VectorType(number.type, lanes)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
    places = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), places)


def _type_count_ones(_: Any, word: Any) -> Any:
    """Return how many bits of a word of 64 are set."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = args[0].type
        return builder.call(declared(builder, "llvm.ctpop.i64", word, word), [args[0]])

    return types.intp(word), generate


count_ones: Any = intrinsic(_type_count_ones)
