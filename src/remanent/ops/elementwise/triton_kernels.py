"""The Triton kernels of rows and of a short causal convolution; importing this module imports Triton.

Channels lie side by side, and rows without gaps but for those between the batch rows of the convolution's inputs. No
product and sum are fused, so that a row has the same bits alone as among many.
"""

# mypy: ignore-errors
import triton
import triton.language as tl


@triton.jit
def plus(one, other):
    return one + other


@triton.jit(do_not_specialize=["R"])
def norm_forward(
    x, other, weight, total, normed, factor, R, D,
    EPS: tl.constexpr, BLOCK: tl.constexpr, DTYPE: tl.constexpr,
):  # fmt: skip
    """`total`, the sum of x and `other`, its norm, and the factor of each row; without `other`, the norm of x."""
    row = tl.program_id(0).to(tl.int64)
    channel = tl.arange(0, BLOCK)
    inside = channel < D
    place = row * D + channel
    values = tl.load(x + place, mask=inside, other=0).to(DTYPE)
    if other is not None:
        values += tl.load(other + place, mask=inside, other=0).to(DTYPE)
        tl.store(total + place, values, mask=inside)
    mean = tl.reduce(values * values, 0, plus) / D
    own = 1 / tl.sqrt(mean + EPS)
    if factor is not None:
        tl.store(factor + row, own)
    tl.store(normed + place, values * own * tl.load(weight + channel, mask=inside, other=0), mask=inside)


@triton.jit(do_not_specialize=["R"])
def norm_backward(
    total, grad_total, grad_normed, weight, factor, grad, sums, R, D,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, DTYPE: tl.constexpr,
):  # fmt: skip
    """`grad`, that of the sum, from that of its norm and what else reaches it; `sums` of ROWS rows for the weight."""
    program = tl.program_id(0).to(tl.int64)
    channel = tl.arange(0, BLOCK)
    inside = channel < D
    scale = tl.load(weight + channel, mask=inside, other=0).to(DTYPE)
    own = tl.full((BLOCK,), 0, DTYPE)
    for row in range(program * ROWS, tl.minimum((program + 1) * ROWS, R)):
        place = row * D + channel
        values = tl.load(total + place, mask=inside, other=0).to(DTYPE)
        upstream = tl.load(grad_normed + place, mask=inside, other=0).to(DTYPE)
        size = tl.load(factor + row)
        inward = upstream * scale
        along = tl.reduce(inward * values, 0, plus) / D * size * size
        change = size * (inward - values * along)
        if grad_total is not None:
            change += tl.load(grad_total + place, mask=inside, other=0).to(DTYPE)
        tl.store(grad + place, change, mask=inside)
        own += upstream * (values * size)
    tl.store(sums + program * D + channel, own, mask=inside)


@triton.jit
def _tile(T, STEPS: tl.constexpr, BLOCK: tl.constexpr):
    """The batch row, the piece of time, and the steps (STEPS, 1) and channels (1, BLOCK) of this program."""
    pieces = (T + STEPS - 1) // STEPS
    program = tl.program_id(0)
    b, piece = (program // pieces).to(tl.int64), program % pieces
    step = piece * STEPS + tl.arange(0, STEPS)[:, None]
    channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)[None, :]
    return b, piece, step.to(tl.int64), channel


@triton.jit(do_not_specialize=["T", "apart"])
def taps_forward(
    inputs, weight, out, T, D, apart,
    TAPS: tl.constexpr, STEPS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """`out` (B, T, D) of `inputs` (B, T + TAPS - 1, D), whose batch rows lie `apart`, and `weight` (TAPS, D)."""
    b, _, step, channel = _tile(T, STEPS, BLOCK)
    inside = (step < T) & (channel < D)
    inputs += b * apart + step * D + channel
    weight += channel
    newest = tl.load(weight + (TAPS - 1) * D, mask=channel < D, other=0)
    total = tl.load(inputs + (TAPS - 1) * D, mask=inside, other=0) * newest
    for k in tl.static_range(TAPS - 2, -1, -1):
        factor = tl.load(weight + k * D, mask=channel < D, other=0)
        total += tl.load(inputs + k * D, mask=inside, other=0) * factor
    tl.store(out + (b * T + step) * D + channel, total, mask=inside)


@triton.jit(do_not_specialize=["T", "apart"])
def taps_backward(
    inputs, weight, grad, grad_inputs, totals, T, D, apart,
    TAPS: tl.constexpr, STEPS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """`grad_inputs` (B, T + TAPS - 1, D) from `grad` (B, T, D), and `totals` (B, pieces, TAPS, D) for the weight."""
    rows = T + TAPS - 1
    b, piece, step, channel = _tile(rows, STEPS, BLOCK)
    here = channel < D
    inside = (step < T) & here
    upstream = tl.load(grad + (b * T + step) * D + channel, mask=inside, other=0)
    inward = tl.full((STEPS, BLOCK), 0, upstream.dtype)
    pieces = (rows + STEPS - 1) // STEPS
    totals += (b * pieces + piece) * TAPS * D + channel
    inputs += b * apart + step * D + channel
    for k in tl.static_range(TAPS):
        seen = tl.load(inputs + k * D, mask=inside, other=0)
        tl.store(totals + k * D, tl.reduce(seen * upstream, 0, plus)[None, :], mask=here)
        reached = (step >= k) & (step - k < T) & here
        later = tl.load(grad + (b * T + step - k) * D + channel, mask=reached, other=0)
        inward += later * tl.load(weight + k * D + channel, mask=here, other=0)
    tl.store(grad_inputs + (b * rows + step) * D + channel, inward, mask=(step < rows) & here)
