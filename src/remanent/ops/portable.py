"""The scans in plain PyTorch, for any device: without a loop over time where the bits allow it.

A set-or-hold state is copied, never computed: a running maximum finds the last write before each step,
and the state is gathered from there. Sums over time are taken by doubling.
"""

import torch
from torch import Tensor

from remanent.ops.arguments import (
    Gates,
    InitialStates,
    LatchGradients,
    LinearGradients,
    TransitionGradients,
    compute_dtype,
)
from remanent.ops.reference import at_step
from remanent.ops.surrogates import surrogate_slope


def latch_forward(gates: Gates, initial: InitialStates, epsilon: float, states: Tensor) -> None:
    """Fills the states of the latch, (B, T, D)."""
    states.copy_(_latch_states(gates, initial, epsilon))


def latch_backward(
    grad: Tensor,
    starts: Tensor,
    gates: Gates,
    initial: InitialStates,
    epsilon: float,
    width: float,
    grads: LatchGradients,
) -> None:
    """Fills the gradients of the latch from that of its states; computes all states again, without `starts`."""
    compute = compute_dtype(gates.candidate.dtype)
    previous = previous_states(_latch_states(gates, initial, epsilon), initial).to(compute)
    grad, candidate, threshold, alpha = (v.to(compute) for v in (grad, *gates))
    write = candidate.abs() >= threshold.abs()
    sign = torch.where(candidate >= 0, 1.0, -1.0).to(compute)

    keep = epsilon * write.to(compute) + (~write).to(compute)
    cut = write if epsilon == 0 else None
    if initial.reset is not None:
        fresh = initial.reset[..., None]
        cut = fresh.expand_as(write) if cut is None else cut | fresh
    adjoint = _reverse_scan(keep, grad, cut)

    carried = adjoint * keep
    if epsilon == 0:
        carried = torch.where(write, 0.0, carried)
    written = alpha * sign if epsilon == 0 else alpha * sign + epsilon * previous
    jump = written - previous
    through_gate = adjoint * jump * surrogate_slope(candidate.abs() - threshold.abs(), width)
    through_sign = torch.where(write, 2 * adjoint * alpha * surrogate_slope(candidate, width), 0.0)
    grads.gates.candidate.copy_(through_gate * candidate.sign() + through_sign)
    grads.gates.threshold.copy_((-through_gate * threshold.sign()).sum_to_size(gates.threshold.shape))
    grads.gates.alpha.copy_(torch.where(write, adjoint * sign, 0.0).sum_to_size(gates.alpha.shape))
    fill_initial(grads, carried, initial.reset)


def linear_forward(decay: Tensor, value: Tensor, initial: InitialStates, states: Tensor) -> None:
    """Fills the states of the linear recurrence, (B, T, D)."""
    B, T, D = value.shape
    h0, reset, reset_state = initial
    compute = compute_dtype(value.dtype)
    decay, value = decay.to(compute).expand(B, T, D), value.to(compute)
    cut = None if reset is None else reset[..., None].expand(B, T, D)
    if reset is not None and reset_state is not None:
        value = torch.where(reset[..., None], decay * reset_state.to(compute) + value, value)
    if h0 is not None:
        first = decay[:, 0] * h0.to(compute) + value[:, 0]
        if reset is not None:
            first = torch.where(reset[:, :1], value[:, 0], first)
        value = torch.cat([first[:, None], value[:, 1:]], dim=1)
    states.copy_(_doubling_scan(decay, value, cut))


def linear_backward(
    grad: Tensor, states: Tensor, decay: Tensor, initial: InitialStates, grads: LinearGradients
) -> None:
    """Fills the gradients of the linear recurrence from its states and their gradient."""
    B, T, D = grad.shape
    reset, compute = initial.reset, compute_dtype(grad.dtype)
    previous = previous_states(states, initial).to(compute)
    rate = decay.to(compute).expand(B, T, D).conj()
    cut = None if reset is None else reset[..., None].expand(B, T, D)
    adjoint = _reverse_scan(rate, grad.to(compute), cut)
    grads.decay.copy_((adjoint * previous.conj()).sum_to_size(decay.shape))
    grads.value.copy_(adjoint)
    fill_initial(grads, rate * adjoint, reset)


def previous_states(states: Tensor, initial: InitialStates) -> Tensor:
    """The state that each step starts from, (B, T, D)."""
    h0, reset, reset_state = initial
    first = torch.zeros_like(states[:, :1]) if h0 is None else h0[:, None]
    previous = torch.cat([first, states[:, :-1]], dim=1)
    if reset is None:
        return previous
    start = states.new_zeros(states.shape[2]) if reset_state is None else reset_state
    return torch.where(reset[..., None], start, previous)


def _latch_states(gates: Gates, initial: InitialStates, epsilon: float) -> Tensor:
    candidate, threshold, alpha = gates
    write = candidate.abs() >= threshold.abs()
    written = torch.where(candidate >= 0, alpha, -alpha)
    if epsilon == 0:
        return _last_written(write, written, initial)
    return _accumulate(write, written, initial, epsilon)


def _last_written(write: Tensor, written: Tensor, initial: InitialStates) -> Tensor:
    B, T, D = write.shape
    h0, reset, reset_state = initial
    event = write
    if reset is not None:
        start = written.new_zeros(D) if reset_state is None else reset_state
        written = torch.where(write, written, start)
        event = write | reset[..., None]
    first = written.new_zeros(B, 1, D) if h0 is None else h0[:, None]
    choices = torch.cat([first, written.expand(B, T, D)], dim=1)
    step = torch.arange(1, T + 1, device=write.device)[:, None]
    latest = torch.where(event, step, 0).cummax(dim=1).values
    return choices.gather(1, latest)


def _accumulate(write: Tensor, written: Tensor, initial: InitialStates, epsilon: float) -> Tensor:
    """With epsilon, states are sums: a loop, since another order of adding would change their bits."""
    B, T, D = write.shape
    h0, reset, reset_state = initial
    dtype, compute = written.dtype, compute_dtype(written.dtype)
    written = written.to(compute).expand(B, T, D)
    start = written.new_zeros(D) if reset_state is None else reset_state.to(compute)
    h = written.new_zeros(B, D) if h0 is None else h0.to(compute)
    states = torch.empty(B, T, D, dtype=compute, device=write.device)
    for t in range(T):
        if reset is not None:
            h = torch.where(reset[:, t, None], at_step(start, t), h)
        h = torch.where(write[:, t], written[:, t] + epsilon * h, h)
        states[:, t] = h
    return states.to(dtype)


def _doubling_scan(decay: Tensor, value: Tensor, cut: Tensor | None) -> Tensor:
    """h_t = a_t h_{t-1} + v_t from zero, in log2(T) passes; nothing crosses a step where `cut`."""
    T = value.shape[1]
    span = 1
    while span < T:
        joined = value[:, span:] + decay[:, span:] * value[:, :-span]
        if cut is not None:
            joined = torch.where(cut[:, span:], value[:, span:], joined)
            cut = torch.cat([cut[:, :span], cut[:, span:] | cut[:, :-span]], dim=1)
        value = torch.cat([value[:, :span], joined], dim=1)
        decay = torch.cat([decay[:, :span], decay[:, span:] * decay[:, :-span]], dim=1)
        span *= 2
    return value


def _reverse_scan(rate: Tensor, grad: Tensor, cut: Tensor | None) -> Tensor:
    """The adjoint g_t + a_{t+1} (g_{t+1} + ...), from the end; nothing crosses a step t + 1 that is cut."""
    flipped = grad.flip(1)
    shifted = torch.cat([torch.zeros_like(rate[:, :1]), rate[:, 1:].flip(1)], dim=1)
    if cut is not None:
        cut = torch.cat([torch.zeros_like(cut[:, :1]), cut[:, 1:].flip(1)], dim=1)
    return _doubling_scan(shifted, flipped, cut).flip(1)


def fill_initial(
    grads: LatchGradients | LinearGradients | TransitionGradients, carried: Tensor, reset: Tensor | None
) -> None:
    """Splits what each step passes back in time into the gradients of h0 and reset_state."""
    if reset is None:
        grads.h0.copy_(carried[:, 0])
        grads.reset_state.zero_()
        return
    grads.h0.copy_(torch.where(reset[:, :1], 0.0, carried[:, 0]))
    grads.reset_state.copy_(torch.where(reset[..., None], carried, 0.0).sum_to_size(grads.reset_state.shape))
