"""What the Numba kernels of all scans share; importing this module imports Numba.

A kernel is a C function of one pointer, to 64-bit numbers: a header (`TICKET` to `WIDTH`, the last two
float64) and, from `ARRAYS` on, three for each array: its address and its strides over batch and time, in
elements. Stride 0 repeats a row; the last axis is contiguous. The pointer's type is that of the arrays'
elements, but of those that `wide` reads. Any number of threads may call a kernel with the same pointer: each takes
one task after another, a batch row, a block of channels and a piece of time, until none is left.

Numba has no half types on a CPU: a kernel sees bfloat16 as uint16, and float16 as int16. `get` makes float32 of them,
in which everything is computed, and `put` rounds to the nearest, to even between two.
"""

import numba
import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.core import cgutils
from numba.extending import intrinsic

TICKET, TASKS, T, D, BLOCK, BLOCKS, PIECE, PIECES, SPAN, FIXED, SINK, EPSILON, WIDTH = range(13)
"""The places of the header's numbers."""
ARRAYS = 13
"""The place of the first array."""
LINE = 64
"""Bytes of a cache line."""
WIDE = 128
"""Channels of a row from which `touch` pays."""
SCOPES = 12
"""Scopes that `get` and `put` may tell apart in a loop."""
ANY = SCOPES
"""No scope: nothing is promised."""
BFLOAT16, FLOAT16 = types.uint16, types.int16
"""How kernels see the half types."""
BIAS = (127 - 15) << 23
"""By how much the exponent of a float32 is above that of an equal float16, in the bits of the first."""
I32 = ir.IntType(32)

compile_inline = numba.njit(nogil=True, error_model="numpy", forceinline=True)


@intrinsic
def take(typing, header):
    """The next ticket, counted up atomically."""

    def generate(context, builder, signature, values):
        return builder.atomic_rmw("add", values[0], ir.Constant(ir.IntType(64), 1), "monotonic")

    return types.int64(header), generate


@intrinsic
def header(typing, pointer):
    """The pointer, seen as one to 64-bit integers."""
    return types.CPointer(types.int64)(pointer), _seen_otherwise


@intrinsic
def _bytes(typing, pointer):
    """The pointer, seen as one to bytes."""
    return types.CPointer(types.uint8)(pointer), _seen_otherwise


@intrinsic
def wide(typing, pointer):
    """The pointer, seen as one to what a kernel computes in: float32 for half types, otherwise itself."""
    return types.CPointer(_computed(pointer.dtype))(pointer), _seen_otherwise


def _computed(element):
    return types.float32 if element in (BFLOAT16, FLOAT16) else element


@intrinsic
def number(typing, bits):
    """A float64 from its bits."""
    return types.float64(bits), _seen_otherwise


def _seen_otherwise(context, builder, signature, values):
    return builder.bitcast(values[0], context.get_value_type(signature.return_type))


@intrinsic
def _at(typing, address, offset, like):
    """The pointer to an element: an address, an offset in elements, and a pointer of the type."""

    def generate(context, builder, signature, values):
        base = builder.inttoptr(values[0], context.get_value_type(signature.args[2]))
        return builder.gep(base, [values[1]])

    return like(types.int64, types.int64, like), generate


@intrinsic(prefer_literal=True)
def get(typing, values, d, scope):
    """Loads `values[d]`, promising the compiler that no other scope of a loop overlaps with this one.

    A half type becomes float32.
    """

    def generate(context, builder, signature, arguments):
        array = cgutils.create_struct_proxy(signature.args[0])(context, builder, arguments[0])
        loaded = builder.load(builder.gep(array.data, [arguments[1]]))
        _keep_apart(builder.module, loaded, scope.literal_value)
        return _widened(context, builder, values.dtype, loaded)

    return _computed(values.dtype)(values, types.intp, scope), generate


@intrinsic(prefer_literal=True)
def put(typing, values, d, scope, value):
    """Stores `values[d]`, with the promise of `get`; float32 is rounded where the values are of a half type."""

    def generate(context, builder, signature, arguments):
        array = cgutils.create_struct_proxy(signature.args[0])(context, builder, arguments[0])
        rounded = _rounded(context, builder, values.dtype, arguments[3])
        stored = builder.store(rounded, builder.gep(array.data, [arguments[1]]))
        _keep_apart(builder.module, stored, scope.literal_value)
        return context.get_dummy_value()

    return types.void(values, types.intp, scope, _computed(values.dtype)), generate


def _widened(context, builder, element, bits):
    """A float32 from the bits of a half type; whatever is of another type, as it is."""
    if element == BFLOAT16:
        return builder.bitcast(builder.shl(builder.zext(bits, I32), I32(16)), ir.FloatType())
    if element == FLOAT16:
        if converts_float16(context):
            return builder.fpext(builder.bitcast(bits, ir.HalfType()), ir.FloatType())
        return _widened_by_whole_numbers(builder, builder.zext(bits, I32))
    return bits


def _rounded(context, builder, element, value):
    """The bits of a float32 in a half type, NaN for NaN; whatever is of another type, as it is."""
    if element == BFLOAT16:
        bits = builder.bitcast(value, I32)
        is_nan = builder.fcmp_unordered("uno", value, value)
        high = builder.select(is_nan, builder.or_(builder.lshr(bits, I32(16)), I32(0x40)), _shifted(builder, bits, 16))
        return builder.trunc(high, ir.IntType(16))
    if element == FLOAT16:
        if converts_float16(context):
            return builder.bitcast(builder.fptrunc(value, ir.HalfType()), ir.IntType(16))
        return builder.trunc(_rounded_by_whole_numbers(builder, value), ir.IntType(16))
    return value


def converts_float16(context):
    """Whether the processor has instructions for float16; without them LLVM calls a function that is not there."""
    triple, _, features = context.codegen().magic_tuple()
    return triple.startswith(("aarch64", "arm64")) or "+f16c" in features


def _shifted(builder, bits, count):
    """A whole number without its last bits, rounded to the nearest, to even between two."""
    is_odd = builder.and_(builder.lshr(bits, I32(count)), I32(1))
    return builder.lshr(builder.add(bits, builder.add(is_odd, I32((1 << count - 1) - 1))), I32(count))


def _widened_by_whole_numbers(builder, bits):
    """A float32 from the bits of a float16: exponents have another bias, and numbers below 2^-14 none."""
    size, exponent = builder.and_(bits, I32(0x7FFF)), builder.and_(bits, I32(0x7C00))
    more = builder.select(builder.icmp_unsigned("==", exponent, I32(0x7C00)), I32(2 * BIAS), I32(BIAS))
    normal = builder.add(builder.shl(size, I32(13)), more)
    small = builder.fmul(builder.uitofp(size, ir.FloatType()), ir.FloatType()(2.0**-24))
    is_small = builder.icmp_unsigned("==", exponent, I32(0))
    found = builder.select(is_small, builder.bitcast(small, I32), normal)
    sign = builder.shl(builder.and_(bits, I32(0x8000)), I32(16))
    return builder.bitcast(builder.or_(found, sign), ir.FloatType())


def _rounded_by_whole_numbers(builder, value):
    """The bits of a float16 from a float32: infinity from 65,520 on; below 2^-14, the sum with 1/2 rounds."""
    bits, half = builder.bitcast(value, I32), ir.FloatType()(0.5)
    size, sign = builder.and_(bits, I32(0x7FFFFFFF)), builder.and_(builder.lshr(bits, I32(16)), I32(0x8000))
    normal = builder.sub(_shifted(builder, size, 13), I32(BIAS >> 13))
    sum_ = builder.bitcast(builder.fadd(builder.bitcast(size, ir.FloatType()), half), I32)
    small = builder.sub(sum_, builder.bitcast(half, I32))
    found = builder.select(builder.icmp_unsigned("<", size, I32(0x38800000)), small, normal)
    found = builder.select(builder.icmp_unsigned(">=", size, I32(0x477FF000)), I32(0x7C00), found)
    is_nan = builder.fcmp_unordered("uno", value, value)
    return builder.or_(sign, builder.select(is_nan, I32(0x7E00), found))


@intrinsic
def typed(typing, values, number):
    """A number in the type that `get` gives for these values."""

    def generate(context, builder, signature, arguments):
        return context.cast(builder, arguments[1], signature.args[1], signature.return_type)

    return _computed(values.dtype)(values, number), generate


def _keep_apart(module, instruction, scope):
    if scope == ANY:
        return
    domain = module.add_metadata([ir.MetaDataString(module, "remanent")])
    scopes = [module.add_metadata([ir.MetaDataString(module, f"remanent {i}"), domain]) for i in range(SCOPES)]
    instruction.set_metadata("alias.scope", module.add_metadata([scopes[scope]]))
    others = [other for i, other in enumerate(scopes) if i != scope]
    instruction.set_metadata("noalias", module.add_metadata(others))


@compile_inline
def row(h, like, array, b, t, first, count):
    slot = ARRAYS + 3 * array
    return carray(_at(h[slot], b * h[slot + 1] + t * h[slot + 2] + first, like), (count,))


@compile_inline
def is_reset(h, like, array, b, t):
    slot = ARRAYS + 3 * array
    return h[slot] != 0 and _at(h[slot], b * h[slot + 1] + t * h[slot + 2], _bytes(like))[0] != 0


@compile_inline
def is_fixed(h, array):
    """Whether an array is (D,): its gradient is then a sum, kept for each span of time."""
    return (h[FIXED] >> array) & 1 == 1


@compile_inline
def split_task(h, task):
    """Batch row, first channel, number of channels, piece, first step, step after the last."""
    piece, rest = task % h[PIECES], task // h[PIECES]
    block, b = rest % h[BLOCKS], rest // h[BLOCKS]
    first = block * h[BLOCK]
    start = piece * h[PIECE]
    return b, first, min(h[BLOCK], h[D] - first), piece, start, min(start + h[PIECE], h[T])


@intrinsic
def _prefetch(typing, values, d):
    """Asks for the cache line of `values[d]`, in the second-level cache."""

    def generate(context, builder, signature, arguments):
        array = cgutils.create_struct_proxy(signature.args[0])(context, builder, arguments[0])
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        pointer = builder.bitcast(builder.gep(array.data, [arguments[1]]), byte)
        builder.call(function, [pointer, number(0), number(2), number(1)])
        return context.get_dummy_value()

    return types.void(values, types.intp), generate


@compile_inline
def touch(values, total):
    """Loads a wide row from first to last: two rows read in turn mislead the processor's prefetcher.

    Returns `total` with what it loads added, which must be used; otherwise the compiler removes the loads.
    """
    if values.shape[0] >= WIDE:
        for d in range(0, values.shape[0], LINE // values.itemsize):
            total += get(values, d, ANY)
    return total


@compile_inline
def prefetch(values):
    """Asks for a row that will be needed: the processor does not prefetch rows in reverse order well by itself."""
    for d in range(0, values.shape[0], LINE // values.itemsize):
        _prefetch(values, d)


@compile_inline
def scratch(args, count):
    """Memory of this thread for so many numbers of the type that a kernel computes in."""
    return np.empty(count, carray(wide(args), (1,)).dtype)


@compile_inline
def load(values, into):
    """Copies a row to one of the type that a kernel computes in."""
    for d in range(into.shape[0]):
        into[d] = get(values, d, ANY)


def probe(args):
    """Does nothing, as a test of the machinery."""
    take(header(args))
