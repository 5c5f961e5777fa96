"""Step functions with surrogate gradients: exact forward, smooth backward."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from remanent.ops import operators


def surrogate_slope(u: Tensor, width: float) -> Tensor:
    r"""The bell that replaces the derivative of a step: $a / (1 + (\pi a u)^2)$; its area is 1.

    Args:
        u: the distance from the step, any shape.
        width: $a > 0$, the height of the bell and the inverse of its width.

    Returns:
        The slope, in the shape of `u`.

    Source: De Geeter et al. (2026), arXiv 2601.09495.

    >>> surrogate_slope(torch.tensor([0.0]), 2.0).item()
    2.0
    """
    scaled = (math.pi * width) * u
    return width / (1 + scaled * scaled)


def write_gate(candidate: Tensor, threshold: Tensor, width: float = 1.0) -> Tensor:
    r"""The gate of a set-or-hold cell: $z = H(|c| - |\beta|)$, with $H(0) = 1$.

    Args:
        candidate: $c$, any shape.
        threshold: $\beta$, a shape that broadcasts with `candidate`.
        width: the surrogate's width $a > 0$ in the backward pass.

    Returns:
        1 where the candidate is written, else 0, in the dtype of `candidate`.

    Source: De Geeter et al. (2026), arXiv 2601.09495.

    >>> write_gate(torch.tensor([2.0, 0.5, -1.0]), torch.ones(3)).tolist()
    [1.0, 0.0, 1.0]
    """
    operators.refuse_forward_mode("write_gate", (candidate, threshold))
    if not torch.is_grad_enabled():
        return (candidate.abs() >= threshold.abs()).to(candidate.dtype)
    size, beta = torch.broadcast_tensors(candidate.abs(), threshold.abs())
    return _write_gate(size, beta, width)


def surrogate_sign(u: Tensor, width: float = 1.0) -> Tensor:
    r"""The sign with $\mathrm{sgn}(0) = +1$ and the surrogate slope $2a / (1 + (\pi a u)^2)$.

    Args:
        u: numbers, any shape.
        width: the surrogate's width $a > 0$ in the backward pass.

    Returns:
        +1 or -1, in the shape of `u`.

    Source: De Geeter et al. (2026), arXiv 2601.09495.

    >>> surrogate_sign(torch.tensor([-3.0, 0.0])).tolist()
    [-1.0, 1.0]
    """
    operators.refuse_forward_mode("surrogate_sign", (u,))
    return _surrogate_sign(u, width) if torch.is_grad_enabled() else _sign(u, width)


def select(gate: Tensor, written: Tensor, held: Tensor) -> Tensor:
    r"""What is written where a gate is open, else what is held; never a product, which an infinity would make NaN.

    Args:
        gate: 1 where it is open, else 0, as `write_gate` gives it. Its gradient is that of the product
            $z w + (1 - z) h$.
        written: $w$, of the shape of `gate`.
        held: $h$, of the shape of `gate`.

    Returns:
        The chosen values, bit for bit.

    >>> select(torch.tensor([1.0, 0.0]), torch.tensor([2.0, torch.inf]), torch.tensor([torch.nan, -0.0])).tolist()
    [2.0, -0.0]
    """
    if not torch.is_grad_enabled():
        return torch.where(gate != 0, written, held)
    return _Select.apply(gate, written, held)  # type: ignore[no-untyped-call]


class _Select(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(gate: Tensor, written: Tensor, held: Tensor) -> Tensor:
        return torch.where(gate != 0, written, held)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        gate, written, held = ctx.saved_tensors
        grad, zero = grads[0], torch.zeros_like(grads[0])
        is_open = gate != 0
        return grad * (written - held), torch.where(is_open, grad, zero), torch.where(is_open, zero, grad)


class GateCall(NamedTuple):
    """The arguments of the operator of the gate, in its order; both tensors have one shape."""

    size: Tensor
    threshold: Tensor
    width: float


class SignCall(NamedTuple):
    """The arguments of the operator of the sign, in its order."""

    u: Tensor
    width: float


def _gate(size: Tensor, threshold: Tensor, width: float) -> Tensor:
    return torch.empty_like(size).copy_(size >= threshold)


def _sign(u: Tensor, width: float) -> Tensor:
    return torch.where(u >= 0, 1.0, -1.0).to(u.dtype)


def _bell(grad: Tensor, u: Tensor, width: float) -> Tensor:
    """What passes back through a step at u = 0."""
    return torch.empty_like(grad).copy_(grad * surrogate_slope(u, width))


def _like(tensor: Tensor, *others: Any) -> Tensor:
    return torch.empty_like(tensor)


def _save_gate(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    operators.save_call(ctx, GateCall(*inputs))


def _gate_backward(ctx: Any, grad: Tensor) -> Any:
    (call,) = operators.saved_call(ctx)
    found = _slope(grad, call.size - call.threshold, call.width)
    return operators.no_gradients(GateCall)._replace(size=found, threshold=-found)


def _save_sign(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    operators.save_call(ctx, SignCall(*inputs))


def _sign_backward(ctx: Any, grad: Tensor) -> Any:
    (call,) = operators.saved_call(ctx)
    return operators.no_gradients(SignCall)._replace(u=2 * _slope(grad, call.u, call.width))


_GATE = operators.define("remanent::write_gate", f"({operators.schema_of(GateCall)}) -> Tensor", _gate, _like)
_SIGN = operators.define("remanent::surrogate_sign", f"({operators.schema_of(SignCall)}) -> Tensor", _sign, _like)
_BELL = operators.define("remanent::surrogate_bell", "(Tensor grad, Tensor u, float width) -> Tensor", _bell, _like)
_write_gate = operators.differentiable(_GATE, _save_gate, _gate_backward)
_surrogate_sign = operators.differentiable(_SIGN, _save_sign, _sign_backward)
_slope = operators.not_differentiable(
    _BELL, "`write_gate` and `surrogate_sign` can be differentiated once, since their gradients are surrogates"
)
