"""The kernels of a short causal convolution; importing this module imports Numba.

A kernel is a C function of one pointer, to 64-bit numbers: a header (`TICKET` to `APART`) and the addresses of the
arrays, in which rows of D elements lie one after another: the inputs (B, T + K - 1, D), whose batch rows lie `APART`
elements apart, the weight (K, D), the outputs or their gradient (B, T, D), and backward the gradient of the inputs and
the sums (B, pieces, K, D) for that of the weight. The pointer's type is that of the elements. Any number of threads may
call a kernel with the same pointer: each takes one piece of a batch row's inputs after another, until none is left.
"""

from numba import carray

from remanent.ops.cpu.kernels import _at, compile_inline, get, header, put, take

TICKET, TASKS, ROWS, WIDTH, TAPS, BLOCK, PIECES, APART, INPUTS, WEIGHT, OUT, GRAD_INPUTS, TOTALS = range(13)


@compile_inline
def line(h, like, array, offset, count):
    return carray(_at(h[array], offset, like), (count,))


@compile_inline
def first_product(out, x, weight):
    for d in range(out.shape[0]):
        put(out, d, 0, get(x, d, 1) * get(weight, d, 2))


@compile_inline
def add_product(out, x, weight):
    for d in range(out.shape[0]):
        put(out, d, 0, get(out, d, 0) + get(x, d, 1) * get(weight, d, 2))


@compile_inline
def split_piece(h, task):
    """Batch row, first row, row after the last."""
    b, piece = task // h[PIECES], task % h[PIECES]
    return b, piece * h[BLOCK], min((piece + 1) * h[BLOCK], h[ROWS])


def taps_forward(args):
    """OUT from INPUTS and WEIGHT."""
    h = header(args)
    D, K = h[WIDTH], h[TAPS]
    T = h[ROWS] - K + 1
    while True:
        task = take(h)
        if task >= h[TASKS]:
            return
        b, begin, end = split_piece(h, task)
        for t in range(begin, min(end, T)):
            out = line(h, args, OUT, (b * T + t) * D, D)
            newest = line(h, args, INPUTS, b * h[APART] + (t + K - 1) * D, D)
            first_product(out, newest, line(h, args, WEIGHT, (K - 1) * D, D))
            for k in range(K - 2, -1, -1):
                x = line(h, args, INPUTS, b * h[APART] + (t + k) * D, D)
                add_product(out, x, line(h, args, WEIGHT, k * D, D))


def taps_backward(args):
    """GRAD_INPUTS from WEIGHT and the gradient OUT, and the TOTALS of each piece."""
    h = header(args)
    D, K = h[WIDTH], h[TAPS]
    T = h[ROWS] - K + 1
    while True:
        task = take(h)
        if task >= h[TASKS]:
            return
        b, begin, end = split_piece(h, task)
        totals = line(h, args, TOTALS, task * K * D, K * D)
        zero = totals.dtype.type(0)
        for i in range(K * D):
            totals[i] = zero
        for t in range(begin, min(end, T)):
            grad = line(h, args, OUT, (b * T + t) * D, D)
            for k in range(K):
                x = line(h, args, INPUTS, b * h[APART] + (t + k) * D, D)
                add_product(line(h, args, TOTALS, (task * K + k) * D, D), x, grad)
        for s in range(begin, end):
            inward = line(h, args, GRAD_INPUTS, (b * h[ROWS] + s) * D, D)
            for d in range(D):
                inward[d] = zero
            for k in range(max(0, s - T + 1), min(K, s + 1)):
                grad = line(h, args, OUT, (b * T + s - k) * D, D)
                add_product(inward, grad, line(h, args, WEIGHT, k * D, D))
