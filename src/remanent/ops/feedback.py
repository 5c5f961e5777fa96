"""The scan of units whose gates see the state, one step after another: the bistable cells, GRU and LSTM."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from remanent._options import check_choice
from remanent.ops import _feedback, reference
from remanent.ops.checks import REAL_DTYPES, check_companion, check_reset, check_sequence
from remanent.ops.operators import define, in_transforms
from remanent.ops.portable import previous_states


def _portable(*inputs: Any) -> Tensor:
    return _operator(*inputs)


BACKENDS: dict[str, Callable[..., Tensor]] = {"reference": reference.feedback_scan, "portable": _portable}
"""Name to function; the reference leaves its backward pass to autograd, and runs under `torch.func`."""


def feedback_scan(
    value: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    h0: Tensor,
    *,
    cell: str,
    reset: Tensor | None = None,
    reset_state: Tensor | None = None,
    backend: str = "auto",
) -> Tensor:
    r"""Sequential scan: $h_t = f(v_t, U h_{t-1} + b, h_{t-1})$.

    Args:
        value: $v$, what the input adds to the gates, (B, T, N): N is 3 D for "brc" (feedback, update,
            candidate) and "gru" (reset, update, new), 4 D for "lstm" (input, forget, cell, output).
        weight: $U$, (K, D), or its diagonals (K,): K is 2 D for "brc", which has no feedback to the
            candidate, else N.
        bias: $b$, (K,), zeros if None.
        h0: the state before the first step, (B, W): W is D, or 2 D for "lstm", the hidden part first.
        cell: $f$, "brc", "gru" or "lstm".
        reset: bool (B, T): where true, the state is replaced by `reset_state` before that step.
        reset_state: (W,), zeros if None.
        backend: "reference" (differentiable any number of times), "portable" (once, and an operator that is
            compiled and exported for any T), or "auto".

    Returns:
        The states after every step, (B, T, W).

    Raises:
        ValueError: a shape, a device or the backend does not fit; the message names the argument.
        TypeError: a dtype or type does not fit.

    Source: brc: Vecoven, Ernst, Drion (2021), PLoS ONE 16(6); gru, lstm: as in PyTorch.

    >>> feedback_scan(torch.ones(1, 3, 6), torch.zeros(4, 2), None, torch.zeros(1, 2), cell="brc").shape
    torch.Size([1, 3, 2])
    """
    B, _, N = check_sequence("value", value, REAL_DTYPES)
    check_choice("cell", cell, _feedback.CELLS)
    gates, fed, parts = _feedback.SIZES[cell]
    if N % gates:
        raise ValueError(f"`value` must have a multiple of {gates} features for {cell!r}, got {N}")
    D = N // gates
    K, W = fed * D, parts * D
    check_companion("weight", weight, value, {f"({K}, D={D})": (K, D), f"({K},)": (K,)})
    if bias is not None:
        check_companion("bias", bias, value, {f"({K},)": (K,)})
    check_companion("h0", h0, value, {f"(B={B}, W={W})": (B, W)})
    check_reset(reset, reset_state if reset is None else None, value)
    if reset_state is not None:
        check_companion("reset_state", reset_state, value, {f"(W={W},)": (W,)})
    if backend == "auto":
        backend = "reference" if in_transforms() and not torch.compiler.is_compiling() else "portable"
    check_choice("backend", backend, BACKENDS)
    return BACKENDS[backend](value, weight, bias, h0, reset, reset_state, cell)


def _feedback_scan(
    value: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    h0: Tensor,
    reset: Tensor | None,
    reset_state: Tensor | None,
    cell: str,
) -> Tensor:
    return reference.feedback_scan(value, weight, bias, h0, reset, reset_state, cell)


def _fake_feedback_scan(value: Tensor, weight: Tensor, bias: Tensor | None, h0: Tensor, *others: Any) -> Tensor:
    return value.new_empty(value.shape[0], value.shape[1], h0.shape[1])


def _feedback_scan_backward(
    grad: Tensor,
    states: Tensor,
    value: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    h0: Tensor,
    reset: Tensor | None,
    reset_state: Tensor | None,
    cell: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    previous = previous_states(states, h0, reset, reset_state)
    fed = _feedback.feed(previous, weight, bias, cell)
    backward = _feedback.CELLS[cell][1]
    grad_values, grad_fed = torch.empty_like(value), torch.empty_like(fed)
    carried, grad_start = torch.zeros_like(h0), torch.zeros_like(h0[0])
    for t in reversed(range(value.shape[1])):
        adjoint = grad[:, t] + carried
        grad_values[:, t], grad_fed[:, t], carried = backward(adjoint, value[:, t], fed[:, t], previous[:, t])
        carried = carried + _feedback.feed_backward(grad_fed[:, t], weight, cell)
        if reset is not None:
            cut = reset[:, t, None]
            grad_start = grad_start + torch.where(cut, carried, 0).sum(0)
            carried = torch.where(cut, 0, carried)
    hidden = previous[..., : value.shape[2] // _feedback.SIZES[cell][0]]
    if weight.dim() == 1:
        grad_weight = (grad_fed * hidden.repeat(1, 1, _feedback.SIZES[cell][1])).sum((0, 1))
    else:
        grad_weight = grad_fed.flatten(0, 1).T @ hidden.flatten(0, 1)
    return grad_values, grad_weight, grad_fed.sum((0, 1)), carried, grad_start


def _fake_feedback_scan_backward(
    grad: Tensor, states: Tensor, value: Tensor, weight: Tensor, bias: Tensor | None, h0: Tensor, *others: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    shapes = (value.shape, weight.shape, weight.shape[:1], h0.shape, h0.shape[1:])
    return tuple(value.new_empty(shape) for shape in shapes)  # type: ignore[return-value]


def _save_inputs(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.cell = inputs
    ctx.save_for_backward(output, *tensors)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    saved = ctx.saved_tensors
    bias, reset_state = saved[3], saved[6]
    grads = _adjoint(grad, *saved, ctx.cell)
    grad_value, grad_weight, grad_bias, grad_h0, grad_start = grads
    return (
        grad_value,
        grad_weight,
        None if bias is None else grad_bias,
        grad_h0,
        None,
        None if reset_state is None else grad_start,
        None,
    )


def _refuse(ctx: Any, *grads: Tensor) -> None:
    raise NotImplementedError("`feedback_scan` can be differentiated once; its backend 'reference' any number of times")


_operator = define("remanent::feedback_scan", _feedback_scan, _fake_feedback_scan)
_adjoint = define("remanent::feedback_scan_backward", _feedback_scan_backward, _fake_feedback_scan_backward)
torch.library.register_autograd(_operator.name(), _backward, setup_context=_save_inputs)
torch.library.register_autograd(_adjoint.name(), _refuse)
