"""Heads of K states on the CPU: a pass reads once what it needs, and writes once what it gives."""

from dataclasses import replace
from types import ModuleType

import torch
from torch import Tensor

from remanent.ops.arguments import HeadSizes, InitialStates, TransitionGradients
from remanent.ops.cpu import cut as cuts
from remanent.ops.cpu.arrays import LookupArrays, TransitionArrays
from remanent.ops.cpu.cut import Cut
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


def transition_forward(
    logits: Tensor, initial: InitialStates, sizes: HeadSizes, epsilon: float, states: Tensor
) -> None:
    """Fills the states of the heads, (B, T, H R K)."""
    cut = _cut(logits, sizes)
    out = writable(states)
    kernel = _kernels().transition_follow if epsilon == 0 else _kernels().transition_mix
    run(kernel, cut, _given(logits, initial, states)._replace(states=out), epsilon, sizes=sizes)
    deliver(out, states)


def transition_backward(
    grad: Tensor,
    states: Tensor,
    logits: Tensor,
    initial: InitialStates,
    sizes: HeadSizes,
    epsilon: float,
    grads: TransitionGradients,
) -> None:
    """Fills the gradients of the heads from their states and the gradient of these."""
    cut = _cut(logits, sizes)
    wide = replace(cut, D=states.shape[2])
    given = _given(logits, initial, states)
    carry = room(given.start, cut.B, 1, wide.D).zero_()
    given = given._replace(
        states=readable(states),
        grad=readable(grad),
        carry=carry,
        grad_logits=gradient_buffer(grads.logits, cut),
        grad_reset_state=reset_gradient_buffer(grads.reset_state, wide),
    )
    run(_kernels().transition_backward, cut, given, epsilon, sizes=sizes)
    deliver(given.grad_logits, grads.logits)
    grads.h0.copy_(carry[:, 0])
    deliver(given.grad_reset_state, grads.reset_state)


def lookup_forward(tables: Tensor, tokens: Tensor, start: Tensor, states: Tensor) -> None:
    """Fills the states after every token, (B, T, H R), from those before the first, (B, H, R)."""
    from remanent.ops.heads import lookup_kernels

    (_, H, K), (B, T), R = tables.shape, tokens.shape, start.shape[2]
    cut = _cut_heads(B, T, H, R)
    arrays = LookupArrays(tables.flatten(1)[:, None].contiguous(), tokens, start.flatten(1)[:, None], states)
    run(lookup_kernels.lookup_forward, cut, arrays, sizes=(K, R))


def _cut(logits: Tensor, sizes: HeadSizes) -> Cut:
    B, T, W = logits.shape
    return _cut_heads(B, T, sizes.heads(W), sizes.states**2)


def _cut_heads(B: int, T: int, H: int, width: int) -> Cut:
    """Batch rows and blocks of whole heads, each so wide; time is one piece."""
    workers = torch.get_num_threads() if B * T * H * width >= cuts.SMALL else 1
    blocks = max(1, -(-H * width // cuts.WIDEST))
    if workers > 1 and B * blocks < 4 * workers:
        blocks = max(blocks, min(H * width // cuts.NARROWEST, 4 * workers // max(B, 1)))
    return Cut(B, T, H, max(1, -(-H // blocks)), T, workers)


def _given(logits: Tensor, initial: InitialStates, states: Tensor) -> TransitionArrays:
    """The arrays that every kernel reads."""
    start = first_state(initial.h0, states)
    return TransitionArrays(readable(logits), start, initial.reset, restart_state(initial, start))


def _kernels() -> ModuleType:
    from remanent.ops.cpu import transition_kernels

    return transition_kernels
