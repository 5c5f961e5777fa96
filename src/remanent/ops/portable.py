"""The scans in plain PyTorch, for any device: no loop over time where bits allow it.

A set-or-hold state is copied, never computed: the last write before a step is found by a running
maximum, and the state is gathered from there. Sums over time are taken by doubling.
"""

import torch
from torch import Tensor

from remanent.ops.reference import compute_dtype
from remanent.ops.surrogates import surrogate_slope


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
    states.copy_(_latch_states(candidate, threshold, alpha, h0, epsilon, reset, reset_state))


def _latch_states(
    candidate: Tensor,
    threshold: Tensor,
    alpha: Tensor,
    h0: Tensor | None,
    epsilon: float,
    reset: Tensor | None,
    reset_state: Tensor | None,
) -> Tensor:
    write = candidate.abs() >= threshold.abs()
    written = torch.where(candidate >= 0, alpha, -alpha)
    if epsilon == 0:
        return _last_written(write, written, h0, reset, reset_state)
    return _accumulate(write, written, h0, epsilon, reset, reset_state)


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
    """Fills the gradients of candidate, threshold, alpha, h0 and reset_state; all states are computed again."""
    compute = compute_dtype(candidate.dtype)
    states = _latch_states(candidate, threshold, alpha, h0, epsilon, reset, reset_state)
    previous = previous_states(states, h0, reset, reset_state).to(compute)
    grad, candidate, beta, scale = (v.to(compute) for v in (grad, candidate, threshold, alpha))
    write = candidate.abs() >= beta.abs()
    sign = torch.where(candidate >= 0, 1.0, -1.0).to(compute)

    keep = epsilon * write.to(compute) + (~write).to(compute)
    cut = write if epsilon == 0 else None
    if reset is not None:
        cut = reset[..., None].expand_as(write) if cut is None else cut | reset[..., None]
    adjoint = _reverse_scan(keep, grad, cut)

    carried = adjoint * keep
    if epsilon == 0:
        carried = torch.where(write, 0.0, carried)
    jump = scale * sign + epsilon * previous - previous
    through_gate = adjoint * jump * surrogate_slope(candidate.abs() - beta.abs(), width)
    through_sign = torch.where(write, 2 * adjoint * scale * surrogate_slope(candidate, width), 0.0)
    grad_candidate = through_gate * candidate.sign() + through_sign
    grad_threshold = (-through_gate * beta.sign()).sum_to_size(threshold.shape)
    grad_alpha = torch.where(write, adjoint * sign, 0.0).sum_to_size(alpha.shape)
    _fill(grads, (grad_candidate, grad_threshold, grad_alpha, *_carry_gradients(carried, reset)))


def linear_forward(
    decay: Tensor,
    value: Tensor,
    h0: Tensor | None,
    reset: Tensor | None,
    reset_state: Tensor | None,
    states: Tensor,
) -> None:
    """Fills the states (B, T, D) of the linear recurrence; shapes as in `remanent.ops.linear_scan`."""
    B, T, D = value.shape
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
    grad: Tensor,
    states: Tensor,
    decay: Tensor,
    h0: Tensor | None,
    reset: Tensor | None,
    reset_state: Tensor | None,
    grads: tuple[Tensor, ...],
) -> None:
    """Fills the gradients of decay, value, h0 and reset_state, given the states and their gradient."""
    B, T, D = grad.shape
    compute = compute_dtype(grad.dtype)
    previous = previous_states(states, h0, reset, reset_state).to(compute)
    rate = decay.to(compute).expand(B, T, D).conj()
    cut = None if reset is None else reset[..., None].expand(B, T, D)
    adjoint = _reverse_scan(rate, grad.to(compute), cut)
    grad_decay = (adjoint * previous.conj()).sum_to_size(decay.shape)
    _fill(grads, (grad_decay, adjoint, *_carry_gradients(rate * adjoint, reset)))


def _last_written(
    write: Tensor, written: Tensor, h0: Tensor | None, reset: Tensor | None, reset_state: Tensor | None
) -> Tensor:
    B, T, D = write.shape
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


def _accumulate(
    write: Tensor,
    written: Tensor,
    h0: Tensor | None,
    epsilon: float,
    reset: Tensor | None,
    reset_state: Tensor | None,
) -> Tensor:
    """With epsilon, states are sums: a loop, since another order of adding would change their bits."""
    B, T, D = write.shape
    dtype, compute = written.dtype, compute_dtype(written.dtype)
    written = written.to(compute).expand(B, T, D)
    start = written.new_zeros(D) if reset_state is None else reset_state.to(compute)
    h = written.new_zeros(B, D) if h0 is None else h0.to(compute)
    states = torch.empty(B, T, D, dtype=compute, device=write.device)
    for t in range(T):
        if reset is not None:
            h = torch.where(reset[:, t, None], start, h)
        h = torch.where(write[:, t], written[:, t] + epsilon * h, h)
        states[:, t] = h
    return states.to(dtype)


def _doubling_scan(decay: Tensor, value: Tensor, cut: Tensor | None) -> Tensor:
    """h_t = a_t h_{t-1} + v_t from zero, in log2(T) passes; where `cut`, nothing comes from before."""
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


def previous_states(states: Tensor, h0: Tensor | None, reset: Tensor | None, reset_state: Tensor | None) -> Tensor:
    """The state that each step starts from, (B, T, D)."""
    first = torch.zeros_like(states[:, :1]) if h0 is None else h0[:, None]
    previous = torch.cat([first, states[:, :-1]], dim=1)
    if reset is None:
        return previous
    start = states.new_zeros(states.shape[2]) if reset_state is None else reset_state
    return torch.where(reset[..., None], start, previous)


def _carry_gradients(carried: Tensor, reset: Tensor | None) -> tuple[Tensor, Tensor]:
    """Splits what each step passes back into the gradients of h0 (B, D) and reset_state (D,)."""
    if reset is None:
        return carried[:, 0].clone(), carried.new_zeros(carried.shape[2])
    grad_h0 = torch.where(reset[:, :1], 0.0, carried[:, 0])
    return grad_h0, torch.where(reset[..., None], carried, 0.0).sum((0, 1))


def _fill(targets: tuple[Tensor, ...], values: tuple[Tensor, ...]) -> None:
    for target, value in zip(targets, values, strict=True):
        target.copy_(value)
