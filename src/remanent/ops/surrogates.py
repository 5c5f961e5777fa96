"""Step functions with surrogate gradients: exact forward, smooth backward."""

import math
from typing import Any

import torch
from torch import Tensor


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
    size, beta = candidate.abs(), threshold.abs()
    if not torch.is_grad_enabled():
        return _gate(size, beta)
    return _WriteGate.apply(size, beta, width)  # type: ignore[no-untyped-call]


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
    if not torch.is_grad_enabled():
        return _sign(u)
    return _Sign.apply(u, width)  # type: ignore[no-untyped-call]


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


def _gate(size: Tensor, threshold: Tensor) -> Tensor:
    return (size >= threshold).to(size.dtype)


def _sign(u: Tensor) -> Tensor:
    return torch.where(u >= 0, 1.0, -1.0).to(u.dtype)


class _WriteGate(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(size: Tensor, threshold: Tensor, width: float) -> Tensor:
        return _gate(size, threshold)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        size, threshold, ctx.width = inputs
        ctx.save_for_backward(size, threshold)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        size, threshold = ctx.saved_tensors
        grad = grads[0] * surrogate_slope(size - threshold, ctx.width)
        return grad.sum_to_size(size.shape), -grad.sum_to_size(threshold.shape), None


class _Sign(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(u: Tensor, width: float) -> Tensor:
        return _sign(u)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        u, ctx.width = inputs
        ctx.save_for_backward(u)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (u,) = ctx.saved_tensors
        return 2 * grads[0] * surrogate_slope(u, ctx.width), None


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
