"""The sums over time that a model keeps apart from its units' states, where processes share the time."""

from typing import Any

import torch
from torch import Tensor

from remanent.models.clock import Clock
from remanent.ops import linear_scan
from remanent.ops.collectives import place_in
from remanent.ops.shards import final_state


def read_clock(clock: Clock, x: Tensor, time: Tensor | None, reset: Tensor | None, group: Any) -> tuple[Tensor, Tensor]:
    """The features of this process's steps, (B, T, C), and the time after all steps, (B,): see `Clock.forward`.

    A shard without a reset adds its steps to the time, one with a reset sets it.
    """
    B, T = x.shape[:2]
    kept, steps = x.new_ones(B, dtype=torch.float64), x.new_full((B,), T, dtype=torch.float64)
    if reset is not None and T > 0:
        after = reset.flip(1).long().argmax(1) + 1.0  # steps since the last reset, where there is one
        kept, steps = (~reset.any(1)).double(), torch.where(reset.any(1), after, steps)
    start = torch.zeros_like(steps) if time is None else time.double()
    decay, value = torch.stack([torch.ones_like(kept), kept], 1), torch.stack([torch.zeros_like(steps), steps], 1)
    times = linear_scan(decay[..., None], value[..., None], start[:, None], group=group)
    last = final_state(times[:, 1, 0], times, place_in(group, x.device), steps=1)
    before, last = (t.clamp(max=clock.span).long() for t in (times[:, 0, 0], last))
    if T == 0:
        return clock.table_on(x.device).new_empty(B, 0, clock.size), last
    return clock(B, T, before, reset=reset, device=x.device)[0], last


def mean_of_all(
    total: Tensor, count: Tensor, carries: Tensor, before: tuple[Tensor | None, Tensor | None], group: Any
) -> tuple[Tensor, Tensor]:
    """The sum and the count over all steps since the last reset, on every process.

    Args:
        total: the sum over this process's steps since the last reset among them, float64 (B, H).
        count: how many these are, (B, 1).
        carries: bool (B, 1), whether there is none.
        before: both before the first step of all, or None.
        group: the processes.
    """
    value = torch.cat([total, count], dim=1)
    start = None if before[0] is None or before[1] is None else torch.cat([before[0], before[1]], dim=1)
    sums = linear_scan(carries.double().expand_as(value)[:, None], value[:, None], start, group=group)
    last = final_state(sums[:, 0], sums, place_in(group, total.device), steps=1)
    return last[:, :-1], last[:, -1:]


def last_step(x: Tensor, group: Any) -> Tensor:
    """The last of all steps of (B, T, H), on every process."""
    last = x[:, -1] if x.shape[1] > 0 else x.new_zeros(x.shape[0], x.shape[2])
    return final_state(last, x, place_in(group, x.device), steps=x.shape[1])
