"""Scans of a sequence that several processes share in time: each scans its own steps, and one collective joins them."""

from collections.abc import Callable
from functools import reduce
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from remanent.ops.arguments import LatchCall, LinearCall, compute_dtype
from remanent.ops.checks import fastest
from remanent.ops.collectives import Agreement, Place, gather
from remanent.ops.cpu import latch as cpu
from remanent.ops.operators import no_gradients, save_call, saved_call

CHUNK = 4096
"""Steps at a time from which the factor of a shard is computed, so that its memory does not grow with time."""


class Ahead(NamedTuple):
    """What tells how the steps of one process change a state, and a gradient, before the scan runs.

    Attributes:
        fits: from the scan's arguments to whether it can tell.
        ends: from the scan's arguments to the factor (B, D), and the last state of a scan from zero.
        passed: from the gradient of the states and the scan's arguments to the gradient that the steps pass back.
        adjoint: `ShardedScan.adjoint` with one more argument, the gradient that later steps pass back, (B, D).
    """

    fits: Callable[[Any], bool]
    ends: Callable[[Any], tuple[Tensor, Tensor]]
    passed: Callable[[Tensor, Any], Tensor]
    adjoint: Callable[[Tensor, Tensor, Any, Tensor], Any]


class ShardedScan(NamedTuple):
    """What a scan does with the steps of one process.

    Attributes:
        run: from the scan's arguments to the states and what the adjoint needs of them.
        kept: from the scan's arguments to the factor (B, D) by which the last state depends on the state before the
            first step.
        adjoint: from the gradient of the states, what `run` gave beside them, and the scan's arguments to the
            gradients of the arguments, of which `h0` has one in any case.
        ahead: what saves the first of two runs, where there is such a way.
    """

    run: Callable[[Any], tuple[Tensor, Tensor]]
    kept: Callable[[Any], Tensor]
    adjoint: Callable[[Tensor, Tensor, Any], Any]
    ahead: Ahead | None = None

    def looks_ahead(self, call: Any) -> bool:
        """Whether one run is enough for these arguments."""
        return self.ahead is not None and self.ahead.fits(call)


def sharded(scan: ShardedScan, place: Place, agreement: Agreement, call: Any, like: Tensor) -> Tensor:
    """The states of this process's steps.

    Args:
        scan: the scan.
        place: this process's place.
        agreement: what all processes must agree on, already sent.
        call: the scan's arguments, a named tuple. Sequences may have 0 steps; `h0` is the state before the first
            step of all, (B, D), and only the first process reads it.
        like: an empty tensor of the shape and dtype of the states.
    """
    return _Sharded.apply(scan, place, agreement, like, type(call), *call)  # type: ignore[no-any-return, no-untyped-call]


def by_autograd(run: Callable[[Any], Tensor], grad: Tensor, call: Any) -> Any:
    """The adjoint of a scan whose backward pass is left to autograd.

    Args:
        run: from the scan's arguments to the states.
        grad: the gradient of the states.
        call: the scan's arguments, a named tuple.

    Returns:
        The gradients of the arguments, a named tuple; None where an argument has none.
    """
    call = call._replace(h0=torch.zeros_like(grad[:, 0]) if call.h0 is None else call.h0)
    leaves = call._replace(
        **{name: v.detach().requires_grad_() for name, v in call._asdict().items() if _has_gradient(v)}
    )
    with torch.enable_grad():
        states = run(leaves)
    wanted = {name: v for name, v in leaves._asdict().items() if _has_gradient(v)}
    grads = torch.autograd.grad(states, list(wanted.values()), grad, materialize_grads=True)
    return no_gradients(type(call))._replace(**dict(zip(wanted, grads, strict=True)))


def latch_ahead(adjoint: Callable[[Tensor, Tensor, Any, Tensor], Any]) -> Ahead:
    """With epsilon 0 a latch's last state is that of its last write, which is found from the end within few steps.

    Args:
        adjoint: what `Ahead.adjoint` is.
    """

    def fits(call: LatchCall) -> bool:
        return fastest(call.backend, call.gates) == "cpu" and call.epsilon.item() == 0

    def ends(call: LatchCall) -> tuple[Tensor, Tensor]:
        left, is_left = cpu.latch_ends(call.stored().split(), call.initial())
        return 1 - is_left, left

    def passed(grad: Tensor, call: LatchCall) -> Tensor:
        return cpu.latch_passed(grad, call.stored().split(), call.initial())

    return Ahead(fits, ends, passed, adjoint)


def latch_kept(call: LatchCall) -> Tensor:
    """The factor of a latch: epsilon to the power of the number of writes; 0 after a reset."""
    candidate, threshold, _ = call.stored().split()
    thresholds = threshold.split(CHUNK, 1) if threshold.dim() == 3 else [threshold] * -(-candidate.shape[1] // CHUNK)
    writes = candidate.new_zeros(candidate.shape[0], candidate.shape[2], dtype=torch.float64)
    for c, beta in zip(candidate.split(CHUNK, 1), thresholds, strict=True):
        writes += (c.abs() >= beta.abs()).sum(1)
    kept = call.epsilon.item() ** writes
    return kept if call.reset is None else torch.where(call.reset.any(1, keepdim=True), 0.0, kept)


def linear_kept(call: LinearCall) -> Tensor:
    """The factor of a linear scan: the product of all decays, in a wide dtype; 0 after a reset."""
    B, T, D = call.value.shape
    wide = torch.complex128 if call.decay.is_complex() else torch.float64
    if call.decay.dim() == 1:
        kept = (call.decay.to(wide) ** T).expand(B, D)
    else:
        kept = reduce(torch.mul, (part.to(wide).prod(1) for part in call.decay.split(CHUNK, 1)))
    return kept if call.reset is None else torch.where(call.reset.any(1, keepdim=True), 0.0, kept)


class _Sharded(torch.autograd.Function):
    """Gathers the effect of every shard on a state, and scans from the state that results.

    The effect is told ahead, or by a scan from zero; only the first process starts from `h0`. The backward pass does
    the same from the end: the adjoint of a shard is linear in the gradient that the next shard passes to it, with the
    same factor.
    """

    @staticmethod
    def forward(
        ctx: Any,
        scan: ShardedScan,
        place: Place,
        agreement: Agreement,
        states: Tensor,
        kind: Callable[..., Any],
        *arguments: Any,
    ) -> Tensor:
        B, T, D = states.shape
        call = kind(*arguments)
        dtype = compute_dtype(states.dtype)
        start, residual = call.h0 if place.rank == 0 else None, states.new_empty(0)
        kept = states.new_ones(B, D, dtype=dtype)
        last = states.new_zeros(B, D) if start is None else start
        has_run = T > 0 and not scan.looks_ahead(call)
        if has_run:
            states, residual = scan.run(call._replace(h0=start))
            kept, last = scan.kept(call).to(dtype), states[:, -1]
        elif T > 0 and place.rank < place.size - 1:  # nobody is after the last
            kept, left = scan.ahead.ends(call)  # type: ignore[union-attr]
            last = _through(kept, last, left)
        agreement.check()
        all_kept, all_last = gather(place, torch.stack([kept.to(dtype), last.to(dtype)])).unbind(1)
        if place.rank > 0:
            start = all_last[0]
            for before in range(1, place.rank):
                start = _through(all_kept[before], start, all_last[before])
            start = start.to(states.dtype)
        if T > 0 and (place.rank > 0 or not has_run):
            states, residual = scan.run(call._replace(h0=start))
        ctx.scan, ctx.place, ctx.has_h0 = scan, place, call.h0 is not None
        save_call(ctx, call._replace(h0=start), all_kept, residual)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        call, kept, residual = saved_call(ctx)
        scan, place, T, after = ctx.scan, ctx.place, grad.shape[1], torch.zeros_like(kept[0])
        looks_ahead, passed = T > 0 and scan.looks_ahead(call), after
        if looks_ahead:
            passed = scan.ahead.passed(grad, call) if place.rank > 0 else after  # nobody is before the first
        elif T > 0:
            grads = scan.adjoint(grad, residual, call)
            passed = grads.h0
        shares = gather(place, passed.to(kept.dtype))
        for later in range(place.size - 1, place.rank, -1):
            after = _through(kept[later].conj(), after, shares[later])
        if looks_ahead:
            grads = scan.ahead.adjoint(grad, residual, call, after)
        elif T == 0:
            grads = call._make(torch.zeros_like(v) if _has_gradient(v) else None for v in call)._replace(h0=after)
        elif place.rank < place.size - 1:
            grad = grad.clone()
            grad[:, -1] += after.to(grad.dtype)
            grads = scan.adjoint(grad, residual, call)
        of_h0 = None
        if ctx.has_h0:
            of_h0 = grads.h0.to(grad.dtype) if place.rank == 0 else torch.zeros_like(grads.h0, dtype=grad.dtype)
        return *(None,) * 5, *grads._replace(h0=of_h0)


def final_state(h: Tensor, outputs: Tensor, place: Place, *, steps: int) -> Tensor:
    """The final state of the last process that has a step, on all processes; its gradients are summed there.

    Args:
        h: the state at the end of this process's steps, of the same shape everywhere.
        outputs: the outputs of this process's steps. A process without a step must take part in the backward pass of
            the others although its `h` has no gradient; it does so through these outputs, whose gradient is empty.
        place: this process's place.
        steps: the number of this process's steps.

    Raises:
        ValueError: no process has a step.
    """
    return _Final.apply(h, outputs, place, steps)  # type: ignore[no-any-return, no-untyped-call]


class _Final(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor, outputs: Tensor, place: Place, steps: int) -> Tensor:
        values = h.to(compute_dtype(h.dtype)).flatten()
        found = gather(place, torch.cat([values.new_full((1,), float(steps > 0)), values]))
        holders = [rank for rank in range(place.size) if found[rank, 0] != 0]
        if not holders:
            raise ValueError("at least one process of `group` must have a time step, got T=0 on all of them")
        ctx.place, ctx.holder, ctx.none = place, holders[-1], torch.zeros_like(outputs) if steps == 0 else None
        return found[ctx.holder, 1:].view(h.shape).to(h.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        total = gather(ctx.place, grad.to(compute_dtype(grad.dtype))).sum(0).to(grad.dtype)
        return total if ctx.place.rank == ctx.holder else torch.zeros_like(total), ctx.none, None, None


def _through(kept: Tensor, start: Tensor, last: Tensor) -> Tensor:
    """The state after a shard, from that before it, which is not read where it is overwritten: it may be infinite.

    Where the shard adds nothing, nothing is added: 0 would make a negative zero a positive one.
    """
    through = kept * start
    return torch.where(kept == 0, last, torch.where(last == 0, through, through + last))


def _has_gradient(value: Any) -> bool:
    """Whether an argument of a scan has a gradient: not a mask, an option or a tensor () of one number."""
    return isinstance(value, Tensor) and value.dtype != torch.bool and value.dim() > 0
