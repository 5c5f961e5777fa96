"""A unit's sequences in other forms than a padded tensor: packed, or shared among processes."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from remanent.ops.collectives import place_in, refusal_announced
from remanent.ops.shards import final_state
from remanent.units._checks import ShapeError, check_input, checked_reset
from remanent.units._stack import StackedLayers, State


def run_packed(
    unit: StackedLayers, packed: PackedSequence, hx: State | None, reset: Tensor | None, lengths: object
) -> tuple[PackedSequence, State]:
    """`RecurrentUnit.forward` of a packed sequence."""
    if lengths is not None:
        raise ValueError("`lengths` must be None for a PackedSequence, which has its own, got a tensor")
    if packed.data.dim() != 2:
        raise ShapeError(
            f"`input` must hold steps (N, M), got {tuple(packed.data.shape)}: input must have 2 dimensions, "
            f"got {packed.data.dim()}"
        )
    check_input("input", packed.data, ("N", "M"), unit.input_size, unit._weight())
    x, counts = _unpack(packed)
    h = unit._read_state("hx", hx, x.shape[0], True, x)
    reset = None if reset is None else checked_reset(reset, x, True)
    order, back = packed.sorted_indices, packed.unsorted_indices
    if order is not None:
        h = None if h is None else h.index_select(1, order)
        reset = None if reset is None else reset.index_select(0, order)
    y, h_n = unit._run(x, h, reset, counts.to(x.device))
    h_n = h_n if back is None else h_n.index_select(1, back)
    return _pack_like(y, counts, packed), unit._write_state(h_n, True)


def run_shard(
    unit: StackedLayers,
    input: Tensor | PackedSequence,
    hx: State | None,
    reset: Tensor | None,
    lengths: Tensor | Sequence[int] | None,
    group: Any,
) -> tuple[Tensor, State]:
    """`RecurrentUnit.forward` of the steps of one process."""
    with refusal_announced(group):
        if not unit.recurrence.shares_time:
            raise ValueError(f"`group` must be None for {type(unit).__name__}, whose time is not shared, got one")
        if unit.bidirectional or lengths is not None or isinstance(input, PackedSequence):
            raise ValueError("`group` must be None with two directions, `lengths` or a PackedSequence, got one")
        batched, x, h, reset, _ = unit._read_inputs(input, hx, reset, None)
    y, h_n = unit._run(x, h, reset, None, group)
    h_n = final_state(h_n, y, place_in(group, x.device), steps=x.shape[1])
    return unit._write_outputs(y, h_n, batched)


def _unpack(packed: PackedSequence) -> tuple[Tensor, Tensor]:
    """Padded (B, T, M) and lengths (B,), in the packed, sorted order."""
    return pad_packed_sequence(PackedSequence(packed.data, packed.batch_sizes), batch_first=True)


def _pack_like(y: Tensor, lengths: Tensor, packed: PackedSequence) -> PackedSequence:
    """Packs (B, T, D), in the sorted order, as another sequence was packed."""
    data = pack_padded_sequence(y, lengths, batch_first=True).data
    return PackedSequence(data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices)
