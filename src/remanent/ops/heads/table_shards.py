"""The transition scan of a sequence that several processes share in time; what they exchange is a map a head.

A process sends the map of its steps, a table of bytes where epsilon is 0, otherwise a matrix; and the states at the end
of its steps, which count where they do not depend on what was before: after a reset, and on the first process.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from remanent.ops.arguments import HeadSizes, TransitionCall, compute_dtype
from remanent.ops.collectives import Agreement, Place, gather
from remanent.ops.heads.one_hot import by_head, one_hot, places_of, start_state
from remanent.ops.heads.portable_tables import pulled
from remanent.ops.operators import no_gradients, save_call, saved_call
from remanent.ops.shards import CHUNK


class ShardedTransition(NamedTuple):
    """What the scan does with the steps of one process.

    Attributes:
        run: from the scan's arguments to the states.
        adjoint: from the gradient of the states, the states, and the scan's arguments to the gradients of these, of
            which `h0` has one in any case.
    """

    run: Callable[[TransitionCall], Tensor]
    adjoint: Callable[[Tensor, Tensor, TransitionCall], Any]


def sharded_transition(
    scan: ShardedTransition, place: Place, agreement: Agreement, call: TransitionCall, like: Tensor
) -> Tensor:
    """The states of this process's steps; `like` is an empty tensor of their shape and dtype.

    Sequences may have 0 steps. `h0` is the state before the first step of all, and only the first process reads it.
    """
    return _Sharded.apply(scan, place, agreement, like, *call)  # type: ignore[no-any-return, no-untyped-call]


class _Ends(NamedTuple):
    """What the steps of a process do to the states before them; of all processes with P first.

    Attributes:
        maps: tables (B, H, K) of bytes, or matrices (B, H, K, K).
        last: the states at the end, (B, H, R) as bytes, or (B, H, R, K).
        is_known: whether `last` does not depend on the states before, (B,); otherwise `maps` says how it does.
    """

    maps: Tensor
    last: Tensor
    is_known: Tensor

    def after(self, before: Tensor) -> Tensor:
        """The states at the end, from those before."""
        is_table = self.maps.dtype == torch.uint8
        through = self.maps.gather(-1, before.long()) if is_table else before @ self.maps
        return torch.where(self._known(through), self.last, through)

    def before(self, adjoint: Tensor, own: Tensor) -> Tensor:
        """The adjoint before the steps, from that after them and what they give to it themselves."""
        maps = self.maps.long() if self.maps.dtype == torch.uint8 else self.maps
        carried = pulled(maps, adjoint)
        return own + torch.where(self._known(carried), 0.0, carried)

    def _known(self, like: Tensor) -> Tensor:
        return self.is_known.view(-1, *(1,) * (like.dim() - 1)) != 0


class _Sharded(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, scan: ShardedTransition, place: Place, agreement: Agreement, states: Tensor, *arguments: Any
    ) -> Tensor:
        call = TransitionCall(*arguments)
        mine = _ends(scan, call, states, is_first=place.rank == 0)
        agreement.check()
        ends = _exchanged(place, mine)
        if place.rank > 0:
            start = ends[0].last
            for before in ends[1 : place.rank]:
                start = before.after(start)
            call = call._replace(h0=_flat(start, call).to(states.dtype))
        if states.shape[1] > 0:
            states = scan.run(call)
        ctx.scan, ctx.place = scan, place
        later = [v for end in ends[place.rank + 1 :] for v in end]
        save_call(ctx, call, states, *later)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        call, states, *parts = saved_call(ctx)
        place, compute = ctx.place, compute_dtype(grad.dtype)
        later = [_Ends(*parts[i : i + 3]) for i in range(0, len(parts), 3)]
        grads = no_gradients(TransitionCall)._replace(
            **{name: torch.zeros_like(v) for name, v in call._asdict().items() if _has_gradient(v)}
        )
        if grad.shape[1] > 0:
            grads = ctx.scan.adjoint(grad, states, call)
        heads, sizes = call.sizes().heads(call.logits.shape[2]), call.sizes()
        shares = by_head(gather(place, grads.h0.to(compute)), heads, sizes)
        after = torch.zeros_like(shares[0])
        for i in reversed(range(len(later))):
            after = later[i].before(after, shares[place.rank + 1 + i])
        added = after.flatten(1).to(grad.dtype)
        if place.rank < place.size - 1 and grad.shape[1] > 0:
            grad = grad.clone()
            grad[:, -1] += added
            grads = ctx.scan.adjoint(grad, states, call)
        elif place.rank < place.size - 1:
            grads = grads._replace(h0=added)
        if place.rank > 0:
            grads = grads._replace(h0=torch.zeros_like(grads.h0))
        return *(None,) * 4, *grads


def _ends(scan: ShardedTransition, call: TransitionCall, states: Tensor, *, is_first: bool) -> _Ends:
    """What this process's steps do; the scan runs with a tracer for each state, whose ends are the map."""
    B, T, W = call.logits.shape
    K, hard = call.num_states, call.epsilon.item() == 0
    identity = HeadSizes(K, K)
    heads = identity.heads(W)
    h = start_state(call.logits, heads, identity).expand(B, -1)
    for logits in call.logits.split(CHUNK, 1) if T > 0 else ():
        h = scan.run(call._replace(logits=logits, h0=h, reset=None, reset_state=None, num_tracers=K))[:, -1]
    known = torch.full((B,), is_first, device=h.device)
    last = call.h0
    if call.reset is not None:
        known = known | call.reset.any(1)
    if T > 0 and bool(known.any()):
        last = scan.run(call)[:, -1]
    if hard:
        maps, ends = (places_of(v, heads, s).byte() for v, s in ((h, identity), (last, call.sizes())))
        return _Ends(maps, ends, known.byte())
    compute = compute_dtype(states.dtype)
    maps, ends = (by_head(v.to(compute), heads, s) for v, s in ((h, identity), (last, call.sizes())))
    return _Ends(maps, ends, known.to(compute))


def _exchanged(place: Place, mine: _Ends) -> list[_Ends]:
    """The ends of all processes, in one message."""
    flat = torch.cat([v.reshape(len(v), -1) for v in mine], 1)
    widths = [v[0].numel() if len(v) else 0 for v in mine]
    found = []
    for row in gather(place, flat):
        parts = row.split(widths, 1)
        found.append(_Ends(*(part.reshape(v.shape) for part, v in zip(parts, mine, strict=True))))
    return found


def _flat(start: Tensor, call: TransitionCall) -> Tensor:
    """States (B, H, R), or (B, H, R, K), as (B, D)."""
    return start.flatten(1) if start.dim() == 4 else one_hot(start, call.num_states, torch.float32)


def _has_gradient(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dtype != torch.bool and value.dim() > 0
