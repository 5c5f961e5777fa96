"""What the GPU scans share before a kernel runs: how time is cut, and the memory that kernels fill.

A kernel needs channels side by side; batch and time may have any strides.
"""

import importlib.util
import os
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import torch
from torch import Tensor

from remanent.ops.arguments import SPAN, compute_dtype
from remanent.ops.gpu.arrays import LatchArrays, LinearArrays

FILL = 512
"""The programs that fill a device other than CUDA."""
FILL_PER_PROCESSOR = 16
"""The programs, of one warp each, that fill a multiprocessor."""
STEPS = 8
"""The time steps that a program loads together."""
LATCH_BACKWARD_STEPS = 4
"""Time steps that the latch's backward pass loads together; more would not fit into the registers."""
DEVICES = ("cuda", "xpu")
"""The devices for which Triton compiles."""


def usable() -> bool:
    """Whether Triton is installed."""
    return importlib.util.find_spec("triton") is not None


def interpreted() -> bool:
    """Whether Triton's interpreter runs the kernels, on tensors of the CPU."""
    return os.environ.get("TRITON_INTERPRET") == "1" and usable()


def launch(
    kernel: Any,
    like: Tensor,
    pieces: int,
    length: int,
    arrays: LatchArrays | LinearArrays,
    options: dict[str, Any],
) -> None:
    """Runs a kernel, without the fused multiply-add, which would change bits.

    Args:
        kernel: the kernel.
        like: a sequence (B, T, D) on the device.
        pieces: the number of pieces that time is cut into.
        length: the steps of a piece.
        arrays: the kernel gets those that it names, and the strides and `_MOVES` of those for which it names them.
        options: other arguments of the kernel, by name; they may replace STEPS.
    """
    import triton.language as tl

    B, T, D = like.shape
    dtype = tl.float64 if like.dtype in (torch.float64, torch.complex128) else tl.float32
    given = arrays._asdict()
    sizes = {"B": B, "T": T, "D": D, "length": length, "STEPS": STEPS, "BLOCK": _block(like), "DTYPE": dtype}
    sizes |= {"RESET": arrays.reset is not None} | options
    wanted = {name: sizes[name] if name in sizes else argument(name, given) for name in kernel.arg_names}
    with on(like.device):
        kernel[(_programs(like) * pieces,)](**wanted, num_warps=1, enable_fp_fusion=False)


def argument(name: str, arrays: dict[str, Tensor | None]) -> Any:
    """What a kernel gets by a name: an array, the strides of one, or whether one moves with time."""
    if name.endswith("_strides"):
        return strides(arrays[name.removesuffix("_strides")])
    if name.endswith("_MOVES"):
        array = arrays[name.removesuffix("_MOVES").lower()]
        return array is not None and array.dim() == 3
    return as_real(arrays[name])


def on(device: torch.device) -> AbstractContextManager[Any]:
    """The context in which a kernel runs on a device; none where it is the current one, which it is nearly always."""
    if device.type != "cuda" or device.index == torch.cuda.current_device():
        return nullcontext()
    return torch.cuda.device(device)


def cut(like: Tensor, whole: bool = False) -> tuple[int, int]:
    """The number of pieces that time is cut into, and their length, for a tensor (B, T, D)."""
    T = like.shape[1]
    fill = fill_of(like.device)
    wanted = -(-fill // _programs(like))
    if whole or wanted == 1 or T <= SPAN:
        return 1, T
    length = SPAN * -(-T // (SPAN * wanted))
    return -(-T // length), length


def fill_of(device: torch.device) -> int:
    """The programs that fill a device."""
    return FILL_PER_PROCESSOR * _processors(device) if device.type == "cuda" else FILL


@cache
def _processors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count


def _programs(like: Tensor) -> int:
    """The programs of a piece of time."""
    return like.shape[0] * -(-like.shape[2] // _block(like))


def _block(like: Tensor) -> int:
    """The channels of a program: wider elements leave fewer registers."""
    return 64 if like.element_size() <= 4 else 32


def piece_tensor(like: Tensor, pieces: int) -> Tensor:
    """Allocates one row per piece of time, (B, pieces, D)."""
    B, _, D = like.shape
    return torch.empty(B, pieces, D, dtype=compute_dtype(like.dtype), device=like.device)


def scratch(like: Tensor, pieces: int) -> Tensor:
    """Allocates some states of a span, one before all steps that are loaded together, for each program."""
    size = _programs(like) * pieces * (SPAN // LATCH_BACKWARD_STEPS) * _block(like)
    return torch.empty(size, dtype=compute_dtype(like.dtype), device=like.device)


def sums(like: Tensor, pieces: int) -> Tensor:
    """Allocates one row of sums per program, in double precision."""
    dtype = torch.complex128 if like.is_complex() else torch.float64
    return torch.empty(pieces * like.shape[0], like.shape[2], dtype=dtype, device=like.device)


def sums_or_rows(grad: Tensor, like: Tensor, pieces: int) -> Tensor:
    """Where a kernel writes a gradient: rows of sums for a parameter (D,), else the gradient itself."""
    return sums(like, pieces) if grad.dim() == 1 else rows_like(grad)


def rows_like(out: Tensor) -> Tensor:
    """The tensor itself where its channels lie side by side, as a kernel needs; otherwise a buffer."""
    fits = out.stride(-1) == 1 if out.dim() == 3 else out.is_contiguous()
    return out if fits else torch.empty(out.shape, dtype=out.dtype, device=out.device)


def give(out: Tensor | None, wanted: Tensor) -> None:
    """Copies a kernel's result to where it belongs; for a parameter (D,), sums the rows of all programs."""
    if out is None:
        wanted.zero_()
    elif wanted.dim() == 1:
        wanted.copy_(out.sum(0))
    elif out is not wanted:
        wanted.copy_(out)


def give_zeros(grads: tuple[Tensor, ...]) -> None:
    """Fills the gradients of an empty batch."""
    for grad in grads:
        grad.zero_()


def channels_last(value: Tensor) -> Tensor:
    """The tensor with its channels side by side."""
    value = (value.detach() if value.requires_grad else value).resolve_conj()
    return value if value.stride(-1) == 1 else value.contiguous()


def contiguous(value: Tensor | None) -> Tensor | None:
    """The tensor without gaps; None where there is none."""
    return None if value is None else value.detach().resolve_conj().contiguous()


def restart_state(value: Tensor | None) -> Tensor | None:
    """The state after a reset as a kernel reads it, (D,) or (B, T, D); None where there is none."""
    return channels_last(value) if value is not None and value.dim() == 3 else contiguous(value)


def reset_bytes(reset: Tensor | None) -> Tensor | None:
    """A bool mask as bytes without gaps; None where there is none."""
    return None if reset is None else reset.contiguous().view(torch.uint8)


def as_real(value: Tensor | None) -> Tensor | None:
    """A complex tensor as pairs of real numbers."""
    return torch.view_as_real(value) if value is not None and value.is_complex() else value


def strides(value: Tensor | None) -> tuple[int, int]:
    """The strides of batch and time, 0 where there is none, counted in real numbers."""
    if value is None or value.dim() != 3:
        return 0, 0
    scale = 2 if value.is_complex() else 1
    return scale * value.stride(0), scale * value.stride(1)
