"""The kernels of rows, each of which treats every row alone; importing this module imports Numba.

A kernel is a C function of one pointer, to 64-bit numbers: a header (`TICKET` to `NUMBER`, the last float64) and, from
`ARRAYS` on, the address of each array of `RowArrays`, 0 where there is none. Rows lie one after another. The pointer's
type is that of the arrays' elements. Any number of threads may call a kernel with the same pointer: each takes one task
of a few rows after another, until none is left.
"""

import math

from numba import carray
from numba.extending import intrinsic

from remanent.ops.cpu.kernels import _at, compile_inline, get, header, number, put, take
from remanent.ops.elementwise.by_row import RowArrays

TICKET, TASKS, ROWS, WIDTH, BLOCK, NUMBER = range(6)
"""The places of the header's numbers."""
ARRAYS = 6
"""The place of the first array."""
X, OTHER, WEIGHT, SUM, OUT, FACTOR, TOTALS = range(len(RowArrays._fields))


@intrinsic
def plus(typing, one, other):
    """A sum that the compiler may take in the order of its vectors: the same for each row of a width."""

    def generate(context, builder, signature, values):
        return builder.fadd(values[0], values[1], flags=("reassoc",))

    return one(one, one), generate


@compile_inline
def line(h, like, array, r, count):
    return carray(_at(h[ARRAYS + array], r * count, like), (count,))


@compile_inline
def has(h, array):
    return h[ARRAYS + array] != 0


def norm_forward(args):
    """SUM of X and OTHER, its norm OUT, and the FACTOR of each row where that is asked for.

    Without OTHER, the norm is that of X.
    """
    h = header(args)
    D = h[WIDTH]
    weight = line(h, args, WEIGHT, 0, D)
    factors = line(h, args, FACTOR, 0, h[ROWS])
    zero, count, eps = weight.dtype.type(0), weight.dtype.type(D), weight.dtype.type(number(h[NUMBER]))
    while True:
        task = take(h)
        if task >= h[TASKS]:
            return
        for r in range(task * h[BLOCK], min((task + 1) * h[BLOCK], h[ROWS])):
            total, out = line(h, args, X, r, D), line(h, args, OUT, r, D)
            squares = zero
            if has(h, OTHER):
                x, other, total = total, line(h, args, OTHER, r, D), line(h, args, SUM, r, D)
                for d in range(D):
                    put(total, d, 2, get(x, d, 0) + get(other, d, 1))
            for d in range(D):
                squares = plus(squares, get(total, d, 2) * get(total, d, 2))
            factor = weight.dtype.type(1) / math.sqrt(squares / count + eps)
            if has(h, FACTOR):
                factors[r] = factor
            for d in range(D):
                put(out, d, 4, get(total, d, 2) * factor * get(weight, d, 3))


def norm_backward(args):
    """SUM, the gradient of X, from that of its norm, OUT, and what else reaches it, OTHER; TOTALS of WEIGHT."""
    h = header(args)
    D = h[WIDTH]
    weight = line(h, args, WEIGHT, 0, D)
    factors = line(h, args, FACTOR, 0, h[ROWS])
    zero, count = weight.dtype.type(0), weight.dtype.type(D)
    while True:
        task = take(h)
        if task >= h[TASKS]:
            return
        totals = line(h, args, TOTALS, task, D)
        for d in range(D):
            totals[d] = zero
        for r in range(task * h[BLOCK], min((task + 1) * h[BLOCK], h[ROWS])):
            total, grad = line(h, args, X, r, D), line(h, args, OUT, r, D)
            inward = line(h, args, SUM, r, D)
            along, factor = zero, factors[r]
            for d in range(D):
                along = plus(along, get(grad, d, 4) * get(weight, d, 3) * get(total, d, 0))
            share = along / count * factor * factor
            if has(h, OTHER):
                other = line(h, args, OTHER, r, D)
                for d in range(D):
                    own = factor * (get(grad, d, 4) * get(weight, d, 3) - get(total, d, 0) * share)
                    put(inward, d, 2, own + get(other, d, 1))
                    put(totals, d, 5, get(totals, d, 5) + get(grad, d, 4) * (get(total, d, 0) * factor))
            else:
                for d in range(D):
                    own = factor * (get(grad, d, 4) * get(weight, d, 3) - get(total, d, 0) * share)
                    put(inward, d, 2, own)
                    put(totals, d, 5, get(totals, d, 5) + get(grad, d, 4) * (get(total, d, 0) * factor))
