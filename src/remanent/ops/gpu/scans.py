"""The scans for a GPU: Triton kernels with one program per batch row, block of channels and piece of time.

Where batch and channels fill the device, time is one piece. Else it is cut: one kernel finds what each piece
does to the state (or adjoint) before it, these effects are combined here, and all pieces run at once.
Triton is imported on first use.
"""

from types import ModuleType
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from remanent.ops.arguments import SPAN, Gates, InitialStates, LatchGradients, LinearGradients
from remanent.ops.gpu import once
from remanent.ops.gpu.arrays import LatchArrays, LinearArrays
from remanent.ops.gpu.launch import (
    LATCH_BACKWARD_STEPS,
    channels_last,
    contiguous,
    cut,
    give,
    give_zeros,
    launch,
    piece_tensor,
    reset_bytes,
    restart_state,
    rows_like,
    scratch,
    sums_or_rows,
)


def latch_forward(gates: Gates, initial_states: InitialStates, epsilon: float, states: Tensor) -> None:
    """Fills the states of the latch, (B, T, D)."""
    if states.numel() == 0:
        return None
    candidate, threshold, alpha = (channels_last(v) for v in gates)
    h0, reset, reset_state = initial_states
    h0, reset_state, reset = contiguous(h0), restart_state(reset_state), reset_bytes(reset)
    inputs = (candidate, threshold, alpha)
    if epsilon == 0 and (tiling := once.tiling_for("latch forward", candidate, reset_state)):
        return once.latch_forward(Gates(*inputs), InitialStates(h0, reset, reset_state), states, tiling)
    pieces, length = cut(candidate, whole=epsilon != 0)
    initial = None if h0 is None else h0[:, None]
    if pieces > 1:
        initial = _latch_starts(*inputs, h0, reset, reset_state, pieces, length)
    out = rows_like(states)
    arrays = LatchArrays(*inputs, reset, reset_state, initial=initial, states=out)
    options = {"epsilon": epsilon, "CUMULATIVE": epsilon != 0}
    launch(kernels().latch.latch_forward, candidate, pieces, length, arrays, options)
    give(out, states)
    return None


def latch_backward(
    grad: Tensor,
    starts: Tensor,
    gates: Gates,
    initial_states: InitialStates,
    epsilon: float,
    width: float,
    gradients: LatchGradients,
) -> None:
    """Fills the gradients of the latch from that of its states.

    The states are computed again from `starts`, (B, T // SPAN + 2, D), one for each span of time.
    """
    grads = (*gradients.gates, gradients.h0, gradients.reset_state)
    if grad.numel() == 0:
        return give_zeros(grads)
    grad, starts, candidate, threshold, alpha = (channels_last(v) for v in (grad, starts, *gates))
    _, reset, reset_state = initial_states
    reset_state, reset = restart_state(reset_state), reset_bytes(reset)
    inputs = (candidate, threshold, alpha)
    if epsilon == 0 and (tiling := once.tiling_for("latch backward", candidate, reset_state)):
        resets = InitialStates(None, reset, reset_state)
        return once.latch_backward(grad, starts, Gates(*inputs), resets, width, gradients, tiling)
    pieces, length = cut(candidate, whole=epsilon != 0)
    carried = _latch_carried(grad, candidate, threshold, reset, pieces, length) if pieces > 1 else None
    saved = scratch(candidate, pieces)
    grad_h0 = rows_like(grads[3])
    outs = [sums_or_rows(g, candidate, pieces) for g in grads[:3]]
    grad_reset_state = None if reset is None else sums_or_rows(grads[4], candidate, pieces)
    arrays = LatchArrays(
        *inputs,
        reset,
        reset_state,
        grad=grad,
        starts=starts,
        carried=carried,
        scratch=saved,
        grad_candidate=outs[0],
        grad_threshold=outs[1],
        grad_alpha=outs[2],
        grad_h0=grad_h0,
        grad_reset_state=grad_reset_state,
    )
    options = {"epsilon": epsilon, "width": width, "CUMULATIVE": epsilon != 0}
    options |= {"SPAN": SPAN, "STEPS": LATCH_BACKWARD_STEPS}
    launch(kernels().latch_backward.latch_backward, candidate, pieces, length, arrays, options)
    for out, wanted in zip((*outs, grad_h0, grad_reset_state), grads, strict=True):
        give(out, wanted)
    return None


def linear_forward(decay: Tensor, value: Tensor, initial_states: InitialStates, states: Tensor) -> None:
    """Fills the states of the linear recurrence, (B, T, D)."""
    if states.numel() == 0:
        return None
    h0, reset, reset_state = initial_states
    decay, value = channels_last(decay), channels_last(value)
    h0, reset_state, reset = contiguous(h0), restart_state(reset_state), reset_bytes(reset)
    if tiling := once.tiling_for("linear forward", value, reset_state):
        return once.linear_forward(decay, value, InitialStates(h0, reset, reset_state), states, tiling)
    pieces, length = cut(value)
    initial = None if h0 is None else h0[:, None]
    if pieces > 1:
        product, own = piece_tensor(value, pieces), piece_tensor(value, pieces)
        arrays = LinearArrays(decay, value, reset, reset_state, states=own, products=product)
        _launch_linear(arrays, pieces, length)
        initial = _linear_starts(product, own, h0, reset, length)
    out = rows_like(states)
    _launch_linear(LinearArrays(decay, value, reset, reset_state, initial=initial, states=out), pieces, length)
    give(out, states)
    return None


def linear_backward(
    grad: Tensor, states: Tensor, decay: Tensor, initial_states: InitialStates, grads: LinearGradients
) -> None:
    """Fills the gradients of the linear recurrence from its states and their gradient."""
    if grad.numel() == 0:
        return give_zeros(grads)
    h0, reset, reset_state = initial_states
    grad, states, decay = (channels_last(v) for v in (grad, states, decay))
    h0, reset_state, reset = contiguous(h0), restart_state(reset_state), reset_bytes(reset)
    if tiling := once.tiling_for("linear backward", grad, reset_state):
        return once.linear_backward(grad, states, decay, InitialStates(h0, reset, reset_state), grads, tiling)
    pieces, length = cut(grad)
    carried = _linear_carried(grad, decay, reset, pieces, length) if pieces > 1 else None
    grad_h0 = rows_like(grads[2])
    outs = [sums_or_rows(g, grad, pieces) for g in grads[:2]]
    grad_reset_state = None if reset is None else sums_or_rows(grads.reset_state, grad, pieces)
    arrays = LinearArrays(
        decay,
        reset=reset,
        reset_state=reset_state,
        h0=h0,
        states=states,
        grad=grad,
        carried=carried,
        grad_decay=outs[0],
        grad_value=outs[1],
        grad_h0=grad_h0,
        grad_reset_state=grad_reset_state,
    )
    launch(kernels().linear.linear_backward, grad, pieces, length, arrays, _width(decay))
    for out, wanted in zip((*outs, grad_h0, grad_reset_state), grads, strict=True):
        give(out, wanted)
    return None


def _latch_starts(
    candidate: Tensor,
    threshold: Tensor,
    alpha: Tensor,
    h0: Tensor | None,
    reset: Tensor | None,
    reset_state: Tensor | None,
    pieces: int,
    length: int,
) -> Tensor:
    """The state that each piece starts from, (B, pieces, D): what the last piece to write has left."""
    last = piece_tensor(candidate, pieces)
    found = torch.empty(last.shape, dtype=torch.int8, device=last.device)
    arrays = LatchArrays(candidate, threshold, alpha, reset, reset_state, last=last, found=found)
    launch(kernels().latch.latch_last_write, candidate, pieces, length, arrays, {})
    first = torch.zeros_like(last[:, :1]) if h0 is None else h0[:, None].to(last.dtype)
    choices = torch.cat([first, last[:, :-1]], dim=1)
    order = torch.arange(1, pieces, device=last.device)[:, None]
    latest = torch.where(found[:, :-1] != 0, order, 0).cummax(dim=1).values
    return choices.gather(1, F.pad(latest, (0, 0, 1, 0)))


def _latch_carried(
    grad: Tensor, candidate: Tensor, threshold: Tensor, reset: Tensor | None, pieces: int, length: int
) -> Tensor:
    """What later pieces give to the last state of each piece, (B, pieces, D), in log2(pieces) passes."""
    own = piece_tensor(candidate, pieces)
    whole = torch.empty(own.shape, dtype=torch.int8, device=own.device)
    arrays = LatchArrays(candidate, threshold, reset=reset, grad=grad, carried=own, whole=whole)
    launch(kernels().latch_backward.latch_adjoint_carry, candidate, pieces, length, arrays, {})
    passes = whole != 0
    reach = 1
    while reach < pieces:
        near = own[:, :-reach]
        joined = torch.where(passes[:, :-reach], near + own[:, reach:], near)
        own = torch.cat([joined, own[:, -reach:]], dim=1)
        passes = torch.cat([passes[:, :-reach] & passes[:, reach:], passes[:, -reach:]], dim=1)
        reach *= 2
    return F.pad(own[:, 1:], (0, 0, 0, 1))


def _linear_starts(product: Tensor, own: Tensor, h0: Tensor | None, reset: Tensor | None, length: int) -> Tensor:
    """The state that each piece starts from, (B, pieces, D): the pieces are the steps of a shorter scan."""
    B, pieces, _ = own.shape
    fresh = None
    if reset is not None:
        fresh = F.pad(reset, (0, pieces * length - reset.shape[1])).view(B, pieces, length).amax(2)
    ends = torch.empty_like(own)
    first = None if h0 is None else h0[:, None]
    _launch_linear(LinearArrays(product, own, fresh, initial=first, states=ends), 1, pieces)
    before = torch.zeros_like(own[:, :1]) if first is None else first.to(own.dtype)
    return torch.cat([before, ends[:, :-1]], dim=1)


def _linear_carried(grad: Tensor, decay: Tensor, reset: Tensor | None, pieces: int, length: int) -> Tensor:
    """What later pieces give to the last state of each piece, (B, pieces, D)."""
    own, product = piece_tensor(grad, pieces), piece_tensor(grad, pieces)
    arrays = LinearArrays(decay, reset=reset, grad=grad, carried=own, products=product)
    launch(kernels().linear.linear_adjoint_carry, grad, pieces, length, arrays, _width(decay))
    if reset is not None:
        reset = F.pad(reset, (0, pieces * length - reset.shape[1])).flip(1)
    return _linear_starts(product.flip(1), own.flip(1), None, reset, length).flip(1)


def _launch_linear(arrays: LinearArrays, pieces: int, length: int) -> None:
    """Fills the states of all steps; with `products`, what each piece does to the state before it."""
    assert arrays.value is not None
    options = _width(arrays.decay) | {"CARRY": arrays.products is not None}
    launch(kernels().linear.linear_forward, arrays.value, pieces, length, arrays, options)


def _width(decay: Tensor) -> dict[str, Any]:
    """Real numbers of an element."""
    return {"WIDTH": 2 if decay.is_complex() else 1}


class Kernels(NamedTuple):
    """The modules of kernels: of the latch, of its backward pass, and of the linear scan."""

    latch: ModuleType
    latch_backward: ModuleType
    linear: ModuleType


def kernels() -> Kernels:
    """Importing the kernels imports Triton."""
    from remanent.ops.gpu import latch_backward_kernels, latch_kernels, linear_kernels

    return Kernels(latch_kernels, latch_backward_kernels, linear_kernels)
