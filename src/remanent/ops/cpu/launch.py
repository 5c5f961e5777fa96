"""How a CPU kernel is run: its arguments in the form that it reads, and the buffers that it fills.

Kernels take any strides over batch and time. Numba is imported on first use.
"""

import functools
import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from remanent.ops.arguments import SPAN, InitialStates, compute_dtype
from remanent.ops.cpu import threads
from remanent.ops.cpu.arrays import LatchArrays, LinearArrays, LookupArrays, TransitionArrays
from remanent.ops.cpu.cut import Cut


@functools.cache
def usable() -> bool:
    """Whether Numba runs here; warns, once, where it does not."""
    try:
        import numba

        if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
            raise RuntimeError("NUMBA_DISABLE_JIT is set")
        from remanent.ops.cpu import kernels

        nothing = torch.empty(0)
        run(kernels.probe, Cut(0, 1, 1, 1, 1, 1), LinearArrays(nothing, nothing, None, nothing))
    except Exception as error:
        warnings.warn(
            f"the CPU kernels cannot run, so the scans take the slower portable backend: {error}", stacklevel=2
        )
        return False
    return True


def run(
    kernel: Callable[..., None],
    cut: Cut,
    arrays: LatchArrays | LinearArrays | TransitionArrays | LookupArrays,
    epsilon: float = 0.0,
    width: float = 1.0,
    sizes: tuple[int, ...] = (),
) -> None:
    """Calls a kernel with what `kernels.py` describes, and after the arrays the sizes that it has beside them."""
    fixed = sum(1 << i for i, array in enumerate(arrays) if array is not None and array.dim() == 1)
    numbers = [0, cut.tasks, cut.T, cut.D, cut.block, cut.blocks, cut.piece, cut.pieces, SPAN, fixed, 0]
    numbers += np.array([epsilon, width]).view(np.int64).tolist()
    for array in arrays:
        numbers += (0, 0, 0) if array is None else _layout(array)
    arguments = np.array([*numbers, *sizes], dtype=np.int64)
    compiled = threads.compiled(kernel, arrays[0].dtype)
    threads.run(compiled, arguments, min(cut.workers, max(cut.tasks, 1)))


def readable(value: Tensor) -> Tensor:
    """The tensor as a kernel can read it: its last axis contiguous."""
    value = value.detach()  # torch has resolved conjugates and negatives already
    return value if value.stride(-1) == 1 or value.shape[-1] <= 1 else value.contiguous()


def first_state(h0: Tensor | None, like: Tensor) -> Tensor:
    """The state before the first step, (B, 1, D)."""
    B, _, D = like.shape
    return like.new_zeros(1, 1, D).expand(B, 1, D) if h0 is None else readable(h0)[:, None]


def restart_state(initial: InitialStates, like: Tensor) -> Tensor:
    """The state after a reset, (D,) or (B, T, D)."""
    return like.new_zeros(like.shape[2]) if initial.reset_state is None else readable(initial.reset_state)


def room(like: Tensor, *shape: int) -> Tensor:
    """Memory for numbers that stay with the kernels, in the dtype that they compute in."""
    return like.new_empty(shape, dtype=compute_dtype(like.dtype))


def writable(wanted: Tensor) -> Tensor:
    """Where a kernel writes: the tensor itself, or a buffer whose last axis is contiguous."""
    fits = wanted.stride(-1) == 1 or wanted.shape[-1] <= 1
    return wanted if fits else torch.empty(wanted.shape, dtype=wanted.dtype)


def gradient_buffer(grad: Tensor, cut: Cut) -> Tensor:
    """Where a kernel writes a gradient; that of a parameter (D,) is a sum for each span of time."""
    return writable(grad) if grad.dim() > 1 else room(grad, cut.B, cut.spans, cut.D)


def reset_gradient_buffer(grad: Tensor, cut: Cut) -> Tensor:
    """Where a kernel writes the gradient of `reset_state`: as for any other, and 0 where there is no reset."""
    buffer = gradient_buffer(grad, cut)
    return buffer if grad.dim() == 1 else buffer.zero_()


def deliver(out: Tensor | None, wanted: Tensor) -> None:
    """Copies a buffer to where it belongs; for a parameter (D,), sums over batch and spans in double precision."""
    assert out is not None
    if wanted.dim() == 1:
        out = out.sum((0, 1), dtype=torch.complex128 if out.is_complex() else torch.float64)
    if out is not wanted:
        wanted.copy_(out)


def _layout(array: Tensor) -> tuple[int, int, int]:
    """Address and strides over batch and time of (B, T, D), (B, T) for a mask, or (D,)."""
    if array.dim() == 1:
        return array.data_ptr(), 0, 0
    return array.data_ptr(), array.stride(0), array.stride(1)
