"""One step of the complex linear recurrence, in real arithmetic; without gradients by a kernel."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from remanent.ops.cpu import step as cpu_step
from remanent.ops.pairs.views import as_complex


def rotation_step(factor: Tensor, scale: Tensor, value: Tensor, h: Tensor) -> Tensor:
    r"""One step of a complex linear recurrence: $h' = a \odot h + s \odot v$; a gradient changes no bit of it.

    Args:
        factor: $a$, pairs (D, 2).
        scale: $s$, real, (D,).
        value: $v$, the real parts and after them the imaginary parts, (B, 2 D).
        h: the states before the step, complex, (B, D).

    Returns:
        The states after the step, complex, (B, D).

    >>> h = rotation_step(torch.tensor([[0.0, 0.5]]), torch.ones(1), torch.tensor([[1.0, 2.0]]), torch.tensor([[4j]]))
    >>> h.item()
    (-1+2j)
    """
    after = _by_kernel(factor, scale, value, h)
    if after is not None:
        return after
    v, w = (scale * value.unflatten(-1, (2, -1))).unbind(-2)
    (real, imaginary), (x, y) = factor.unbind(-1), torch.view_as_real(h.resolve_conj()).unbind(-1)
    parts = (real * x - imaginary * y + v, real * y + imaginary * x + w)
    return as_complex(torch.stack(parts, dim=-1).flatten(-2))


def _by_kernel(factor: Tensor, scale: Tensor, value: Tensor, h: Tensor) -> Tensor | None:
    """The states after the step; None where no kernel runs."""
    if not cpu_step.runs(factor, scale, value) or not _fits(h, value):
        return None
    (B, D), out = h.shape, torch.empty_like(h, memory_format=torch.contiguous_format)
    places = factor.data_ptr(), scale.data_ptr(), value.data_ptr(), h.data_ptr(), out.data_ptr()
    _kernel(value.dtype)(*places, B, D, value.stride(0), h.stride(0))
    return out


def _fits(h: Tensor, value: Tensor) -> bool:
    """Whether the kernel can read these states."""
    return (
        type(h) in (Tensor, Parameter)
        and h.is_cpu
        and h.dtype is (torch.complex64 if value.dtype is torch.float32 else torch.complex128)
        and h.dim() == value.dim() == 2
        and value.shape == (h.shape[0], 2 * h.shape[1])
        and h.stride(1) == 1
        and not h.is_conj()
        and not h.is_neg()
        and not (torch.is_grad_enabled() and h.requires_grad)
    )


@functools.cache
def _kernel(dtype: torch.dtype) -> Callable[..., Any]:
    from remanent.ops.pairs import rotation_kernels

    return cpu_step.compiled(rotation_kernels.rotation_step, dtype, None, "p" * 5 + "n" * 4)
