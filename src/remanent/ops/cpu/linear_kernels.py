"""The real linear scan's kernels, in the form that `kernels.py` describes; `ops/pairs` has the complex one's."""

from remanent.ops.cpu.arrays import LinearArrays
from remanent.ops.cpu.kernels import (
    SPAN,
    TASKS,
    compile_inline,
    get,
    header,
    is_fixed,
    is_reset,
    load,
    prefetch,
    put,
    row,
    scratch,
    split_task,
    take,
    wide,
)
from remanent.ops.cpu.reset_kernels import pass_to_reset, row_before

AHEAD = 8
"""Steps before a row is used at which it is asked for."""
(
    DECAY, START, RESET, RESET_STATE, VALUE, STATES, LEFT, KEPT,
    GRAD, CARRY, PASSED, GRAD_DECAY, GRAD_VALUE, GRAD_RESET_STATE,
) = range(len(LinearArrays._fields))  # fmt: skip


def linear_forward(args):
    """States from DECAY, VALUE, the START of every piece, RESET and RESET_STATE."""
    h, full = header(args), wide(args)
    while True:
        task = take(h)
        if task >= h[TASKS]:
            return
        b, first, n, piece, begin, end = split_task(h, task)
        state = scratch(args, n)
        load(row(h, full, START, b, piece, first, n), state)
        for t in range(begin, end):
            a, v = row(h, args, DECAY, b, t, first, n), row(h, args, VALUE, b, t, first, n)
            states = row(h, args, STATES, b, t, first, n)
            if is_reset(h, args, RESET, b, t):
                load(row(h, args, RESET_STATE, b, t, first, n), state)
            for d in range(n):
                value = get(a, d, 0) * get(state, d, 1) + get(v, d, 2)
                put(state, d, 1, value)
                put(states, d, 3, value)


def linear_carry(args):
    """Computes the last state of each piece started from zero (LEFT), and its factor on the state before (KEPT)."""
    h, full = header(args), wide(args)
    while True:
        task = take(h)
        if task >= h[TASKS]:
            return
        b, first, n, piece, begin, end = split_task(h, task)
        state, factor = row(h, full, LEFT, b, piece, first, n), row(h, full, KEPT, b, piece, first, n)
        zero, one = state.dtype.type(0), state.dtype.type(1)
        for d in range(n):
            state[d] = zero
            factor[d] = one
        for t in range(begin, end):
            a, v = row(h, args, DECAY, b, t, first, n), row(h, args, VALUE, b, t, first, n)
            if is_reset(h, args, RESET, b, t):
                load(row(h, args, RESET_STATE, b, t, first, n), state)
                for d in range(n):
                    factor[d] = zero
            for d in range(n):
                put(state, d, 0, get(a, d, 1) * get(state, d, 0) + get(v, d, 2))
                put(factor, d, 3, get(a, d, 1) * get(factor, d, 3))


@compile_inline
def gradient_row(g, a, previous, carry, grad_value, grad_decay, sum_decay, add):
    for d in range(g.shape[0]):
        total = get(g, d, 0) + get(carry, d, 1)
        through_decay = total * get(previous, d, 2)
        put(carry, d, 1, total * get(a, d, 3))
        put(grad_value, d, 4, total)
        if add:
            put(sum_decay, d, 5, get(sum_decay, d, 5) + through_decay)
        else:
            put(grad_decay, d, 6, through_decay)


def linear_backward(args):
    """Computes all gradients, from the last step to the first; sums those of parameters, (D,), in each span."""
    h, full = header(args), wide(args)
    while True:
        task = take(h)
        if task >= h[TASKS]:
            return
        b, first, n, piece, begin, end = split_task(h, task)
        carry = row(h, full, CARRY, b, piece, first, n)
        zero, span = carry.dtype.type(0), h[SPAN]
        fixed, fresh_fixed = is_fixed(h, DECAY), is_fixed(h, RESET_STATE)
        for j in range((end - 1) // span, begin // span - 1, -1):
            t0, t1 = j * span, min(end, j * span + span)
            sum_fresh = row(h, full, GRAD_RESET_STATE, b, j, first, n)
            sum_decay = row(h, full, GRAD_DECAY, b, j, first, n)
            if fresh_fixed:
                sum_fresh[:] = zero
            if fixed:
                sum_decay[:] = zero
            for t in range(t1 - 1, t0 - 1, -1):
                cut = is_reset(h, args, RESET, b, t)
                previous = row_before(h, args, (START, STATES, RESET_STATE), cut, b, t, first, n)
                if t - AHEAD >= begin:
                    prefetch(row(h, args, GRAD, b, t - AHEAD, first, n))
                    prefetch(row(h, args, STATES, b, t - AHEAD, first, n))
                    prefetch(row(h, args, GRAD_VALUE, b, t - AHEAD, first, n))
                    if not fixed:
                        prefetch(row(h, args, DECAY, b, t - AHEAD, first, n))
                        prefetch(row(h, args, GRAD_DECAY, b, t - AHEAD, first, n))
                g, a = row(h, args, GRAD, b, t, first, n), row(h, args, DECAY, b, t, first, n)
                grad_value = row(h, args, GRAD_VALUE, b, t, first, n)
                grad_decay = row(h, args, GRAD_DECAY, b, t, first, n)
                gradient_row(g, a, previous, carry, grad_value, grad_decay, sum_decay, fixed)
                if cut:
                    pass_to_reset(carry, sum_fresh, row(h, args, GRAD_RESET_STATE, b, t, first, n), fresh_fixed)


def linear_adjoint_carry(args):
    """What each piece passes back in time by itself, and the factor on what comes after it."""
    h, full = header(args), wide(args)
    while True:
        task = take(h)
        if task >= h[TASKS]:
            return
        b, first, n, piece, begin, end = split_task(h, task)
        passed, factor = row(h, full, PASSED, b, piece, first, n), row(h, full, KEPT, b, piece, first, n)
        zero, one = passed.dtype.type(0), passed.dtype.type(1)
        for d in range(n):
            passed[d] = zero
            factor[d] = one
        for t in range(end - 1, begin - 1, -1):
            g, a = row(h, args, GRAD, b, t, first, n), row(h, args, DECAY, b, t, first, n)
            for d in range(n):
                rate = get(a, d, 1)
                put(passed, d, 0, rate * (get(passed, d, 0) + get(g, d, 2)))
                put(factor, d, 3, rate * get(factor, d, 3))
            if is_reset(h, args, RESET, b, t):
                for d in range(n):
                    passed[d] = zero
                    factor[d] = zero
