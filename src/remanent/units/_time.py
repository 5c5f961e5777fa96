"""Sequences of unequal lengths: masks, reading backwards, packing."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence


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


def unpack(packed: PackedSequence) -> tuple[Tensor, Tensor]:
    """Padded (B, T, M) and lengths (B,), in the packed, sorted order."""
    return pad_packed_sequence(PackedSequence(packed.data, packed.batch_sizes), batch_first=True)


def pack_like(y: Tensor, lengths: Tensor, packed: PackedSequence) -> PackedSequence:
    """Packs (B, T, D), in the sorted order, as another sequence was packed."""
    data = pack_padded_sequence(y, lengths, batch_first=True).data
    return PackedSequence(data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices)
