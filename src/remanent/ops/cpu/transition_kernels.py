"""The kernels of heads with K states, in the form that `kernels.py` describes: a task has some heads of a batch row."""

import math

import numpy as np

from remanent.ops.cpu.arrays import TransitionArrays
from remanent.ops.cpu.kernels import (
    ARRAYS,
    EPSILON,
    SPAN,
    TASKS,
    compile_inline,
    get,
    header,
    is_fixed,
    is_reset,
    load,
    number,
    put,
    row,
    scratch,
    split_task,
    take,
    typed,
    wide,
)
from remanent.ops.cpu.reset_kernels import pass_to_reset, row_before

(
    LOGITS, START, RESET, RESET_STATE, STATES, GRAD, CARRY, GRAD_LOGITS, GRAD_RESET_STATE
) = range(len(TransitionArrays._fields))  # fmt: skip
STATES_OF_HEAD = ARRAYS + 3 * len(TransitionArrays._fields)
"""The place of K, followed by that of R."""
X, WEIGHTS, SUMS, PREVIOUS, ADJOINT, OUT, CARRIED, GRADS, BASE, TABLE, PLACES, RESULT = range(12)
"""The scopes of `get` and `put`: each of one array in all loops of a kernel."""


@compile_inline
def best_of(x, begin, K):
    """The place of the largest of K numbers, the lowest of equal ones; that of a NaN only beside no number."""
    top, place = get(x, begin, X), 0
    for m in range(1, K):
        value = get(x, begin + m, X)
        better = value > top
        top = value if better else top
        place = m if better else place
    if top != top:  # the first is NaN, and no comparison with it was true
        for m in range(1, K):
            value = get(x, begin + m, X)
            if value == value and (top != top or value > top):
                top, place = value, m
    return place


@compile_inline
def soften(x, begin, K, place, weights):
    """The softmax of K numbers, of which the one at `place` is the largest; a NaN has no weight."""
    top, zero = get(x, begin + place, X), typed(x, 0)
    total = zero
    for m in range(K):
        value = get(x, begin + m, X)
        weight = weights.dtype.type(math.exp(value - top)) if value == value else zero
        put(weights, m, WEIGHTS, weight)
        total += weight
    factor = typed(x, 1) / total
    for m in range(K):
        put(weights, m, WEIGHTS, get(weights, m, WEIGHTS) * factor)


@compile_inline
def find_places(state, K, base, places):
    """The places of a one-hot state, each counted from the first row of its head."""
    for i in range(places.shape[0]):
        places[i] = base[i] + best_of(state, i * K, K)


@compile_inline
def fill_table(x, K, base, table):
    """The tables of some heads; says whether a row begins with NaN, with which comparisons are false."""
    odd = np.int32(0)
    for i in range(table.shape[0]):
        top, place = get(x, i * K, X), get(base, i, BASE)
        odd |= np.int32(top != top)
        for m in range(1, K):
            value = get(x, i * K + m, X)
            better = value > top
            top = value if better else top
            place = get(base, i, BASE) + np.int32(m) if better else place
        put(table, i, TABLE, place)
    return odd


@compile_inline
def fill_any_table(x, K, base, table):
    odd = np.int32(1)
    if K == 4:
        odd = fill_table(x, 4, base, table)
    elif K == 5:
        odd = fill_table(x, 5, base, table)
    if odd != 0:
        for i in range(table.shape[0]):
            table[i] = base[i] + best_of(x, i * K, K)


@compile_inline
def write_one_hot(y, K, base, places):
    zero, one = typed(y, 0), typed(y, 1)
    for i in range(places.shape[0]):
        place = get(places, i, PLACES) - get(base, i, BASE)
        for m in range(K):
            put(y, i * K + m, RESULT, one if place == m else zero)


@compile_inline
def write_states(y, K, base, places):
    if K == 4:
        write_one_hot(y, 4, base, places)
    elif K == 5:
        write_one_hot(y, 5, base, places)
    else:
        write_one_hot(y, K, base, places)


def transition_follow(args):
    """States with epsilon 0: whole numbers follow the tables, of which few tracers need few rows.

    For 4 and 5 states, loops are compiled apart from those for any K, so that the compiler makes vectors of them.
    """
    h = header(args)
    K, R = h[STATES_OF_HEAD], h[STATES_OF_HEAD + 1]
    while True:
        task = take(h)
        if task >= h[TASKS]:
            return
        b, first, n, _, begin, end = split_task(h, task)
        places, base = np.empty(n * R, np.int32), np.empty(n * R, np.int32)
        table, own = np.empty(n * K, np.int32), np.empty(n * K, np.int32)
        for i in range(n * R):
            base[i] = i // R * K
        for i in range(n * K):
            own[i] = i // K * K
        find_places(row(h, args, START, b, 0, first * R * K, n * R * K), K, base, places)
        for t in range(begin, end):
            if is_reset(h, args, RESET, b, t):
                find_places(row(h, args, RESET_STATE, b, t, first * R * K, n * R * K), K, base, places)
            x = row(h, args, LOGITS, b, t, first * K * K, n * K * K)
            if R >= K:
                fill_any_table(x, K, own, table)
                for i in range(n * R):
                    put(places, i, PLACES, get(table, get(places, i, PLACES), TABLE))
            else:
                for i in range(n * R):
                    places[i] = base[i] + best_of(x, places[i] * K, K)
            write_states(row(h, args, STATES, b, t, first * R * K, n * R * K), K, base, places)


@compile_inline
def head_mix(x, previous, weights, y, k, K, R, epsilon):
    """The states of a head, added to those in y."""
    one = typed(x, 1)
    for j in range(K):
        at = (k * K + j) * K
        place = best_of(x, at, K)
        soften(x, at, K, place, weights)
        for m in range(K):
            share = epsilon * get(weights, m, WEIGHTS)
            put(weights, m, WEIGHTS, share + (one - epsilon) if m == place else share)
        for r in range(R):
            to = (k * R + r) * K
            share = get(previous, to + j, PREVIOUS)
            for m in range(K):
                put(y, to + m, RESULT, get(y, to + m, RESULT) + share * get(weights, m, WEIGHTS))


def transition_mix(args):
    """States with epsilon above 0: products with the matrices of the heads."""
    h = header(args)
    K, R = h[STATES_OF_HEAD], h[STATES_OF_HEAD + 1]
    while True:
        task = take(h)
        if task >= h[TASKS]:
            return
        b, first, n, _, begin, end = split_task(h, task)
        at, width = first * R * K, n * R * K
        weights, previous, mixed = scratch(args, K), scratch(args, width), scratch(args, width)
        zero, epsilon = typed(weights, 0), typed(weights, number(h[EPSILON]))
        load(row(h, args, START, b, 0, at, width), previous)
        for t in range(begin, end):
            if is_reset(h, args, RESET, b, t):
                load(row(h, args, RESET_STATE, b, t, at, width), previous)
            x = row(h, args, LOGITS, b, t, first * K * K, n * K * K)
            for i in range(width):
                mixed[i] = zero
            for k in range(n):
                if K == 4:
                    head_mix(x, previous, weights, mixed, k, 4, R, epsilon)
                elif K == 5:
                    head_mix(x, previous, weights, mixed, k, 5, R, epsilon)
                else:
                    head_mix(x, previous, weights, mixed, k, K, R, epsilon)
            y = row(h, args, STATES, b, t, at, width)
            for i in range(width):
                put(previous, i, PREVIOUS, get(mixed, i, RESULT))
                put(y, i, OUT, get(mixed, i, RESULT))


@compile_inline
def head_back(x, previous, carry, adjoint, weights, d, out, k, K, R, epsilon):
    """The gradient of a head's logits from its adjoint (R K); puts what passes back in time into `carry`."""
    zero, one = typed(x, 0), typed(x, 1)
    for j in range(K):
        at = (k * K + j) * K
        place = best_of(x, at, K)
        visited = False
        for m in range(K):
            put(d, m, SUMS, zero)
        for r in range(R):
            share = get(previous, (k * R + r) * K + j, PREVIOUS)
            if share != zero:
                visited = True
                for m in range(K):
                    put(d, m, SUMS, get(d, m, SUMS) + share * get(adjoint, r * K + m, ADJOINT))
        if visited or epsilon != zero:
            soften(x, at, K, place, weights)
        mean = zero
        if visited:
            for m in range(K):
                mean += get(weights, m, WEIGHTS) * get(d, m, SUMS)
        for m in range(K):
            put(out, at + m, OUT, get(weights, m, WEIGHTS) * (get(d, m, SUMS) - mean) if visited else zero)
        for r in range(R):
            total = get(adjoint, r * K + place, ADJOINT)
            if epsilon != zero:
                mixed = zero
                for m in range(K):
                    mixed += get(weights, m, WEIGHTS) * get(adjoint, r * K + m, ADJOINT)
                total = (one - epsilon) * total + epsilon * mixed
            put(carry, (k * R + r) * K + j, CARRIED, total)


def transition_backward(args):
    """Computes all gradients, from the last step to the first; sums that of a reset's state (D,) in each span."""
    h, full = header(args), wide(args)
    K, R = h[STATES_OF_HEAD], h[STATES_OF_HEAD + 1]
    while True:
        task = take(h)
        if task >= h[TASKS]:
            return
        b, first, n, _, begin, end = split_task(h, task)
        at, width, span = first * R * K, n * R * K, h[SPAN]
        carry = row(h, full, CARRY, b, 0, at, width)
        zero = carry.dtype.type(0)
        epsilon = carry.dtype.type(number(h[EPSILON]))
        adjoint, weights, d = scratch(args, R * K), scratch(args, K), scratch(args, K)
        fixed = is_fixed(h, RESET_STATE)
        for t in range(end - 1, begin - 1, -1):
            total = row(h, full, GRAD_RESET_STATE, b, t // span, at, width)
            if fixed and (t == end - 1 or (t + 1) % span == 0):
                total[:] = zero
            cut = is_reset(h, args, RESET, b, t)
            previous = row_before(h, args, (START, STATES, RESET_STATE), cut, b, t, at, width)
            g = row(h, args, GRAD, b, t, at, width)
            x = row(h, args, LOGITS, b, t, first * K * K, n * K * K)
            out = row(h, args, GRAD_LOGITS, b, t, first * K * K, n * K * K)
            for k in range(n):
                for i in range(R * K):
                    put(adjoint, i, ADJOINT, get(g, k * R * K + i, GRADS) + get(carry, k * R * K + i, CARRIED))
                if K == 4:
                    head_back(x, previous, carry, adjoint, weights, d, out, k, 4, R, epsilon)
                elif K == 5:
                    head_back(x, previous, carry, adjoint, weights, d, out, k, 5, R, epsilon)
                else:
                    head_back(x, previous, carry, adjoint, weights, d, out, k, K, R, epsilon)
            if cut:
                pass_to_reset(carry, total, row(h, args, GRAD_RESET_STATE, b, t, at, width), fixed)
