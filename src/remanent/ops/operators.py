"""Torch operators: how a scan becomes one, keeps its arguments for its backward pass, and runs in `torch.func`."""

from collections.abc import Callable, Iterable
from typing import Any, get_type_hints

import torch
from torch import Tensor
from torch.autograd import forward_ad

from remanent._allocator import empty_result

Groups = Callable[[tuple[Any, ...]], tuple[dict[int, int], dict[int, int]]]
"""From an operator's arguments to {argument: groups} and {result: groups} of tensors whose last axis is several D."""
_TYPES = {Tensor: "Tensor", Tensor | None: "Tensor?", float: "float", int: "SymInt", bool: "bool", str: "str"}
"""How a schema writes the types of arguments."""


def schema_of(call: type[tuple[Any, ...]]) -> str:
    """The arguments of an operator as a schema writes them.

    Args:
        call: a named tuple of the arguments in their order, whose defaults are those of the operator.

    Returns:
        Type and name of each argument, with its default, separated by commas.
    """
    defaults: dict[str, Any] = call._field_defaults  # type: ignore[attr-defined]
    given = {name: f"={value}" for name, value in defaults.items()}
    return ", ".join(f"{_TYPES[kind]} {name}{given.get(name, '')}" for name, kind in get_type_hints(call).items())


def define(name: str, schema: str, function: Callable[..., Any], fake: Callable[..., Any]) -> Any:
    """Makes a function a torch operator, which compiles and exports as a whole.

    `torch.library.custom_op` would import the compiler at the first call, which takes seconds.

    Args:
        name: "namespace::name".
        schema: "(types and names of the arguments) -> types of the results".
        function: gets the arguments by position, and changes none of them.
        fake: makes empty results from the same arguments.

    Returns:
        The operator.
    """
    namespace, short = name.split("::")

    def run(*arguments: Any) -> Any:
        refuse_forward_mode(short, arguments)  # a compiled caller may not have seen that it would be ignored
        return function(*arguments)

    torch.library.define(name, schema, tags=torch.Tag.pt2_compliant_tag)
    torch.library.impl(name, "default", run)
    torch.library.register_fake(name, fake)
    return getattr(getattr(torch.ops, namespace), short).default


def save_call(ctx: Any, call: Any, *tensors: Tensor) -> None:
    """Keeps the arguments of an operator for its backward pass.

    Args:
        ctx: the autograd context.
        call: the named tuple of the arguments.
        tensors: what is kept beside them.
    """
    ctx.call, ctx.options = type(call), [None if isinstance(value, Tensor) else value for value in call]
    ctx.save_for_backward(*(value if isinstance(value, Tensor) else None for value in call), *tensors)


def saved_call(ctx: Any) -> tuple[Any, ...]:
    """What `save_call` kept: the named tuple of the arguments, then the other tensors."""
    saved, count = ctx.saved_tensors, len(ctx.options)
    values = (option if kept is None else kept for kept, option in zip(saved[:count], ctx.options, strict=True))
    return ctx.call(*values), *saved[count:]


def no_gradients(call: Any) -> Any:
    """The named tuple of the gradients of an operator's arguments, before any is set: None everywhere."""
    return call(*(None,) * len(call._fields))


def empty_sequence(like: Tensor, width: int) -> Tensor:
    """Allocates an output buffer, (B, T, width), in the memory order of `like` (B, T, any): batch or time first."""
    B, T, _ = like.shape
    time_first = like.stride(0) < like.stride(1)
    return empty_result(like, (B, T, width), (width, B * width, 1) if time_first else (T * width, width, 1))


def no_groups(args: tuple[Any, ...]) -> tuple[dict[int, int], dict[int, int]]:
    """Every tensor's last axis is D."""
    return {}, {}


def differentiable(
    operator: Any, setup_context: Callable[..., None], backward: Callable[..., Any], groups: Groups = no_groups
) -> Any:
    """Gives a scan its gradient and its vmap rule.

    The operator's own gradient works in eager mode, compiled and exported; inside `torch.func` transforms,
    an autograd function with the same gradient takes its place.

    Args:
        operator: one from `define`, on tensors whose last axis is D, as `_fold_channels` says.
        setup_context: puts on `ctx` what the backward pass needs; gets `ctx`, `inputs` and `output` by name.
        backward: the gradients of all arguments, from `ctx` and the gradients of the outputs.
        groups: the tensors in which several D lie side by side.

    Returns:
        A function of the operator's arguments, by position. It refuses forward-mode differentiation, which the operator
        would ignore.
    """
    name = operator.name()
    short = name.partition("::")[2].removesuffix("_backward")
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
        refuse_forward_mode(short, inputs)
        if not torch.compiler.is_compiling() and in_transforms():
            return _InTransforms.apply(*inputs)  # type: ignore[no-untyped-call]
        return operator(*inputs)

    return call


def not_differentiable(operator: Any, message: str, groups: Groups = no_groups) -> Any:
    """Gives a scan its vmap rule, and a gradient that raises NotImplementedError with a message."""

    def save_nothing(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        pass

    def refuse(ctx: Any, *grads: Tensor) -> None:
        raise NotImplementedError(message)

    return differentiable(operator, save_nothing, refuse, groups)


def in_transforms() -> bool:
    """Whether a `torch.func` transform is running."""
    return torch._C._are_functorch_transforms_active()


def is_traced() -> bool:
    """Whether the values of tensors may not be read, since a graph is being made or a `torch.func` transform runs."""
    recorded = torch._C._get_tracing_state() is not None  # `torch.jit.is_tracing`, without its types
    return torch.compiler.is_compiling() or recorded or in_transforms()


def in_forward_mode(values: Iterable[Any]) -> bool:
    """Whether forward-mode differentiation goes through any of these values, or runs in a transform around them."""
    if torch.compiler.is_compiling() or in_transforms():
        return _differentiates_forward()
    if forward_ad._current_level < 0:  # without a level no tensor has a tangent, as `unpack_dual` says one by one
        return False
    return any(isinstance(v, Tensor) and forward_ad.unpack_dual(v).tangent is not None for v in values)


def _differentiates_forward() -> bool:
    """Whether forward-mode differentiation runs at all: in a trace or a transform, tensors do not show tangents."""
    stack = (torch._C._functorch.get_interpreter_stack() or []) if in_transforms() else []
    return forward_ad._current_level >= 0 or any(
        level.key() == torch._C._functorch.TransformType.Jvp for level in stack
    )


_differentiates_forward._dynamo_marked_constant = True  # type: ignore[attr-defined] # `assume_constant_result` would import the compiler


def refuse_forward_mode(name: str, values: Iterable[Any]) -> None:
    """Raises NotImplementedError where forward-mode differentiation goes through an operator, which would ignore it."""
    if in_forward_mode(values):
        raise NotImplementedError(
            f"`{name}` has no forward-mode derivative; only `linear_scan` and `feedback_scan` have one, with the "
            "backend 'auto' or 'reference'"
        )


def _fold_channels(scan: Any, groups: Groups) -> Callable[..., tuple[Any, Any]]:
    """The vmap rule of a scan whose tensors end in the axis D, except single numbers and bool masks.

    The ensemble's axis E moves beside D, and the scan runs once on E D channels. Where a number or a mask
    differs between members of the ensemble, they run one after another.
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
