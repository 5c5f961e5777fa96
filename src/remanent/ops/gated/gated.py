"""Linear scans of gates that see the input alone: what a projection gives goes in, and states come out.

On a CPU, one operator computes gates and states in one pass, keeps the gates as they are given and the states, and
computes the rest again in its backward pass. Anywhere else, and for a second derivative, `composed` and `linear_scan`
do the same in several passes; they are what the operator is compared with.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from remanent.ops import operators
from remanent.ops.arguments import InitialStates, LinearGradients
from remanent.ops.cpu import launch
from remanent.ops.gated import fused
from remanent.ops.gated.gate_arguments import CELLS, GatedCall, GatedGradients
from remanent.ops.linear import BACKENDS, linear_scan
from remanent.ops.pairs.views import PAIR_DTYPES as FUSED_DTYPES
from remanent.ops.reference import linear_step
from remanent.ops.surrogates import select, surrogate_slope, write_gate


def gated_scan(
    gates: tuple[Tensor, ...],
    initial: InitialStates,
    *,
    cell: str,
    width: float = 1.0,
    group: Any = None,
) -> Tensor:
    r"""A linear scan whose factor and addition are made of gates; the arguments are checked by the units.

    Args:
        gates: what `composed` takes: the gates side by side, (B, T, G D), and for "between" two thresholds and a size.
        initial: the states that the scan starts from.
        cell: a key of `CELLS`.
        width: the width $a > 0$ of the surrogate gradients of "between".
        group: the processes that hold a part of the time each, as `linear_scan` takes it.

    Returns:
        The states after every step, (B, T, D).

    >>> gates = torch.tensor([[[4.0, 0.0], [2.0, 0.0]]])
    >>> gated_scan((gates,), InitialStates(None, None, None), cell="min_gru").flatten().tolist()
    [2.0, 2.0]
    """
    joint, *sizes = gates
    low, high, alpha = sizes or (None, None, None)
    call = GatedCall(joint, low, high, alpha, *initial, cell, width)
    return _scan(*call) if group is None and _is_fused(call) else _composed_scan(call, group)


def gated_step(gates: tuple[Tensor, ...], h: Tensor, *, cell: str, width: float = 1.0) -> Tensor:
    """The state (B, D) after one step of `gated_scan`, from gates (B, G D) and the state before.

    >>> gated_step((torch.tensor([[4.0, 0.0]]),), torch.zeros(1, 1), cell="min_gru").item()
    2.0
    """
    if cell != "between":
        return linear_step(*composed(gates, cell, width), h)
    candidate, _, _, alpha = gates
    set_low, set_high = _sets(gates, width)
    held = select(set_low, torch.zeros_like(candidate), h.expand(candidate.shape))
    return select(set_high, alpha.expand(candidate.shape), held)


def composed(gates: tuple[Tensor, ...], cell: str, width: float = 1.0) -> tuple[Tensor, Tensor]:
    r"""The factor of the state and what is added to it, (..., D) each, from gates.

    Args:
        gates: for "min_gru", candidate $c$ and update $u$ side by side, (..., 2 D): $\sigma(-u)$ and $\sigma(u) c$. For
            "min_lstm", candidate, forget and write gate $f$ and $i$, (..., 3 D): $f' = \sigma(f) / (\sigma(f) +
            \sigma(i))$ and $(1 - f') c$. For "between", the candidate (..., D), whose negative values count as 0, the
            lower and the upper threshold, not negative, and a size, (D,) each: 0 and the size where it reaches the
            upper threshold, 0 and 0 where it does not exceed the lower one, else 1 and 0.
        cell: a key of `CELLS`.
        width: of the surrogate gradients of "between".

    >>> [v.tolist() for v in composed((torch.tensor([4.0, 0.0]),), "min_gru")]
    [[0.5], [2.0]]
    """
    joint, *sizes = gates
    candidate, *others = joint.chunk(CELLS[cell], dim=-1)
    if cell == "min_gru":
        return torch.sigmoid(-others[0]), torch.sigmoid(others[0]) * candidate
    if cell == "min_lstm":
        forget, write = others
        balance = F.logsigmoid(forget) - F.logsigmoid(write)  # by logarithms, since both gates may be tiny
        return torch.sigmoid(balance), torch.sigmoid(-balance) * candidate
    alpha = sizes[-1]
    set_low, set_high = _sets(gates, width)
    added = select(set_high, alpha.expand(set_high.shape), torch.zeros_like(set_high))  # 0 times an infinity is NaN
    return (1 - set_low) * (1 - set_high), added


def _sets(gates: tuple[Tensor, ...], width: float) -> tuple[Tensor, Tensor]:
    """Where a state is set low, and where high, each 1 or 0."""
    candidate, low, high, _ = gates
    size = candidate.relu()
    return write_gate(low, size, width), write_gate(size, high, width)


def _is_fused(call: GatedCall) -> bool:
    """Whether the operator can take the place of the composition, and knows all derivatives that may be taken."""
    given = [v for v in call if isinstance(v, Tensor) and v is not call.reset]
    return (
        call.gates.dtype in FUSED_DTYPES
        and all(v.device.type == "cpu" and v.dtype == call.gates.dtype for v in given)
        and not operators.in_transforms()
        and not operators.in_forward_mode(call)
    )


def _composed_scan(call: GatedCall, group: Any = None) -> Tensor:
    decay, value = composed(_gates(call), call.cell, call.width)
    return linear_scan(decay, value, call.h0, reset=call.reset, reset_state=call.reset_state, group=group)


def _gates(call: GatedCall) -> tuple[Tensor, ...]:
    return tuple(v for v in (call.gates, call.low, call.high, call.alpha) if v is not None)


def _in_one_pass(states: Tensor) -> bool:
    return launch.usable() and not fused.cuts_time(states.shape)


def _gated_scan(*arguments: Any) -> Tensor:
    call, states = GatedCall(*arguments), _room(*arguments)
    if _in_one_pass(states):
        fused.forward(call, states)
        return states
    return _composed_scan(call)


def _room(*arguments: Any) -> Tensor:
    """Allocates the states."""
    call = GatedCall(*arguments)
    return operators.empty_sequence(call.gates, call.gates.shape[2] // CELLS[call.cell])


def _gated_scan_backward(grad: Tensor, states: Tensor, *arguments: Any) -> GatedGradients:
    call, grads = GatedCall(*arguments), _room_backward(grad, states, *arguments)
    if _in_one_pass(states):
        fused.backward(grad, states, call, grads)
    else:
        _fill_composed(grad, states, call, grads)
    return grads


def _room_backward(grad: Tensor, states: Tensor, *arguments: Any) -> GatedGradients:
    """Allocates the gradients."""
    call = GatedCall(*arguments)
    B, _, D = states.shape
    low, high, alpha = (states.new_empty(0 if v is None else v.shape) for v in (call.low, call.high, call.alpha))
    reset_state = states.new_empty((D,) if call.reset_state is None else call.reset_state.shape)
    gates = operators.empty_sequence(call.gates, call.gates.shape[2])
    return GatedGradients(gates, low, high, alpha, states.new_empty(B, D), reset_state)


def _fill_composed(grad: Tensor, states: Tensor, call: GatedCall, grads: GatedGradients) -> None:
    """The backward pass by that of the linear scan, and the derivatives of `composed`."""
    decay, _ = composed(_gates(call), call.cell, call.width)
    of = LinearGradients(torch.empty_like(decay), torch.empty_like(states), grads.h0, grads.reset_state)
    backend = BACKENDS["cpu" if launch.usable() else "portable"]
    assert backend is not None
    backend.backward(grad, states, decay, call.initial(), of)
    candidate, *others = call.gates.chunk(CELLS[call.cell], dim=-1)
    if call.cell == "between":
        _fill_between(call, candidate.relu(), of, grads)
        return
    jump = (of.value * candidate - of.decay) * decay * (1 - decay)  # by what is taken, through the logistic function
    grads_of = [of.value * (1 - decay), jump]
    if call.cell == "min_lstm":
        grads_of = [grads_of[0], -jump * torch.sigmoid(-others[0]), jump * torch.sigmoid(-others[1])]
    grads.gates.copy_(torch.cat(grads_of, dim=-1))


def _fill_between(call: GatedCall, size: Tensor, of: LinearGradients, grads: GatedGradients) -> None:
    assert call.low is not None
    assert call.high is not None
    assert call.alpha is not None
    is_low, is_high = size <= call.low, size >= call.high
    slopes = surrogate_slope(call.low - size, call.width), surrogate_slope(size - call.high, call.width)
    of_low = torch.where(is_high, 0.0, -of.decay) * slopes[0]
    of_high = (of.value * call.alpha - torch.where(is_low, 0.0, of.decay)) * slopes[1]
    grads.gates.copy_(torch.where(size > 0, of_high - of_low, 0.0))
    grads.low.copy_((of_low * call.low.sign()).sum((0, 1)))
    grads.high.copy_((-of_high * call.high.sign()).sum((0, 1)))
    grads.alpha.copy_(torch.where(is_high, of.value, 0.0).sum((0, 1)))


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    operators.save_call(ctx, GatedCall(*inputs), output)


def _backward(ctx: Any, grad: Tensor) -> Any:
    call, states = operators.saved_call(ctx)
    if torch.is_grad_enabled():  # the gradient will be differentiated
        return _by_composition(grad, call)
    found = GatedGradients(*_operator_backward(grad, states, *call))
    named = found._asdict().items()
    grads = {name: value for name, value in named if getattr(call, name) is not None}
    return operators.no_gradients(GatedCall)._replace(**grads)


def _by_composition(grad: Tensor, call: GatedCall) -> Any:
    """The gradients of the arguments as a graph."""
    named = call._asdict().items()
    wanted = {name: v for name, v in named if isinstance(v, Tensor) and v.requires_grad}
    found = torch.autograd.grad(_composed_scan(call), list(wanted.values()), grad, create_graph=True)
    return operators.no_gradients(GatedCall)._replace(**dict(zip(wanted, found, strict=True)))


_ARGUMENTS = operators.schema_of(GatedCall)
_operator = operators.define("remanent::gated_scan", f"({_ARGUMENTS}) -> Tensor", _gated_scan, _room)
_operator_backward = operators.define(
    "remanent::gated_scan_backward",
    f"(Tensor grad, Tensor states, {_ARGUMENTS}) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    _gated_scan_backward,
    _room_backward,
)
torch.library.register_autograd(_operator.name(), _backward, setup_context=_save)


def _scan(*arguments: Any) -> Tensor:
    return _operator(*arguments)  # type: ignore[no-any-return]
