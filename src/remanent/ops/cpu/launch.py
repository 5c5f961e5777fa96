"""The scans for the CPU, fused: what a pass needs is read once and what it gives is written once.

Work is cut by batch row, by blocks of channels, and, where these are too few, by pieces of time. The
kernels take any strides over batch and time. Numba is imported on first use.
"""

import functools
import warnings
from collections.abc import Callable
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from remanent.ops.cpu import threads
from remanent.ops.cpu.cut import Cut, make_cut
from remanent.ops.reference import SPAN, compute_dtype


@functools.cache
def usable() -> bool:
    """Whether Numba runs here; warns, once, where it does not."""
    try:
        import numba

        if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
            raise RuntimeError("NUMBA_DISABLE_JIT is set")
        _run(_kernels().probe, torch.empty(0), Cut(0, 1, 1, 1, 1, 1), ())
    except Exception as error:
        warnings.warn(
            f"the CPU kernels cannot run, so the scans take the slower portable backend: {error}", stacklevel=2
        )
        return False
    return True


def latch_forward(
    candidate: Tensor,
    threshold: Tensor,
    alpha: Tensor,
    h0: Tensor | None,
    epsilon: float,
    reset: Tensor | None,
    reset_state: Tensor | None,
    states: Tensor,
) -> None:
    """Fills the states (B, T, D) of the latch; shapes as in `remanent.ops.latch_scan`."""
    gates = [_ready(v) for v in (candidate, threshold, alpha)]
    start, fresh = _first(h0, gates[0]), _fresh(reset_state, gates[0])
    cut = make_cut(candidate.shape, pieces_a_thread=4 if epsilon == 0 else 0)
    if cut.pieces > 1:
        left, is_set = (fresh.new_empty(cut.B, cut.pieces - 1, cut.D) for _ in range(2))
        arrays = (*gates, start, reset, fresh, left, is_set)
        _run(_latch().latch_carry, fresh, cut.without_last(), arrays)
        start = _chain(start, left, is_set == 0)
    out = _target(states)
    arrays = (*gates, start, reset, fresh, out)
    _run(_latch().latch_forward, fresh, cut, arrays, epsilon)
    _give(out, states)


def latch_backward(
    grad: Tensor,
    starts: Tensor,
    candidate: Tensor,
    threshold: Tensor,
    alpha: Tensor,
    h0: Tensor | None,
    epsilon: float,
    width: float,
    reset: Tensor | None,
    reset_state: Tensor | None,
    grads: tuple[Tensor, ...],
) -> None:
    """Fills the gradients of candidate, threshold, alpha, h0 and reset_state.

    The states are computed again from `starts` (B, T // SPAN + 2, D), one for each span of time.
    """
    gates = [_ready(v) for v in (candidate, threshold, alpha)]
    grad = _ready(grad)
    fresh = _fresh(reset_state, gates[0])
    starts = _ready(starts)
    cut = make_cut(candidate.shape, pieces_a_thread=4 if epsilon == 0 else 0)
    carry = fresh.new_zeros(cut.B, 1, cut.D)
    if cut.pieces > 1:
        passed, is_open = (fresh.new_empty(cut.B, cut.pieces - 1, cut.D) for _ in range(2))
        arrays = (*(cut.after_first(v) for v in (*gates, None, reset)), None, cut.after_first(grad))
        _run(_latch().latch_adjoint_carry, fresh, cut.without_first(), (*arrays, passed, is_open))
        carry = _chain(carry, passed.flip(1), is_open.flip(1) != 0, add=True).flip(1)
    outs, sums = _gradient_targets(grads[:3], cut)
    fresh_sum = fresh.new_empty(cut.B, cut.spans, cut.D)
    arrays = (*gates, starts, reset, fresh, grad, carry, *outs, fresh_sum)
    _run(_latch().latch_backward, fresh, cut, arrays, epsilon, width)
    for out, total, target in zip(outs, sums, grads, strict=False):
        _give(out, target, total)
    grads[3].copy_(carry[:, 0])
    _give(fresh_sum, grads[4], summed=True)


def linear_forward(
    decay: Tensor,
    value: Tensor,
    h0: Tensor | None,
    reset: Tensor | None,
    reset_state: Tensor | None,
    states: Tensor,
) -> None:
    """Fills the states (B, T, D) of the linear recurrence; shapes as in `remanent.ops.linear_scan`."""
    decay, value = _ready(decay), _ready(value)
    start, fresh = _first(h0, value), _fresh(reset_state, value)
    cut = make_cut(value.shape, pieces_a_thread=1)
    if cut.pieces > 1:
        fine, share = cut.without_last().finer()
        left, kept = (fresh.new_empty(fine.B, fine.pieces, fine.D) for _ in range(2))
        _run(_linear().linear_carry, fresh, fine, (decay, None, reset, fresh, value, left, kept))
        start = _decayed_chain(start, left, kept, fine.any_reset(reset))[:, ::share]
    out = _target(states)
    _run(_linear().linear_forward, fresh, cut, (decay, start, reset, fresh, value, out))
    _give(out, states)


def linear_backward(
    grad: Tensor,
    states: Tensor,
    decay: Tensor,
    h0: Tensor | None,
    reset: Tensor | None,
    reset_state: Tensor | None,
    grads: tuple[Tensor, ...],
) -> None:
    """Fills the gradients of decay, value, h0 and reset_state, given the states and their gradient."""
    grad, states, decay = _ready(grad), _ready(states), _ready(decay)
    start, fresh = _first(h0, grad), _fresh(reset_state, grad)
    cut = make_cut(grad.shape, pieces_a_thread=1)
    carry = fresh.new_zeros(cut.B, 1, cut.D)
    if cut.pieces > 1:
        fine, share = cut.without_first().finer()
        passed, kept = (fresh.new_empty(fine.B, fine.pieces, fine.D) for _ in range(2))
        later = [cut.after_first(v) for v in (decay, reset, grad)]
        _run(_linear().linear_adjoint_carry, fresh, fine, (later[0], None, later[1], None, later[2], passed, kept))
        chain = (passed.flip(1), kept.flip(1), fine.any_reset(later[1]).flip(1))
        given = _decayed_chain(carry, *chain).flip(1)[:, :-1]
        carry = torch.cat([given[:, ::share], carry], dim=1)
    outs, sums = _gradient_targets(grads[:2], cut)
    fresh_sum = fresh.new_empty(cut.B, cut.spans, cut.D)
    arrays = (decay, start, reset, fresh, grad, carry, states, *outs, fresh_sum)
    _run(_linear().linear_backward, fresh, cut, arrays)
    for out, total, target in zip(outs, sums, grads, strict=False):
        _give(out, target, total)
    grads[2].copy_(carry[:, 0])
    _give(fresh_sum, grads[3], summed=True)


def _run(
    function: Callable[..., None],
    like: Tensor,
    cut: Cut,
    arrays: tuple[Tensor | None, ...],
    epsilon: float = 0.0,
    width: float = 1.0,
) -> None:
    """Calls a kernel on what `kernels.py` describes."""
    fixed = sum(1 << i for i, array in enumerate(arrays) if array is not None and array.dim() == 1)
    header = [0, cut.tasks, cut.T, cut.D, cut.block, cut.blocks, cut.piece, cut.pieces, SPAN, fixed, 0]
    numbers = np.array([epsilon, width]).view(np.int64).tolist()
    arguments = np.array(sum(map(_layout, arrays), (*header, *numbers)), dtype=np.int64)
    threads.run(threads.compiled(function, like.dtype), arguments, min(cut.workers, max(cut.tasks, 1)))


def _layout(array: Tensor | None) -> tuple[int, int, int]:
    """Address and strides over batch and time of (B, T, D), (B, T) for a mask, or (D,)."""
    if array is None:
        return 0, 0, 0
    if array.dim() == 1:
        return array.data_ptr(), 0, 0
    return array.data_ptr(), array.stride(0), array.stride(1)


def _ready(value: Tensor) -> Tensor:
    """The tensor as a kernel can read it: in the dtype that is computed in, its last axis contiguous."""
    value = value.detach().to(compute_dtype(value.dtype))  # conjugates and negatives torch has resolved already
    return value if value.stride(-1) == 1 or value.shape[-1] <= 1 else value.contiguous()


def _first(h0: Tensor | None, like: Tensor) -> Tensor:
    """The state before the first step (B, 1, D), zeros if None."""
    B, _, D = like.shape
    return like.new_zeros(1, 1, D).expand(B, 1, D) if h0 is None else _ready(h0)[:, None]


def _fresh(reset_state: Tensor | None, like: Tensor) -> Tensor:
    """The state after a reset (D,), zeros if None."""
    return like.new_zeros(like.shape[2]) if reset_state is None else _ready(reset_state)


def _chain(first: Tensor, own: Tensor, passes: Tensor, add: bool = False) -> Tensor:
    """What each piece starts from, (B, K, D): what the one before made itself, or it was given and lets pass."""
    carried = [first[:, 0]]
    for k in range(own.shape[1]):
        before = carried[-1]
        let_through = own[:, k] + before if add else before
        carried.append(torch.where(passes[:, k], let_through, own[:, k]))
    return torch.stack(carried, dim=1)


def _decayed_chain(first: Tensor, own: Tensor, factor: Tensor, cut: Tensor) -> Tensor:
    """The same where what passes is multiplied by a factor, and nothing passes where `cut` (B, K, 1)."""
    carried = [first[:, 0]]
    for k in range(own.shape[1]):
        carried.append(torch.where(cut[:, k], own[:, k], factor[:, k] * carried[-1] + own[:, k]))
    return torch.stack(carried, dim=1)


def _target(wanted: Tensor) -> Tensor:
    """Where a kernel writes: the tensor itself, or a buffer in the dtype that is computed in."""
    dtype = compute_dtype(wanted.dtype)
    fits = wanted.dtype == dtype and (wanted.stride(-1) == 1 or wanted.shape[-1] <= 1)
    return wanted if fits else torch.empty(wanted.shape, dtype=dtype)


def _gradient_targets(grads: tuple[Tensor, ...], cut: Cut) -> tuple[list[Tensor], list[bool]]:
    """Where kernels write gradients; of what is the same at all steps, a sum for each span."""
    fixed = [grad.dim() == 1 for grad in grads]
    sums = (cut.B, cut.spans, cut.D)
    outs = [
        g.new_empty(sums, dtype=compute_dtype(g.dtype)) if f else _target(g) for g, f in zip(grads, fixed, strict=True)
    ]
    return outs, fixed


def _give(out: Tensor, target: Tensor, summed: bool = False) -> None:
    """Puts a buffer where it belongs, summed over batch and spans in double precision if asked."""
    if summed:
        wide = torch.complex128 if out.is_complex() else torch.float64
        out = out.sum((0, 1), dtype=wide)
    if out is not target:
        target.copy_(out)


def _kernels() -> ModuleType:
    from remanent.ops.cpu import kernels

    return kernels


def _latch() -> ModuleType:
    from remanent.ops.cpu import latch_kernels

    return latch_kernels


def _linear() -> ModuleType:
    from remanent.ops.cpu import linear_kernels

    return linear_kernels
