"""The Triton kernels of set or hold that read memory once; importing this module imports Triton."""

# mypy: ignore-errors
import triton
import triton.language as tl

from remanent.ops.gpu.look_back import (
    at,
    await_words,
    elements,
    gathered,
    gathered_before,
    greater,
    latest,
    latest_before,
    pick,
    piece_of,
    plus,
    publish,
    store_or_add,
    tile,
    tile_flags,
)


@triton.jit
def _written(c, beta, scale, fresh, restart, shape, RESET: tl.constexpr, STEPS: tl.constexpr):
    """What is written or reset last in the piece before each part, and up to its end; each with whether anything is."""
    value, none = tl.full(shape, 0, tl.float32), tl.full(shape, 0, tl.int32)
    before, seen = value, none
    for i in tl.static_range(STEPS):
        if RESET:
            value, seen = tl.where(fresh[i], restart, value), tl.where(fresh[i], 1, seen)
        write = tl.abs(c[i]) >= tl.abs(beta[i])
        value = tl.where(write, tl.where(c[i] >= 0, scale[i], -scale[i]), value)
        seen = tl.where(write, 1, seen)
    before, known, value, seen = tl.associative_scan((before, none, value, seen), 0, latest_before)
    value, seen = latest(before, known, value, seen)
    return before, known, value, seen


@triton.jit
def _latest_of(words, stride, place, mask, GROUP: tl.constexpr):
    """What the first `place` of GROUP pieces or groups write last, and whether they do."""
    row = tl.arange(0, GROUP)[:, None]
    value, mark = await_words(words + row * stride, mask & (row < place))
    key = tl.where(mark == 2, row + 1, 0)
    best = tl.reduce(key, 0, greater, keep_dims=True)
    return pick(value, (key == best) & (best > 0)), (best > 0).to(tl.int32)


@triton.jit
def _look_back(pieces, groups, blocks, own, own_seen, last, first, piece, stride, mask, GROUP: tl.constexpr):
    """The state that the piece starts from, `first` (1, BLOCK) at step 0; publishes what it writes, the row `last`."""
    publish(pieces + piece * stride + last.to(tl.int32) * 0, own, 1 + own_seen, mask & last)
    group, place = piece // GROUP, piece % GROUP
    block, group_place = group // GROUP, group % GROUP
    none = tl.full(first.shape, 0, tl.int32)
    near, near_seen, far, far_seen, left = first, none, first, none, first
    if place > 0:
        near, near_seen = _latest_of(pieces + group * GROUP * stride, stride, place, mask, GROUP)
    if place == GROUP - 1:
        whole, whole_seen = latest(near, near_seen, pick(own, last), pick(own_seen, last))
        publish(groups + group * stride, whole, 1 + whole_seen, mask)
    if group_place > 0:
        far, far_seen = _latest_of(groups + block * GROUP * stride, stride, group_place, mask, GROUP)
    if block > 0:
        left, _ = await_words(blocks + (block - 1) * stride, mask)
    h = tl.where(near_seen != 0, near, tl.where(far_seen != 0, far, left))
    if (place == GROUP - 1) & (group_place == GROUP - 1):
        leaves, _ = latest(h, none, pick(own, last), pick(own_seen, last))
        publish(blocks + block * stride, leaves, none + 1, mask)
    return h


@triton.jit(
    do_not_specialize=[
        "B", "T", "D", "words_stride", "candidate_strides", "threshold_strides", "alpha_strides", "states_strides",
    ]
)  # fmt: skip
def latch_forward_once(
    candidate, threshold, alpha, h0, reset, reset_state, states, piece_words, group_words, block_words,
    candidate_strides, threshold_strides, alpha_strides, states_strides, B, T, D, words_stride,
    THRESHOLD_MOVES: tl.constexpr, ALPHA_MOVES: tl.constexpr, RESET: tl.constexpr,
    PARTS: tl.constexpr, STEPS: tl.constexpr, GROUP: tl.constexpr, BLOCK: tl.constexpr, PAIR: tl.constexpr,
):  # fmt: skip
    """States of every step, each gate read once; the words, (pieces, B, D) and so on, are 0 at the start."""
    D, words_stride = PAIR * D, PAIR * words_stride
    candidate_strides, threshold_strides = elements(candidate_strides, PAIR), elements(threshold_strides, PAIR)
    alpha_strides, states_strides = elements(alpha_strides, PAIR), elements(states_strides, PAIR)
    piece, b, channel, part = piece_of(B, D, BLOCK, PARTS)
    mask = channel < D
    begin = (piece * PARTS + part).to(tl.int64) * STEPS
    end = tl.where(mask, T - begin, 0)
    first = tl.full((1, BLOCK), 0, tl.float32)
    if h0 is not None:
        first = tl.load(h0 + b * D + channel, mask=mask, other=0).to(tl.float32)
    restart = tl.full((1, BLOCK), 0, tl.float32)
    fresh = ()
    if RESET:
        fresh = tile_flags(reset + b * T + begin, T - begin, STEPS)
        if reset_state is not None:
            restart = tl.load(reset_state + channel, mask=mask, other=0).to(tl.float32)
    c = tile(candidate + at(candidate_strides, b, begin, channel), candidate_strides[1], end, True, STEPS)
    beta = tile(threshold + at(threshold_strides, b, begin, channel), threshold_strides[1], end, THRESHOLD_MOVES, STEPS)
    scale = tile(alpha + at(alpha_strides, b, begin, channel), alpha_strides[1], end, ALPHA_MOVES, STEPS)
    before, known, value, seen = _written(c, beta, scale, fresh, restart, (PARTS, BLOCK), RESET, STEPS)
    own = b * D + channel
    start = _look_back(
        piece_words + own, group_words + own, block_words + own, value, seen, part == PARTS - 1, first, piece,
        words_stride, mask, GROUP,
    )  # fmt: skip
    h = tl.where(known != 0, before, start)
    states += at(states_strides, b, begin, channel)
    for i in tl.static_range(STEPS):
        if RESET:
            h = tl.where(fresh[i], restart, h)
        h = tl.where(tl.abs(c[i]) >= tl.abs(beta[i]), tl.where(c[i] >= 0, scale[i], -scale[i]), h)
        tl.store(states + i * states_strides[1], h, mask=i < end)


@triton.jit
def _gathered_of(words, stride, place, mask, GROUP: tl.constexpr):
    """What the first `place` of GROUP pieces or groups give on, and whether what comes into them does not pass."""
    row = tl.arange(0, GROUP)[:, None]
    total, mark = await_words(words + row * stride, mask & (row < place))
    total, closed = tl.associative_scan((total, tl.maximum(mark - 1, 0)), 0, gathered)
    return pick(total, row == GROUP - 1), pick(closed, row == GROUP - 1)


@triton.jit
def _carried(pieces, groups, blocks, own, own_closed, last, order, stride, mask, GROUP: tl.constexpr):
    """The gradient that comes into the piece from those after it; publishes what it gives on, the row `last`."""
    publish(pieces + order * stride + last.to(tl.int32) * 0, own, 1 + own_closed, mask & last)
    group, place = order // GROUP, order % GROUP
    block, group_place = group // GROUP, group % GROUP
    none = tl.full(mask.shape, 0, tl.int32)
    zero = tl.full(mask.shape, 0, tl.float32)
    near, near_closed, far, far_closed, left = zero, none, zero, none, zero
    if place > 0:
        near, near_closed = _gathered_of(pieces + group * GROUP * stride, stride, place, mask, GROUP)
    if place == GROUP - 1:
        whole, whole_closed = gathered(near, near_closed, pick(own, last), pick(own_closed, last))
        publish(groups + group * stride, whole, 1 + whole_closed, mask)
    if group_place > 0:
        far, far_closed = _gathered_of(groups + block * GROUP * stride, stride, group_place, mask, GROUP)
    if block > 0:
        left, _ = await_words(blocks + (block - 1) * stride, mask)
    carry = tl.where(far_closed != 0, far, far + left)
    carry = tl.where(near_closed != 0, near, near + carry)
    if (place == GROUP - 1) & (group_place == GROUP - 1):
        leaves, _ = gathered(carry, none, pick(own, last), pick(own_closed, last))
        publish(blocks + block * stride, leaves, none + 1, mask)
    return carry


@triton.jit
def _states_before(c, beta, scale, fresh, restart, h, RESET: tl.constexpr, STEPS: tl.constexpr):
    """The state that each step starts from, once it was reset; `h` is that before the first."""
    before = ()
    for i in tl.static_range(STEPS):
        if RESET:
            h = tl.where(fresh[i], restart, h)
        before = before + (h,)  # noqa: RUF005
        h = tl.where(tl.abs(c[i]) >= tl.abs(beta[i]), tl.where(c[i] >= 0, scale[i], -scale[i]), h)
    return before


@triton.jit
def _given(g, c, beta, fresh, end, shape, RESET: tl.constexpr, STEPS: tl.constexpr):
    """What the parts after each give to it, and what it then gives on; each with whether nothing passes from after."""
    total, none = tl.full(shape, 0, tl.float32), tl.full(shape, 0, tl.int32)
    after, closed = total, none
    for n in tl.static_range(STEPS - 1, -1, -1):
        write = (tl.abs(c[n]) >= tl.abs(beta[n])) & (n < end)
        total, closed = tl.where(write, 0.0, g[n] + total), tl.where(write, 1, closed)
        if RESET:
            total, closed = tl.where(fresh[n], 0.0, total), tl.where(fresh[n], 1, closed)
    after, known, total, closed = tl.associative_scan((after, none, total, closed), 0, gathered_before, reverse=True)
    total, closed = gathered(after, known, total, closed)
    return after, known, total, closed


@triton.jit(
    do_not_specialize=[
        "B", "T", "D", "pieces", "words_stride", "grad_strides", "starts_strides", "candidate_strides",
        "threshold_strides", "alpha_strides", "grad_candidate_strides", "grad_threshold_strides", "grad_alpha_strides",
    ]
)  # fmt: skip
def latch_backward_once(
    grad, starts, candidate, threshold, alpha, reset, reset_state, piece_words, group_words, block_words,
    grad_candidate, grad_threshold, grad_alpha, grad_h0, grad_reset_state,
    grad_strides, starts_strides, candidate_strides, threshold_strides, alpha_strides,
    grad_candidate_strides, grad_threshold_strides, grad_alpha_strides,
    width: tl.float64, B, T, D, pieces, words_stride,
    THRESHOLD_MOVES: tl.constexpr, ALPHA_MOVES: tl.constexpr, RESET: tl.constexpr, SPAN: tl.constexpr,
    PARTS: tl.constexpr, STEPS: tl.constexpr, GROUP: tl.constexpr, BLOCK: tl.constexpr, PAIR: tl.constexpr,
):  # fmt: skip
    """All gradients, each tensor read once, from the last piece to the first.

    What is summed over time is left as one row a program, (pieces, B, D) in float64.
    """
    D, words_stride = PAIR * D, PAIR * words_stride
    grad_strides, grad_threshold_strides = elements(grad_strides, PAIR), elements(grad_threshold_strides, PAIR)
    candidate_strides, threshold_strides = elements(candidate_strides, PAIR), elements(threshold_strides, PAIR)
    alpha_strides, grad_candidate_strides = elements(alpha_strides, PAIR), elements(grad_candidate_strides, PAIR)
    starts_strides, grad_alpha_strides = elements(starts_strides, PAIR), elements(grad_alpha_strides, PAIR)
    order, b, channel, part = piece_of(B, D, BLOCK, PARTS)
    piece = pieces - 1 - order
    mask = channel < D
    begin = (piece * PARTS + part).to(tl.int64) * STEPS
    end = tl.where(mask, T - begin, 0)
    restart = tl.full((1, BLOCK), 0, tl.float32)
    fresh = ()
    if RESET:
        fresh = tile_flags(reset + b * T + begin, T - begin, STEPS)
        if reset_state is not None:
            restart = tl.load(reset_state + channel, mask=mask, other=0).to(tl.float32)
    g = tile(grad + at(grad_strides, b, begin, channel), grad_strides[1], end, True, STEPS)
    c = tile(candidate + at(candidate_strides, b, begin, channel), candidate_strides[1], end, True, STEPS)
    beta = tile(threshold + at(threshold_strides, b, begin, channel), threshold_strides[1], end, THRESHOLD_MOVES, STEPS)
    scale = tile(alpha + at(alpha_strides, b, begin, channel), alpha_strides[1], end, ALPHA_MOVES, STEPS)
    starts += at(starts_strides, b, piece.to(tl.int64) * (PARTS * STEPS // SPAN), channel)
    start = tl.load(starts, mask=mask, other=0)
    h, known, _, _ = _written(c, beta, scale, fresh, restart, (PARTS, BLOCK), RESET, STEPS)
    h = tl.where(known != 0, h, start.to(tl.float32))
    before = _states_before(c, beta, scale, fresh, restart, h, RESET, STEPS)
    after, known, total, closed = _given(g, c, beta, fresh, end, (PARTS, BLOCK), RESET, STEPS)
    own = b * D + channel
    carry = _carried(
        piece_words + own, group_words + own, block_words + own, total, closed, part == 0, order, words_stride, mask,
        GROUP,
    )  # fmt: skip
    carry = tl.where(known != 0, after, after + carry)
    wide = tl.full((1, BLOCK), width, tl.float32)
    slope = 3.141592653589793 * wide
    threshold_sum, alpha_sum = tl.full((PARTS, BLOCK), 0, tl.float32), tl.full((PARTS, BLOCK), 0, tl.float32)
    reset_sum = tl.full((PARTS, BLOCK), 0, tl.float32)
    grad_candidate += at(grad_candidate_strides, b, begin, channel)
    if THRESHOLD_MOVES:
        grad_threshold += at(grad_threshold_strides, b, begin, channel)
    if ALPHA_MOVES:
        grad_alpha += at(grad_alpha_strides, b, begin, channel)
    for n in tl.static_range(STEPS - 1, -1, -1):
        inside = n < end
        adjoint = g[n] + carry
        size = tl.abs(c[n])
        write = size >= tl.abs(beta[n])
        u = slope * (size - tl.abs(beta[n]))
        written = tl.where(c[n] >= 0, scale[n], -scale[n])
        through_gate = adjoint * (written - before[n]) * (wide / (1 + u * u))
        through_sign = 2 * adjoint * scale[n] * (wide / (1 + (slope * c[n]) * (slope * c[n])))
        change = tl.where(c[n] > 0, through_gate, tl.where(c[n] < 0, -through_gate, 0))
        tl.store(grad_candidate + n * grad_candidate_strides[1], change + tl.where(write, through_sign, 0), mask=inside)
        change = tl.where(beta[n] > 0, -through_gate, tl.where(beta[n] < 0, through_gate, 0))
        to = grad_threshold + n * grad_threshold_strides[1]
        threshold_sum = store_or_add(to, change, threshold_sum, inside, THRESHOLD_MOVES)
        change = tl.where(write, tl.where(c[n] >= 0, adjoint, -adjoint), 0)
        alpha_sum = store_or_add(grad_alpha + n * grad_alpha_strides[1], change, alpha_sum, inside, ALPHA_MOVES)
        carry = tl.where(write & inside, 0.0, adjoint)
        if RESET:
            reset_sum += tl.where(fresh[n], carry, 0)
            carry = tl.where(fresh[n], 0.0, carry)
    row = (piece.to(tl.int64) * B + b) * D + channel
    if not THRESHOLD_MOVES:
        tl.store(grad_threshold + row, tl.reduce(threshold_sum.to(tl.float64), 0, plus, keep_dims=True), mask=mask)
    if not ALPHA_MOVES:
        tl.store(grad_alpha + row, tl.reduce(alpha_sum.to(tl.float64), 0, plus, keep_dims=True), mask=mask)
    if RESET:
        tl.store(grad_reset_state + row, tl.reduce(reset_sum.to(tl.float64), 0, plus, keep_dims=True), mask=mask)
    if piece == 0:
        tl.store(grad_h0 + b * D + channel, pick(carry, part == 0), mask=mask)
