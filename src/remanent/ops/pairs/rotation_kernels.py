"""The kernels of the complex linear scan, in the form that `ops/cpu/kernels.py` describes, on pairs of real numbers.

A row holds the real and the imaginary part of each channel side by side. Written in real numbers, the loops become
vector instructions; Numba's complex numbers take twice as long.
"""

from numba import carray

from remanent.ops.cpu.arrays import LinearArrays
from remanent.ops.cpu.kernels import (
    SPAN,
    TASKS,
    compile_inline,
    get,
    header,
    is_fixed,
    is_reset,
    prefetch,
    put,
    row,
    split_task,
    take,
)
from remanent.ops.cpu.reset_kernels import pass_to_reset, row_before

AHEAD = 8
"""Steps before a row is used at which it is asked for."""
(
    DECAY, START, RESET, RESET_STATE, VALUE, STATES, LEFT, KEPT,
    GRAD, CARRY, PASSED, GRAD_DECAY, GRAD_VALUE, GRAD_RESET_STATE,
) = range(len(LinearArrays._fields))  # fmt: skip


@compile_inline
def rotated_row(a, previous, v, states):
    for d in range(states.shape[0] // 2):
        i, j = 2 * d, 2 * d + 1
        real, imaginary = get(a, i, 0), get(a, j, 0)
        x, y = get(previous, i, 1), get(previous, j, 1)
        put(states, i, 3, real * x - imaginary * y + get(v, i, 2))
        put(states, j, 3, real * y + imaginary * x + get(v, j, 2))


def rotation_forward(args):
    """States from DECAY, VALUE, the START of every piece, RESET and RESET_STATE."""
    h = header(args)
    while True:
        task = take(h)
        if task >= h[TASKS]:
            return
        b, first, n, piece, begin, end = split_task(h, task)
        previous = row(h, args, START, b, piece, first, n)
        for t in range(begin, end):
            a, v = row(h, args, DECAY, b, t, first, n), row(h, args, VALUE, b, t, first, n)
            states = row(h, args, STATES, b, t, first, n)
            if is_reset(h, args, RESET, b, t):
                previous = row(h, args, RESET_STATE, b, t, first, n)
            rotated_row(a, previous, v, states)
            previous = states


def rotation_carry(args):
    """Computes the last state of each piece started from zero (LEFT), and its factor on the state before (KEPT)."""
    h = header(args)
    while True:
        task = take(h)
        if task >= h[TASKS]:
            return
        b, first, n, piece, begin, end = split_task(h, task)
        state, factor = row(h, args, LEFT, b, piece, first, n), row(h, args, KEPT, b, piece, first, n)
        zero, one = state.dtype.type(0), state.dtype.type(1)
        for d in range(n):
            state[d] = zero
            factor[d] = one if d % 2 == 0 else zero
        for t in range(begin, end):
            a, v = row(h, args, DECAY, b, t, first, n), row(h, args, VALUE, b, t, first, n)
            if is_reset(h, args, RESET, b, t):
                fresh = row(h, args, RESET_STATE, b, t, first, n)
                for d in range(n):
                    state[d] = fresh[d]
                    factor[d] = zero
            for d in range(n // 2):
                i, j = 2 * d, 2 * d + 1
                real, imaginary = get(a, i, 0), get(a, j, 0)
                x, y = get(state, i, 1), get(state, j, 1)
                put(state, i, 1, real * x - imaginary * y + get(v, i, 2))
                put(state, j, 1, real * y + imaginary * x + get(v, j, 2))
                x, y = get(factor, i, 3), get(factor, j, 3)
                put(factor, i, 3, real * x - imaginary * y)
                put(factor, j, 3, real * y + imaginary * x)


@compile_inline
def gradient_row(g, a, previous, carry, grad_value, grad_decay, add):
    for d in range(g.shape[0] // 2):
        i, j = 2 * d, 2 * d + 1
        u, w = get(g, i, 0) + get(carry, i, 1), get(g, j, 0) + get(carry, j, 1)
        x, y = get(previous, i, 2), get(previous, j, 2)
        real, imaginary = get(a, i, 3), get(a, j, 3)
        put(carry, i, 1, u * real + w * imaginary)
        put(carry, j, 1, w * real - u * imaginary)
        put(grad_value, i, 4, u)
        put(grad_value, j, 4, w)
        through_real, through_imaginary = u * x + w * y, w * x - u * y
        put(grad_decay, i, 5, get(grad_decay, i, 5) + through_real if add else through_real)
        put(grad_decay, j, 5, get(grad_decay, j, 5) + through_imaginary if add else through_imaginary)


def rotation_backward(args):
    """Computes all gradients, from the last step to the first; sums those of parameters, (D,), in each span."""
    h = header(args)
    while True:
        task = take(h)
        if task >= h[TASKS]:
            return
        b, first, n, piece, begin, end = split_task(h, task)
        carry = row(h, args, CARRY, b, piece, first, n)
        zero, span = carry.dtype.type(0), h[SPAN]
        fixed, fresh_fixed = is_fixed(h, DECAY), is_fixed(h, RESET_STATE)
        for j in range((end - 1) // span, begin // span - 1, -1):
            t0, t1 = j * span, min(end, j * span + span)
            sum_fresh = row(h, args, GRAD_RESET_STATE, b, j, first, n)
            if fresh_fixed:
                sum_fresh[:] = zero
            if fixed:
                row(h, args, GRAD_DECAY, b, j, first, n)[:] = zero
            for t in range(t1 - 1, t0 - 1, -1):
                cut = is_reset(h, args, RESET, b, t)
                previous = row_before(h, args, (START, STATES, RESET_STATE), cut, b, t, first, n)
                if t - AHEAD >= begin:
                    prefetch(row(h, args, GRAD, b, t - AHEAD, first, n))
                    prefetch(row(h, args, STATES, b, t - AHEAD, first, n))
                    prefetch(row(h, args, GRAD_VALUE, b, t - AHEAD, first, n))
                g, a = row(h, args, GRAD, b, t, first, n), row(h, args, DECAY, b, t, first, n)
                grad_value = row(h, args, GRAD_VALUE, b, t, first, n)
                grad_decay = row(h, args, GRAD_DECAY, b, j if fixed else t, first, n)
                gradient_row(g, a, previous, carry, grad_value, grad_decay, fixed)
                if cut:
                    pass_to_reset(carry, sum_fresh, row(h, args, GRAD_RESET_STATE, b, t, first, n), fresh_fixed)


def rotation_adjoint_carry(args):
    """What each piece passes back in time by itself, and the factor on what comes after it."""
    h = header(args)
    while True:
        task = take(h)
        if task >= h[TASKS]:
            return
        b, first, n, piece, begin, end = split_task(h, task)
        passed, factor = row(h, args, PASSED, b, piece, first, n), row(h, args, KEPT, b, piece, first, n)
        zero, one = passed.dtype.type(0), passed.dtype.type(1)
        for d in range(n):
            passed[d] = zero
            factor[d] = one if d % 2 == 0 else zero
        for t in range(end - 1, begin - 1, -1):
            g, a = row(h, args, GRAD, b, t, first, n), row(h, args, DECAY, b, t, first, n)
            for d in range(n // 2):
                i, j = 2 * d, 2 * d + 1
                real, imaginary = get(a, i, 0), get(a, j, 0)
                u, w = get(passed, i, 1) + get(g, i, 2), get(passed, j, 1) + get(g, j, 2)
                put(passed, i, 1, real * u + imaginary * w)
                put(passed, j, 1, real * w - imaginary * u)
                u, w = get(factor, i, 3), get(factor, j, 3)
                put(factor, i, 3, real * u + imaginary * w)
                put(factor, j, 3, real * w - imaginary * u)
            if is_reset(h, args, RESET, b, t):
                for d in range(n):
                    passed[d] = zero
                    factor[d] = zero


def rotation_step(factor, scale, value, h, out, rows, channels, values_apart, states_apart):
    """Fills the states (rows, channels) after one step; `value` has real parts and after them imaginary parts."""
    a, size = carray(factor, (2 * channels,)), carray(scale, (channels,))
    added, before = carray(value, (rows * values_apart,)), carray(h, (2 * rows * states_apart,))
    after = carray(out, (2 * rows * channels,))
    for b in range(rows):
        v = added[b * values_apart : b * values_apart + channels]
        w = added[b * values_apart + channels : b * values_apart + 2 * channels]
        previous = before[2 * b * states_apart : 2 * (b * states_apart + channels)]
        states = after[2 * b * channels : 2 * (b + 1) * channels]
        for d in range(channels):
            i, j = 2 * d, 2 * d + 1
            real, imaginary, x, y = a[i], a[j], previous[i], previous[j]
            states[i] = real * x - imaginary * y + size[d] * v[d]
            states[j] = real * y + imaginary * x + size[d] * w[d]
