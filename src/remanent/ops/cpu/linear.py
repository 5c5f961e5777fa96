"""The linear scan on the CPU, fused: a pass reads once what it needs, and writes once what it gives."""

from types import ModuleType

import torch
from torch import Tensor

from remanent.ops.arguments import InitialStates, LinearGradients, compute_dtype
from remanent.ops.cpu.arrays import LinearArrays
from remanent.ops.cpu.cut import decayed_chain, make_cut
from remanent.ops.cpu.launch import (
    deliver,
    first_state,
    gradient_buffer,
    readable,
    reset_gradient_buffer,
    restart_state,
    room,
    run,
    writable,
)


def linear_forward(decay: Tensor, value: Tensor, initial: InitialStates, states: Tensor) -> None:
    """Fills the states of the linear recurrence, (B, T, D)."""
    value, cut = readable(value), make_cut(value.shape, pieces_a_thread=1)
    start, fresh = first_state(initial.h0, value).to(compute_dtype(value.dtype)), restart_state(initial, value)
    given = LinearArrays(readable(decay), start, initial.reset, fresh, value=value)
    if cut.pieces > 1:
        fine, share = cut.without_last().finer()
        left, kept = (room(fresh, fine.B, fine.pieces, fine.D) for _ in range(2))
        run(_kernels().linear_carry, fine, given._replace(left=left, kept=kept))
        start = decayed_chain(start, left, kept, fine.any_reset(initial.reset))[:, ::share]
    out = writable(states)
    run(_kernels().linear_forward, cut, given._replace(start=start, states=out))
    deliver(out, states)


def linear_backward(
    grad: Tensor, states: Tensor, decay: Tensor, initial: InitialStates, grads: LinearGradients
) -> None:
    """Fills the gradients of the linear recurrence from its states and their gradient."""
    grad, cut = readable(grad), make_cut(grad.shape, pieces_a_thread=1)
    start, fresh = first_state(initial.h0, grad), restart_state(initial, grad)
    given = LinearArrays(readable(decay), start, initial.reset, fresh, grad=grad)
    carry = room(fresh, cut.B, 1, cut.D).zero_()
    if cut.pieces > 1:
        fine, share = cut.without_first().finer()
        passed, kept = (room(fresh, fine.B, fine.pieces, fine.D) for _ in range(2))
        later = LinearArrays._make(cut.after_first(v) for v in given)
        run(_kernels().linear_adjoint_carry, fine, later._replace(passed=passed, kept=kept))
        links = (passed.flip(1), kept.flip(1), fine.any_reset(later.reset).flip(1))
        between = decayed_chain(carry, *links).flip(1)[:, :-1]
        carry = torch.cat([between[:, ::share], carry], dim=1)
    given = given._replace(
        carry=carry,
        states=readable(states),
        grad_decay=gradient_buffer(grads.decay, cut),
        grad_value=gradient_buffer(grads.value, cut),
        grad_reset_state=reset_gradient_buffer(grads.reset_state, cut),
    )
    run(_kernels().linear_backward, cut, given)
    deliver(given.grad_decay, grads.decay)
    deliver(given.grad_value, grads.value)
    grads.h0.copy_(carry[:, 0])
    deliver(given.grad_reset_state, grads.reset_state)


def _kernels() -> ModuleType:
    from remanent.ops.cpu import linear_kernels

    return linear_kernels
