"""The Triton kernels of the set-or-hold scan, forward; importing this module imports Triton."""

# mypy: ignore-errors
import triton
import triton.language as tl

from remanent.ops.gpu.kernels import flags, place, restarts, row_or_zeros, rows


@triton.jit
def both(a, b):
    return a & b


@triton.jit
def advance(
    c, beta, scale, fresh, restart, h, share, RESET: tl.constexpr, CUMULATIVE: tl.constexpr, STEPS: tl.constexpr
):
    """The states that STEPS steps start from, and those that they end with."""
    before, after = (), ()
    for i in tl.static_range(STEPS):
        if RESET:
            h = tl.where(fresh[i], restart[i], h)
        before = before + (h,)  # noqa: RUF005
        written = tl.where(c[i] >= 0, scale[i], -scale[i])
        if CUMULATIVE:
            written = written + share * h
        h = tl.where(tl.abs(c[i]) >= tl.abs(beta[i]), written, h)
        after = after + (h,)  # noqa: RUF005
    return before, after


@triton.jit(do_not_specialize=["B", "T", "length"])
def latch_forward(
    candidate, threshold, alpha, initial, reset, reset_state, states,
    candidate_strides, threshold_strides, alpha_strides, reset_state_strides, initial_strides, states_strides,
    epsilon: tl.float64, B, T, D, length,
    THRESHOLD_MOVES: tl.constexpr, ALPHA_MOVES: tl.constexpr, RESET_STATE_MOVES: tl.constexpr, RESET: tl.constexpr,
    CUMULATIVE: tl.constexpr, STEPS: tl.constexpr, BLOCK: tl.constexpr, DTYPE: tl.constexpr,
):  # fmt: skip
    """States of every step; `initial` (B, pieces, D) is the state that each piece starts from."""
    piece, b, channel = place(B, D, BLOCK)
    mask = channel < D
    start = piece * length
    stop = tl.minimum(start + length, T)
    until = tl.where(mask, stop, 0)
    share = tl.full((BLOCK,), epsilon, DTYPE)
    if initial is not None:
        initial += b * initial_strides[0] + piece * initial_strides[1] + channel
    h = row_or_zeros(initial, mask, BLOCK, DTYPE)
    restart = tl.full((BLOCK,), 0, DTYPE)
    if RESET:
        reset += b * T
        if RESET_STATE_MOVES:
            reset_state += b * reset_state_strides[0] + channel
        elif reset_state is not None:
            restart = tl.load(reset_state + channel, mask=mask, other=0).to(DTYPE)
    candidate += b * candidate_strides[0] + channel
    threshold += b * threshold_strides[0] + channel
    alpha += b * alpha_strides[0] + channel
    states += b * states_strides[0] + channel
    for step in range(start, stop, STEPS):
        c = rows(candidate, candidate_strides[1], step, until, True, STEPS, DTYPE)
        beta = rows(threshold, threshold_strides[1], step, until, THRESHOLD_MOVES, STEPS, DTYPE)
        scale = rows(alpha, alpha_strides[1], step, until, ALPHA_MOVES, STEPS, DTYPE)
        fresh, own = (), ()
        if RESET:
            fresh = flags(reset, step, stop, STEPS)
            own = restarts(
                reset_state, reset_state_strides[1], step, fresh, until, restart, RESET_STATE_MOVES, STEPS, DTYPE
            )
        _, after = advance(c, beta, scale, fresh, own, h, share, RESET, CUMULATIVE, STEPS)
        for i in tl.static_range(STEPS):
            tl.store(states + (step + i) * states_strides[1], after[i], mask=step + i < until)
        h = after[STEPS - 1]


@triton.jit(do_not_specialize=["B", "T", "length"])
def latch_last_write(
    candidate, threshold, alpha, reset, reset_state, last, found,
    candidate_strides, threshold_strides, alpha_strides, reset_state_strides, last_strides, B, T, D, length,
    THRESHOLD_MOVES: tl.constexpr, ALPHA_MOVES: tl.constexpr, RESET_STATE_MOVES: tl.constexpr, RESET: tl.constexpr,
    STEPS: tl.constexpr, BLOCK: tl.constexpr, DTYPE: tl.constexpr,
):  # fmt: skip
    """What each piece writes or resets last, and whether it does, (B, pieces, D); looks from the end."""
    piece, b, channel = place(B, D, BLOCK)
    mask = channel < D
    start = piece * length
    stop = tl.minimum(start + length, T)
    until = tl.where(mask, stop, 0)
    restart = tl.full((BLOCK,), 0, DTYPE)
    if RESET:
        reset += b * T
        if RESET_STATE_MOVES:
            reset_state += b * reset_state_strides[0] + channel
        elif reset_state is not None:
            restart = tl.load(reset_state + channel, mask=mask, other=0).to(DTYPE)
    candidate += b * candidate_strides[0] + channel
    threshold += b * threshold_strides[0] + channel
    alpha += b * alpha_strides[0] + channel
    value = tl.full((BLOCK,), 0, DTYPE)
    seen = (channel >= D).to(tl.int32)
    group = (stop - start + STEPS - 1) // STEPS
    while (group > 0) & (tl.reduce(seen, 0, both) == 0):
        group -= 1
        step = start + group * STEPS
        c = rows(candidate, candidate_strides[1], step, until, True, STEPS, DTYPE)
        beta = rows(threshold, threshold_strides[1], step, until, THRESHOLD_MOVES, STEPS, DTYPE)
        scale = rows(alpha, alpha_strides[1], step, until, ALPHA_MOVES, STEPS, DTYPE)
        if RESET:
            fresh = flags(reset, step, stop, STEPS)
            own = restarts(
                reset_state, reset_state_strides[1], step, fresh, until, restart, RESET_STATE_MOVES, STEPS, DTYPE
            )
        for n in tl.static_range(STEPS - 1, -1, -1):
            write = (tl.abs(c[n]) >= tl.abs(beta[n])) & (step + n < until)
            value = tl.where(write & (seen == 0), tl.where(c[n] >= 0, scale[n], -scale[n]), value)
            seen = tl.where(write, 1, seen)
            if RESET:
                value = tl.where(fresh[n] & (seen == 0), own[n], value)
                seen = tl.where(fresh[n], 1, seen)
    offset = b * last_strides[0] + piece * last_strides[1] + channel
    tl.store(last + offset, value, mask=mask)
    tl.store(found + offset, seen, mask=mask)
