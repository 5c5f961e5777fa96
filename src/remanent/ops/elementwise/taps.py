"""A weighted sum of the last few steps of each channel: what a causal convolution computes of its window and inputs."""

import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from remanent.ops.cpu import threads
from remanent.ops.elementwise import triton_launch
from remanent.ops.elementwise.by_row import ROWS, SMALL, fits, has_memory, on_gpu
from remanent.ops.operators import in_forward_mode, is_traced


def weighted_taps(inputs: Tensor, weight: Tensor) -> Tensor:
    r"""Causal convolution of each channel: $y_t = w_K x_{t+K} + w_{K-1} x_{t+K-1} + \dots$, the present step first.

    Every product and every sum is rounded by itself, so that a step has the same bits wherever in a tensor it lies. On
    a CPU or GPU, float32 and float64 take one pass over memory forward and one backward.

    Args:
        inputs: what the outputs see, the oldest first, (B, T + K - 1, D), with T at least 0.
        weight: (D, K), the present step's last.

    Returns:
        The sums, (B, T, D).

    >>> weighted_taps(torch.tensor([[[1.0], [2.0], [3.0]]]), torch.tensor([[10.0, 1.0]])).flatten().tolist()
    [12.0, 23.0]
    """
    if is_traced() or in_forward_mode((inputs, weight)):
        return weighted_sum(_steps(inputs, weight), weight)
    return _WeightedTaps.apply(inputs, weight)  # type: ignore[no-untyped-call, no-any-return]


def weighted_sum(steps: Sequence[Tensor], weight: Tensor) -> Tensor:
    """The sum of inputs (..., D), the oldest first, each times a column of the weight (D, K): the present one first."""
    weights = weight.unbind(1)
    total = steps[-1] * weights[-1]
    for step, factor in zip(reversed(steps[:-1]), reversed(weights[:-1]), strict=True):
        total = total.add_(step * factor)  # a product keeps its factors for the backward pass, not itself
    return total


class _WeightedTaps(torch.autograd.Function):
    """The sums without the copies of autograd."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(inputs, weight)
        if not _has_kernel(inputs, weight):
            return weighted_sum(_steps(inputs, weight), weight)
        B, rows, D = inputs.shape
        K = weight.shape[1]
        out = inputs.new_empty(B, rows - K + 1, D)
        inputs = _side_by_side(inputs)
        if on_gpu(inputs):
            triton_launch.taps_forward(inputs, weight.T.contiguous(), out)
            return out
        from remanent.ops.elementwise.tap_kernels import taps_forward

        _run(taps_forward, inputs, weight.T.contiguous(), out)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        inputs, weight = ctx.saved_tensors
        if torch.is_grad_enabled() or not _has_kernel(inputs, weight, grad):
            around = F.pad(grad, (0, 0, weight.shape[1] - 1, weight.shape[1] - 1))
            of_inputs = _WeightedTaps.apply(around, weight.flip(1))  # type: ignore[no-untyped-call]
            return of_inputs, torch.stack([(grad * step).sum((0, 1)) for step in _steps(inputs, weight)], dim=1)
        inputs, grad, columns = _side_by_side(inputs), grad.contiguous(), weight.T.contiguous()
        of_inputs, totals = inputs.new_empty(inputs.shape), _room_for_sums(inputs, weight)
        if on_gpu(inputs):
            triton_launch.taps_backward(inputs, columns, grad, of_inputs, totals)
        else:
            from remanent.ops.elementwise.tap_kernels import taps_backward

            _run(taps_backward, inputs, columns, grad, of_inputs, totals)
        return of_inputs, totals.sum((0, 1), dtype=torch.float64).T.to(weight.dtype)


def _steps(inputs: Tensor, weight: Tensor) -> list[Tensor]:
    """For each step of the window, the oldest first, the inputs that the outputs find there."""
    K = weight.shape[1]
    return [inputs[:, start : inputs.shape[1] - K + 1 + start] for start in range(K)]


def _has_kernel(inputs: Tensor, weight: Tensor, *others: Tensor) -> bool:
    given = (inputs, weight, *others)
    return inputs.numel() > 0 and has_memory(*given) and fits(inputs, None, weight, *others)


def _pieces(rows: int) -> int:
    return -(-rows // ROWS)


def _room_for_sums(inputs: Tensor, weight: Tensor) -> Tensor:
    """For sums over the rows of each piece of time, (B, pieces, K, D)."""
    B, rows, D = inputs.shape
    pieces = -(-rows // triton_launch.STEPS) if on_gpu(inputs) else _pieces(rows)
    return inputs.new_empty(B, pieces, weight.shape[1], D)


def _side_by_side(inputs: Tensor) -> Tensor:
    """The inputs with the rows of each sequence one after another."""
    return inputs if inputs.stride(2) == 1 and inputs.stride(1) == inputs.shape[2] else inputs.contiguous()


def _run(kernel: Callable[..., None], inputs: Tensor, weight: Tensor, out: Tensor, *more: Tensor) -> None:
    """Calls a kernel with what `tap_kernels.py` describes."""
    B, rows, D = inputs.shape
    tasks = B * _pieces(rows)
    sizes = (0, tasks, rows, D, weight.shape[0], ROWS, _pieces(rows), inputs.stride(0))
    places = [array.data_ptr() for array in (inputs, weight, out, *more)]
    header = bytearray(struct.pack(f"={len(sizes) + len(places)}q", *sizes, *places))
    workers = min(torch.get_num_threads(), tasks) if inputs.numel() >= SMALL else 1
    threads.run(threads.compiled(kernel, inputs.dtype), np.frombuffer(header, np.int64), workers)
