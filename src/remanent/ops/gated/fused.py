"""Scans with gates on the CPU: one pass reads the gates and gives states, one back gives the gradients of the gates."""

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from remanent.ops.cpu.cut import Cut, make_cut
from remanent.ops.cpu.launch import (
    deliver,
    first_state,
    gradient_buffer,
    readable,
    reset_gradient_buffer,
    restart_state,
    run,
)
from remanent.ops.gated.gate_arguments import CELLS, GatedArrays, GatedCall, GatedGradients


def forward(call: GatedCall, states: Tensor) -> None:
    """Fills the states, (B, T, D)."""
    given = _given(call, states)
    _run(_kernels().gated_forward, _whole(states), given._replace(states=states), call)


def backward(grad: Tensor, states: Tensor, call: GatedCall, grads: GatedGradients) -> None:
    """Fills the gradients of the arguments from that of the states."""
    cut, given = _whole(states), _given(call, states)
    carry = states.new_zeros(cut.B, 1, cut.D)
    candidate, *others = grads.gates.chunk(CELLS[call.cell], dim=-1)
    wanted = others or [grads.low, grads.high, grads.alpha]
    buffers = [gradient_buffer(v, cut) for v in wanted]
    second, third, fourth = (buffers + 2 * buffers[-1:])[:3]
    given = given._replace(
        states=readable(states),
        grad=readable(grad),
        carry=carry,
        grad_candidate=candidate,
        grad_second=second,
        grad_third=third,
        grad_fourth=fourth,
        grad_reset_state=reset_gradient_buffer(grads.reset_state, cut),
    )
    _run(_kernels().gated_backward, cut, given, call)
    for buffer, gradient in zip(buffers, wanted, strict=True):
        deliver(buffer, gradient)
    grads.h0.copy_(carry[:, 0])
    deliver(given.grad_reset_state, grads.reset_state)


def _given(call: GatedCall, states: Tensor) -> GatedArrays:
    candidate, *others = readable(call.gates).chunk(CELLS[call.cell], dim=-1)
    parts = others or [readable(v) for v in (call.low, call.high, call.alpha) if v is not None]
    second, third, fourth = (parts + 2 * parts[-1:])[:3]
    start, fresh = first_state(call.h0, states), restart_state(call.initial(), states)
    return GatedArrays(candidate, second, third, fourth, start, call.reset, fresh)


def _whole(states: Tensor) -> Cut:
    """Batch rows and blocks of channels; time stays whole, since a state is needed for the next."""
    return make_cut(states.shape, pieces_a_thread=0)


def _run(kernel: Any, cut: Cut, arrays: GatedArrays, call: GatedCall) -> None:
    number = list(CELLS).index(call.cell)
    run(kernel, cut, arrays, width=call.width, sizes=(number,))  # type: ignore[arg-type] # arrays of a room above


def _kernels() -> ModuleType:
    from remanent.ops.gated import gate_kernels

    return gate_kernels


def cuts_time(states_shape: torch.Size) -> bool:
    """Whether so few rows and channels are to be scanned that threads share their time, as the linear scan can."""
    return make_cut(states_shape, pieces_a_thread=1).pieces > 1
