"""The latch's kernels, in the form that `kernels.py` describes.

Time is cut into pieces, which threads compute independently of each other, and each piece into spans of 64 steps, the
last of which may be shorter. The backward pass works on one span at a time, so that its arrays fit into the cache.
"""

import math

import numpy as np

from remanent.ops.cpu.arrays import LatchArrays
from remanent.ops.cpu.kernels import (
    EPSILON,
    SINK,
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
    touch,
)

(
    CANDIDATE, THRESHOLD, ALPHA, START, RESET, RESET_STATE, STATES, LEFT, IS_LEFT,
    GRAD, CARRY, PASSED, IS_OPEN, GRAD_CANDIDATE, GRAD_THRESHOLD, GRAD_ALPHA, GRAD_RESET_STATE,
) = range(len(LatchArrays._fields))  # fmt: skip


@compile_inline
def latch_row(c, beta, scale, previous, epsilon, h):
    zero = c.dtype.type(0)
    if epsilon == zero:
        for d in range(c.shape[0]):
            held = previous[d]  # loaded whether needed or not: a conditional load stops vectorisation
            written = scale[d] if c[d] >= zero else -scale[d]
            h[d] = written if abs(c[d]) >= abs(beta[d]) else held
    else:
        for d in range(c.shape[0]):
            held = previous[d]
            written = (scale[d] if c[d] >= zero else -scale[d]) + epsilon * held
            h[d] = written if abs(c[d]) >= abs(beta[d]) else held


def latch_forward(args):
    """States from CANDIDATE, THRESHOLD, ALPHA, the START of every piece, RESET and RESET_STATE."""
    h = header(args)
    while True:
        task = take(h)
        if task >= h[TASKS]:
            return
        b, first, n, piece, begin, end = split_task(h, task)
        previous = row(h, args, START, b, piece, first, n)
        epsilon = previous.dtype.type(number(h[EPSILON]))
        total = previous.dtype.type(0)
        for t in range(begin, end):
            c = row(h, args, CANDIDATE, b, t, first, n)
            beta = row(h, args, THRESHOLD, b, t, first, n)
            states = row(h, args, STATES, b, t, first, n)
            if is_reset(h, args, RESET, b, t):
                previous = row(h, args, RESET_STATE, b, t, first, n)
            total += touch(c)
            total += touch(beta)
            latch_row(c, beta, row(h, args, ALPHA, b, t, first, n), previous, epsilon, states)
            previous = states
        h[SINK] = total != total


def latch_carry(args):
    """Finds, with epsilon 0, the last state that is set in each piece (LEFT), and whether there is one (IS_LEFT)."""
    h = header(args)
    while True:
        task = take(h)
        if task >= h[TASKS]:
            return
        b, first, n, piece, begin, end = split_task(h, task)
        state, known = row(h, args, LEFT, b, piece, first, n), row(h, args, IS_LEFT, b, piece, first, n)
        zero, one = state.dtype.type(0), state.dtype.type(1)
        for d in range(n):
            state[d] = zero
            known[d] = zero
        missing = n
        t = end - 1
        while t >= begin and missing > 0:
            c = row(h, args, CANDIDATE, b, t, first, n)
            beta = row(h, args, THRESHOLD, b, t, first, n)
            scale = row(h, args, ALPHA, b, t, first, n)
            cut = is_reset(h, args, RESET, b, t)
            fresh = row(h, args, RESET_STATE, b, t, first, n) if cut else state
            missing = 0
            for d in range(n):
                write = abs(c[d]) >= abs(beta[d])
                value = (scale[d] if c[d] >= zero else -scale[d]) if write else fresh[d]
                found = known[d] == zero and (write or cut)
                state[d] = value if found else state[d]
                known[d] = one if found else known[d]
                missing += 1 if known[d] == zero else 0
            t -= 1


@compile_inline
def adjoint_row(g, c, beta, carry, epsilon, adjoint):
    zero = c.dtype.type(0)
    for d in range(c.shape[0]):
        total = get(g, d, 0) + get(carry, d, 1)
        write = abs(get(c, d, 2)) >= abs(get(beta, d, 3))
        put(adjoint, d, 4, total)
        put(carry, d, 1, (epsilon * total if epsilon != zero else zero) if write else total)


@compile_inline
def gradient_row(adjoint, c, beta, scale, state, epsilon, width, grad_c, grad_beta, add_beta, grad_scale, add_scale):
    real = c.dtype.type
    zero, one, two = real(0), real(1), real(2)
    slope = real(math.pi) * width
    for d in range(c.shape[0]):
        a, cd, bd, size, p = get(adjoint, d, 0), get(c, d, 1), get(beta, d, 2), get(scale, d, 3), get(state, d, 4)
        edge = abs(cd) - abs(bd)
        sign = one if cd >= zero else -one
        write = abs(cd) >= abs(bd)
        u, v = slope * edge, slope * cd
        written = size * sign + (epsilon * p if epsilon != zero else zero)
        through_gate = a * (written - p) * (width / (one + u * u))
        through_sign = two * a * size * (width / (one + v * v))
        candidate_sign = sign if cd != zero else zero
        beta_sign = math.copysign(one, bd) if bd != zero else zero
        through_beta, through_scale = -through_gate * beta_sign, a * sign if write else zero
        put(grad_c, d, 5, through_gate * candidate_sign + (through_sign if write else zero))
        put(grad_beta, d, 6, get(grad_beta, d, 6) + through_beta if add_beta else through_beta)
        put(grad_scale, d, 7, get(grad_scale, d, 7) + through_scale if add_scale else through_scale)
        put(state, d, 4, written if write else p)


def latch_backward(args):
    """Computes all gradients of the latch from GRAD, the gradient of its states.

    It goes through the spans of a piece from the last to the first, and through each span twice. First backward in
    time: the adjoint, which is the whole gradient of each state, from GRAD and from the gradient that later steps
    pass back (CARRY). Then forward in time: the states, computed again from the one before the span (START), and with
    them and the adjoints the gradients of candidate, threshold and alpha. Gradients of parameters, (D,), are summed
    within each span.
    """
    h = header(args)
    while True:
        task = take(h)
        if task >= h[TASKS]:
            return
        b, first, n, piece, begin, end = split_task(h, task)
        carry = row(h, args, CARRY, b, piece, first, n)
        dtype, real, zero = carry.dtype, carry.dtype.type, carry.dtype.type(0)
        epsilon, width = real(number(h[EPSILON])), real(number(h[WIDTH]))
        beta_fixed, scale_fixed, fresh_fixed = is_fixed(h, THRESHOLD), is_fixed(h, ALPHA), is_fixed(h, RESET_STATE)
        span = h[SPAN]
        adjoint, state = np.empty((span, n), dtype), np.empty(n, dtype)
        for j in range((end - 1) // span, begin // span - 1, -1):
            t0, t1 = j * span, min(end, j * span + span)
            start = row(h, args, START, b, j, first, n)
            for d in range(n):
                state[d] = start[d]
            if fresh_fixed:
                row(h, args, GRAD_RESET_STATE, b, j, first, n)[:] = zero
            if beta_fixed:
                row(h, args, GRAD_THRESHOLD, b, j, first, n)[:] = zero
            if scale_fixed:
                row(h, args, GRAD_ALPHA, b, j, first, n)[:] = zero
            for t in range(t1 - 1, t0 - 1, -1):
                g = row(h, args, GRAD, b, t, first, n)
                c, beta = row(h, args, CANDIDATE, b, t, first, n), row(h, args, THRESHOLD, b, t, first, n)
                prefetch(row(h, args, GRAD_CANDIDATE, b, t0 + t1 - 1 - t, first, n))
                if not beta_fixed:
                    prefetch(row(h, args, GRAD_THRESHOLD, b, t0 + t1 - 1 - t, first, n))
                adjoint_row(g, c, beta, carry, epsilon, adjoint[t - t0])
                if is_reset(h, args, RESET, b, t):
                    grad_fresh = row(h, args, GRAD_RESET_STATE, b, j if fresh_fixed else t, first, n)
                    for d in range(n):
                        grad_fresh[d] += carry[d]
                        carry[d] = zero
            for t in range(t0, t1):
                if t - span >= begin:
                    prefetch(row(h, args, CANDIDATE, b, t - span, first, n))
                    prefetch(row(h, args, THRESHOLD, b, t - span, first, n))
                    prefetch(row(h, args, GRAD, b, t - span, first, n))
                if is_reset(h, args, RESET, b, t):
                    fresh = row(h, args, RESET_STATE, b, t, first, n)
                    for d in range(n):
                        state[d] = fresh[d]
                gradient_row(
                    adjoint[t - t0],
                    row(h, args, CANDIDATE, b, t, first, n),
                    row(h, args, THRESHOLD, b, t, first, n),
                    row(h, args, ALPHA, b, t, first, n),
                    state,
                    epsilon,
                    width,
                    row(h, args, GRAD_CANDIDATE, b, t, first, n),
                    row(h, args, GRAD_THRESHOLD, b, j if beta_fixed else t, first, n),
                    beta_fixed,
                    row(h, args, GRAD_ALPHA, b, j if scale_fixed else t, first, n),
                    scale_fixed,
                )


def latch_adjoint_carry(args):
    """Computes, with epsilon 0, what each piece passes back in time before the pieces are computed in parallel.

    PASSED is the gradient that reaches the state before the piece from the piece's own steps. IS_OPEN is 1 where the
    piece neither writes nor resets a channel, so that the gradient of later pieces passes through it, else 0.
    """
    h = header(args)
    while True:
        task = take(h)
        if task >= h[TASKS]:
            return
        b, first, n, piece, begin, end = split_task(h, task)
        passed, open_ = row(h, args, PASSED, b, piece, first, n), row(h, args, IS_OPEN, b, piece, first, n)
        zero, one = passed.dtype.type(0), passed.dtype.type(1)
        for d in range(n):
            passed[d] = zero
            open_[d] = one
        left = n
        t = begin
        while t < end and left > 0:
            g = row(h, args, GRAD, b, t, first, n)
            c = row(h, args, CANDIDATE, b, t, first, n)
            beta = row(h, args, THRESHOLD, b, t, first, n)
            cut = is_reset(h, args, RESET, b, t)
            left = 0
            for d in range(n):
                open_[d] = zero if cut or abs(c[d]) >= abs(beta[d]) else open_[d]
                passed[d] += g[d] if open_[d] != zero else zero
                left += 1 if open_[d] != zero else 0
            t += 1
