"""Gradients of the operators, and how they compose with `torch.func`: an ensemble is more channels."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def differentiable(operator: Any, setup_context: Callable[..., None], backward: Callable[..., Any]) -> Any:
    """Gives a scan its gradient and its vmap rule.

    An operator's own gradient works in eager mode, compiled and exported; inside `torch.func` transforms,
    an autograd function with the same gradient stands in for it.

    Args:
        operator: a custom operator on tensors whose last axis is D; see `_fold_channels`.
        setup_context: what the backward pass needs, put on `ctx`.
        backward: the gradients of all inputs from `ctx` and those of the outputs.

    Returns:
        A function of the operator's arguments.
    """
    operator.register_autograd(backward, setup_context=setup_context)
    operator.register_vmap(_fold_channels(operator))

    class _InTransforms(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(*inputs: Any) -> Any:
            return operator(*inputs)

    _InTransforms.setup_context = staticmethod(setup_context)  # type: ignore[method-assign, assignment]
    _InTransforms.backward = staticmethod(backward)  # type: ignore[method-assign, assignment]

    def call(*inputs: Any) -> Any:
        if not torch.compiler.is_compiling() and in_transforms():
            return _InTransforms.apply(*inputs)  # type: ignore[no-untyped-call]
        return operator(*inputs)

    return call


def in_transforms() -> bool:
    """Whether a `torch.func` transform runs."""
    return torch._C._are_functorch_transforms_active()


def _fold_channels(scan: Any) -> Callable[..., tuple[Any, Any]]:
    """The vmap rule of a scan whose tensors end in the axis D, but for single numbers and bool masks.

    The ensemble's axis E goes beside D, and the scan runs once on E D channels. Where a number or a mask
    differs over the ensemble, the members run one after another.
    """

    def rule(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> tuple[Any, Any]:
        E = info.batch_size
        pairs = list(zip(args, in_dims, strict=True))
        if any(dim is not None and not _has_channels(arg, dim) for arg, dim in pairs):
            return _one_by_one(scan, E, in_dims, args)
        results = scan(*(_fold(arg, dim, E) if _has_channels(arg, dim) else arg for arg, dim in pairs))
        if isinstance(results, Tensor):
            return _unfold(results, E), 0
        return tuple(_unfold(result, E) for result in results), (0,) * len(results)

    return rule


def _has_channels(value: Any, dim: int | None) -> bool:
    return isinstance(value, Tensor) and value.dtype != torch.bool and value.dim() > (dim is not None)


def _fold(value: Tensor, dim: int | None, E: int) -> Tensor:
    """(..., E, ..., D) to (..., E D); a tensor that all members share is repeated."""
    if dim is not None:
        return value.movedim(dim, -2).flatten(-2)
    return value.unsqueeze(-2).expand(*value.shape[:-1], E, -1).flatten(-2)


def _unfold(value: Tensor, E: int) -> Tensor:
    return value.unflatten(-1, (E, -1)).movedim(-2, 0)


def _one_by_one(scan: Any, E: int, in_dims: tuple[int | None, ...], args: tuple[Any, ...]) -> tuple[Any, Any]:
    members = []
    for e in range(E):
        picked = (arg if dim is None else arg.select(dim, e) for arg, dim in zip(args, in_dims, strict=True))
        members.append(scan(*picked))
    if isinstance(members[0], Tensor):
        return torch.stack(members), 0
    return tuple(torch.stack(parts) for parts in zip(*members, strict=True)), (0,) * len(members[0])
