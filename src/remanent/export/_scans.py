"""The scans as torch's own `scan`, which an exporter turns into one loop; values alone, for inference."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from remanent.ops.arguments import HeadSizes, StoredGates
from remanent.ops.feedback_cells import CELLS, feed
from remanent.ops.gated.gated import composed
from remanent.ops.heads.matrices import mixed


def decompositions() -> dict[Any, Callable[..., Any]]:
    """Operator to the function that expresses it by torch's own operators, from its arguments by position.

    A graph for whole sequences has no resets; arguments for a backward pass or a backend alone are ignored.
    """
    return {
        torch.ops.remanent.latch_scan.default: _latch,
        torch.ops.remanent.linear_scan.default: _linear,
        torch.ops.remanent.gated_scan.default: _gated,
        torch.ops.remanent.feedback_scan.default: _feedback,
        torch.ops.remanent.transition_scan.default: _transition,
        torch.ops.aten.select.int: _select,
        torch.ops.aten.where.self: _where,
        torch.ops.aten.stack.default: _stack,
        torch.ops.aten.new_zeros.default: _new_zeros,
    }


def _latch(
    gates: Tensor,
    threshold: Tensor | None,
    alpha: Tensor | None,
    h0: Tensor,
    epsilon: Tensor,
    width: float,
    reset: None,
    *rest: Any,
) -> tuple[Tensor, Tensor]:
    assert reset is None
    candidate, limit, size = StoredGates(gates, threshold, alpha).split()
    written = torch.where(candidate >= 0, size, -size)
    share = epsilon.to(candidate.dtype)

    def step(h: tuple[Tensor, ...], gates: tuple[Tensor, ...], share: Tensor) -> tuple[Tensor, ...]:
        write, value = gates
        written = torch.where(share == 0, value, value + share * h[0])  # 0 times an infinity would be NaN
        return (torch.where(write, written, h[0]),)

    gates_of_step = (candidate.abs() >= limit.abs(), written)
    (states,) = _scan(step, (h0,), gates_of_step, (share,))
    return states, states[:, :0]  # the second is for a backward pass


def _linear(
    decay: Tensor,
    value: Tensor,
    h0: Tensor,
    reset: None,
    reset_state: None,
    backend: str,
    pairs: bool = False,
) -> Tensor:
    assert reset is None
    given = decay, value, h0
    if not pairs:
        a, v, h = ((tensor,) for tensor in given)
    else:  # real and imaginary part, each a tensor of its own
        a, v, h = (tuple(part.clone() for part in t.unflatten(-1, (-1, 2)).unbind(-1)) for t in given)
    step = _rotate if pairs else _fade
    states = _scan(step, h, v, a) if decay.dim() == 1 else _scan(step, h, (*v, *a))
    return torch.stack(states, dim=-1).flatten(-2) if pairs else states[0]


def _gated(
    gates: Tensor,
    low: Tensor | None,
    high: Tensor | None,
    alpha: Tensor | None,
    h0: Tensor,
    reset: None,
    reset_state: None,
    cell: str,
    width: float,
) -> Tensor:
    given = tuple(v for v in (gates, low, high, alpha) if v is not None)
    return _linear(*composed(given, cell, width), h0, reset, reset_state, "auto")


def _fade(h: tuple[Tensor], added: tuple[Tensor, ...], *decay: Tensor) -> tuple[Tensor]:
    value, a = (*added, *decay)
    return (a * h[0] + value,)


def _rotate(h: tuple[Tensor, ...], added: tuple[Tensor, ...], *decay: Tensor) -> tuple[Tensor, ...]:
    (real, imaginary), (v, w, a, b) = h, (*added, *decay)
    return a * real - b * imaginary + v, a * imaginary + b * real + w


def _feedback(
    value: Tensor, weight: Tensor, bias: Tensor | None, h0: Tensor, reset: None, reset_state: None, cell: str
) -> Tensor:
    assert reset is None
    if bias is None:
        bias = weight.new_zeros(weight.shape[0])

    def step(h: tuple[Tensor, ...], gates: tuple[Tensor, ...], weight: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
        return (CELLS[cell].step(gates[0], feed(h[0], weight, bias, cell), h[0]),)

    return _scan(step, (h0,), (value,), (weight, bias))[0]


def _transition(
    logits: Tensor,
    h0: Tensor,
    epsilon: Tensor,
    reset: None,
    reset_state: None,
    num_states: int,
    num_tracers: int,
    backend: str,
) -> Tensor:
    assert reset is None
    heads = HeadSizes(num_states, num_tracers).heads(logits.shape[2])
    maps = mixed(logits.unflatten(2, (heads, num_states, num_states)), epsilon)

    def step(h: tuple[Tensor, ...], maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return ((h[0].unflatten(1, (heads, num_tracers, num_states)) @ maps[0]).flatten(1),)

    return _scan(step, (h0,), (maps,))[0]


def _scan(
    step: Callable[..., tuple[Tensor, ...]],
    h0: tuple[Tensor, ...],
    gates: tuple[Tensor, ...],
    shared: tuple[Tensor, ...] = (),
) -> tuple[Tensor, ...]:
    """The states after every step, each (B, T, D), of a step from states, the gates of one step, and what all share."""
    parts, last = len(h0), len(h0) + len(gates)

    def body(*values: Tensor) -> list[Tensor]:
        after = step(values[:parts], values[parts:last], *values[last:])
        return [*after, *(h.clone() for h in after)]  # what is carried and what is written must not be one tensor

    sequences = [g.transpose(0, 1) for g in gates]
    results = torch.ops.higher_order.scan(body, list(h0), sequences, shared)
    return tuple(states.transpose(0, 1) for states in results[parts:])


# What ONNX has for real numbers alone; a real one is left to it.


def _select(value: Tensor, dim: int, index: int) -> Any:
    if not value.is_complex():
        return NotImplemented
    return torch.view_as_complex(torch.view_as_real(value).select(dim % value.dim(), index))


def _where(condition: Tensor, value: Tensor, other: Tensor) -> Any:
    if not value.is_complex():
        return NotImplemented
    picked = torch.where(condition[..., None], torch.view_as_real(value), torch.view_as_real(other))
    return torch.view_as_complex(picked)


def _stack(tensors: list[Tensor], dim: int = 0) -> Any:
    if not tensors[0].is_complex():
        return NotImplemented
    parts = [torch.view_as_real(tensor) for tensor in tensors]
    return torch.view_as_complex(torch.stack(parts, dim % (tensors[0].dim() + 1)))


def _new_zeros(
    like: Tensor,
    size: list[int],
    dtype: torch.dtype | None = None,
    layout: torch.layout | None = None,
    device: torch.device | None = None,
    pin_memory: bool | None = None,
) -> Any:
    dtype = dtype or like.dtype
    if not dtype.is_complex:
        return NotImplemented
    return torch.view_as_complex(torch.zeros((*size, 2), dtype=dtype.to_real()))
