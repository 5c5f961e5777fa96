"""The scan of the cells whose gates see the state: its public function, its operator and its gradient."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from remanent._options import check_choice
from remanent.ops import reference
from remanent.ops.arguments import REAL_DTYPES, InitialStates
from remanent.ops.checks import check_companion, check_reset, check_sequence
from remanent.ops.feedback_cells import CELLS, feed, feed_backward
from remanent.ops.operators import (
    define,
    in_forward_mode,
    in_transforms,
    no_gradients,
    refuse_forward_mode,
    save_call,
    saved_call,
    schema_of,
)
from remanent.ops.portable import previous_states

BACKENDS = ("reference", "portable")
"""The time loop that is left to autograd and runs under `torch.func`, and an operator with a gradient of its own."""


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
            candidate) and "gru" (reset, update, new), 4 D for "lstm" (input, forget, cell, output); float32,
            float64, bfloat16 or float16.
        weight: $U$, (K, D), or its diagonals (K,): K is 2 D for "brc", which has no feedback to the
            candidate, otherwise N.
        bias: $b$, (K,), zeros if None.
        h0: the state before the first step, (B, W): W is D, or 2 D for "lstm", the hidden part first.
        cell: $f$, "brc", "gru" or "lstm".
        reset: bool (B, T): where true, the state is replaced by `reset_state` before that step.
        reset_state: (W,), or (B, T, W) with a state for each step, of which those at resets are read; zeros if None.
        backend: "reference" (differentiable any number of times), "portable" (differentiable once; an operator
            that compiles and exports for any T), or "auto" for the one that fits where it is called.

    Returns:
        The states after every step, (B, T, W).

    Raises:
        ValueError: a shape, a device or the backend does not fit; the message names the argument.
        TypeError: a dtype or type does not fit.

    Source: brc: Vecoven, Ernst, Drion (2021), PLoS ONE 16(6); gru, lstm: the equations of PyTorch.

    >>> feedback_scan(torch.ones(1, 3, 6), torch.zeros(4, 2), None, torch.zeros(1, 2), cell="brc").shape
    torch.Size([1, 3, 2])
    """
    B, T, N = check_sequence("value", value, REAL_DTYPES)
    check_choice("cell", cell, CELLS)
    sizes = CELLS[cell]
    if N % sizes.value:
        raise ValueError(f"`value` must have a multiple of {sizes.value} features for {cell!r}, got {N}")
    D = N // sizes.value
    K, W = sizes.fed * D, sizes.state * D
    check_companion("weight", weight, value, {f"({K}, D={D})": (K, D), f"({K},)": (K,)})
    if bias is not None:
        check_companion("bias", bias, value, {f"({K},)": (K,)})
    check_companion("h0", h0, value, {f"(B={B}, W={W})": (B, W)})
    check_reset(reset, reset_state if reset is None else None, value)
    if reset_state is not None:
        check_companion("reset_state", reset_state, value, {f"(W={W},)": (W,), f"(B={B}, T={T}, W={W})": (B, T, W)})
    call = FeedbackCall(value, weight, bias, h0, reset, reset_state, cell)
    if backend == "auto":
        transformed = in_forward_mode(call) or (in_transforms() and not torch.compiler.is_compiling())
        backend = "reference" if transformed else "portable"
    check_choice("backend", backend, BACKENDS)
    if backend == "reference":
        return _feedback_scan(*call)
    refuse_forward_mode("feedback_scan", call)
    return _operator(*call)


class FeedbackCall(NamedTuple):
    """The arguments of the operator, in its order."""

    value: Tensor
    weight: Tensor
    bias: Tensor | None
    h0: Tensor
    reset: Tensor | None
    reset_state: Tensor | None
    cell: str


class FeedbackGradients(NamedTuple):
    """The results of the backward operator."""

    value: Tensor
    weight: Tensor
    bias: Tensor
    h0: Tensor
    reset_state: Tensor


def _feedback_scan(*arguments: Any) -> Tensor:
    value, weight, bias, h0, reset, reset_state, cell = FeedbackCall(*arguments)
    return reference.feedback_scan(value, weight, bias, h0, cell=cell, reset=reset, reset_state=reset_state)


def _room(*arguments: Any) -> Tensor:
    """Allocates the states."""
    call = FeedbackCall(*arguments)
    return call.value.new_empty(call.value.shape[0], call.value.shape[1], call.h0.shape[1])


def _feedback_scan_backward(grad: Tensor, states: Tensor, *arguments: Any) -> FeedbackGradients:
    value, weight, bias, h0, reset, reset_state, cell = FeedbackCall(*arguments)
    sizes = CELLS[cell]
    previous = previous_states(states, InitialStates(h0, reset, reset_state))
    fed = feed(previous, weight, bias, cell)
    grad_value, grad_fed = torch.empty_like(value), torch.empty_like(fed)
    carried = torch.zeros_like(h0)
    grad_start = h0.new_zeros(h0.shape[1:] if reset_state is None else reset_state.shape)
    for t in reversed(range(value.shape[1])):
        step = sizes.backward(grad[:, t] + carried, value[:, t], fed[:, t], previous[:, t])
        grad_value[:, t], grad_fed[:, t] = step.value, step.fed
        carried = step.h + feed_backward(grad_fed[:, t], weight, cell)
        if reset is not None:
            cut = reset[:, t, None]
            if grad_start.dim() == 1:
                grad_start = grad_start + torch.where(cut, carried, 0).sum(0)
            else:
                grad_start[:, t] = torch.where(cut, carried, 0)
            carried = torch.where(cut, 0, carried)
    hidden = previous[..., : value.shape[2] // sizes.value]
    if weight.dim() == 1:
        grad_weight = (grad_fed * hidden.repeat(1, 1, sizes.fed)).sum((0, 1))
    else:
        grad_weight = grad_fed.flatten(0, 1).T @ hidden.flatten(0, 1)
    return FeedbackGradients(grad_value, grad_weight, grad_fed.sum((0, 1)), carried, grad_start)


def _room_backward(grad: Tensor, states: Tensor, *arguments: Any) -> FeedbackGradients:
    """Allocates the gradients."""
    call = FeedbackCall(*arguments)
    start = call.h0.shape[1:] if call.reset_state is None else call.reset_state.shape
    shapes = (call.value.shape, call.weight.shape, call.weight.shape[:1], call.h0.shape, start)
    return FeedbackGradients(*(call.value.new_empty(shape) for shape in shapes))


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    save_call(ctx, FeedbackCall(*inputs), output)


def _backward(ctx: Any, grad: Tensor) -> Any:
    call, states = saved_call(ctx)
    found = FeedbackGradients(*_operator_backward(grad, states, *call))
    return no_gradients(FeedbackCall)._replace(
        value=found.value,
        weight=found.weight,
        bias=None if call.bias is None else found.bias,
        h0=found.h0,
        reset_state=None if call.reset_state is None else found.reset_state,
    )


def _refuse(ctx: Any, *grads: Tensor) -> None:
    raise NotImplementedError("`feedback_scan` can be differentiated once; its backend 'reference' any number of times")


_operator = define("remanent::feedback_scan", f"({schema_of(FeedbackCall)}) -> Tensor", _feedback_scan, _room)
_operator_backward = define(
    "remanent::feedback_scan_backward",
    f"(Tensor grad, Tensor states, {schema_of(FeedbackCall)}) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    _feedback_scan_backward,
    _room_backward,
)
torch.library.register_autograd(_operator.name(), _backward, setup_context=_save)
torch.library.register_autograd(_operator_backward.name(), _refuse)
