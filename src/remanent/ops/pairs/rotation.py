"""The complex linear scan on the CPU, fused: a state is multiplied by a factor, which turns and shrinks it."""

from types import ModuleType

import torch
from torch import Tensor

from remanent.ops.arguments import InitialStates, LinearGradients
from remanent.ops.cpu.arrays import LinearArrays
from remanent.ops.cpu.cut import decayed_chain, make_cut
from remanent.ops.cpu.launch import (
    deliver,
    first_state,
    gradient_buffer,
    readable,
    reset_gradient_buffer,
    restart_state,
    run,
)
from remanent.ops.pairs.views import as_complex, as_pairs, paired_call


def forward(decay: Tensor, value: Tensor, initial: InitialStates, states: Tensor) -> None:
    """Fills the states of the complex linear recurrence, (B, T, D), whose last axis is contiguous."""
    value, initial = as_pairs(readable(value)), paired_call(initial)
    cut = make_cut(value.shape, pieces_a_thread=1)
    start, fresh = first_state(initial.h0, value), restart_state(initial, value)
    given = LinearArrays(as_pairs(readable(decay)), start, initial.reset, fresh, value=value)
    if cut.pieces > 1:
        fine, share = cut.without_last().finer()
        left, kept = (fresh.new_empty(fine.B, fine.pieces, fine.D) for _ in range(2))
        run(_kernels().rotation_carry, fine, given._replace(left=left, kept=kept))
        start = _chain(start, left, kept, fine.any_reset(initial.reset))[:, ::share]
    run(_kernels().rotation_forward, cut, given._replace(start=start, states=as_pairs(states)))


def backward(grad: Tensor, states: Tensor, decay: Tensor, initial: InitialStates, grads: LinearGradients) -> None:
    """Fills the gradients, whose last axes are contiguous, of the complex linear recurrence from that of its states."""
    grad, initial = as_pairs(readable(grad)), paired_call(initial)
    cut = make_cut(grad.shape, pieces_a_thread=1)
    start, fresh = first_state(initial.h0, grad), restart_state(initial, grad)
    given = LinearArrays(as_pairs(readable(decay)), start, initial.reset, fresh, grad=grad)
    carry = fresh.new_zeros(cut.B, 1, cut.D)
    if cut.pieces > 1:
        fine, share = cut.without_first().finer()
        passed, kept = (fresh.new_empty(fine.B, fine.pieces, fine.D) for _ in range(2))
        later = LinearArrays._make(cut.after_first(v) for v in given)
        run(_kernels().rotation_adjoint_carry, fine, later._replace(passed=passed, kept=kept))
        links = (passed.flip(1), kept.flip(1), fine.any_reset(later.reset).flip(1))
        between = _chain(carry, *links).flip(1)[:, :-1]
        carry = torch.cat([between[:, ::share], carry], dim=1)
    wanted: LinearGradients = paired_call(grads)  # views of them
    given = given._replace(
        carry=carry,
        states=as_pairs(readable(states)),
        grad_decay=gradient_buffer(wanted.decay, cut),
        grad_value=wanted.value,
        grad_reset_state=reset_gradient_buffer(wanted.reset_state, cut),
    )
    run(_kernels().rotation_backward, cut, given)
    deliver(given.grad_decay, wanted.decay)
    wanted.h0.copy_(carry[:, 0])
    deliver(given.grad_reset_state, wanted.reset_state)


def _chain(first: Tensor, own: Tensor, factor: Tensor, cut: Tensor) -> Tensor:
    """`decayed_chain` of pairs."""
    return as_pairs(decayed_chain(as_complex(first), as_complex(own), as_complex(factor), cut))


def _kernels() -> ModuleType:
    from remanent.ops.pairs import rotation_kernels

    return rotation_kernels
