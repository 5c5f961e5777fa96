"""What the kernels that read memory once share: tiles of time, and the hand-over of states from piece to piece.

A program has one batch row, a block of channels and a piece of PARTS x STEPS time steps, all of which it loads at
once. It works out what the piece does to whatever comes in, publishes that for the others, finds from what they
published what comes in, and stores. A word that is published holds a float32 and a mark in 64 bits, so that it is
seen whole or not at all. GROUP pieces make a group, and GROUP groups a block. What comes in is found in a fixed order,
from what the pieces before in the group do, from what the groups before in the block do, and from what the block
before left, so that the bits do not depend on which program is faster.
A program waits only for those with lower numbers, which a GPU starts first.
A thread loads and stores PAIR channels side by side at once: half types fill a word of 32 bits in pairs.
"""

# mypy: ignore-errors
import triton
import triton.language as tl


@triton.jit
def piece_of(B, D, BLOCK: tl.constexpr, PARTS: tl.constexpr):
    """This program's piece, batch row (int64), channels (1, BLOCK), and the numbers of its parts (PARTS, 1)."""
    program = tl.program_id(0)
    blocks = (D + BLOCK - 1) // BLOCK
    channel = (program % blocks) * BLOCK + tl.arange(0, BLOCK)[None, :]
    row = program // blocks
    part = tl.arange(0, PARTS)[:, None]
    return row // B, (row % B).to(tl.int64), channel, part


@triton.jit
def elements(strides, PAIR: tl.constexpr):
    """Strides that are given in runs of PAIR channels, in elements: so Triton sees that no run is cut."""
    return PAIR * strides[0], PAIR * strides[1]


@triton.jit
def at(strides, b, begin, channel):
    """Where the first steps of the parts lie, counted in elements from the tensor's start."""
    return b * strides[0] + channel + begin * strides[1]


@triton.jit
def tile(pointer, stride, until, MOVES: tl.constexpr, STEPS: tl.constexpr):
    """STEPS rows of each part, 0 from `until` (PARTS, BLOCK) on, counted from the part's start."""
    values = ()
    if MOVES:
        for i in tl.static_range(STEPS):
            values = values + (tl.load(pointer + i * stride, mask=i < until, other=0).to(tl.float32),)  # noqa: RUF005
    else:
        row = tl.load(pointer, mask=until > 0, other=0).to(tl.float32)
        for _ in tl.static_range(STEPS):
            values = values + (row,)  # noqa: RUF005
    return values


@triton.jit
def tile_flags(pointer, until, STEPS: tl.constexpr):
    """Whether each step begins with a reset, (PARTS, 1); false from `until` (PARTS, 1) on."""
    values = ()
    for i in tl.static_range(STEPS):
        values = values + (tl.load(pointer + i, mask=i < until, other=0) != 0,)  # noqa: RUF005
    return values


@triton.jit
def store_or_add(pointer, change, total, inside, MOVES: tl.constexpr):
    """Stores a gradient of each step, or adds it to a total over time; returns the total."""
    if MOVES:
        tl.store(pointer, change, mask=inside)
    else:
        total += tl.where(inside, change, 0)
    return total


@triton.jit
def plus(a, b):
    """Sums are reduced by functions of this module, which Triton's interpreter can be asked for at any time."""
    return a + b


@triton.jit
def lesser(a, b):
    """The smaller number."""
    return tl.minimum(a, b)


@triton.jit
def greater(a, b):
    """The larger number."""
    return tl.maximum(a, b)


@triton.jit
def pick(value, chosen):
    """The one row (1, BLOCK) that is chosen, bit for bit."""
    if value.dtype == tl.float32:
        bits = tl.reduce(tl.where(chosen, value.to(tl.int32, bitcast=True), 0), 0, plus, keep_dims=True)
        return bits.to(tl.float32, bitcast=True)
    else:  # noqa: RET505
        return tl.reduce(tl.where(chosen, value, 0), 0, plus, keep_dims=True)


@triton.jit
def publish(pointer, value, mark, mask):
    """Stores a value with its mark, which is above 0."""
    bits = value.to(tl.int32, bitcast=True).to(tl.int64) & 0xFFFFFFFF
    tl.store(pointer, bits | (mark.to(tl.int64) << 32), mask=mask)


@triton.jit
def await_words(pointer, mask):
    """Values and marks, once all are published; 0 with mark 1 outside the mask."""
    neutral = tl.full((1, 1), 1 << 32, tl.int64)
    word = tl.load(pointer, mask=mask, other=neutral, volatile=True)
    while tl.reduce(tl.reduce((word >> 32).to(tl.int32), 0, lesser), 0, lesser) == 0:
        word = tl.load(pointer, mask=mask, other=neutral, volatile=True)
    return word.to(tl.int32).to(tl.float32, bitcast=True), (word >> 32).to(tl.int32)


@triton.jit
def latest(value, seen, later_value, later_seen):
    """What was written last, of two stretches."""
    return tl.where(later_seen != 0, later_value, value), seen | later_seen


@triton.jit
def gathered(total, closed, earlier_total, earlier_closed):
    """What two stretches give to the state before both, where the first comes after the other in time."""
    return tl.where(earlier_closed != 0, earlier_total, earlier_total + total), closed | earlier_closed


@triton.jit
def composed(product, own, cut, next_product, next_own, next_cut):
    """Two maps h -> product h + own as one; where there is a cut, nothing comes from before, not even NaN."""
    both = tl.where(next_cut != 0, next_own, next_product * own + next_own)
    return tl.where(next_cut != 0, 0.0, product * next_product), both, cut | next_cut


# A scan of pairs, of all before the last one and of the last one, gives at each place what comes before it.


@triton.jit
def latest_before(value, seen, own, own_seen, value_1, seen_1, own_1, own_seen_1):
    """`latest` of pairs."""
    value, seen = latest(value, seen, own, own_seen)
    value, seen = latest(value, seen, value_1, seen_1)
    return value, seen, own_1, own_seen_1


@triton.jit
def gathered_before(total, closed, own, own_closed, total_1, closed_1, own_1, own_closed_1):
    """`gathered` of pairs."""
    total, closed = gathered(total, closed, own, own_closed)
    total, closed = gathered(total, closed, total_1, closed_1)
    return total, closed, own_1, own_closed_1


@triton.jit
def composed_before(A, V, cut, own_A, own_V, own_cut, A_1, V_1, cut_1, own_A_1, own_V_1, own_cut_1):
    """`composed` of pairs."""
    A, V, cut = composed(A, V, cut, own_A, own_V, own_cut)
    A, V, cut = composed(A, V, cut, A_1, V_1, cut_1)
    return A, V, cut, own_A_1, own_V_1, own_cut_1
