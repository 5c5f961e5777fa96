"""The kernels of one step, which are called with the addresses of their arrays; importing this imports Numba.

A row is a sequence; its gates lie side by side, in the order of `latch_scan_joint`.
"""

from numba import carray

from remanent.ops.cpu.kernels import ANY, get, put, typed
from remanent.ops.cpu.latch_kernels import latch_value
from remanent.ops.cpu.transition_kernels import best_of


def latch_step(gates, alpha, h, out, rows, channels, gates_apart, sizes_apart, states_apart, epsilon):
    """Fills the states (rows, channels) after a step.

    Rows of gates and of states lie so many elements apart; so do those of sizes, in `gates` or, once for all, `alpha`.
    """
    joint = carray(gates, (rows * gates_apart,))
    sizes = carray(alpha, (max(rows * sizes_apart, channels),))
    before, after = carray(h, (rows * states_apart,)), carray(out, (rows * channels,))
    share = typed(after, epsilon)
    for b in range(rows):
        for d in range(channels):
            c, beta = get(joint, b * gates_apart + d, 0), get(joint, b * gates_apart + channels + d, 0)
            size, held = get(sizes, b * sizes_apart + d, 0), get(before, b * states_apart + d, 0)
            put(after, b * channels + d, 1, latch_value(c, beta, size, held, share))


def transition_step(logits, h, out, rows, heads, tracers, states, logits_apart, states_apart):
    """Fills the one-hot states (rows, heads tracers states) after a step; 0 if one before was not one-hot, else 1.

    A row of zeros is the start.
    """
    width = heads * tracers * states
    x, before = carray(logits, (rows * logits_apart,)), carray(h, (rows * states_apart,))
    after = carray(out, (rows * width,))
    zero, one = typed(after, 0), typed(after, 1)
    for i in range(rows * width):
        put(after, i, ANY, zero)
    for b in range(rows):
        starts = True
        for i in range(width):
            starts = starts and get(before, b * states_apart + i, ANY) == zero
        for tracer in range(heads * tracers):
            place, ones = tracer % states, 1 if starts else 0
            for j in range(states):
                value = get(before, b * states_apart + tracer * states + j, ANY)
                if value == one:
                    place = j
                    ones += 1
                elif value != zero:
                    return 0
            if ones != 1:
                return 0
            begin = b * logits_apart + (tracer // tracers * states + place) * states
            put(after, b * width + tracer * states + best_of(x, begin, states), ANY, one)
    return 1
