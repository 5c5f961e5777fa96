"""The kernels of scans that compute their gates, in the form that `ops/cpu/kernels.py` describes."""

import math

from remanent.ops.cpu.kernels import (
    ARRAYS,
    SPAN,
    TASKS,
    WIDTH,
    compile_inline,
    get,
    header,
    is_fixed,
    is_reset,
    number,
    prefetch,
    put,
    row,
    split_task,
    take,
)
from remanent.ops.cpu.reset_kernels import pass_to_reset, row_before
from remanent.ops.gated.exponential_kernels import both_shares, constant, falling
from remanent.ops.gated.gate_arguments import GatedArrays

AHEAD = 8
"""Steps before a row is used at which it is asked for."""
(
    CANDIDATE, SECOND, THIRD, FOURTH, START, RESET, RESET_STATE, STATES,
    GRAD, CARRY, GRAD_CANDIDATE, GRAD_SECOND, GRAD_THIRD, GRAD_FOURTH, GRAD_RESET_STATE,
) = range(len(GatedArrays._fields))  # fmt: skip
CELL = ARRAYS + 3 * len(GatedArrays._fields)
"""The place of the number of the cell."""
GRU, LSTM = 0, 1
"""Numbers of cells; the third is the latch between two thresholds."""


@compile_inline
def shares_of(forget, write):
    """What is kept and what is taken, f / (f + i) and i / (f + i); then 1 - f and 1 - i, where both may be tiny."""
    zero = constant(forget, 0.0)
    most = -forget if forget < write else -write
    most = most if most > zero else zero
    base, f, i = falling(-most), falling(-forget - most), falling(-write - most)
    of_forget, of_write = base + f, base + i
    total = of_forget + of_write
    return of_write / total, of_forget / total, f / of_forget, i / of_write


@compile_inline
def gru_row(c, u, previous, states):
    for d in range(c.shape[0]):
        taken, kept = both_shares(get(u, d, 1))
        put(states, d, 3, kept * get(previous, d, 2) + taken * get(c, d, 0))


@compile_inline
def lstm_row(c, forget, write, previous, states):
    for d in range(c.shape[0]):
        kept, taken, _, _ = shares_of(get(forget, d, 1), get(write, d, 4))
        put(states, d, 3, kept * get(previous, d, 2) + taken * get(c, d, 0))


@compile_inline
def between_row(c, low, high, alpha, previous, states):
    zero = c.dtype.type(0)
    for d in range(c.shape[0]):
        size = zero if get(c, d, 0) < zero else get(c, d, 0)
        held, written = get(previous, d, 2), get(alpha, d, 5)  # loaded whether needed or not, for vector instructions
        kept = zero if size <= get(low, d, 1) else held
        put(states, d, 3, written if size >= get(high, d, 4) else kept)


def gated_forward(args):
    """States from the gates, the START, RESET and RESET_STATE."""
    h = header(args)
    while True:
        task = take(h)
        if task >= h[TASKS]:
            return
        b, first, n, piece, begin, end = split_task(h, task)
        previous = row(h, args, START, b, piece, first, n)
        for t in range(begin, end):
            c, second = row(h, args, CANDIDATE, b, t, first, n), row(h, args, SECOND, b, t, first, n)
            third, states = row(h, args, THIRD, b, t, first, n), row(h, args, STATES, b, t, first, n)
            if is_reset(h, args, RESET, b, t):
                previous = row(h, args, RESET_STATE, b, t, first, n)
            if h[CELL] == GRU:
                gru_row(c, second, previous, states)
            elif h[CELL] == LSTM:
                lstm_row(c, second, third, previous, states)
            else:
                between_row(c, second, third, row(h, args, FOURTH, b, t, first, n), previous, states)
            previous = states


@compile_inline
def gru_gradients(g, c, u, previous, carry, grad_c, grad_u):
    for d in range(g.shape[0]):
        total = get(g, d, 0) + get(carry, d, 1)
        taken, kept = both_shares(get(u, d, 2))
        put(grad_u, d, 5, total * (get(c, d, 3) - get(previous, d, 4)) * (taken * kept))
        put(grad_c, d, 6, total * taken)
        put(carry, d, 1, total * kept)


@compile_inline
def lstm_gradients(g, c, forget, write, previous, carry, grad_c, grad_forget, grad_write):
    for d in range(g.shape[0]):
        total = get(g, d, 0) + get(carry, d, 1)
        kept, taken, no_forget, no_write = shares_of(get(forget, d, 2), get(write, d, 7))
        through = total * (get(previous, d, 4) - get(c, d, 3)) * (taken * kept)
        put(grad_forget, d, 5, through * no_forget)
        put(grad_write, d, 8, -(through * no_write))
        put(grad_c, d, 6, total * taken)
        put(carry, d, 1, total * kept)


@compile_inline
def between_gradients(g, c, low, high, alpha, previous, carry, width, grad_c, grad_low, grad_high, grad_alpha):
    zero = c.dtype.type(0)
    one, steep = c.dtype.type(1), c.dtype.type(math.pi) * width
    for d in range(g.shape[0]):
        total = get(g, d, 0) + get(carry, d, 1)
        size = zero if get(c, d, 2) < zero else get(c, d, 2)
        far_low, far_high = steep * (get(low, d, 3) - size), steep * (size - get(high, d, 4))
        is_low, is_high = size <= get(low, d, 3), size >= get(high, d, 4)
        passed = total * get(previous, d, 5)
        of_low = (zero if is_high else -passed) * (width / (one + far_low * far_low))
        of_high = (total * get(alpha, d, 6) - (zero if is_low else passed)) * (width / (one + far_high * far_high))
        put(grad_c, d, 7, of_high - of_low if size > zero else zero)
        put(grad_low, d, 8, get(grad_low, d, 8) + (of_low if get(low, d, 3) > zero else zero))
        put(grad_high, d, 9, get(grad_high, d, 9) - (of_high if get(high, d, 4) > zero else zero))
        put(grad_alpha, d, 10, get(grad_alpha, d, 10) + (total if is_high else zero))
        put(carry, d, 1, zero if is_low or is_high else total)


def gated_backward(args):
    """Computes all gradients, from the last step to the first; sums those of parameters, (D,), in each span."""
    h = header(args)
    while True:
        task = take(h)
        if task >= h[TASKS]:
            return
        b, first, n, piece, begin, end = split_task(h, task)
        carry = row(h, args, CARRY, b, piece, first, n)
        zero, span, width = carry.dtype.type(0), h[SPAN], carry.dtype.type(number(h[WIDTH]))
        fixed, fresh_fixed = is_fixed(h, SECOND), is_fixed(h, RESET_STATE)
        for j in range((end - 1) // span, begin // span - 1, -1):
            t0, t1 = j * span, min(end, j * span + span)
            sum_fresh = row(h, args, GRAD_RESET_STATE, b, j, first, n)
            if fresh_fixed:
                sum_fresh[:] = zero
            if fixed:
                row(h, args, GRAD_SECOND, b, j, first, n)[:] = zero
                row(h, args, GRAD_THIRD, b, j, first, n)[:] = zero
                row(h, args, GRAD_FOURTH, b, j, first, n)[:] = zero
            for t in range(t1 - 1, t0 - 1, -1):
                cut = is_reset(h, args, RESET, b, t)
                previous = row_before(h, args, (START, STATES, RESET_STATE), cut, b, t, first, n)
                if t - AHEAD >= begin:
                    prefetch(row(h, args, GRAD, b, t - AHEAD, first, n))
                    prefetch(row(h, args, STATES, b, t - AHEAD, first, n))
                    prefetch(row(h, args, CANDIDATE, b, t - AHEAD, first, n))
                    prefetch(row(h, args, GRAD_CANDIDATE, b, t - AHEAD, first, n))
                place = j if fixed else t
                g, c = row(h, args, GRAD, b, t, first, n), row(h, args, CANDIDATE, b, t, first, n)
                second, third = row(h, args, SECOND, b, t, first, n), row(h, args, THIRD, b, t, first, n)
                grad_c = row(h, args, GRAD_CANDIDATE, b, t, first, n)
                grad_second = row(h, args, GRAD_SECOND, b, place, first, n)
                if h[CELL] == GRU:
                    gru_gradients(g, c, second, previous, carry, grad_c, grad_second)
                elif h[CELL] == LSTM:
                    grad_third = row(h, args, GRAD_THIRD, b, place, first, n)
                    lstm_gradients(g, c, second, third, previous, carry, grad_c, grad_second, grad_third)
                else:
                    alpha, grad_third = row(h, args, FOURTH, b, t, first, n), row(h, args, GRAD_THIRD, b, j, first, n)
                    sums = grad_second, grad_third, row(h, args, GRAD_FOURTH, b, j, first, n)
                    between_gradients(g, c, second, third, alpha, previous, carry, width, grad_c, *sums)
                if cut:
                    pass_to_reset(carry, sum_fresh, row(h, args, GRAD_RESET_STATE, b, t, first, n), fresh_fixed)
