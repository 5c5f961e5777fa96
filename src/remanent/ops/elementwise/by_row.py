"""How a kernel is run on the rows of tensors, and which tensors have kernels."""

import struct
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from remanent.ops.cpu import launch as cpu
from remanent.ops.cpu import threads
from remanent.ops.gpu import launch as gpu
from remanent.ops.operators import in_forward_mode, is_traced

DTYPES = (torch.float32, torch.float64)
"""The dtypes of the kernels."""
ROWS = 64
"""The rows of a task. They do not depend on the number of threads, so that sums over rows do not either."""
SMALL = 1 << 15
"""Elements below which a second thread costs more than it saves."""
_PLAIN = (Tensor, torch.nn.Parameter)


class RowArrays(NamedTuple):
    """The arrays of the kernels of rows, each of which reads those that it needs.

    Attributes:
        x: (rows, W).
        other: (rows, D), or None.
        weight: (D,), or None.
        sum: (rows, D), or None.
        out: (rows, D); backward, what was the gradient of it.
        factor: (rows,), or None.
        totals: sums over the rows of a task, (tasks, D), or None.
    """

    x: Tensor
    other: Tensor | None
    weight: Tensor | None
    sum: Tensor | None
    out: Tensor
    factor: Tensor | None = None
    totals: Tensor | None = None


def fits(first: Tensor, *others: Tensor | None) -> bool:
    """Whether kernels run on these tensors here, of one dtype and device, eagerly; the second has the first's shape."""
    dtype, device = first.dtype, first.device
    if dtype not in DTYPES or first.dim() == 0 or is_traced() or not _has_kernels(first):
        return False
    for tensor in others:
        if tensor is not None and not (tensor.dtype is dtype and tensor.device == device):
            return False
    if others[0] is not None and others[0].shape != first.shape:
        return False
    return not in_forward_mode((first, *others))


def on_gpu(tensor: Tensor) -> bool:
    """Whether the kernels of a tensor are those of Triton."""
    return tensor.device.type in gpu.DEVICES


def _has_kernels(tensor: Tensor) -> bool:
    return gpu.usable() if on_gpu(tensor) else tensor.is_cpu and cpu.usable()


def wants_gradient(*tensors: Tensor | None) -> bool:
    """Whether a call on these tensors becomes part of a graph."""
    return torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors)


def has_memory(*tensors: Tensor | None) -> bool:
    """Whether all values lie in memory as they are, and nothing else watches what is done to them."""
    if torch._C._len_torch_dispatch_stack() > 0:
        return False
    return not any(v is not None and (type(v) not in _PLAIN or v.is_neg()) for v in tensors)


def tasks_of(x: Tensor) -> int:
    """The number of tasks for tensors of this shape, (..., D)."""
    return -(-(x.numel() // max(x.shape[-1], 1)) // ROWS)


def run_rows(kernel: Callable[..., None], arrays: RowArrays, number: float = 0.0) -> None:
    """Calls a kernel with what `row_kernels.py` describes; all arrays are contiguous."""
    size, D = arrays.out.numel(), arrays.out.shape[-1]
    if size == 0:
        if arrays.totals is not None:
            arrays.totals.zero_()
        return
    tasks = tasks_of(arrays.out)
    places = [0 if array is None else array.data_ptr() for array in arrays]
    header = bytearray(_HEADER.pack(0, tasks, size // D, D, ROWS, number, *places))
    workers = min(torch.get_num_threads(), tasks) if size >= SMALL else 1
    threads.run(threads.compiled(kernel, arrays.out.dtype), np.frombuffer(header, np.int64), workers)


_HEADER = struct.Struct(f"=5qd{len(RowArrays._fields)}q")
