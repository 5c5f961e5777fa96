"""The set-or-hold scan: one public function over its backends."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from remanent._options import check_range
from remanent.ops import _cpu, _portable, reference
from remanent.ops._checks import (
    REAL_DTYPES,
    check_backend,
    check_companion,
    check_reset,
    check_scalar,
    check_sequence,
    read_scalar,
)
from remanent.ops._transforms import differentiable

BACKENDS: dict[str, tuple[Callable[..., Tensor], Callable[..., tuple[Tensor, ...]] | None]] = {
    "reference": (reference.latch_scan, None),
    "portable": (_portable.latch_forward, _portable.latch_backward),
    "cpu": (_cpu.latch_forward, _cpu.latch_backward),
}
"""Name to (forward, backward); the reference leaves its backward pass to autograd."""


def latch_scan(
    candidate: Tensor,
    threshold: Tensor,
    alpha: Tensor,
    h0: Tensor | None = None,
    *,
    epsilon: float | Tensor = 0.0,
    width: float = 1.0,
    reset: Tensor | None = None,
    reset_state: Tensor | None = None,
    backend: str = "auto",
) -> Tensor:
    r"""Set-or-hold: $h_t = \alpha\,\mathrm{sgn}(c_t) + \epsilon h_{t-1}$ where $|c_t| \ge |\beta_t|$, else $h_{t-1}$.

    With `epsilon` 0 a step writes exactly $\pm\alpha$ or copies the state, so that every backend, every
    cut into chunks and every dtype gives the same bits. The backward pass replaces the derivative of
    the step $H(u)$ by $a / (1 + (\pi a u)^2)$ and that of the sign by twice as much, and is exact for
    the rest. A NaN in `candidate` or `threshold` holds.

    Args:
        candidate: $c$, values that may be written, (B, T, D); float32, float64, bfloat16 or float16.
        threshold: $\beta$, used by its absolute value, (B, T, D) or (D,).
        alpha: the size of a written state, (B, T, D) or (D,).
        h0: the state before the first step, (B, D); zeros if None.
        epsilon: how much of the old state a write keeps, in [0, 1]: 0 is the BMRU, 1 the CMRU. A tensor
            () of float64 on the CPU may change between calls without a new compilation.
        width: the surrogate's $a > 0$; a larger one looks at a narrower band around the threshold.
        reset: bool (B, T): where true, the state is replaced by `reset_state` before that step.
        reset_state: (D,), zeros if None; never the carried `h0`: a new episode must not see the last.
        backend: "reference" (time loop), "portable" (plain PyTorch, any device), "cpu" (Numba), or
            "auto" for the fastest that the device has.

    Returns:
        The states after every step, (B, T, D). Half types are computed, and their gradients summed,
        in float32.

    Raises:
        ValueError: a shape, a device, a range or the backend does not fit; the message names the argument.
        TypeError: a dtype or type does not fit.

    Source: De Geeter et al. (2026), arXiv 2601.09495; epsilon: Brandoit et al. (2026), arXiv 2605.11855.

    >>> latch_scan(torch.tensor([[[2.0], [0.1], [-2.0]]]), torch.ones(1, 3, 1), torch.ones(1)).flatten().tolist()
    [1.0, 1.0, -1.0]
    """
    B, T, D = check_sequence("candidate", candidate, REAL_DTYPES)
    gate_shapes = {f"(B={B}, T={T}, D={D})": (B, T, D), f"(D={D},)": (D,)}
    check_companion("threshold", threshold, candidate, gate_shapes)
    check_companion("alpha", alpha, candidate, gate_shapes)
    if h0 is not None:
        check_companion("h0", h0, candidate, {f"(B={B}, D={D})": (B, D)})
    epsilon = check_scalar("epsilon", epsilon, 0, 1)
    check_range("width", width, 0, float("inf"), open_low=True)
    check_reset(reset, reset_state, candidate)
    backend = check_backend(backend, BACKENDS, candidate)
    if backend == "reference":
        share = read_scalar("epsilon", epsilon, 0, 1)
        return reference.latch_scan(candidate, threshold, alpha, h0, share, width, reset, reset_state)
    return _scan(candidate, threshold, alpha, h0, epsilon, width, reset, reset_state, backend)


@torch.library.custom_op("remanent::latch_scan", mutates_args=())
def _latch_scan(
    candidate: Tensor,
    threshold: Tensor,
    alpha: Tensor,
    h0: Tensor | None,
    epsilon: Tensor,
    width: float,
    reset: Tensor | None,
    reset_state: Tensor | None,
    backend: str,
) -> Tensor:
    forward, _ = BACKENDS[backend]
    return forward(candidate, threshold, alpha, h0, read_scalar("epsilon", epsilon, 0, 1), reset, reset_state)


@_latch_scan.register_fake
def _(
    candidate: Tensor,
    threshold: Tensor,
    alpha: Tensor,
    h0: Tensor | None,
    epsilon: Tensor,
    width: float,
    reset: Tensor | None,
    reset_state: Tensor | None,
    backend: str,
) -> Tensor:
    return candidate.new_empty(candidate.shape)


@torch.library.custom_op("remanent::latch_scan_backward", mutates_args=())
def _latch_scan_backward(
    grad: Tensor,
    states: Tensor,
    candidate: Tensor,
    threshold: Tensor,
    alpha: Tensor,
    h0: Tensor | None,
    epsilon: Tensor,
    width: float,
    reset: Tensor | None,
    reset_state: Tensor | None,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    _, backward = BACKENDS[backend]
    assert backward is not None
    inputs = (candidate, threshold, alpha, h0, epsilon.item(), width, reset, reset_state)
    return backward(grad, states, *inputs)  # type: ignore[return-value]


@_latch_scan_backward.register_fake
def _(
    grad: Tensor,
    states: Tensor,
    candidate: Tensor,
    threshold: Tensor,
    alpha: Tensor,
    h0: Tensor | None,
    epsilon: Tensor,
    width: float,
    reset: Tensor | None,
    reset_state: Tensor | None,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    B, T, D = candidate.shape
    shapes = ((B, T, D), threshold.shape, alpha.shape, (B, D), (D,))
    return tuple(candidate.new_empty(shape) for shape in shapes)  # type: ignore[return-value]


def _save_inputs(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    candidate, threshold, alpha, h0, epsilon, ctx.width, reset, reset_state, ctx.backend = inputs
    ctx.save_for_backward(output, candidate, threshold, alpha, h0, epsilon.clone(), reset, reset_state)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    states, candidate, threshold, alpha, h0, epsilon, reset, reset_state = ctx.saved_tensors
    inputs = (candidate, threshold, alpha, h0, epsilon, ctx.width, reset, reset_state, ctx.backend)
    grad_candidate, grad_threshold, grad_alpha, grad_h0, grad_reset_state = _adjoint(grad, states, *inputs)
    return (
        grad_candidate,
        grad_threshold,
        grad_alpha,
        None if h0 is None else grad_h0,
        None,
        None,
        None,
        None if reset_state is None else grad_reset_state,
        None,
    )


def _save_nothing(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    pass


def _refuse(ctx: Any, *grads: Tensor) -> None:
    raise NotImplementedError("`latch_scan` can be differentiated once, since its gradients are surrogates")


_scan = differentiable(_latch_scan, _save_inputs, _backward)
_adjoint = differentiable(_latch_scan_backward, _save_nothing, _refuse)
