"""The latch's kernels, in the form that `kernels.py` describes.

Time is cut into pieces, which threads compute independently of each other, and each piece into spans of 64 steps, the
last of which may be shorter. The backward pass works on one span at a time, so that its arrays fit into the cache.
"""

import math

from remanent.ops.cpu.arrays import LatchArrays
from remanent.ops.cpu.kernels import (
    ANY,
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
    load,
    number,
    prefetch,
    put,
    row,
    scratch,
    split_task,
    take,
    touch,
    typed,
    wide,
)
from remanent.ops.cpu.reset_kernels import pass_to_reset

(
    CANDIDATE, THRESHOLD, ALPHA, START, RESET, RESET_STATE, STATES, LEFT, IS_LEFT,
    GRAD, CARRY, PASSED, IS_OPEN, GRAD_CANDIDATE, GRAD_THRESHOLD, GRAD_ALPHA, GRAD_RESET_STATE,
) = range(len(LatchArrays._fields))  # fmt: skip
LOOK = 16
"""Steps after which `latch_carry` looks whether a channel is missing: a count in its loop stops vectorisation."""
EARLY = 8
"""Steps by which it asks for rows, which it reads in reverse order."""


@compile_inline
def latch_value(c, beta, scale, held, epsilon):
    """The state after a step; one that is held has been loaded in any case, since a choice stops vectorisation."""
    zero = epsilon - epsilon
    written = scale if c >= zero else -scale
    if epsilon != zero:
        written = written + epsilon * held
    return written if abs(c) >= abs(beta) else held


@compile_inline
def latch_row(c, beta, scale, state, epsilon, h):
    for d in range(c.shape[0]):
        value = latch_value(get(c, d, 0), get(beta, d, 1), get(scale, d, 2), get(state, d, 3), epsilon)
        put(state, d, 3, value)
        put(h, d, 4, value)


def latch_forward(args):
    """States from CANDIDATE, THRESHOLD, ALPHA, the START of every piece, RESET and RESET_STATE."""
    h = header(args)
    while True:
        task = take(h)
        if task >= h[TASKS]:
            return
        b, first, n, piece, begin, end = split_task(h, task)
        state = scratch(args, n)
        load(row(h, args, START, b, piece, first, n), state)
        epsilon, total = typed(state, number(h[EPSILON])), typed(state, 0)
        for t in range(begin, end):
            c = row(h, args, CANDIDATE, b, t, first, n)
            beta = row(h, args, THRESHOLD, b, t, first, n)
            states = row(h, args, STATES, b, t, first, n)
            if is_reset(h, args, RESET, b, t):
                load(row(h, args, RESET_STATE, b, t, first, n), state)
            total = touch(beta, touch(c, total))
            latch_row(c, beta, row(h, args, ALPHA, b, t, first, n), state, epsilon, states)
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
        zero, one = typed(state, 0), typed(state, 1)
        fresh = scratch(args, n)
        for d in range(n):
            put(state, d, ANY, zero)
            put(known, d, ANY, zero)
        t, missing = end - 1, True
        while t >= begin and missing:
            stop = max(begin - 1, t - LOOK)
            while t > stop:
                c = row(h, args, CANDIDATE, b, t, first, n)
                beta = row(h, args, THRESHOLD, b, t, first, n)
                scale = row(h, args, ALPHA, b, t, first, n)
                prefetch(row(h, args, CANDIDATE, b, max(begin, t - EARLY), first, n))
                prefetch(row(h, args, THRESHOLD, b, max(begin, t - EARLY), first, n))
                for d in range(n):
                    value, size, own, old = get(c, d, 0), get(scale, d, 2), get(state, d, 3), get(known, d, 4)
                    write = abs(value) >= abs(get(beta, d, 1))
                    set_to = size if value >= zero else -size
                    put(state, d, 3, set_to if write and old == zero else own)
                    put(known, d, 4, one if write else old)
                if is_reset(h, args, RESET, b, t):
                    load(row(h, args, RESET_STATE, b, t, first, n), fresh)
                    for d in range(n):
                        put(state, d, ANY, get(state, d, ANY) if get(known, d, ANY) != zero else fresh[d])
                        put(known, d, ANY, one)
                t -= 1
            missing = False
            for d in range(n):
                missing = missing or get(known, d, ANY) == zero


@compile_inline
def adjoint_row(g, c, beta, carry, epsilon, adjoint):
    zero = typed(carry, 0)
    for d in range(c.shape[0]):
        total = get(g, d, 0) + get(carry, d, 1)
        write = abs(get(c, d, 2)) >= abs(get(beta, d, 3))
        put(adjoint, d, 4, total)
        put(carry, d, 1, (epsilon * total if epsilon != zero else zero) if write else total)


@compile_inline
def gradient_row(gates, adjoint, state, numbers, grad_c, of_beta, of_scale, add_beta, add_scale):
    """The gradients of a step's gates; those of threshold and size go to a row of their own, or are added to a sum."""
    c, beta, scale = gates
    epsilon, width = numbers
    grad_beta, sum_beta = of_beta
    grad_scale, sum_scale = of_scale
    real = state.dtype.type
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
        if add_beta:
            put(sum_beta, d, 6, get(sum_beta, d, 6) + through_beta)
        else:
            put(grad_beta, d, 7, through_beta)
        if add_scale:
            put(sum_scale, d, 8, get(sum_scale, d, 8) + through_scale)
        else:
            put(grad_scale, d, 9, through_scale)
        put(state, d, 4, written if write else p)


@compile_inline
def any_gradient_row(gates, adjoint, state, numbers, grad_c, of_beta, of_scale, add_beta, add_scale):
    """`gradient_row`, compiled apart for each case: stores that depend on one would be slower."""
    if add_beta:
        if add_scale:
            gradient_row(gates, adjoint, state, numbers, grad_c, of_beta, of_scale, True, True)
        else:
            gradient_row(gates, adjoint, state, numbers, grad_c, of_beta, of_scale, True, False)
    elif add_scale:
        gradient_row(gates, adjoint, state, numbers, grad_c, of_beta, of_scale, False, True)
    else:
        gradient_row(gates, adjoint, state, numbers, grad_c, of_beta, of_scale, False, False)


def latch_backward(args):
    """Computes all gradients of the latch from GRAD, the gradient of its states.

    It goes through the spans of a piece from the last to the first, and through each span twice. First backward in
    time: the adjoint, which is the whole gradient of each state, from GRAD and from the gradient that later steps
    pass back (CARRY). Then forward in time: the states, computed again from the one before the span (START), and with
    them and the adjoints the gradients of candidate, threshold and alpha. Gradients of parameters, (D,), are summed
    within each span.
    """
    h, full = header(args), wide(args)
    while True:
        task = take(h)
        if task >= h[TASKS]:
            return
        b, first, n, piece, begin, end = split_task(h, task)
        carry = row(h, full, CARRY, b, piece, first, n)
        real, zero = carry.dtype.type, typed(carry, 0)
        epsilon, width = real(number(h[EPSILON])), real(number(h[WIDTH]))
        beta_fixed, scale_fixed, fresh_fixed = is_fixed(h, THRESHOLD), is_fixed(h, ALPHA), is_fixed(h, RESET_STATE)
        span = h[SPAN]
        adjoint, state = scratch(args, span * n).reshape(span, n), scratch(args, n)
        for j in range((end - 1) // span, begin // span - 1, -1):
            t0, t1 = j * span, min(end, j * span + span)
            load(row(h, args, START, b, j, first, n), state)
            sum_fresh = row(h, full, GRAD_RESET_STATE, b, j, first, n)
            sum_beta, sum_scale = row(h, full, GRAD_THRESHOLD, b, j, first, n), row(h, full, GRAD_ALPHA, b, j, first, n)
            if fresh_fixed:
                sum_fresh[:] = zero
            if beta_fixed:
                sum_beta[:] = zero
            if scale_fixed:
                sum_scale[:] = zero
            for t in range(t1 - 1, t0 - 1, -1):
                g = row(h, args, GRAD, b, t, first, n)
                c, beta = row(h, args, CANDIDATE, b, t, first, n), row(h, args, THRESHOLD, b, t, first, n)
                prefetch(row(h, args, GRAD_CANDIDATE, b, t0 + t1 - 1 - t, first, n))
                if not beta_fixed:
                    prefetch(row(h, args, GRAD_THRESHOLD, b, t0 + t1 - 1 - t, first, n))
                adjoint_row(g, c, beta, carry, epsilon, adjoint[t - t0])
                if is_reset(h, args, RESET, b, t):
                    pass_to_reset(carry, sum_fresh, row(h, args, GRAD_RESET_STATE, b, t, first, n), fresh_fixed)
            for t in range(t0, t1):
                if t - span >= begin:
                    prefetch(row(h, args, CANDIDATE, b, t - span, first, n))
                    prefetch(row(h, args, THRESHOLD, b, t - span, first, n))
                    prefetch(row(h, args, GRAD, b, t - span, first, n))
                if is_reset(h, args, RESET, b, t):
                    load(row(h, args, RESET_STATE, b, t, first, n), state)
                c, beta = row(h, args, CANDIDATE, b, t, first, n), row(h, args, THRESHOLD, b, t, first, n)
                any_gradient_row(
                    (c, beta, row(h, args, ALPHA, b, t, first, n)),
                    adjoint[t - t0],
                    state,
                    (epsilon, width),
                    row(h, args, GRAD_CANDIDATE, b, t, first, n),
                    (row(h, args, GRAD_THRESHOLD, b, t, first, n), sum_beta),
                    (row(h, args, GRAD_ALPHA, b, t, first, n), sum_scale),
                    beta_fixed,
                    scale_fixed,
                )


def latch_adjoint_carry(args):
    """Computes, with epsilon 0, what each piece passes back in time before the pieces are computed in parallel.

    PASSED is the gradient that reaches the state before the piece from the piece's own steps. IS_OPEN is 1 where the
    piece neither writes nor resets a channel, so that the gradient of later pieces passes through it, else 0.
    """
    h, full = header(args), wide(args)
    while True:
        task = take(h)
        if task >= h[TASKS]:
            return
        b, first, n, piece, begin, end = split_task(h, task)
        passed, open_ = row(h, full, PASSED, b, piece, first, n), row(h, full, IS_OPEN, b, piece, first, n)
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
                write = abs(get(c, d, 0)) >= abs(get(beta, d, 1))
                is_open = zero if cut or write else get(open_, d, 2)
                put(open_, d, 2, is_open)
                put(passed, d, 3, get(passed, d, 3) + (get(g, d, 4) if is_open != zero else zero))
                left += 1 if is_open != zero else 0
            t += 1
