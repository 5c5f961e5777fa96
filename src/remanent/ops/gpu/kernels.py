"""What the Triton kernels of all scans share: places, rows and masks; importing this module imports Triton.

A program has one batch row, a block of channels and a piece of time. It loads STEPS time steps at once,
since a scan that waited for memory at every step would be slow. Every tensor's channels lie side by side;
`strides` are those of batch and time, in elements.
"""

# mypy: ignore-errors
import triton
import triton.language as tl


@triton.jit
def place(B, D, BLOCK: tl.constexpr):
    """The piece, the batch row (int64, for offsets beyond 2^31) and the channels of this program."""
    program = tl.program_id(0)
    blocks = (D + BLOCK - 1) // BLOCK
    channel = (program % blocks) * BLOCK + tl.arange(0, BLOCK)
    row = program // blocks
    return (row // B).to(tl.int64), (row % B).to(tl.int64), channel


@triton.jit
def rows(pointer, stride, step, until, MOVES: tl.constexpr, STEPS: tl.constexpr, DTYPE: tl.constexpr):
    """The rows of STEPS time steps, 0 from `until` on; one row again and again unless it MOVES.

    `until` is the first step that is left out, for each channel: 0 for a channel that the block has too many.
    """
    values = ()
    if MOVES:
        for i in tl.static_range(STEPS):
            row = tl.load(pointer + (step + i) * stride, mask=step + i < until, other=0)
            values = values + (row.to(DTYPE),)  # noqa: RUF005
    else:
        row = tl.load(pointer, mask=until > 0, other=0).to(DTYPE)
        for _ in tl.static_range(STEPS):
            values = values + (row,)  # noqa: RUF005
    return values


@triton.jit
def rows_before(pointer, stride, step, until, STEPS: tl.constexpr, DTYPE: tl.constexpr):
    """The rows one step before each of STEPS time steps; at step 0, any row."""
    values = ()
    for i in tl.static_range(STEPS):
        row = tl.load(pointer + tl.maximum(step + i - 1, 0) * stride, mask=step + i < until, other=0)
        values = values + (row.to(DTYPE),)  # noqa: RUF005
    return values


@triton.jit
def flags(pointer, step, stop, STEPS: tl.constexpr):
    """Whether STEPS time steps begin with a reset; false from `stop` on."""
    values = ()
    for i in tl.static_range(STEPS):
        values = values + (tl.load(pointer + step + i, mask=step + i < stop, other=0) != 0,)  # noqa: RUF005
    return values


@triton.jit
def restarts(
    pointer, stride, step, fresh, until, row, MOVES: tl.constexpr, STEPS: tl.constexpr, DTYPE: tl.constexpr
):  # fmt: skip
    """The state after a reset at each of STEPS time steps: `row`, or where it MOVES the rows of those that reset."""
    values = ()
    for i in tl.static_range(STEPS):
        if MOVES:
            wanted = step + i < tl.where(fresh[i], until, 0)
            own = tl.load(pointer + (step + i) * stride, mask=wanted, other=0)
            values = values + (own.to(DTYPE),)  # noqa: RUF005
        else:
            values = values + (row,)  # noqa: RUF005
    return values


@triton.jit
def row_or_zeros(pointer, mask, BLOCK: tl.constexpr, DTYPE: tl.constexpr):
    """A row of BLOCK channels, zeros if there is none."""
    row = tl.full((BLOCK,), 0, DTYPE)
    if pointer is not None:
        row = tl.load(pointer, mask=mask, other=0).to(DTYPE)
    return row


@triton.jit
def put_back(pointer, stride, values, step, until, STEPS: tl.constexpr):
    """Stores the rows of STEPS time steps, given from the last to the first."""
    for i in tl.static_range(STEPS):
        time = step + (STEPS - 1 - i)
        tl.store(pointer + time * stride, values[i], mask=time < until)


@triton.jit
def sum_back(values, step, until, STEPS: tl.constexpr):
    """The sum of STEPS rows, given from the last to the first, in float64; leaves out those from `until` on."""
    total = tl.full(values[0].shape, 0, values[0].dtype)
    for i in tl.static_range(STEPS):
        total += tl.where(step + (STEPS - 1 - i) < until, values[i], 0)
    return total.to(tl.float64)
