"""The Triton kernels of the set-or-hold scan, backward; importing this module imports Triton."""

# mypy: ignore-errors
import triton
import triton.language as tl

from remanent.ops.gpu.kernels import flags, place, put_back, restarts, row_or_zeros, rows, sum_back
from remanent.ops.gpu.latch_kernels import advance, both


@triton.jit(do_not_specialize=["B", "T", "length"])
def latch_adjoint_carry(
    grad, candidate, threshold, reset, carried, whole,
    grad_strides, candidate_strides, threshold_strides, carried_strides, B, T, D, length,
    THRESHOLD_MOVES: tl.constexpr, RESET: tl.constexpr,
    STEPS: tl.constexpr, BLOCK: tl.constexpr, DTYPE: tl.constexpr,
):  # fmt: skip
    """The gradient that each piece gives to the state before it, and whether what follows passes too.

    Both (B, pieces, D). Nothing passes from the first write or reset on, where the walk may end.
    """
    piece, b, channel = place(B, D, BLOCK)
    mask = channel < D
    start = piece * length
    stop = tl.minimum(start + length, T)
    until = tl.where(mask, stop, 0)
    grad += b * grad_strides[0] + channel
    candidate += b * candidate_strides[0] + channel
    threshold += b * threshold_strides[0] + channel
    if RESET:
        reset += b * T
    total = tl.full((BLOCK,), 0, DTYPE)
    closed = (channel >= D).to(tl.int32)
    step = start
    while (step < stop) & (tl.reduce(closed, 0, both) == 0):
        g = rows(grad, grad_strides[1], step, until, True, STEPS, DTYPE)
        c = rows(candidate, candidate_strides[1], step, until, True, STEPS, DTYPE)
        beta = rows(threshold, threshold_strides[1], step, until, THRESHOLD_MOVES, STEPS, DTYPE)
        if RESET:
            fresh = flags(reset, step, stop, STEPS)
        for i in tl.static_range(STEPS):
            write = (tl.abs(c[i]) >= tl.abs(beta[i])) & (step + i < until)
            closed = tl.where(write, 1, closed)
            if RESET:
                closed = tl.where(fresh[i], 1, closed)
            total = tl.where(closed == 0, total + g[i], total)
        step += STEPS
    offset = b * carried_strides[0] + piece * carried_strides[1] + channel
    tl.store(carried + offset, total, mask=mask)
    tl.store(whole + offset, 1 - closed, mask=mask)


@triton.jit
def _checkpoints(
    saved, candidate, threshold, alpha, reset, reset_state,
    candidate_stride, threshold_stride, alpha_stride, reset_state_stride, h, restart, share, start, stop, until,
    THRESHOLD_MOVES: tl.constexpr, ALPHA_MOVES: tl.constexpr, RESET_STATE_MOVES: tl.constexpr,
    RESET: tl.constexpr, CUMULATIVE: tl.constexpr, STEPS: tl.constexpr, BLOCK: tl.constexpr, DTYPE: tl.constexpr,
):  # fmt: skip
    """Saves the state before every STEPS steps of a span, of which the first starts from `h`."""
    for group in range((stop - start + STEPS - 1) // STEPS):
        tl.store(saved + group * BLOCK, h)
        step = start + group * STEPS
        c = rows(candidate, candidate_stride, step, until, True, STEPS, DTYPE)
        beta = rows(threshold, threshold_stride, step, until, THRESHOLD_MOVES, STEPS, DTYPE)
        scale = rows(alpha, alpha_stride, step, until, ALPHA_MOVES, STEPS, DTYPE)
        fresh, own = (), ()
        if RESET:
            fresh = flags(reset, step, stop, STEPS)
            own = restarts(
                reset_state, reset_state_stride, step, fresh, until, restart, RESET_STATE_MOVES, STEPS, DTYPE
            )
        _, after = advance(c, beta, scale, fresh, own, h, share, RESET, CUMULATIVE, STEPS)
        h = after[STEPS - 1]


@triton.jit
def _changes(
    g, c, beta, scale, before, fresh, carry, share, wide,
    RESET: tl.constexpr, CUMULATIVE: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    """Gradients of candidate, threshold, alpha and `reset_state` at STEPS steps, from the last to the first.

    The last result is the gradient of the state before these steps. Without RESET, there is none of `reset_state`.
    """
    changes, threshold_changes, alpha_changes, start_changes = (), (), (), ()
    slope = 3.141592653589793 * wide
    for n in tl.static_range(STEPS - 1, -1, -1):
        adjoint = g[n] + carry
        size = tl.abs(c[n])
        write = size >= tl.abs(beta[n])
        u = slope * (size - tl.abs(beta[n]))
        v = slope * c[n]
        written = tl.where(c[n] >= 0, scale[n], -scale[n])
        if CUMULATIVE:
            written = written + share * before[n]
        through_gate = adjoint * (written - before[n]) * (wide / (1 + u * u))
        through_sign = 2 * adjoint * scale[n] * (wide / (1 + v * v))
        change = tl.where(c[n] > 0, through_gate, tl.where(c[n] < 0, -through_gate, 0))
        changes = changes + (change + tl.where(write, through_sign, 0),)  # noqa: RUF005
        change = tl.where(beta[n] > 0, -through_gate, tl.where(beta[n] < 0, through_gate, 0))
        threshold_changes = threshold_changes + (change,)  # noqa: RUF005
        change = tl.where(write, tl.where(c[n] >= 0, adjoint, -adjoint), 0)
        alpha_changes = alpha_changes + (change,)  # noqa: RUF005
        kept = share * adjoint if CUMULATIVE else 0  # not 0 * adjoint, which may be NaN
        carry = tl.where(write, kept, adjoint)
        if RESET:
            start_changes = start_changes + (tl.where(fresh[n], carry, 0),)  # noqa: RUF005
            carry = tl.where(fresh[n], 0, carry)
    if not RESET:
        start_changes = changes
    return changes, threshold_changes, alpha_changes, start_changes, carry


@triton.jit
def _span_backward(
    grad, candidate, threshold, alpha, reset, reset_state, saved,
    grad_candidate, grad_threshold, grad_alpha, grad_reset_state,
    grad_stride, candidate_stride, threshold_stride, alpha_stride, reset_state_stride,
    grad_candidate_stride, grad_threshold_stride, grad_alpha_stride, grad_reset_state_stride,
    carry, restart, share, wide, begin, end, until,
    THRESHOLD_MOVES: tl.constexpr, ALPHA_MOVES: tl.constexpr, RESET_STATE_MOVES: tl.constexpr,
    RESET: tl.constexpr, CUMULATIVE: tl.constexpr, STEPS: tl.constexpr, BLOCK: tl.constexpr, DTYPE: tl.constexpr,
):  # fmt: skip
    """Goes back over a span; the gradient of the state before it, and its sums of what is summed over time."""
    threshold_sum = tl.full((BLOCK,), 0, tl.float64)
    alpha_sum, reset_sum = threshold_sum, threshold_sum
    groups = (end - begin + STEPS - 1) // STEPS
    for left in range(groups):
        group = groups - 1 - left
        step = begin + group * STEPS
        g = rows(grad, grad_stride, step, until, True, STEPS, DTYPE)
        c = rows(candidate, candidate_stride, step, until, True, STEPS, DTYPE)
        beta = rows(threshold, threshold_stride, step, until, THRESHOLD_MOVES, STEPS, DTYPE)
        scale = rows(alpha, alpha_stride, step, until, ALPHA_MOVES, STEPS, DTYPE)
        h = tl.load(saved + group * BLOCK)
        fresh, own = (), ()
        if RESET:
            fresh = flags(reset, step, end, STEPS)
            own = restarts(
                reset_state, reset_state_stride, step, fresh, until, restart, RESET_STATE_MOVES, STEPS, DTYPE
            )
        before, _ = advance(c, beta, scale, fresh, own, h, share, RESET, CUMULATIVE, STEPS)
        changes, threshold_changes, alpha_changes, start_changes, carry = _changes(
            g, c, beta, scale, before, fresh, carry, share, wide, RESET, CUMULATIVE, STEPS
        )
        if RESET_STATE_MOVES:
            put_back(grad_reset_state, grad_reset_state_stride, start_changes, step, until, STEPS)
        elif RESET:
            reset_sum += sum_back(start_changes, step, until, STEPS)
        put_back(grad_candidate, grad_candidate_stride, changes, step, until, STEPS)
        if THRESHOLD_MOVES:
            put_back(grad_threshold, grad_threshold_stride, threshold_changes, step, until, STEPS)
        else:
            threshold_sum += sum_back(threshold_changes, step, until, STEPS)
        if ALPHA_MOVES:
            put_back(grad_alpha, grad_alpha_stride, alpha_changes, step, until, STEPS)
        else:
            alpha_sum += sum_back(alpha_changes, step, until, STEPS)
    return carry, threshold_sum, alpha_sum, reset_sum


@triton.jit(do_not_specialize=["B", "T", "length"])
def latch_backward(
    grad, starts, candidate, threshold, alpha, reset, reset_state, carried, scratch,
    grad_candidate, grad_threshold, grad_alpha, grad_h0, grad_reset_state,
    grad_strides, starts_strides, candidate_strides, threshold_strides, alpha_strides, reset_state_strides,
    carried_strides, grad_candidate_strides, grad_threshold_strides, grad_alpha_strides, grad_reset_state_strides,
    epsilon: tl.float64, width: tl.float64, B, T, D, length,
    THRESHOLD_MOVES: tl.constexpr, ALPHA_MOVES: tl.constexpr, RESET_STATE_MOVES: tl.constexpr,
    RESET: tl.constexpr, CUMULATIVE: tl.constexpr,
    SPAN: tl.constexpr, STEPS: tl.constexpr, BLOCK: tl.constexpr, DTYPE: tl.constexpr,
):  # fmt: skip
    """All gradients of the latch, span by span from the end.

    The gradient of what is (D,) is left as one row per program, (pieces, B, D) in float64. `carried` (B, pieces, D)
    is what later pieces give to each piece's last state.
    """
    piece, b, channel = place(B, D, BLOCK)
    mask = channel < D
    start = piece * length
    stop = tl.minimum(start + length, T)
    share, wide = tl.full((BLOCK,), epsilon, DTYPE), tl.full((BLOCK,), width, DTYPE)
    saved = scratch + tl.program_id(0).to(tl.int64) * (SPAN // STEPS) * BLOCK + tl.arange(0, BLOCK)
    own = (piece * B + b) * D + channel
    grad += b * grad_strides[0] + channel
    starts += b * starts_strides[0] + channel
    candidate += b * candidate_strides[0] + channel
    threshold += b * threshold_strides[0] + channel
    alpha += b * alpha_strides[0] + channel
    grad_candidate += b * grad_candidate_strides[0] + channel
    if THRESHOLD_MOVES:
        grad_threshold += b * grad_threshold_strides[0] + channel
    if ALPHA_MOVES:
        grad_alpha += b * grad_alpha_strides[0] + channel
    if carried is not None:
        carried += b * carried_strides[0] + piece * carried_strides[1] + channel
    carry = row_or_zeros(carried, mask, BLOCK, DTYPE)
    restart = tl.full((BLOCK,), 0, DTYPE)
    if RESET:
        reset += b * T
        if RESET_STATE_MOVES:
            reset_state += b * reset_state_strides[0] + channel
            grad_reset_state += b * grad_reset_state_strides[0] + channel
        elif reset_state is not None:
            restart = tl.load(reset_state + channel, mask=mask, other=0).to(DTYPE)
    threshold_sum = tl.full((BLOCK,), 0, tl.float64)
    alpha_sum, reset_sum = threshold_sum, threshold_sum
    spans = (stop - start + SPAN - 1) // SPAN
    for done in range(spans):
        begin = start + (spans - 1 - done) * SPAN
        end = tl.minimum(begin + SPAN, stop)
        until = tl.where(mask, end, 0)
        h = tl.load(starts + (begin // SPAN) * starts_strides[1], mask=mask, other=0).to(DTYPE)
        _checkpoints(
            saved, candidate, threshold, alpha, reset, reset_state,
            candidate_strides[1], threshold_strides[1], alpha_strides[1], reset_state_strides[1],
            h, restart, share, begin, end, until,
            THRESHOLD_MOVES, ALPHA_MOVES, RESET_STATE_MOVES, RESET, CUMULATIVE, STEPS, BLOCK, DTYPE,
        )  # fmt: skip
        tl.debug_barrier()  # a thread may load what another one has saved
        carry, threshold_part, alpha_part, reset_part = _span_backward(
            grad, candidate, threshold, alpha, reset, reset_state, saved,
            grad_candidate, grad_threshold, grad_alpha, grad_reset_state,
            grad_strides[1], candidate_strides[1], threshold_strides[1], alpha_strides[1], reset_state_strides[1],
            grad_candidate_strides[1], grad_threshold_strides[1], grad_alpha_strides[1], grad_reset_state_strides[1],
            carry, restart, share, wide, begin, end, until,
            THRESHOLD_MOVES, ALPHA_MOVES, RESET_STATE_MOVES, RESET, CUMULATIVE, STEPS, BLOCK, DTYPE,
        )  # fmt: skip
        threshold_sum += threshold_part
        alpha_sum += alpha_part
        reset_sum += reset_part
        tl.debug_barrier()
    if not THRESHOLD_MOVES:
        tl.store(grad_threshold + own, threshold_sum, mask=mask)
    if not ALPHA_MOVES:
        tl.store(grad_alpha + own, alpha_sum, mask=mask)
    if RESET and not RESET_STATE_MOVES:
        tl.store(grad_reset_state + own, reset_sum, mask=mask)
    tl.store(grad_h0 + b * D + channel, carry, mask=channel < tl.where(piece == 0, D, 0))
