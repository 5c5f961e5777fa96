"""A linear map whose rows do not depend on how many are computed together."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from remanent.ops.operators import in_forward_mode

TILE_ROWS = 16
"""Rows are filled up to a multiple of this number: matrix libraries treat the rest of a tile differently."""
TILE_COLUMNS = {torch.float64: 48}
"""Columns are filled up to a multiple of this number, by dtype; 16 for every other one."""

_context = threading.local()  # not a `ContextVar`, which the compiler cannot trace


@contextmanager
def plain_products() -> Iterator[None]:
    """Makes `row_linear` one plain product in this thread for the time of the context.

    This is for graphs that are exported to other libraries, which add in an order of their own.
    """
    before = getattr(_context, "plain", False)
    _context.plain = True
    try:
        yield
    finally:
        _context.plain = before


def row_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, exact: bool = False) -> Tensor:
    r"""Linear map $y = x W^\top + b$, the same bits for a row alone as among many.

    Matrix libraries change the order of a sum with the number of rows and at the edges of the result.
    One different bit can flip a gate, and a latch keeps a flipped state forever. On a CPU, rows and columns
    are therefore filled up to whole tiles before the product, so that one step of a unit equals the same step
    of a whole sequence. Under autocast, only the product is in the half type.

    Args:
        x: the rows, (..., M).
        weight: $W$, (N, M).
        bias: $b$, (N,); zeros if None.
        exact: whether under autocast, too, the product is in the dtype of the weight; those for its gradients are in
            the half type. It is for what is compared, as the gates of a latch, which rounded would set where they
            should hold, and for states that are sums, of which eight bits do not hold a single write.

    Returns:
        The rows $y$, (..., N), in the dtype of the weight.

    >>> x, weight = torch.randn(1000, 5), torch.randn(3, 5)
    >>> torch.equal(row_linear(x[7:8], weight), row_linear(x, weight)[7:8])
    True
    """
    if exact and x.device.type != "meta" and torch.is_autocast_enabled(x.device.type):
        if in_forward_mode((x, weight, bias)):
            return _in_dtype_of_weight(x, weight, bias)
        return _ExactProduct.apply(x, weight, bias)  # type: ignore[no-untyped-call, no-any-return]
    if getattr(_context, "plain", False) or not x.is_cpu:
        return F.linear(x, weight, bias).to(weight.dtype)
    if x.dim() == 2:
        return _rows_in_tiles(x, weight, bias)
    if not torch.compiler.is_compiling() and x.dim() == 3 and x.stride(0) < x.stride(1):
        return row_linear(x.transpose(0, 1), weight, bias).transpose(0, 1)  # time first: rows as they lie
    return _rows_in_tiles(x.reshape(-1, x.shape[-1]), weight, bias).reshape(*x.shape[:-1], weight.shape[0])


def _in_dtype_of_weight(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    with torch.autocast(x.device.type, enabled=False):
        return row_linear(x.to(weight.dtype), weight, bias)


class _ExactProduct(torch.autograd.Function):
    """A product under autocast as it is without, whose gradients are products in the half type."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return _in_dtype_of_weight(x, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None], output: Tensor) -> None:
        x, weight, _ = inputs
        ctx.half = torch.get_autocast_dtype(x.device.type)
        ctx.save_for_backward(x, weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        wants_x, wants_weight, wants_bias = ctx.needs_input_grad
        half = grad.to(ctx.half)
        of_x = (half @ weight.to(ctx.half)).to(x.dtype) if wants_x else None
        of_weight = None
        if wants_weight:
            inputs = x.reshape(-1, weight.shape[1]).to(ctx.half)
            of_weight = (half.reshape(-1, weight.shape[0]).T @ inputs).to(weight.dtype)
        return of_x, of_weight, grad.reshape(-1, weight.shape[0]).sum(0) if wants_bias else None


def _rows_in_tiles(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`row_linear` of rows (B, M) on a CPU, by few calls of torch: each takes as long as the product of a step."""
    N = weight.shape[0]
    missing_rows, missing_columns = -x.shape[0] % TILE_ROWS, -N % TILE_COLUMNS.get(x.dtype, 16)
    traced = torch.compiler.is_compiling() and _may_change(missing_rows)
    if traced or missing_rows:
        x = torch.constant_pad_nd(x, (0, 0, 0, missing_rows))
    if missing_columns:
        weight = torch.constant_pad_nd(weight, (0, 0, 0, missing_columns))
        bias = None if bias is None else torch.constant_pad_nd(bias, (0, missing_columns))
    y = F.linear(x, weight, bias)
    if y.dtype != weight.dtype:
        y = y.to(weight.dtype)
    if missing_columns:
        return y[: y.shape[0] - missing_rows, :N]
    return y[: y.shape[0] - missing_rows] if traced or missing_rows else y


def _may_change(missing_rows: int) -> bool:
    """Whether a graph that is traced now may run with another number of rows, on which it must not depend then."""
    from torch.fx.experimental.symbolic_shapes import statically_known_true

    return not (statically_known_true(missing_rows == 0) or statically_known_true(missing_rows > 0))
