"""One step without gradients, by a kernel: what it takes in calls of torch costs several times the step's product."""

import ctypes
import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import Parameter

from remanent.ops.arguments import REAL_DTYPES, HeadSizes, compute_dtype
from remanent.ops.cpu import threads
from remanent.ops.cpu.launch import usable
from remanent.ops.operators import is_traced


def latch_step(gates: Tensor, alpha: Tensor | None, h: Tensor, epsilon: float) -> Tensor | None:
    """The states (B, D) after one step of a latch, in the bits of `reference.latch_step`; None where no kernel runs.

    Args:
        gates: candidate and threshold side by side, (B, 2 D), and after them the sizes, (B, 3 D), if `alpha` is None.
        alpha: the sizes of written states, (D,).
        h: the states before, (B, D).
        epsilon: how much of the old state a write keeps.
    """
    if not (runs(gates, h) if alpha is None else runs(gates, h, alpha)) or gates.dim() != 2 or h.dim() != 2:
        return None
    B, D = h.shape
    parts = 3 if alpha is None else 2
    if gates.shape != (B, parts * D) or (alpha is not None and alpha.shape != (D,)):
        return None
    if epsilon != 0 and h.dtype != compute_dtype(h.dtype):  # the reference rounds the product and the sum
        return None
    out = torch.empty_like(h, memory_format=torch.contiguous_format)
    place, apart = gates.data_ptr(), gates.stride(0)
    if alpha is None:
        sizes, sizes_apart = place + 2 * D * gates.element_size(), apart
    else:
        sizes, sizes_apart = alpha.data_ptr(), 0
    call = _latch_step(h.dtype)
    call(place, sizes, h.data_ptr(), out.data_ptr(), B, D, apart, sizes_apart, h.stride(0), epsilon)
    return out


def transition_step(logits: Tensor, h: Tensor, sizes: HeadSizes) -> Tensor | None:
    """The one-hot states (B, D) after one step of tables, in the bits of `transition_scan`.

    None where no kernel runs, and where a state is not one-hot, which the scan says in words.

    Args:
        logits: (B, H K K).
        h: the states before, (B, D); a row of zeros is the start.
        sizes: K and R.
    """
    if not runs(logits, h) or logits.dim() != 2 or h.dim() != 2:
        return None
    (rows, width), (B, D) = logits.shape, h.shape
    heads = sizes.heads(width)
    if rows != B or width != heads * sizes.states**2 or sizes.width(width) != D:
        return None
    out = h.new_empty(B, D)
    places = logits.data_ptr(), h.data_ptr(), out.data_ptr()
    is_right = _transition_step(h.dtype)(*places, B, heads, sizes.tracers, sizes.states, logits.stride(0), h.stride(0))
    return out if is_right else None


def runs(*tensors: Tensor) -> bool:
    """Whether a kernel can read these tensors, of one dtype, and nothing but their values matters."""
    dtype, graph = tensors[0].dtype, torch.is_grad_enabled()
    if dtype not in REAL_DTYPES or forward_ad._current_level >= 0 or is_traced() or not usable():
        return False
    for tensor in tensors:
        if not (
            type(tensor) in (Tensor, Parameter)
            and tensor.is_cpu
            and tensor.dtype is dtype
            and tensor.stride(-1) == 1
            and not tensor.is_neg()
            and not (graph and tensor.requires_grad)
        ):
            return False
    return True


@functools.cache
def _latch_step(dtype: torch.dtype) -> Callable[..., Any]:
    from remanent.ops.cpu import step_kernels

    return _compiled(step_kernels.latch_step, dtype, None, "p" * 4 + "n" * 5 + "x")


@functools.cache
def _transition_step(dtype: torch.dtype) -> Callable[..., Any]:
    from remanent.ops.cpu import step_kernels

    return _compiled(step_kernels.transition_step, dtype, ctypes.c_int64, "p" * 3 + "n" * 6)


def _compiled(kernel: Callable[..., Any], dtype: torch.dtype, result: Any, arguments: str) -> Callable[..., Any]:
    """A kernel as a function of arguments of these kinds: p an address of an array, n an int, x a float."""
    import numba

    pointer = threads.element_pointer(dtype)
    made = numba.void if result is None else numba.int64
    kinds = {"p": pointer, "n": numba.int64, "x": numba.float64}
    code = threads.compile_function(kernel, made(*(kinds[kind] for kind in arguments)))  # type: ignore[no-untyped-call]
    simple: dict[str, Any] = {"p": ctypes.c_void_p, "n": ctypes.c_int64, "x": ctypes.c_double}
    function = ctypes.CFUNCTYPE(result, *(simple[kind] for kind in arguments))(code.address)
    function.code = code  # type: ignore[attr-defined] # it must not be freed
    return function
