"""The Triton kernels of the real linear scan that read memory once; importing this module imports Triton."""

# mypy: ignore-errors
import triton
import triton.language as tl

from remanent.ops.gpu.look_back import (
    at,
    await_words,
    composed,
    composed_before,
    elements,
    pick,
    piece_of,
    plus,
    publish,
    store_or_add,
    tile,
    tile_flags,
)


@triton.jit
def _composed_of(products, owns, stride, place, mask, GROUP: tl.constexpr):
    """The maps of the first `place` of GROUP pieces or groups as one."""
    row = tl.arange(0, GROUP)[:, None]
    before = mask & (row < place)
    A, mark = await_words(products + row * stride, before)
    V, _ = await_words(owns + row * stride, before)
    A, V, cut = tl.associative_scan((tl.where(before, A, 1.0), V, tl.maximum(mark - 1, 0)), 0, composed)
    last = row == GROUP - 1
    return pick(A, last), pick(V, last), pick(cut, last)


@triton.jit
def _look_back(
    words, groups, blocks, size, group_size, product, own, cut, last, first, order, stride, mask, GROUP: tl.constexpr
):
    """What comes into the piece, `first` (1, BLOCK) into that of order 0; publishes its map, the row `last`.

    Words of products come first, those of what is added `size` and `group_size` words later.
    """
    here = words + order * stride + last.to(tl.int32) * 0
    publish(here, product, 1 + cut, mask & last)
    publish(here + size, own, 1 + cut, mask & last)
    group, place = order // GROUP, order % GROUP
    block, group_place = group // GROUP, group % GROUP
    gone = tl.full(first.shape, 0, tl.int32)
    A, V = tl.full(first.shape, 1, tl.float32), tl.full(first.shape, 0, tl.float32)
    far_A, far_V, far_gone, h = A, V, gone, first
    if place > 0:
        start = words + group * GROUP * stride
        A, V, gone = _composed_of(start, start + size, stride, place, mask, GROUP)
    if place == GROUP - 1:
        whole, added, whole_cut = composed(A, V, gone, pick(product, last), pick(own, last), pick(cut, last))
        publish(groups + group * stride, whole, 1 + whole_cut, mask)
        publish(groups + group_size + group * stride, added, 1 + whole_cut, mask)
    if group_place > 0:
        begin = groups + block * GROUP * stride
        far_A, far_V, far_gone = _composed_of(begin, begin + group_size, stride, group_place, mask, GROUP)
    if block > 0:
        h, _ = await_words(blocks + (block - 1) * stride, mask)
    h = tl.where(far_gone != 0, far_V, far_A * h + far_V)
    h = tl.where(gone != 0, V, A * h + V)
    if (place == GROUP - 1) & (group_place == GROUP - 1):
        through = pick(product, last) * h + pick(own, last)
        through = tl.where(pick(cut, last) != 0, pick(own, last), through)
        publish(blocks + block * stride, through, gone * 0 + 1, mask)
    return h


@triton.jit(
    do_not_specialize=[
        "B",
        "T",
        "D",
        "words_stride",
        "size",
        "group_size",
        "decay_strides",
        "value_strides",
        "states_strides",
    ]
)
def linear_forward_once(
    decay, value, h0, reset, reset_state, states, piece_words, group_words, block_words,
    decay_strides, value_strides, states_strides, B, T, D, words_stride, size, group_size,
    DECAY_MOVES: tl.constexpr, RESET: tl.constexpr,
    PARTS: tl.constexpr, STEPS: tl.constexpr, GROUP: tl.constexpr, BLOCK: tl.constexpr, PAIR: tl.constexpr,
):  # fmt: skip
    """States of every step, each input read once; the words (pieces, B, D) are 0 at the start."""
    D, words_stride, size, group_size = PAIR * D, PAIR * words_stride, PAIR * size, PAIR * group_size
    decay_strides, value_strides = elements(decay_strides, PAIR), elements(value_strides, PAIR)
    states_strides = elements(states_strides, PAIR)
    piece, b, channel, part = piece_of(B, D, BLOCK, PARTS)
    mask = channel < D
    begin = (piece * PARTS + part).to(tl.int64) * STEPS
    until = tl.where(mask, T - begin, 0)
    first = tl.full((1, BLOCK), 0, tl.float32)
    if h0 is not None:
        first = tl.load(h0 + b * D + channel, mask=mask, other=0).to(tl.float32)
    restart = tl.full((1, BLOCK), 0, tl.float32)
    fresh = ()
    if RESET:
        fresh = tile_flags(reset + b * T + begin, T - begin, STEPS)
        if reset_state is not None:
            restart = tl.load(reset_state + channel, mask=mask, other=0).to(tl.float32)
    a = tile(decay + at(decay_strides, b, begin, channel), decay_strides[1], until, DECAY_MOVES, STEPS)
    v = tile(value + at(value_strides, b, begin, channel), value_strides[1], until, True, STEPS)
    product, own = tl.full((PARTS, BLOCK), 1, tl.float32), tl.full((PARTS, BLOCK), 0, tl.float32)
    cut = tl.full((PARTS, BLOCK), 0, tl.int32)
    one, zero, none = product, own, cut
    for i in tl.static_range(STEPS):
        if RESET:
            product, own = tl.where(fresh[i], 0.0, product), tl.where(fresh[i], restart, own)
            cut = tl.where(fresh[i], 1, cut)
        product, own = a[i] * product, a[i] * own + v[i]
    A, V, gone, product, own, cut = tl.associative_scan((one, zero, none, product, own, cut), 0, composed_before)
    product, own, cut = composed(A, V, gone, product, own, cut)
    place = b * D + channel
    h = _look_back(
        piece_words + place, group_words + place, block_words + place, size, group_size,
        product, own, cut, part == PARTS - 1, first, piece, words_stride, mask, GROUP,
    )  # fmt: skip
    h = tl.where(gone != 0, V, A * h + V)
    states += at(states_strides, b, begin, channel)
    for i in tl.static_range(STEPS):
        if RESET:
            h = tl.where(fresh[i], restart, h)
        h = a[i] * h + v[i]
        tl.store(states + i * states_strides[1], h, mask=i < until)


@triton.jit(
    do_not_specialize=[
        "B", "T", "D", "pieces", "words_stride", "size", "group_size", "grad_strides", "states_strides",
        "decay_strides",
        "grad_decay_strides", "grad_value_strides",
    ]
)  # fmt: skip
def linear_backward_once(
    grad, states, decay, h0, reset, reset_state, piece_words, group_words, block_words,
    grad_decay, grad_value, grad_h0, grad_reset_state,
    grad_strides, states_strides, decay_strides, grad_decay_strides, grad_value_strides,
    B, T, D, pieces, words_stride, size, group_size,
    DECAY_MOVES: tl.constexpr, RESET: tl.constexpr,
    PARTS: tl.constexpr, STEPS: tl.constexpr, GROUP: tl.constexpr, BLOCK: tl.constexpr, PAIR: tl.constexpr,
):  # fmt: skip
    """All gradients, each tensor read once, from the last piece to the first; sums as in `latch_backward_once`."""
    D, words_stride, size, group_size = PAIR * D, PAIR * words_stride, PAIR * size, PAIR * group_size
    grad_strides, states_strides = elements(grad_strides, PAIR), elements(states_strides, PAIR)
    decay_strides, grad_decay_strides = elements(decay_strides, PAIR), elements(grad_decay_strides, PAIR)
    grad_value_strides = elements(grad_value_strides, PAIR)
    order, b, channel, part = piece_of(B, D, BLOCK, PARTS)
    piece = pieces - 1 - order
    mask = channel < D
    begin = (piece * PARTS + part).to(tl.int64) * STEPS
    until = tl.where(mask, T - begin, 0)
    first = tl.full((1, BLOCK), 0, tl.float32)
    if h0 is not None:
        first = tl.load(h0 + b * D + channel, mask=mask, other=0).to(tl.float32)
    restart = tl.full((1, BLOCK), 0, tl.float32)
    fresh = ()
    if RESET:
        fresh = tile_flags(reset + b * T + begin, T - begin, STEPS)
        if reset_state is not None:
            restart = tl.load(reset_state + channel, mask=mask, other=0).to(tl.float32)
    g = tile(grad + at(grad_strides, b, begin, channel), grad_strides[1], until, True, STEPS)
    a = tile(decay + at(decay_strides, b, begin, channel), decay_strides[1], until, DECAY_MOVES, STEPS)
    states += at(states_strides, b, begin, channel)
    before = (tl.load(states - states_strides[1], mask=(begin > 0) & (until > 0), other=0).to(tl.float32),)
    for i in tl.static_range(1, STEPS):
        before = before + (tl.load(states + (i - 1) * states_strides[1], mask=i < until, other=0).to(tl.float32),)  # noqa: RUF005
    product, own = tl.full((PARTS, BLOCK), 1, tl.float32), tl.full((PARTS, BLOCK), 0, tl.float32)
    cut = tl.full((PARTS, BLOCK), 0, tl.int32)
    one, zero, none = product, own, cut
    for n in tl.static_range(STEPS - 1, -1, -1):
        inside = n < until
        own = tl.where(inside, a[n] * (g[n] + own), own)
        product = tl.where(inside, a[n] * product, product)
        if RESET:
            product, own = tl.where(fresh[n], 0.0, product), tl.where(fresh[n], 0.0, own)
            cut = tl.where(fresh[n], 1, cut)
    A, V, gone, product, own, cut = tl.associative_scan(
        (one, zero, none, product, own, cut), 0, composed_before, reverse=True
    )
    product, own, cut = composed(A, V, gone, product, own, cut)
    place = b * D + channel
    carry = _look_back(
        piece_words + place, group_words + place, block_words + place, size, group_size,
        product, own, cut, part == 0, tl.full((1, BLOCK), 0, tl.float32), order, words_stride, mask, GROUP,
    )  # fmt: skip
    carry = tl.where(gone != 0, V, A * carry + V)
    decay_sum, reset_sum = tl.full((PARTS, BLOCK), 0, tl.float32), tl.full((PARTS, BLOCK), 0, tl.float32)
    grad_value += at(grad_value_strides, b, begin, channel)
    if DECAY_MOVES:
        grad_decay += at(grad_decay_strides, b, begin, channel)
    for n in tl.static_range(STEPS - 1, -1, -1):
        inside = n < until
        adjoint = g[n] + carry
        previous = before[n]
        if n == 0:
            previous = tl.where(begin == 0, first, previous)
        if RESET:
            previous = tl.where(fresh[n], restart, previous)
        tl.store(grad_value + n * grad_value_strides[1], adjoint, mask=inside)
        to = grad_decay + n * grad_decay_strides[1]
        decay_sum = store_or_add(to, previous * adjoint, decay_sum, inside, DECAY_MOVES)
        carry = tl.where(inside, a[n] * adjoint, carry)
        if RESET:
            reset_sum += tl.where(fresh[n], carry, 0)
            carry = tl.where(fresh[n], 0.0, carry)
    row = (piece.to(tl.int64) * B + b) * D + channel
    if not DECAY_MOVES:
        tl.store(grad_decay + row, tl.reduce(decay_sum.to(tl.float64), 0, plus, keep_dims=True), mask=mask)
    if RESET:
        tl.store(grad_reset_state + row, tl.reduce(reset_sum.to(tl.float64), 0, plus, keep_dims=True), mask=mask)
    if piece == 0:
        tl.store(grad_h0 + b * D + channel, pick(carry, part == 0), mask=mask)
