"""The Triton kernels of the linear scan; importing this module imports Triton.

Triton has no complex numbers: a complex element is WIDTH = 2 real ones side by side, and strides count
real ones. For real tensors WIDTH = 1, and imaginary parts are never looked at.
"""

# mypy: ignore-errors
import triton
import triton.language as tl

from remanent.ops.gpu.kernels import flags, place, put_back, restarts, row_or_zeros, rows, rows_before, sum_back


@triton.jit
def _product(a, a_imag, h, h_imag, WIDTH: tl.constexpr):
    if WIDTH == 2:
        return a * h - a_imag * h_imag, a * h_imag + a_imag * h
    else:  # noqa: RET505
        return a * h, h_imag


@triton.jit
def _pairs(
    pointer, stride, step, until,
    MOVES: tl.constexpr, STEPS: tl.constexpr, WIDTH: tl.constexpr, DTYPE: tl.constexpr,
):  # fmt: skip
    """Real and imaginary rows of STEPS time steps."""
    real = rows(pointer, stride, step, until, MOVES, STEPS, DTYPE)
    imag = real
    if WIDTH == 2:
        imag = rows(pointer + 1, stride, step, until, MOVES, STEPS, DTYPE)
    return real, imag


@triton.jit
def _restart_pairs(
    pointer, stride, step, fresh, until, row, row_imag,
    MOVES: tl.constexpr, STEPS: tl.constexpr, WIDTH: tl.constexpr, DTYPE: tl.constexpr,
):  # fmt: skip
    """Real and imaginary rows of the state after a reset at each of STEPS time steps."""
    real = restarts(pointer, stride, step, fresh, until, row, MOVES, STEPS, DTYPE)
    imag = real
    if WIDTH == 2:
        if MOVES:
            pointer += 1
        imag = restarts(pointer, stride, step, fresh, until, row_imag, MOVES, STEPS, DTYPE)
    return real, imag


@triton.jit
def _pairs_before(pointer, stride, step, until, STEPS: tl.constexpr, WIDTH: tl.constexpr, DTYPE: tl.constexpr):
    real = rows_before(pointer, stride, step, until, STEPS, DTYPE)
    imag = real
    if WIDTH == 2:
        imag = rows_before(pointer + 1, stride, step, until, STEPS, DTYPE)
    return real, imag


@triton.jit
def _pair_or_zeros(pointer, mask, WIDTH: tl.constexpr, BLOCK: tl.constexpr, DTYPE: tl.constexpr):
    """Real and imaginary row of BLOCK channels, zeros if there is none."""
    real = row_or_zeros(pointer, mask, BLOCK, DTYPE)
    imag = real
    if WIDTH == 2 and pointer is not None:
        imag = tl.load(pointer + 1, mask=mask, other=0).to(DTYPE)
    return real, imag


@triton.jit
def _put_pair(pointer, real, imag, mask, WIDTH: tl.constexpr):
    tl.store(pointer, real, mask=mask)
    if WIDTH == 2:
        tl.store(pointer + 1, imag, mask=mask)


@triton.jit
def _put_back_pairs(pointer, stride, real, imag, step, until, STEPS: tl.constexpr, WIDTH: tl.constexpr):
    put_back(pointer, stride, real, step, until, STEPS)
    if WIDTH == 2:
        put_back(pointer + 1, stride, imag, step, until, STEPS)


@triton.jit(do_not_specialize=["B", "T", "length"])
def linear_forward(
    decay, value, initial, reset, reset_state, states, products,
    decay_strides, value_strides, initial_strides, reset_state_strides, states_strides, B, T, D, length,
    DECAY_MOVES: tl.constexpr, RESET_STATE_MOVES: tl.constexpr, RESET: tl.constexpr, CARRY: tl.constexpr,
    STEPS: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr, DTYPE: tl.constexpr,
):  # fmt: skip
    """States of every step; `initial` (B, pieces, D) is the state that each piece starts from.

    With CARRY, what a piece does to the state before it, h -> product h + state, both (B, pieces, D).
    """
    piece, b, channel = place(B, D, BLOCK)
    mask = channel < D
    channel *= WIDTH
    start = piece * length
    stop = tl.minimum(start + length, T)
    until = tl.where(mask, stop, 0)
    if initial is not None:
        initial += b * initial_strides[0] + piece * initial_strides[1] + channel
    h, h_imag = _pair_or_zeros(initial, mask, WIDTH, BLOCK, DTYPE)
    if RESET:
        reset += b * T
        if reset_state is not None:
            reset_state += b * reset_state_strides[0] + channel
        restart, restart_imag = _pair_or_zeros(reset_state, mask, WIDTH, BLOCK, DTYPE)
    product = tl.full((BLOCK,), 1, DTYPE)
    product_imag = tl.full((BLOCK,), 0, DTYPE)
    decay += b * decay_strides[0] + channel
    value += b * value_strides[0] + channel
    states += b * states_strides[0] + channel
    for step in range(start, stop, STEPS):
        a, a_imag = _pairs(decay, decay_strides[1], step, until, DECAY_MOVES, STEPS, WIDTH, DTYPE)
        v, v_imag = _pairs(value, value_strides[1], step, until, True, STEPS, WIDTH, DTYPE)
        if RESET:
            fresh = flags(reset, step, stop, STEPS)
            starts, starts_imag = _restart_pairs(
                reset_state, reset_state_strides[1], step, fresh, until, restart, restart_imag,
                RESET_STATE_MOVES, STEPS, WIDTH, DTYPE,
            )  # fmt: skip
        for i in tl.static_range(STEPS):
            inside = step + i < until
            if RESET:
                h, h_imag = tl.where(fresh[i], starts[i], h), tl.where(fresh[i], starts_imag[i], h_imag)
            real, imag = _product(a[i], a_imag[i], h, h_imag, WIDTH)
            if CARRY:
                h, h_imag = tl.where(inside, real + v[i], h), tl.where(inside, imag + v_imag[i], h_imag)
                real, imag = _product(a[i], a_imag[i], product, product_imag, WIDTH)
                product, product_imag = tl.where(inside, real, product), tl.where(inside, imag, product_imag)
                if RESET:
                    product, product_imag = tl.where(fresh[i], 0, product), tl.where(fresh[i], 0, product_imag)
            else:
                h, h_imag = real + v[i], imag + v_imag[i]
                _put_pair(states + (step + i) * states_strides[1], h, h_imag, inside, WIDTH)
    if CARRY:
        _put_pair(states + piece * states_strides[1], h, h_imag, mask, WIDTH)
        products += b * states_strides[0] + piece * states_strides[1] + channel
        _put_pair(products, product, product_imag, mask, WIDTH)


@triton.jit(do_not_specialize=["B", "T", "length"])
def linear_adjoint_carry(
    grad, decay, reset, carried, products, grad_strides, decay_strides, carried_strides, B, T, D, length,
    DECAY_MOVES: tl.constexpr, RESET: tl.constexpr,
    STEPS: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr, DTYPE: tl.constexpr,
):  # fmt: skip
    """What a piece gives to the state before it for an adjoint x from after it, product x + carried."""
    piece, b, channel = place(B, D, BLOCK)
    mask = channel < D
    channel *= WIDTH
    start = piece * length
    stop = tl.minimum(start + length, T)
    until = tl.where(mask, stop, 0)
    grad += b * grad_strides[0] + channel
    decay += b * decay_strides[0] + channel
    if RESET:
        reset += b * T
    carry = tl.full((BLOCK,), 0, DTYPE)
    carry_imag = carry
    product = tl.full((BLOCK,), 1, DTYPE)
    product_imag = carry
    groups = (stop - start + STEPS - 1) // STEPS
    for left in range(groups):
        step = start + (groups - 1 - left) * STEPS
        g, g_imag = _pairs(grad, grad_strides[1], step, until, True, STEPS, WIDTH, DTYPE)
        a, a_imag = _pairs(decay, decay_strides[1], step, until, DECAY_MOVES, STEPS, WIDTH, DTYPE)
        if RESET:
            fresh = flags(reset, step, stop, STEPS)
        for n in tl.static_range(STEPS - 1, -1, -1):
            inside = step + n < until
            real, imag = _product(a[n], -a_imag[n], g[n] + carry, g_imag[n] + carry_imag, WIDTH)
            carry, carry_imag = tl.where(inside, real, carry), tl.where(inside, imag, carry_imag)
            real, imag = _product(a[n], -a_imag[n], product, product_imag, WIDTH)
            product, product_imag = tl.where(inside, real, product), tl.where(inside, imag, product_imag)
            if RESET:
                carry, carry_imag = tl.where(fresh[n], 0, carry), tl.where(fresh[n], 0, carry_imag)
                product, product_imag = tl.where(fresh[n], 0, product), tl.where(fresh[n], 0, product_imag)
    offset = b * carried_strides[0] + piece * carried_strides[1] + channel
    _put_pair(carried + offset, carry, carry_imag, mask, WIDTH)
    _put_pair(products + offset, product, product_imag, mask, WIDTH)


@triton.jit
def _changes(
    g, g_imag, a, a_imag, p, p_imag, first, first_imag, starts, starts_imag, fresh, carry, carry_imag,
    step, until, RESET: tl.constexpr, STEPS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Gradients of value, decay and `reset_state` at STEPS steps, from the last to the first; then what goes on.

    Without RESET, there are none of `reset_state`.
    """
    changes, changes_imag, decay_changes, decay_changes_imag = (), (), (), ()
    start_changes, start_changes_imag = (), ()
    for n in tl.static_range(STEPS - 1, -1, -1):
        inside = step + n < until
        adjoint, adjoint_imag = g[n] + carry, g_imag[n] + carry_imag
        before = tl.where(step + n == 0, first, p[n])
        before_imag = tl.where(step + n == 0, first_imag, p_imag[n])
        if RESET:
            before, before_imag = tl.where(fresh[n], starts[n], before), tl.where(fresh[n], starts_imag[n], before_imag)
        changes = changes + (adjoint,)  # noqa: RUF005
        changes_imag = changes_imag + (adjoint_imag,)  # noqa: RUF005
        real, imag = _product(before, -before_imag, adjoint, adjoint_imag, WIDTH)
        decay_changes = decay_changes + (real,)  # noqa: RUF005
        decay_changes_imag = decay_changes_imag + (imag,)  # noqa: RUF005
        real, imag = _product(a[n], -a_imag[n], adjoint, adjoint_imag, WIDTH)
        carry, carry_imag = tl.where(inside, real, carry), tl.where(inside, imag, carry_imag)
        if RESET:
            start_changes = start_changes + (tl.where(fresh[n], carry, 0),)  # noqa: RUF005
            start_changes_imag = start_changes_imag + (tl.where(fresh[n], carry_imag, 0),)  # noqa: RUF005
            carry, carry_imag = tl.where(fresh[n], 0, carry), tl.where(fresh[n], 0, carry_imag)
    if not RESET:
        start_changes, start_changes_imag = changes, changes_imag
    return (
        changes, changes_imag, decay_changes, decay_changes_imag, start_changes, start_changes_imag, carry, carry_imag
    )  # fmt: skip


@triton.jit(do_not_specialize=["B", "T", "length"])
def linear_backward(
    grad, states, decay, h0, reset, reset_state, carried, grad_decay, grad_value, grad_h0, grad_reset_state,
    grad_strides, states_strides, decay_strides, reset_state_strides, carried_strides,
    grad_decay_strides, grad_value_strides, grad_reset_state_strides,
    B, T, D, length, DECAY_MOVES: tl.constexpr, RESET_STATE_MOVES: tl.constexpr, RESET: tl.constexpr,
    STEPS: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr, DTYPE: tl.constexpr,
):  # fmt: skip
    """All gradients of the linear scan, from the end; sums over time as in `latch_backward`."""
    piece, b, channel = place(B, D, BLOCK)
    mask = channel < D
    channel *= WIDTH
    start = piece * length
    stop = tl.minimum(start + length, T)
    until = tl.where(mask, stop, 0)
    own = (piece * B + b) * D * WIDTH + channel
    grad += b * grad_strides[0] + channel
    states += b * states_strides[0] + channel
    decay += b * decay_strides[0] + channel
    grad_value += b * grad_value_strides[0] + channel
    if DECAY_MOVES:
        grad_decay += b * grad_decay_strides[0] + channel
    if h0 is not None:
        h0 += b * D * WIDTH + channel
    first, first_imag = _pair_or_zeros(h0, mask, WIDTH, BLOCK, DTYPE)
    if carried is not None:
        carried += b * carried_strides[0] + piece * carried_strides[1] + channel
    carry, carry_imag = _pair_or_zeros(carried, mask, WIDTH, BLOCK, DTYPE)
    if RESET:
        reset += b * T
        if reset_state is not None:
            reset_state += b * reset_state_strides[0] + channel
    restart, restart_imag = _pair_or_zeros(reset_state, mask, WIDTH, BLOCK, DTYPE)
    if RESET_STATE_MOVES:
        grad_reset_state += b * grad_reset_state_strides[0] + channel
    decay_sum = tl.full((BLOCK,), 0, tl.float64)
    decay_sum_imag, reset_sum, reset_sum_imag = decay_sum, decay_sum, decay_sum
    groups = (stop - start + STEPS - 1) // STEPS
    for left in range(groups):
        step = start + (groups - 1 - left) * STEPS
        g, g_imag = _pairs(grad, grad_strides[1], step, until, True, STEPS, WIDTH, DTYPE)
        a, a_imag = _pairs(decay, decay_strides[1], step, until, DECAY_MOVES, STEPS, WIDTH, DTYPE)
        p, p_imag = _pairs_before(states, states_strides[1], step, until, STEPS, WIDTH, DTYPE)
        fresh, starts, starts_imag = (), (), ()
        if RESET:
            fresh = flags(reset, step, stop, STEPS)
            starts, starts_imag = _restart_pairs(
                reset_state, reset_state_strides[1], step, fresh, until, restart, restart_imag,
                RESET_STATE_MOVES, STEPS, WIDTH, DTYPE,
            )  # fmt: skip
        (
            changes, changes_imag, decay_changes, decay_changes_imag, start_changes, start_changes_imag,
            carry, carry_imag,
        ) = _changes(
            g, g_imag, a, a_imag, p, p_imag, first, first_imag, starts, starts_imag, fresh, carry, carry_imag,
            step, until, RESET, STEPS, WIDTH,
        )  # fmt: skip
        if RESET_STATE_MOVES:
            _put_back_pairs(
                grad_reset_state, grad_reset_state_strides[1], start_changes, start_changes_imag, step, until,
                STEPS, WIDTH,
            )  # fmt: skip
        elif RESET:
            reset_sum += sum_back(start_changes, step, until, STEPS)
            if WIDTH == 2:
                reset_sum_imag += sum_back(start_changes_imag, step, until, STEPS)
        _put_back_pairs(grad_value, grad_value_strides[1], changes, changes_imag, step, until, STEPS, WIDTH)
        if DECAY_MOVES:
            _put_back_pairs(
                grad_decay, grad_decay_strides[1], decay_changes, decay_changes_imag, step, until, STEPS, WIDTH
            )
        else:
            decay_sum += sum_back(decay_changes, step, stop, STEPS)
            if WIDTH == 2:
                decay_sum_imag += sum_back(decay_changes_imag, step, stop, STEPS)
    if not DECAY_MOVES:
        _put_pair(grad_decay + own, decay_sum, decay_sum_imag, mask, WIDTH)
    if RESET and not RESET_STATE_MOVES:
        _put_pair(grad_reset_state + own, reset_sum, reset_sum_imag, mask, WIDTH)
    _put_pair(grad_h0 + b * D * WIDTH + channel, carry, carry_imag, channel < tl.where(piece == 0, D * WIDTH, 0), WIDTH)
