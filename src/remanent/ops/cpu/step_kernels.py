"""The kernels of one step, which are called with the addresses of their arrays; importing this imports Numba.

A row is a sequence; its gates lie side by side, in the order of `latch_scan_joint`.
"""

from numba import carray

from remanent.ops.cpu.latch_kernels import latch_row
from remanent.ops.cpu.transition_kernels import best_of


def latch_step(gates, alpha, h, out, rows, channels, gates_apart, sizes_apart, states_apart, epsilon):
    """Fills the states (rows, channels) after a step.

    Rows of gates and of states lie so many elements apart; so do those of sizes, in `gates` or, once for all, `alpha`.
    """
    joint = carray(gates, (rows * gates_apart,))
    sizes = carray(alpha, (max(rows * sizes_apart, channels),))
    before, after = carray(h, (rows * states_apart,)), carray(out, (rows * channels,))
    share = after.dtype.type(epsilon)
    for b in range(rows):
        c = joint[b * gates_apart : b * gates_apart + channels]
        beta = joint[b * gates_apart + channels : b * gates_apart + 2 * channels]
        scale = sizes[b * sizes_apart : b * sizes_apart + channels]
        held = before[b * states_apart : b * states_apart + channels]
        latch_row(c, beta, scale, held, share, after[b * channels : (b + 1) * channels])


def transition_step(logits, h, out, rows, heads, tracers, states, logits_apart, states_apart):
    """Fills the one-hot states (rows, heads tracers states) after a step; 0 if one before was not one-hot, else 1.

    A row of zeros is the start.
    """
    width = heads * tracers * states
    x, before = carray(logits, (rows * logits_apart,)), carray(h, (rows * states_apart,))
    after = carray(out, (rows * width,))
    zero, one = after.dtype.type(0), after.dtype.type(1)
    for i in range(rows * width):
        after[i] = zero
    for b in range(rows):
        starts = True
        for i in range(width):
            starts = starts and before[b * states_apart + i] == zero
        for tracer in range(heads * tracers):
            place, ones = tracer % states, 1 if starts else 0
            for j in range(states):
                value = before[b * states_apart + tracer * states + j]
                if value == one:
                    place = j
                    ones += 1
                elif value != zero:
                    return 0
            if ones != 1:
                return 0
            begin = b * logits_apart + (tracer // tracers * states + place) * states
            after[b * width + tracer * states + best_of(x, begin, states)] = one
    return 1
