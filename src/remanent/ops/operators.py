"""Operators: how they are made known to torch, their gradients, and how they compose with `torch.func`."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Groups = Callable[[tuple[Any, ...]], tuple[dict[int, int], dict[int, int]]]
"""From an operator's arguments to {argument: groups} and {result: groups} of tensors whose last axis is several D."""


def define(name: str, function: Callable[..., Any], fake: Callable[..., Any]) -> Any:
    """Makes a function a torch operator, which compiles and exports whole.

    `torch.library.custom_op` would import the compiler at the first call, which takes seconds.

    Args:
        name: "namespace::name".
        function: changes none of its arguments; its annotations give the schema.
        fake: makes empty results from the same arguments, given by position.

    Returns:
        The operator.
    """
    schema = torch.library.infer_schema(function, mutates_args=())
    torch.library.define(name, schema, tags=torch.Tag.pt2_compliant_tag)
    torch.library.impl(name, "default", function)
    torch.library.register_fake(name, fake)
    namespace, short = name.split("::")
    return getattr(getattr(torch.ops, namespace), short).default


def empty_sequence(like: Tensor, width: int) -> Tensor:
    """Room for (B, T, width) in the order in memory of a sequence: batch first, or time first."""
    B, T, _ = like.shape
    time_first = like.stride(0) < like.stride(1)
    return like.new_empty_strided((B, T, width), (width, B * width, 1) if time_first else (T * width, width, 1))


def no_groups(args: tuple[Any, ...]) -> tuple[dict[int, int], dict[int, int]]:
    """Every tensor's last axis is D."""
    return {}, {}


def differentiable(
    operator: Any, setup_context: Callable[..., None], backward: Callable[..., Any], groups: Groups = no_groups
) -> Any:
    """Gives a scan its gradient and its vmap rule.

    An operator's own gradient works in eager mode, compiled and exported; inside `torch.func` transforms,
    an autograd function with the same gradient stands in for it.

    Args:
        operator: one from `define`, on tensors whose last axis is D; see `_fold_channels`.
        setup_context: what the backward pass needs, put on `ctx`.
        backward: the gradients of all inputs from `ctx` and those of the outputs.
        groups: which tensors have several D side by side.

    Returns:
        A function of the operator's arguments.
    """
    name = operator.name()
    torch.library.register_autograd(name, backward, setup_context=setup_context)
    torch.library.register_vmap(name, _fold_channels(operator, groups))

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


def _fold_channels(scan: Any, groups: Groups) -> Callable[..., tuple[Any, Any]]:
    """The vmap rule of a scan whose tensors end in the axis D, but for single numbers and bool masks.

    The ensemble's axis E goes beside D, and the scan runs once on E D channels. Where a number or a mask
    differs over the ensemble, the members run one after another.
    """

    def rule(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> tuple[Any, Any]:
        E = info.batch_size
        pairs = list(zip(args, in_dims, strict=True))
        if any(dim is not None and not _has_channels(arg, dim) for arg, dim in pairs):
            return _one_by_one(scan, E, in_dims, args)
        inward, outward = groups(args)
        folded = [
            _fold(arg, dim, E, inward.get(i, 1)) if _has_channels(arg, dim) else arg
            for i, (arg, dim) in enumerate(pairs)
        ]
        results = scan(*folded)
        if isinstance(results, Tensor):
            return _unfold(results, E, outward.get(0, 1)), 0
        return tuple(_unfold(r, E, outward.get(i, 1)) for i, r in enumerate(results)), (0,) * len(results)

    return rule


def _has_channels(value: Any, dim: int | None) -> bool:
    return isinstance(value, Tensor) and value.dtype != torch.bool and value.dim() > (dim is not None)


def _fold(value: Tensor, dim: int | None, E: int, groups: int) -> Tensor:
    """(..., E, ..., G D) to (..., G E D); a tensor that all members share is repeated."""
    if dim is None:
        value, dim = value.unsqueeze(0).expand(E, *value.shape), 0
    return value.movedim(dim, 0).unflatten(-1, (groups, -1)).movedim(0, -2).flatten(-3)


def _unfold(value: Tensor, E: int, groups: int) -> Tensor:
    return value.unflatten(-1, (groups, E, -1)).movedim(-2, 0).flatten(-2)


def _one_by_one(scan: Any, E: int, in_dims: tuple[int | None, ...], args: tuple[Any, ...]) -> tuple[Any, Any]:
    members = []
    for e in range(E):
        picked = (arg if dim is None else arg.select(dim, e) for arg, dim in zip(args, in_dims, strict=True))
        members.append(scan(*picked))
    if isinstance(members[0], Tensor):
        return torch.stack(members), 0
    return tuple(torch.stack(parts) for parts in zip(*members, strict=True)), (0,) * len(members[0])
