"""A unit's sequences in other forms than a padded tensor: packed, or shared among processes."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from remanent.ops.collectives import place_in, refusal_announced
from remanent.ops.shards import final_state
from remanent.units._checks import ShapeError, check_input, checked_reset
from remanent.units._layout import Layout, lay_out, lengths_of, reset_backwards, reset_state_backwards
from remanent.units._stack import Sequences, StackedLayers, State, own_state
from remanent.units.recurrence import Params, ScanRecurrence


def run_packed(
    unit: StackedLayers,
    packed: PackedSequence,
    hx: State | None,
    reset: Tensor | None,
    reset_state: State | None,
    lengths: object,
) -> tuple[PackedSequence, State]:
    """`RecurrentUnit.forward` of a packed sequence."""
    if lengths is not None:
        raise ValueError("`lengths` must be None for a PackedSequence, which has its own, got a tensor")
    data, order, back = packed.data, packed.sorted_indices, packed.unsorted_indices
    if data.dim() != 2:
        raise ShapeError(
            f"`input` must hold steps (N, M), got {tuple(data.shape)}: input must have 2 dimensions, got {data.dim()}"
        )
    check_input("input", data, ("N", "M"), unit.input_size, unit._weight())
    B, T = int(packed.batch_sizes[0]), packed.batch_sizes.shape[0]
    like = data[:1].expand(B, T, unit.input_size)
    h = unit._read_state("hx", hx, B, True, like)
    start = unit._read_reset_state(reset_state, reset, {"B": B, "T": T}, like)
    reset = None if reset is None else checked_reset(reset, like, True)
    if order is not None:
        h, start = (None if v is None else v.index_select(1, order) for v in (h, start))
        reset = None if reset is None else reset.index_select(0, order)
    given = Sequences(data, h, reset, start, lengths_of(packed.batch_sizes).to(data.device))
    lays = unit.recurrence.shares_time and isinstance(unit.recurrence, ScanRecurrence)
    y, h_n = _run_laid(unit, packed, given) if lays else _run_padded(unit, packed, given)
    h_n = h_n if back is None else h_n.index_select(1, back)
    return PackedSequence(y, packed.batch_sizes, order, back), unit._write_state(h_n, True)


def run_shard(
    unit: StackedLayers,
    input: Tensor | PackedSequence,
    hx: State | None,
    reset: Tensor | None,
    reset_state: State | None,
    lengths: Tensor | Sequence[int] | None,
    group: Any,
) -> tuple[Tensor, State]:
    """`RecurrentUnit.forward` of the steps of one process."""
    with refusal_announced(group):
        if not unit.recurrence.shares_time:
            raise ValueError(f"`group` must be None for {type(unit).__name__}, whose time is not shared, got one")
        if unit.bidirectional or lengths is not None or isinstance(input, PackedSequence):
            raise ValueError("`group` must be None with two directions, `lengths` or a PackedSequence, got one")
        batched, given = unit._read_inputs(input, hx, reset, reset_state, None)
    y, h_n = unit._run(given, group)
    h_n = final_state(h_n, y, place_in(group, given.x.device), steps=given.x.shape[1])
    return unit._write_outputs(y, h_n, batched)


def _run_laid(unit: StackedLayers, packed: PackedSequence, given: Sequences) -> tuple[Tensor, Tensor]:
    """Packed outputs (N, R D), and the last states (L R, B, W), from the real steps alone."""
    data, h, reset, reset_state, lengths = given
    assert lengths is not None
    layout = lay_out(packed.batch_sizes, lengths, in_one_row=not unit.recurrence.sums_in_order)
    seams = torch.zeros(layout.rows * layout.steps, dtype=torch.bool, device=data.device)
    seams = seams.index_fill_(0, layout.first, True).unflatten(0, (layout.rows, layout.steps))

    def run_layer(i: int, p: Params, x: Tensor, run: Any) -> tuple[Tensor, Tensor]:
        backward = i % unit._directions == 1
        source = layout.backwards(x) if backward else x
        cuts = None if reset is None else reset_backwards(reset, lengths) if backward else reset
        start = None
        if reset_state is not None:
            start = reset_state_backwards(reset_state[i], lengths) if backward else reset_state[i]
        if unit.training:
            p = unit.recurrence.observed(p, source, layout.real, unit.statistics_group)
        unit._call_layer_hooks(unit._suffixes()[i], p, source)
        states = _restarts(unit, p, layout, None if h is None else h[i], cuts, start)
        resets = seams if cuts is None else seams | layout.lay(layout.take(cuts))
        unread = own_state(unit.recurrence, p, x, unit.hidden_size)
        y, last = run(p, source, unread, resets, states, layout.last)
        return layout.backwards(y) if backward else y, last

    y, h_n = unit._run_layers(layout.lay(data), lambda recurrence: cast(ScanRecurrence, recurrence).run_laid, run_layer)
    return y.flatten(0, 1).index_select(0, layout.place), h_n


def _restarts(
    unit: StackedLayers,
    p: Params,
    layout: Layout,
    h: Tensor | None,
    cuts: Tensor | None,
    start: Tensor | None,
) -> Tensor | None:
    """What `ScanRecurrence.run_laid` is given as the states after resets, at seams as well as at the user's resets.

    Args:
        unit: the unit.
        p: the layer's parameters.
        layout: where the steps lie.
        h: the states before the first steps, (B, W); the unit's own if None.
        cuts: the user's resets in the order of reading, bool (B, T).
        start: the states that they lead to, (B, T, W); the unit's own if None.
    """
    own = unit.recurrence.start(p)
    if h is None and start is None:
        return own
    first = own_state(unit.recurrence, p, layout.first, unit.hidden_size) if h is None else h
    if start is not None:
        laid = layout.lay(layout.take(start)).flatten(0, 1)
    elif own is not None and cuts is not None:
        laid = own.expand(layout.rows * layout.steps, -1).clone()
    else:
        laid = first.new_zeros(layout.rows * layout.steps, first.shape[1])
    if cuts is not None:  # a reset at the first step goes before the state that is given
        first = torch.where(cuts[:, :1], laid.index_select(0, layout.first), first)
    return laid.index_copy(0, layout.first, first).unflatten(0, (layout.rows, layout.steps))


def _run_padded(unit: StackedLayers, packed: PackedSequence, given: Sequences) -> tuple[Tensor, Tensor]:
    """Packed outputs (N, R D), and the last states (L R, B, W), from a padded batch."""
    x, counts = pad_packed_sequence(PackedSequence(given.x, packed.batch_sizes), batch_first=True)
    y, h_n = unit._run(given._replace(x=x))
    return pack_padded_sequence(y, counts, batch_first=True).data, h_n
