"""Time shared out among processes: each scans its own steps; one collective brings the states from shard to shard."""

from __future__ import annotations  # a build of torch without torch.distributed has no ProcessGroup

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.distributed.device_mesh import DeviceMesh

from remanent.ops.reference import compute_dtype

CHUNK = 4096
"""Steps at a time, where what is kept of a state is worked out: its room in memory does not grow with time."""
ALL_GATHER: Any = getattr(dist, "all_gather_single", None) or getattr(dist, "all_gather_into_tensor", None)
"""The second is what torch called the first until it deprecated the name."""
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.complex64, torch.complex128)
"""How a dtype goes to the other processes: by its place here."""


def before_collective() -> None:
    """Called before each collective that this process may have to wait in; whoever watches it may set another."""


class ShardedScan(NamedTuple):
    """What a scan does with the steps of one process.

    Attributes:
        run: from (inputs, options, h0) to the states and what the adjoint needs of them.
        kept: from (inputs, options) to the factor (B, D) of the state that came in which is left in the last one.
        adjoint: from (gradient, residual, inputs, options, h0) to the gradients of the inputs, and that of h0.
    """

    run: Callable[..., tuple[Tensor, Tensor]]
    kept: Callable[..., Tensor]
    adjoint: Callable[..., tuple[tuple[Tensor | None, ...], Tensor]]


class Place(NamedTuple):
    """Where a process stands among those that share time."""

    group: dist.ProcessGroup
    rank: int
    size: int


def place_in(group: Any, device: torch.device) -> Place:
    """This process's place in a group, which may be a mesh of one dimension.

    Raises:
        TypeError: it is neither.
        ValueError: this process is not in it, or it has no collectives for the device.
    """
    if not dist.is_available():
        raise ValueError("`group` must be None where torch is built without torch.distributed, got one")
    if isinstance(group, DeviceMesh) and group.ndim != 1:
        raise ValueError(f"`group` must be a mesh of one dimension, such as mesh['time'], got {group.ndim} of them")
    group = _without_mesh(group)
    if group is dist.GroupMember.NON_GROUP_MEMBER:
        raise ValueError("`group` must be one that this process is in, got one that it is not in")
    if not isinstance(group, dist.ProcessGroup):
        raise TypeError(f"`group` must be a torch.distributed.ProcessGroup or DeviceMesh, got {type(group).__name__}")
    known = sorted(kind.type for kind in group._device_types)
    if device.type not in known:
        raise ValueError(
            f"`group` must have collectives for the device {device.type}, got some for {' and '.join(known)}"
        )
    return _place(group)


class Agreement:
    """What all processes must agree on, sent round beside the work: a few numbers, read before the states are.

    Every process hears every other's, so that what does not fit raises everywhere, and none waits for another.

    Args:
        place: this process's.
        values: name to number, the same names everywhere; None if this process's arguments were refused.
    """

    SLOTS = 8

    def __init__(self, place: Place, values: dict[str, float] | None) -> None:
        self.names = list(values or {})
        kinds = {kind.type for kind in place.group._device_types}
        device = torch.device("cpu" if "cpu" in kinds else next(iter(kinds)))
        mine = torch.zeros(self.SLOTS, dtype=torch.float64, device=device)
        if values is not None:
            mine[: 1 + len(values)] = torch.tensor([1.0, *values.values()], dtype=torch.float64)
        self.all = mine.new_empty(place.size * self.SLOTS)
        self.work = ALL_GATHER(self.all, mine, group=place.group, async_op=True)

    def check(self) -> None:
        """Waits for the others.

        Raises:
            ValueError: another process was given what is refused, or something else than this one.
        """
        self.work.wait()
        rows = self.all.view(-1, self.SLOTS).tolist()
        for rank, (fine, *_) in enumerate(rows):
            if not fine:
                raise ValueError(f"every process of `group` must be given what fits, got an error on rank {rank}")
        for i, name in enumerate(self.names, start=1):
            for rank, row in enumerate(rows):
                if row[i] != rows[0][i]:
                    came = f"{_shown(name, rows[0][i])} on rank 0 and {_shown(name, row[i])} on rank {rank}"
                    raise ValueError(f"every process of `group` must be given the same {name}, got {came}")


@contextmanager
def refusal_announced(group: Any) -> Iterator[None]:
    """Where this process's arguments are refused, the others hear of it, lest they wait."""
    try:
        yield
    except (TypeError, ValueError):
        group = _without_mesh(group)
        if dist.is_available() and isinstance(group, dist.ProcessGroup):
            Agreement(_place(group), None).work.wait()
        raise


def sharded(
    scan: ShardedScan,
    place: Place,
    agreement: Agreement,
    inputs: tuple[Tensor | None, ...],
    options: tuple[Any, ...],
    h0: Tensor | None,
    like: Tensor,
) -> Tensor:
    """The states of this process's steps.

    Args:
        scan: which.
        place: this process's, in the order of time.
        agreement: under way.
        inputs: of the scan, (B, T, D) and others, of which T may be 0.
        options: of the scan.
        h0: the state before the first step of all, (B, D), read on the first process alone; zeros if None.
        like: an empty tensor of the states' shape and dtype.
    """
    return _Sharded.apply(scan, place, agreement, options, like, h0, *inputs)  # type: ignore[no-any-return, no-untyped-call]


def by_autograd(
    run: Callable[..., Tensor], grad: Tensor, inputs: tuple[Tensor | None, ...], h0: Tensor | None
) -> tuple[tuple[Tensor | None, ...], Tensor]:
    """The adjoint of a scan that is left to autograd: `run` of (inputs, h0)."""
    h0 = torch.zeros_like(grad[:, 0]) if h0 is None else h0
    leaves = [v if v is None or v.dtype == torch.bool else v.detach().requires_grad_() for v in (*inputs, h0)]
    with torch.enable_grad():
        states = run(tuple(leaves[:-1]), leaves[-1])
    wanted = [leaf for leaf in leaves if leaf is not None and leaf.requires_grad]
    found = iter(torch.autograd.grad(states, wanted, grad, materialize_grads=True))
    grads = [next(found) if leaf is not None and leaf.requires_grad else None for leaf in leaves]
    assert grads[-1] is not None
    return tuple(grads[:-1]), grads[-1]


class _Sharded(torch.autograd.Function):
    """Scans from zero, tells what that does to any state, hears it of all, and scans from what came in.

    Only the first process starts from `h0`. Backward likewise from the end: the adjoint of a shard is linear in
    what comes from the shard after it, with the same factor.
    """

    @staticmethod
    def forward(
        ctx: Any,
        scan: ShardedScan,
        place: Place,
        agreement: Agreement,
        options: tuple[Any, ...],
        states: Tensor,
        h0: Tensor | None,
        *inputs: Tensor | None,
    ) -> Tensor:
        B, T, D = states.shape
        dtype = compute_dtype(states.dtype)
        start, residual = h0 if place.rank == 0 else None, states.new_empty(0)
        kept = states.new_ones(B, D, dtype=dtype)
        last = states.new_zeros(B, D) if start is None else start
        if T > 0:
            states, residual = scan.run(inputs, options, start)
            kept, last = scan.kept(inputs, options).to(dtype), states[:, -1]
        agreement.check()
        all_kept, all_last = _gather(place, torch.stack([kept, last.to(dtype)])).unbind(1)
        if place.rank > 0:
            start = all_last[0]
            for before in range(1, place.rank):
                start = _through(all_kept[before], start, all_last[before])
            start = start.to(states.dtype)
            if T > 0:
                states, residual = scan.run(inputs, options, start)
        ctx.scan, ctx.place, ctx.options, ctx.has_h0 = scan, place, options, h0 is not None
        ctx.save_for_backward(start, all_kept, residual, *inputs)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        start, kept, residual, *inputs = ctx.saved_tensors
        grads = tuple(None if v is None or v.dtype == torch.bool else torch.zeros_like(v) for v in inputs)
        share = torch.zeros_like(kept[0])
        if grad.shape[1] > 0:
            grads, share = ctx.scan.adjoint(grad, residual, inputs, ctx.options, start)
        shares, after = _gather(ctx.place, share.to(kept.dtype)), torch.zeros_like(kept[0])
        for later in range(ctx.place.size - 1, ctx.place.rank, -1):
            after = kept[later].conj() * after + shares[later]
        if ctx.place.rank == ctx.place.size - 1:
            pass
        elif grad.shape[1] > 0:
            grad = grad.clone()
            grad[:, -1] += after.to(grad.dtype)
            grads, share = ctx.scan.adjoint(grad, residual, inputs, ctx.options, start)
        else:
            share = after
        of_h0 = None
        if ctx.has_h0:
            of_h0 = share.to(grad.dtype) if ctx.place.rank == 0 else torch.zeros_like(share, dtype=grad.dtype)
        return *(None,) * 5, of_h0, *grads


def final_state(h: Tensor, outputs: Tensor, place: Place, *, steps: int) -> Tensor:
    """What the last process that has a step gives, on all of them; their gradients of it are added up there.

    Args:
        h: the state at the end of this process's steps, of the same shape everywhere.
        outputs: of this process's steps. Without a step, `h` has no gradient, and yet this process must take part
            in the others' backward pass, which goes through all outputs; their gradient is then an empty tensor.
        place: this process's.
        steps: how many it has.

    Raises:
        ValueError: none has a step.
    """
    return _Final.apply(h, outputs, place, steps)  # type: ignore[no-any-return, no-untyped-call]


class _Final(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor, outputs: Tensor, place: Place, steps: int) -> Tensor:
        values = h.to(compute_dtype(h.dtype)).flatten()
        found = _gather(place, torch.cat([values.new_full((1,), float(steps > 0)), values]))
        holders = [rank for rank in range(place.size) if found[rank, 0] != 0]
        if not holders:
            raise ValueError("at least one process of `group` must have a time step, got T=0 on all of them")
        ctx.place, ctx.holder, ctx.none = place, holders[-1], torch.zeros_like(outputs) if steps == 0 else None
        return found[ctx.holder, 1:].view(h.shape).to(h.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        total = _gather(ctx.place, grad.to(compute_dtype(grad.dtype))).sum(0).to(grad.dtype)
        return total if ctx.place.rank == ctx.holder else torch.zeros_like(total), ctx.none, None, None


def _without_mesh(group: Any) -> Any:
    """The group of a mesh of one dimension; another value as it is."""
    return group.get_group() if isinstance(group, DeviceMesh) and group.ndim == 1 else group


def _place(group: dist.ProcessGroup) -> Place:
    return Place(group, dist.get_rank(group), dist.get_world_size(group))


def _through(kept: Tensor, start: Tensor, last: Tensor) -> Tensor:
    """The state after a shard, from that before it. What was written over is not read: it may not be finite."""
    return torch.where(kept == 0, last, kept * start + last)


def _gather(place: Place, value: Tensor) -> Tensor:
    """A tensor of every process, (P, ...), in the order of ranks."""
    before_collective()
    sent = (torch.view_as_real(value.resolve_conj()) if value.is_complex() else value).contiguous()
    found = sent.new_empty(place.size * sent.shape[0], *sent.shape[1:])
    ALL_GATHER(found, sent, group=place.group)
    return (torch.view_as_complex(found) if value.is_complex() else found).unflatten(0, (place.size, -1))


def _shown(name: str, value: float) -> str:
    return str(DTYPES[int(value)]).removeprefix("torch.") if name == "dtype" else f"{value:g}"
