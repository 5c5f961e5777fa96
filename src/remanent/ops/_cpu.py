"""The scans for the CPU: Numba loops that read and write each element once.

The inner loop runs over channels on row views, which lets the compiler vectorise it. Arrays are
(B, T, D), or (1, 1, D) where a parameter is the same at every step. Numba is imported on first use.
"""

from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from remanent.ops.reference import compute_dtype


def latch_forward(
    candidate: Tensor,
    threshold: Tensor,
    alpha: Tensor,
    h0: Tensor | None,
    epsilon: float,
    reset: Tensor | None,
    reset_state: Tensor | None,
) -> Tensor:
    """States (B, T, D) of the latch; shapes as in `remanent.ops.latch_scan`."""
    arrays = _latch_arrays(candidate, threshold, alpha, h0, reset, reset_state)
    states = torch.empty(candidate.shape, dtype=compute_dtype(candidate.dtype))
    _kernels().latch_forward(*arrays, arrays[0].dtype.type(epsilon), states.numpy())
    return states.to(candidate.dtype)


def latch_backward(
    grad: Tensor,
    states: Tensor,
    candidate: Tensor,
    threshold: Tensor,
    alpha: Tensor,
    h0: Tensor | None,
    epsilon: float,
    width: float,
    reset: Tensor | None,
    reset_state: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of candidate, threshold, alpha, h0 and reset_state, in their shapes and dtypes."""
    B, _, D = candidate.shape
    dtype, compute = candidate.dtype, compute_dtype(candidate.dtype)
    arrays = _latch_arrays(candidate, threshold, alpha, h0, reset, reset_state)
    real = arrays[0].dtype.type
    grads = [torch.empty(v.shape, dtype=compute) for v in (candidate, threshold, alpha)]
    grads += [torch.empty(B, D, dtype=compute), torch.empty(D, dtype=compute)]
    _kernels().latch_backward(
        _array(grad), _array(states), *arrays, real(epsilon), real(width), *(_rows(g) for g in grads)
    )
    return tuple(g.to(dtype) for g in grads)  # type: ignore[return-value]


def linear_forward(
    decay: Tensor, value: Tensor, h0: Tensor | None, reset: Tensor | None, reset_state: Tensor | None
) -> Tensor:
    """States (B, T, D) of the linear recurrence; shapes as in `remanent.ops.linear_scan`."""
    states = torch.empty(value.shape, dtype=compute_dtype(value.dtype))
    carry = _carry_arrays(value, h0, reset, reset_state)
    _kernels().linear_forward(_array(decay), _array(value), *carry, states.numpy())
    return states.to(value.dtype)


def linear_backward(
    grad: Tensor,
    states: Tensor,
    decay: Tensor,
    h0: Tensor | None,
    reset: Tensor | None,
    reset_state: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of decay, value, h0 and reset_state, in their shapes and dtypes."""
    B, T, D = grad.shape
    dtype, compute = grad.dtype, compute_dtype(grad.dtype)
    shapes = (decay.shape, (B, T, D), (B, D), (D,))
    grads = [torch.empty(shape, dtype=compute) for shape in shapes]
    carry = _carry_arrays(grad, h0, reset, reset_state)
    _kernels().linear_backward(_array(grad), _array(states), _array(decay), *carry, *(_rows(g) for g in grads))
    return tuple(g.to(dtype) for g in grads)  # type: ignore[return-value]


def _latch_arrays(
    candidate: Tensor,
    threshold: Tensor,
    alpha: Tensor,
    h0: Tensor | None,
    reset: Tensor | None,
    reset_state: Tensor | None,
) -> tuple[np.ndarray, ...]:
    gates = (_array(v) for v in (candidate, threshold, alpha))
    return (*gates, *_carry_arrays(candidate, h0, reset, reset_state))


def _carry_arrays(
    like: Tensor, h0: Tensor | None, reset: Tensor | None, reset_state: Tensor | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """h0 (B, 1, D), reset (B, T) or (0, 0) for none, reset_state (1, 1, D)."""
    B, _, D = like.shape
    h0 = like.new_zeros(B, 1, D) if h0 is None else h0[:, None]
    reset = torch.zeros(0, 0, dtype=torch.bool) if reset is None else reset
    reset_state = like.new_zeros(D) if reset_state is None else reset_state
    return _array(h0), reset.contiguous().numpy(), _array(reset_state)


def _array(value: Tensor) -> np.ndarray:
    value = value.detach().resolve_conj().to(compute_dtype(value.dtype))
    return _rows(value.contiguous())


def _rows(value: Tensor) -> np.ndarray:
    """A numpy view of rank 3 on a contiguous tensor: (B, T, D), (B, 1, D) or (1, 1, D)."""
    if value.dim() == 2:
        value = value[:, None]
    return value.view(-1, *value.shape[-2:]).numpy() if value.dim() == 3 else value.view(1, 1, -1).numpy()


def _kernels() -> ModuleType:
    """The compiled loops; importing them imports Numba."""
    from remanent.ops import _cpu_kernels

    return _cpu_kernels
