"""The Triton kernels of heads with K states; importing this module imports Triton.

A program has one batch row, a block of heads and a piece of time. K, R and the heads of a block are padded to powers
of two: KP, RP and HP. A state is a vector of K numbers for each head and tracer, in a tensor (HP, RP, KP).
"""

# mypy: ignore-errors
import triton
import triton.language as tl


@triton.jit
def plus(a, b):
    return a + b


@triton.jit
def larger(a, b):
    return tl.maximum(a, b)


@triton.jit
def smaller(a, b):
    return tl.minimum(a, b)


@triton.jit
def place(B, H, HP: tl.constexpr):
    """The piece, the batch row (int64, for offsets beyond 2^31) and the heads of this program."""
    program = tl.program_id(0)
    blocks = (H + HP - 1) // HP
    head = (program % blocks) * HP + tl.arange(0, HP)
    row = program // blocks
    return (row // B).to(tl.int64), (row % B).to(tl.int64), head[:, None, None]


@triton.jit
def state_offsets(head, H, K: tl.constexpr, R: tl.constexpr, KP: tl.constexpr, RP: tl.constexpr):
    """Where the state of a step lies, (HP, RP, KP), and which of that there is."""
    tracer, state = tl.arange(0, RP)[None, :, None], tl.arange(0, KP)[None, None, :]
    return (head * R + tracer) * K + state, (head < H) & (tracer < R) & (state < K)


@triton.jit
def logits_of(pointer, head, H, K: tl.constexpr, KP: tl.constexpr, DTYPE: tl.constexpr):
    """The logits of a step, (HP, KP, KP), 0 where there are none, and minus infinity in the place of NaN."""
    before, after = tl.arange(0, KP)[None, :, None], tl.arange(0, KP)[None, None, :]
    inside = (head < H) & (before < K) & (after < K)
    x = tl.load(pointer + (head * K + before) * K + after, mask=inside, other=0).to(DTYPE)
    return tl.where((after < K) & (x == x), x, -float("inf")), (after < K) & (x == x)


@triton.jit
def table(x, usable, KP: tl.constexpr, DTYPE: tl.constexpr):
    """One-hot rows at the largest logits, the lowest of equal ones, (HP, KP, KP)."""
    after = tl.arange(0, KP)[None, None, :]
    best = tl.reduce(tl.where(usable & (x == tl.reduce(x, 2, larger)[:, :, None]), after, KP), 2, smaller)
    return (after == tl.where(best == KP, 0, best)[:, :, None]).to(DTYPE)


@triton.jit
def softmax(x):
    weights = tl.exp(x - tl.reduce(x, 2, larger)[:, :, None])
    return weights / tl.reduce(weights, 2, plus)[:, :, None]


@triton.jit(do_not_specialize=["B", "T", "H", "length"])
def transition_forward(
    logits, initial, reset, reset_state, states,
    logits_strides, initial_strides, reset_state_strides, states_strides,
    epsilon: tl.float64, B, T, H, length,
    SOFT: tl.constexpr, RESET: tl.constexpr, ENDS: tl.constexpr,
    K: tl.constexpr, R: tl.constexpr, KP: tl.constexpr, RP: tl.constexpr, HP: tl.constexpr, DTYPE: tl.constexpr,
):  # fmt: skip
    """States of every step from those that each piece starts from; with ENDS, of the last of each piece alone."""
    piece, b, head = place(B, H, HP)
    at, inside = state_offsets(head, H, K, R, KP, RP)
    start = piece * length
    stop = tl.minimum(start + length, T)
    share, none = tl.full((1, 1, 1), epsilon, DTYPE), tl.full((1, 1, 1), 0, tl.int64)
    logits += b * logits_strides[0]
    states += b * states_strides[0] + at
    h = tl.load(initial + b * initial_strides[0] + piece * initial_strides[1] + at, mask=inside, other=0).to(DTYPE)
    for t in range(start, stop):
        if RESET:
            fresh = tl.load(reset + b * T + t + none) != 0
            own = reset_state + b * reset_state_strides[0] + t * reset_state_strides[1] + at
            h = tl.where(fresh, tl.load(own, mask=inside & fresh, other=0).to(DTYPE), h)
        x, usable = logits_of(logits + t * logits_strides[1], head, H, K, KP, DTYPE)
        matrix = table(x, usable, KP, DTYPE)
        if SOFT:
            matrix = (1 - share) * matrix + share * softmax(x)
        h = tl.reduce(h[:, :, :, None] * matrix[:, None, :, :], 2, plus)
        if not ENDS:
            tl.store(states + t * states_strides[1], h, mask=inside)
    if ENDS:
        tl.store(states + piece * states_strides[1], h, mask=inside)


@triton.jit(do_not_specialize=["B", "T", "H", "length"])
def transition_backward(
    grad, states, logits, initial, reset, reset_state, carry, grad_logits, grad_carry, grad_reset_state,
    grad_strides, states_strides, logits_strides, initial_strides, reset_state_strides, carry_strides,
    grad_logits_strides, grad_carry_strides, grad_reset_state_strides,
    epsilon: tl.float64, B, T, H, length,
    SOFT: tl.constexpr, RESET: tl.constexpr, RESET_STATE_MOVES: tl.constexpr, CARRY: tl.constexpr,
    K: tl.constexpr, R: tl.constexpr, KP: tl.constexpr, RP: tl.constexpr, HP: tl.constexpr, DTYPE: tl.constexpr,
):  # fmt: skip
    """All gradients, from the last step of each piece to its first; with CARRY, only what a piece passes back."""
    piece, b, head = place(B, H, HP)
    at, inside = state_offsets(head, H, K, R, KP, RP)
    start = piece * length
    stop = tl.minimum(start + length, T)
    share, none = tl.full((1, 1, 1), epsilon, DTYPE), tl.full((1, 1, 1), 0, tl.int64)
    before, after = tl.arange(0, KP)[None, :, None], tl.arange(0, KP)[None, None, :]
    logits += b * logits_strides[0]
    later = tl.full((HP, RP, KP), 0, DTYPE)
    total = tl.full((HP, RP, KP), 0, tl.float64)
    if carry is not None:
        later = tl.load(carry + b * carry_strides[0] + piece * carry_strides[1] + at, mask=inside, other=0).to(DTYPE)
    for i in range(0, stop - start):
        t = stop - 1 - i
        x, usable = logits_of(logits + t * logits_strides[1], head, H, K, KP, DTYPE)
        matrix = table(x, usable, KP, DTYPE)
        if SOFT:
            matrix = (1 - share) * matrix + share * softmax(x)
        here = tl.load(grad + b * grad_strides[0] + t * grad_strides[1] + at, mask=inside, other=0).to(DTYPE)
        adjoint = here + later
        later = tl.reduce(matrix[:, None, :, :] * adjoint[:, :, None, :], 3, plus)
        if RESET:
            fresh = tl.load(reset + b * T + t + none) != 0
        if not CARRY:
            previous = states + b * states_strides[0] + (t - 1) * states_strides[1] + at
            h = tl.load(previous, mask=inside & (t + none > 0), other=0).to(DTYPE)
            h += tl.load(initial + b * initial_strides[0] + at, mask=inside & (t + none == 0), other=0).to(DTYPE)
            if RESET:
                own = reset_state + b * reset_state_strides[0] + t * reset_state_strides[1] + at
                h = tl.where(fresh, tl.load(own, mask=inside & fresh, other=0).to(DTYPE), h)
            of_matrix = tl.reduce(h[:, :, :, None] * adjoint[:, :, None, :], 1, plus)
            weights = softmax(x)
            found = weights * (of_matrix - tl.reduce(weights * of_matrix, 2, plus)[:, :, None])
            out = grad_logits + b * grad_logits_strides[0] + t * grad_logits_strides[1] + (head * K + before) * K
            tl.store(out + after, found, mask=(head < H) & (before < K) & (after < K))
            if RESET and RESET_STATE_MOVES:
                own = grad_reset_state + b * grad_reset_state_strides[0] + t * grad_reset_state_strides[1] + at
                tl.store(own, tl.where(fresh, later, 0.0), mask=inside)
            if RESET and not RESET_STATE_MOVES:
                total += tl.where(fresh, later, 0.0).to(tl.float64)
        if RESET:
            later = tl.where(fresh, 0.0, later)
    tl.store(grad_carry + b * grad_carry_strides[0] + piece * grad_carry_strides[1] + at, later, mask=inside)
    if RESET and not RESET_STATE_MOVES and not CARRY:
        tl.store(grad_reset_state + (piece * B + b) * H * R * K + at, total, mask=inside)
