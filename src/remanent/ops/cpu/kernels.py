"""What the Numba kernels of all scans share; importing this module imports Numba.

A kernel is a C function of one pointer, to 64-bit numbers: a header (`TICKET` to `WIDTH`, the last two
float64) and, from `ARRAYS` on, three for each array: its address and its strides over batch and time, in
elements. Stride 0 repeats a row; the last axis is contiguous. The pointer's type is that of the arrays'
elements. Any number of threads may call a kernel with the same pointer: each takes one task after another,
a batch row, a block of channels and a piece of time, until none is left.
"""

import numba
from llvmlite import ir
from numba import carray, types
from numba.core import cgutils
from numba.extending import intrinsic

TICKET, TASKS, T, D, BLOCK, BLOCKS, PIECE, PIECES, SPAN, FIXED, SINK, EPSILON, WIDTH = range(13)
"""The places of the header's numbers."""
ARRAYS = 13
"""The place of the first array."""
LINE = 16
"""Elements of float32 in a cache line."""
WIDE = 128
"""Channels of a row from which `touch` pays."""
SCOPES = 12
"""Scopes that `get` and `put` may tell apart in a loop."""

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

    def generate(context, builder, signature, values):
        return builder.bitcast(values[0], ir.IntType(64).as_pointer())

    return types.CPointer(types.int64)(pointer), generate


@intrinsic
def _bytes(typing, pointer):
    """The pointer, seen as one to bytes."""

    def generate(context, builder, signature, values):
        return builder.bitcast(values[0], ir.IntType(8).as_pointer())

    return types.CPointer(types.uint8)(pointer), generate


@intrinsic
def number(typing, bits):
    """A float64 from its bits."""

    def generate(context, builder, signature, values):
        return builder.bitcast(values[0], ir.DoubleType())

    return types.float64(bits), generate


@intrinsic
def _at(typing, address, offset, like):
    """The pointer to an element: an address, an offset in elements, and a pointer of the type."""

    def generate(context, builder, signature, values):
        base = builder.inttoptr(values[0], context.get_value_type(signature.args[2]))
        return builder.gep(base, [values[1]])

    return like(types.int64, types.int64, like), generate


@intrinsic(prefer_literal=True)
def get(typing, values, d, scope):
    """Loads `values[d]`, promising the compiler that no other scope of a loop overlaps with this one."""

    def generate(context, builder, signature, arguments):
        array = cgutils.create_struct_proxy(signature.args[0])(context, builder, arguments[0])
        loaded = builder.load(builder.gep(array.data, [arguments[1]]))
        _keep_apart(builder.module, loaded, scope.literal_value)
        return loaded

    return values.dtype(values, types.intp, scope), generate


@intrinsic(prefer_literal=True)
def put(typing, values, d, scope, value):
    """Stores `values[d]`, with the promise of `get`."""

    def generate(context, builder, signature, arguments):
        array = cgutils.create_struct_proxy(signature.args[0])(context, builder, arguments[0])
        stored = builder.store(arguments[3], builder.gep(array.data, [arguments[1]]))
        _keep_apart(builder.module, stored, scope.literal_value)
        return context.get_dummy_value()

    return types.void(values, types.intp, scope, values.dtype), generate


def _keep_apart(module, instruction, scope):
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
def touch(values):
    """Loads a wide row from first to last: two rows read in turn mislead the processor's prefetcher.

    The sum must be used; otherwise the compiler removes the loads.
    """
    total = values.dtype.type(0)
    if values.shape[0] >= WIDE:
        for d in range(0, values.shape[0], LINE):
            total += values[d]
    return total


@compile_inline
def prefetch(values):
    """Asks for a row that will be needed: the processor does not prefetch rows in reverse order well by itself."""
    for d in range(0, values.shape[0], LINE):
        _prefetch(values, d)


def probe(args):
    """Does nothing, as a test of the machinery."""
    take(header(args))
