"""What a model reads of the steps of other processes beside its units' states, where processes share the time."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from remanent.models.clock import Clock
from remanent.ops import linear_scan
from remanent.ops.arguments import compute_dtype
from remanent.ops.collectives import DTYPES, Agreement, Place, gather, place_in
from remanent.ops.shards import final_state


def read_clock(
    clock: Clock, x: Tensor, time: Tensor | None, reset: Tensor | None, reset_time: Tensor | None, group: Any
) -> tuple[Tensor, Tensor]:
    """The features of this process's steps, (B, T, C), and the time after all steps, (B,): see `Clock.forward`.

    A shard without a reset adds its steps to the time, one with a reset sets it.
    """
    B, T = x.shape[:2]
    kept, steps = x.new_ones(B, dtype=torch.float64), x.new_full((B,), T, dtype=torch.float64)
    if reset is not None and T > 0:
        since = reset.flip(1).long().argmax(1)  # how many steps follow the last reset, where there is one
        if reset_time is not None:
            since = since + reset_time.gather(1, T - 1 - since[:, None])[:, 0]
        kept, steps = (~reset.any(1)).double(), torch.where(reset.any(1), since + 1.0, steps)
    start = torch.zeros_like(steps) if time is None else time.double()
    decay, value = torch.stack([torch.ones_like(kept), kept], 1), torch.stack([torch.zeros_like(steps), steps], 1)
    times = linear_scan(decay[..., None], value[..., None], start[:, None], group=group)
    last = final_state(times[:, 1, 0], times, place_in(group, x.device), steps=1)
    before, last = (t.clamp(max=clock.span).long() for t in (times[:, 0, 0], last))
    if T == 0:
        return clock.table_on(x.device).new_empty(B, 0, clock.size), last
    return clock(B, T, before, reset=reset, reset_time=reset_time, device=x.device)[0], last


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


def window_before(before: Tensor, tail: Tensor, cut: Tensor, steps: int, group: Any) -> Tensor:
    """The inputs of the last K steps before this process's first one, (B, K, D), whichever processes hold these steps.

    Args:
        before: the inputs of the last K steps before the first step of all, (B, K, D), the same on all processes.
        tail: the inputs of this process's last K steps, (B, K, D), and in place of those before a reset zeros or the
            window that was given; what lies before its first step is read only where there was a reset.
        cut: bool (B,), whether any of this process's steps is a reset.
        steps: the number of this process's steps; where it is less than K, the tail's last ones.
        group: the processes.
    """
    B, K, D = before.shape
    place = place_in(group, before.device)
    dtype = DTYPES.index(before.dtype)
    Agreement(place, {"kind of scan": 2, "B": B, "D": D, "dtype": dtype, "number of taps": K + 1}).check()
    return _Window.apply(before, tail, cut, min(steps, K), place)  # type: ignore[no-any-return, no-untyped-call]


class _Window(torch.autograd.Function):
    """Gathers the tail of every process, and puts those of the earlier ones behind one another.

    The backward pass gathers the gradients of all windows, and takes from each what it has of this process's tail.
    """

    @staticmethod
    def forward(ctx: Any, before: Tensor, tail: Tensor, cut: Tensor, steps: int, place: Place) -> Tensor:
        B, K, D = before.shape
        values = tail.to(compute_dtype(tail.dtype))
        found = gather(place, torch.cat([values.flatten(), cut.to(values.dtype), values.new_full((1,), float(steps))]))
        tails, cuts = found[:, : B * K * D].view(-1, B, K, D), found[:, B * K * D : -1, None, None] != 0
        counts = [int(count) for count in found[:, -1].tolist()]
        window = before.to(values.dtype)
        for rank in range(place.rank):
            shifted = torch.cat([window[:, counts[rank] :], tails[rank, :, K - counts[rank] :]], dim=1)
            window = torch.where(cuts[rank], tails[rank], shifted)
        ctx.place, ctx.counts = place, counts
        ctx.save_for_backward(cuts)
        return window.to(tail.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (cuts,), counts, rank = ctx.saved_tensors, ctx.counts, ctx.place.rank
        grads = gather(ctx.place, grad.to(compute_dtype(grad.dtype)))
        after, K = torch.zeros_like(grads[0]), grad.shape[1]
        for later in range(ctx.place.size - 1, rank, -1):
            after = grads[later] + _through_steps(after, cuts[later], counts[later])
        of_tail = torch.where(cuts[rank], after, F.pad(after[:, K - counts[rank] :], (0, 0, K - counts[rank], 0)))
        of_before = grads[0] + _through_steps(after, cuts[0], counts[0]) if rank == 0 else torch.zeros_like(after)
        return of_before.to(grad.dtype), of_tail.to(grad.dtype), None, None, None


def _through_steps(after: Tensor, cut: Tensor, count: int) -> Tensor:
    """The gradient of the window before a process's steps, by way of the window after them."""
    return F.pad(torch.where(cut, 0, after)[:, : after.shape[1] - count], (0, 0, count, 0))
