"""A residual sum and the RMS norm of it: the public function, its operator and its gradient."""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from remanent.ops.elementwise import triton_launch
from remanent.ops.elementwise.by_row import (
    DTYPES,
    RowArrays,
    fits,
    has_memory,
    on_gpu,
    run_rows,
    tasks_of,
    wants_gradient,
)
from remanent.ops.operators import define, schema_of

EPS = {dtype: torch.finfo(dtype).eps for dtype in DTYPES}
"""What `torch.nn.RMSNorm` adds to the mean square where it is not told."""


class SumAndNorm(NamedTuple):
    """A sum of two tensors and its norm.

    Attributes:
        total: the sum, (..., D).
        normed: its norm, (..., D).
    """

    total: Tensor
    normed: Tensor


def add_rms_norm(x: Tensor, added: Tensor | None, weight: Tensor, eps: float | None = None) -> SumAndNorm:
    r"""Residual sum and its norm over the last axis: $s = x + a$ and $w \odot s / \sqrt{\overline{s^2} + e}$.

    On a CPU or GPU, float32 and float64 take one pass over memory forward and one backward, and a row alone has the
    bits that it has among many. Other dtypes and devices, and traced graphs, take the operations of torch.

    Args:
        x: (..., D).
        added: $a$, of the shape of `x`; zeros if None, and the sum is then `x` itself.
        weight: $w$, (D,).
        eps: $e$, what is added to the mean square, at least 0; if None, the distance from 1 to the next number of the
            dtype.

    Returns:
        The sum and its norm.

    Source: Zhang, Sennrich (2019), arXiv 1910.07467.

    >>> add_rms_norm(torch.tensor([2.0, 6.0]), torch.tensor([1.0, -2.0]), torch.ones(2))
    SumAndNorm(total=tensor([3., 4.]), normed=tensor([0.8485, 1.1314]))
    """
    if not fits(x, added, weight) or weight.shape != x.shape[-1:] or not _narrow(x):
        total = x if added is None else x + added
        return SumAndNorm(total, F.rms_norm(total, weight.shape, weight, eps))
    if x.dim() == 3 and x.stride(0) < x.stride(1):  # time first: rows as they lie
        turned = add_rms_norm(x.transpose(0, 1), None if added is None else added.transpose(0, 1), weight, eps)
        return SumAndNorm(x if added is None else turned.total.transpose(0, 1), turned.normed.transpose(0, 1))
    call = NormCall(x, added, weight, EPS[x.dtype] if eps is None else eps)
    if wants_gradient(x, added, weight) or not has_memory(x, added, weight):
        total, normed, _ = _operator(*call)
        return SumAndNorm(x if added is None else total, normed)
    x = x.contiguous()
    found = SumAndNorm(x if added is None else torch.empty_like(x), torch.empty_like(x))
    _fill(call._replace(x=x), found, None)
    return found


def _narrow(x: Tensor) -> bool:
    """Whether a kernel holds a row; on a CPU, one holds any."""
    return not on_gpu(x) or x.shape[-1] <= triton_launch.WIDEST


class NormCall(NamedTuple):
    """The arguments of the operator, in its order."""

    x: Tensor
    added: Tensor | None
    weight: Tensor
    eps: float


class NormResults(NamedTuple):
    """The results of the operator: sum and norm, and the factor of each row, (rows,); no sum where nothing is added."""

    total: Tensor
    normed: Tensor
    factor: Tensor


class NormAdjoint(NamedTuple):
    """The arguments of the backward operator, in its order."""

    grad_total: Tensor | None
    grad_normed: Tensor
    total: Tensor
    factor: Tensor
    weight: Tensor


def _fill(call: NormCall, found: SumAndNorm, factor: Tensor | None) -> None:
    """Writes the norm and, where something is added, the sum, from a contiguous `x`."""
    added = None if call.added is None else call.added.contiguous()
    weight, total = call.weight.contiguous(), None if added is None else found.total
    arrays = RowArrays(call.x, added, weight, total, found.normed, factor)
    if on_gpu(call.x):
        return triton_launch.norm_forward(arrays, call.eps)
    from remanent.ops.elementwise.row_kernels import norm_forward

    return run_rows(norm_forward, arrays, call.eps)


def _add_rms_norm(*arguments: Any) -> NormResults:
    call, found = NormCall(*arguments), _room(*arguments)
    _fill(call._replace(x=call.x.contiguous()), SumAndNorm(found.total, found.normed), found.factor)
    return found


def _room(*arguments: Any) -> NormResults:
    call = NormCall(*arguments)
    like = call.x.new_empty
    rows = call.x.numel() // max(call.x.shape[-1], 1)
    return NormResults(like(0 if call.added is None else call.x.shape), like(call.x.shape), like(rows))


def _add_rms_norm_backward(*arguments: Any) -> tuple[Tensor, Tensor]:
    dense: list[Any] = [None if value is None else value.contiguous() for value in arguments]
    call = NormAdjoint(*dense)
    grad, grad_weight = _room_backward(*arguments)
    tasks = triton_launch.tasks_of(call.total) if on_gpu(call.total) else tasks_of(call.total)
    sums = call.total.new_empty(tasks, call.total.shape[-1])
    arrays = RowArrays(call.total, call.grad_total, call.weight, grad, call.grad_normed, call.factor, sums)
    _fill_backward(arrays)
    return grad, grad_weight.copy_(sums.sum(0, dtype=torch.float64))


def _fill_backward(arrays: RowArrays) -> None:
    """Writes the gradient of the sum, and sums for that of the weight."""
    if on_gpu(arrays.x):
        return triton_launch.norm_backward(arrays)
    from remanent.ops.elementwise.row_kernels import norm_backward

    return run_rows(norm_backward, arrays)


def _room_backward(*arguments: Any) -> tuple[Tensor, Tensor]:
    call = NormAdjoint(*arguments)
    return call.total.new_empty(call.total.shape), call.weight.new_empty(call.weight.shape)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    call, found = NormCall(*inputs), NormResults(*output)
    ctx.eps = call.eps
    ctx.adds = call.added is not None
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(found.total if ctx.adds else call.x, found.factor, call.weight)


def _backward(ctx: Any, grad_total: Tensor | None, grad_normed: Tensor | None, _: Any) -> Any:
    total, factor, weight = ctx.saved_tensors
    grad_total = grad_total if ctx.adds else None
    grad, grad_weight = grad_total, None
    if grad_normed is not None and torch.is_grad_enabled():  # these gradients are differentiated again
        grad, grad_weight = _composed(NormAdjoint(grad_total, grad_normed, total, factor, weight), ctx.eps)
    elif grad_normed is not None:
        grad, grad_weight = _operator_backward(grad_total, grad_normed, total, factor, weight)
    return NormCall(grad, grad if ctx.adds else None, grad_weight, None)  # type: ignore[arg-type]


def _composed(call: NormAdjoint, eps: float) -> tuple[Tensor, Tensor]:
    """The gradients of the sum and of the weight, by operations that have gradients themselves."""
    total, grad = call.total, call.grad_normed
    factor = (total.square().mean(-1, keepdim=True) + eps).rsqrt()
    inward = grad * call.weight
    through = factor * inward - total * factor**3 * (inward * total).mean(-1, keepdim=True)
    weight = (grad * total * factor).sum_to_size(call.weight.shape)
    return through if call.grad_total is None else through + call.grad_total, weight


def _refuse(ctx: Any, *grads: Tensor) -> None:
    raise NotImplementedError(
        "the backward operator of `add_rms_norm` has no gradient; make the graph when it is called"
    )


_operator = define(
    "remanent::add_rms_norm", f"({schema_of(NormCall)}) -> (Tensor, Tensor, Tensor)", _add_rms_norm, _room
)
_operator_backward = define(
    "remanent::add_rms_norm_backward",
    f"({schema_of(NormAdjoint)}) -> (Tensor, Tensor)",
    _add_rms_norm_backward,
    _room_backward,
)
torch.library.register_autograd(_operator.name(), _backward, setup_context=_save)
torch.library.register_autograd(_operator_backward.name(), _refuse)
