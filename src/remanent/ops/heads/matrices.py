"""From logits to tables: which state follows which, the matrix of a step, and the gradient that stands for both."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from remanent.ops import operators


def check_no_nan(logits: Tensor) -> None:
    """Raises where a logit is NaN, unless its value may not be asked for."""
    if not operators.is_traced() and bool(logits.isnan().any()):
        raise ValueError(f"`logits` must not be NaN, got NaN at {tuple(logits.isnan().nonzero()[0].tolist())}")


def best(logits: Tensor) -> Tensor:
    """The place of the largest of K logits (..., K), the lowest of equal ones; a NaN only where there is no number."""
    usable = without_nan(logits)
    is_best = logits == usable.amax(-1, keepdim=True)
    return is_best.to(torch.uint8).argmax(-1)


def without_nan(logits: Tensor) -> Tensor:
    """The logits with minus infinity in the place of NaN."""
    return torch.where(logits.isnan(), -torch.inf, logits)


def soft(logits: Tensor) -> Tensor:
    """The softmax over the last axis, in which a NaN has no weight."""
    return torch.softmax(without_nan(logits), -1)


def softmax_gradient(grad: Tensor, weights: Tensor) -> Tensor:
    """The gradient of logits from that of their softmax."""
    return weights * (grad - (weights * grad).sum(-1, keepdim=True))


def mixed(logits: Tensor, epsilon: float | Tensor) -> Tensor:
    """The matrix of a step: 1 - epsilon of the table in one-hot rows, epsilon of the softmax; no gradient."""
    K = logits.shape[-1]
    hard = (best(logits)[..., None] == torch.arange(K, device=logits.device)).to(logits.dtype)
    if isinstance(epsilon, Tensor):  # its value may not be asked for in a graph
        share = epsilon.to(logits.device, logits.dtype)
        return torch.where(share == 0, hard, (1 - share) * hard + share * soft(logits))
    return hard if epsilon == 0 else (1 - epsilon) * hard + epsilon * soft(logits)


def transition_matrix(logits: Tensor, epsilon: float | Tensor) -> Tensor:
    """The matrix of a step, (..., K, K), from its logits; at any epsilon its gradient is that of the softmax."""
    operators.refuse_forward_mode("transition_step", (logits,))
    if not torch.is_grad_enabled():
        return mixed(logits, epsilon)
    return _StraightThrough.apply(logits, epsilon)  # type: ignore[no-untyped-call]


class _StraightThrough(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(logits: Tensor, epsilon: float | Tensor) -> Tensor:
        return mixed(logits, epsilon)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return _Once.apply(grads[0], soft(*ctx.saved_tensors)), None  # type: ignore[no-untyped-call]


class _Once(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(grad: Tensor, weights: Tensor) -> Tensor:
        return softmax_gradient(grad, weights)

    @staticmethod
    def setup_context(ctx: FunctionCtx, inputs: tuple[Any, ...], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        raise NotImplementedError("`transition_step` can be differentiated once, since its gradients are surrogates")
