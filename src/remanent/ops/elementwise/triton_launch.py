"""How the Triton kernels of rows and of a short convolution are launched; Triton is imported on first use."""

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from remanent.ops.elementwise.by_row import RowArrays
from remanent.ops.gpu.launch import on

WIDEST = 4096
"""The most elements of a row that one program normalises."""
WARP_ELEMENTS = 512
"""The elements of a row for each warp, of which a program has 8 at most."""
ROWS = 16
"""The rows of a program of the backward pass, one after another."""
STEPS, CHANNELS = 32, 64
"""The tile of a program that convolves; `totals` has a row of sums for each."""


def norm_forward(arrays: RowArrays, eps: float) -> None:
    """Fills the norm of each row, its factor and, where something is added, the sum; all arrays are contiguous."""
    rows, D = _rows(arrays.out)
    given = (arrays.x, arrays.other, arrays.weight, arrays.sum, arrays.out, arrays.factor, rows, D)
    _launch("norm_forward", (rows,), given, {"EPS": eps} | _of_row(arrays.x))


def norm_backward(arrays: RowArrays) -> None:
    """Fills the gradient of each row, `sum`, and the sums of `ROWS` rows for that of the weight, `totals`."""
    rows, D = _rows(arrays.out)
    given = (arrays.x, arrays.other, arrays.out, arrays.weight, arrays.factor, arrays.sum, arrays.totals, rows, D)
    _launch("norm_backward", (tasks_of(arrays.out),), given, {"ROWS": ROWS} | _of_row(arrays.x))


def tasks_of(x: Tensor) -> int:
    """The number of programs of the backward pass for tensors of this shape, (..., D)."""
    return -(-_rows(x)[0] // ROWS)


def taps_forward(inputs: Tensor, weight: Tensor, out: Tensor) -> None:
    """Fills the sums (B, T, D) of inputs (B, T + K - 1, D), whose rows lie side by side, with a weight (K, D)."""
    B, T, D = out.shape
    options = {"TAPS": weight.shape[0], "STEPS": STEPS, "BLOCK": CHANNELS}
    grid = (B * -(-T // STEPS), -(-D // CHANNELS))
    _launch("taps_forward", grid, (inputs, weight, out, T, D, inputs.stride(0)), options)


def taps_backward(inputs: Tensor, weight: Tensor, grad: Tensor, grad_inputs: Tensor, totals: Tensor) -> None:
    """Fills the gradient of the inputs, and for that of the weight the sums of each piece, (B, pieces, K, D)."""
    B, T, D = grad.shape
    options = {"TAPS": weight.shape[0], "STEPS": STEPS, "BLOCK": CHANNELS}
    grid = (B * totals.shape[1], -(-D // CHANNELS))
    _launch("taps_backward", grid, (inputs, weight, grad, grad_inputs, totals, T, D, inputs.stride(0)), options)


def kernels() -> ModuleType:
    """Importing the kernels imports Triton."""
    from remanent.ops.elementwise import triton_kernels

    return triton_kernels


def _rows(array: Tensor) -> tuple[int, int]:
    D = array.shape[-1]
    return array.numel() // max(D, 1), D


def _of_row(x: Tensor) -> dict[str, Any]:
    """The block of channels that holds a row, the type of its numbers, and the warps for it."""
    import triton.language as tl

    block = 1 << max(x.shape[-1] - 1, 1).bit_length()
    warps = min(max(block // WARP_ELEMENTS, 1), 8)
    return {"BLOCK": block, "DTYPE": tl.float64 if x.dtype == torch.float64 else tl.float32, "num_warps": warps}


def _launch(name: str, grid: tuple[int, ...], given: tuple[Any, ...], options: dict[str, Any]) -> None:
    """Runs a kernel on what it needs, if there is anything to do."""
    if 0 in grid:
        return
    with on(given[0].device):
        getattr(kernels(), name)[grid](*given, **options, enable_fp_fusion=False)
