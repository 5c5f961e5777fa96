"""What the kernels of several scans do at a reset, and at the first step; importing this module imports Numba."""

from remanent.ops.cpu.kernels import ANY, compile_inline, put, row, typed


@compile_inline
def row_before(h, args, arrays, cut, b, t, first, n):
    """The row of the state that a step begins with: of START, STATES or RESET_STATE, given in this order.

    `cut` says whether the step begins with a reset.
    """
    start, states, reset_state = arrays
    if cut:
        return row(h, args, reset_state, b, t, first, n)
    if t > 0:
        return row(h, args, states, b, t - 1, first, n)
    return row(h, args, start, b, 0, first, n)


@compile_inline
def pass_to_reset(carry, total, own, fixed):
    """Moves what passes back in time to the state after a reset: adds it to a `total` where that is `fixed`."""
    zero = typed(carry, 0)
    for d in range(carry.shape[0]):
        if fixed:
            total[d] += carry[d]
        else:
            put(own, d, ANY, carry[d])
        carry[d] = zero
