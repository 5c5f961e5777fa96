"""The order of steps: sequences read backwards, and packed ones laid one after another."""

import heapq
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from remanent.ops.projection import TILE_ROWS


def real_steps(lengths: Tensor, T: int) -> Tensor:
    """Which steps are not padding, bool (B, T)."""
    return torch.arange(T, device=lengths.device) < lengths[:, None]


def backwards(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Each sequence (B, T, ...) from its last real step to its first; padding stays at the end."""
    if lengths is None:
        return x.flip(1)
    T = x.shape[1]
    step = torch.arange(T, device=x.device)
    order = torch.where(step < lengths[:, None], lengths[:, None] - 1 - step, step)
    return x.gather(1, order.reshape(*order.shape, *(1,) * (x.dim() - 2)).expand(x.shape))


def reset_backwards(reset: Tensor, lengths: Tensor | None) -> Tensor:
    """The resets of a sequence read backwards: what starts at step t forwards is cut off before t - 1."""
    after = F.pad(reset, (0, 1))[:, 1:]
    if lengths is not None:  # one that begins in the padding cuts nothing
        after = after & real_steps(lengths - 1, reset.shape[1])
    return backwards(after, lengths)


def reset_state_backwards(start: Tensor, lengths: Tensor | None) -> Tensor:
    """The states after the resets of `reset_backwards`, from those of the resets forwards, both (B, T, W)."""
    return backwards(F.pad(start, (0, 0, 0, 1))[:, 1:], lengths)


class Layout(NamedTuple):
    """Where the steps of packed sequences lie in rows (K, T), counted through all rows, each sequence without a gap.

    Attributes:
        rows: K.
        steps: T.
        sequence: the sequence of each packed step, (N,).
        step: its place in the sequence, (N,).
        place: where it lies, (N,).
        mirrored: where the step lies that stands at each place when every sequence is read backwards, (K T,).
        first: where the first step of each sequence lies, (B,).
        last: where the last one lies, (B,).
    """

    rows: int
    steps: int
    sequence: Tensor
    step: Tensor
    place: Tensor
    mirrored: Tensor
    first: Tensor
    last: Tensor

    @property
    def real(self) -> Tensor:
        """Which places hold a step, bool (K, T)."""
        return self.lay(torch.ones_like(self.place, dtype=torch.bool))

    def lay(self, packed: Tensor) -> Tensor:
        """The steps (N, ...) in rows (K, T, ...), zeros where there is none."""
        room = packed.new_zeros(self.rows * self.steps, *packed.shape[1:])
        return room.index_copy_(0, self.place, packed).unflatten(0, (self.rows, self.steps))

    def take(self, padded: Tensor) -> Tensor:
        """The real steps (N, ...) of sequences (B, T, ...) in the packed order."""
        return padded[self.sequence, self.step]

    def backwards(self, laid: Tensor) -> Tensor:
        """Every sequence in rows (K, T, ...) from its last step to its first."""
        return laid.flatten(0, 1).index_select(0, self.mirrored).unflatten(0, (self.rows, self.steps))


def lay_out(batch_sizes: Tensor, lengths: Tensor, *, in_one_row: bool) -> Layout:
    """Lays the sequences of a batch, the longest first, one after another.

    Args:
        batch_sizes: how many sequences have a step, for each step, (T,), as a `PackedSequence` has them.
        lengths: (B,), from the longest to the shortest, on the device of the steps.
        in_one_row: whether all lie in one row, filled up to whole tiles, which `row_linear` reads as they are; or in
            rows as long as the longest sequence.
    """
    T = batch_sizes.shape[0]
    step = torch.arange(T).repeat_interleave(batch_sizes)
    sequence = torch.arange(step.shape[0]) - (batch_sizes.cumsum(0) - batch_sizes)[step]
    counts = lengths_of(batch_sizes)
    if in_one_row:
        rows, steps, first = 1, -(-step.shape[0] // TILE_ROWS) * TILE_ROWS, counts.cumsum(0) - counts
    else:
        first, rows = _in_rows(counts.tolist(), T)
        steps = T
    place, last = first[sequence] + step, first + counts - 1
    mirrored = torch.arange(rows * steps)
    mirrored[place] = last[sequence] - step
    found = (tensor.to(lengths.device) for tensor in (sequence, step, place, mirrored, first, last))
    return Layout(rows, steps, *found)


def lengths_of(batch_sizes: Tensor) -> Tensor:
    """The length of each sequence, (B,), from how many have a step, for each step, (T,)."""
    rising = batch_sizes.flip(0)
    return batch_sizes.shape[0] - torch.searchsorted(rising, torch.arange(int(batch_sizes[0])), right=True)


def _in_rows(lengths: list[int], T: int) -> tuple[Tensor, int]:
    """Where sequences begin in rows of T steps, each put into the row with the most room; and the number of rows."""
    rows: list[tuple[int, int]] = []  # the steps that are taken, and the row
    first = []
    for length in lengths:
        taken, row = rows[0] if rows and rows[0][0] + length <= T else (0, len(rows))
        first.append(row * T + taken)
        (heapq.heapreplace if taken else heapq.heappush)(rows, (taken + length, row))
    return torch.tensor(first), len(rows)


def last_state(states: Tensor, h: Tensor, lengths: Tensor | None) -> Tensor:
    """The state (B, W) at each sequence's last real step; `h`, the first one, where it has none."""
    if lengths is None:
        return states[:, -1].clone()
    last = (lengths - 1).clamp(min=0)[:, None, None].expand(-1, 1, states.shape[2])
    return torch.where(lengths[:, None] > 0, states.gather(1, last).squeeze(1), h)
