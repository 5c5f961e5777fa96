"""The first-order linear scan, real or complex: one public function over its backends."""

from collections.abc import Callable
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from remanent.ops import portable, reference
from remanent.ops.checks import (
    COMPLEX_DTYPES,
    REAL_DTYPES,
    check_backend,
    check_companion,
    check_reset,
    check_sequence,
    fastest,
)
from remanent.ops.cpu import launch as cpu
from remanent.ops.gpu import scans as gpu
from remanent.ops.operators import define, differentiable, empty_sequence
from remanent.ops.portable import previous_states
from remanent.ops.shards import (
    CHUNK,
    DTYPES,
    Agreement,
    ShardedScan,
    by_autograd,
    place_in,
    refusal_announced,
    sharded,
)

BACKENDS: dict[str, tuple[Callable[..., Any], Callable[..., None] | None]] = {
    "reference": (reference.linear_scan, None),
    "portable": (portable.linear_forward, portable.linear_backward),
    "cpu": (cpu.linear_forward, cpu.linear_backward),
    "gpu": (gpu.linear_forward, gpu.linear_backward),
}
"""Name to (forward, backward), which fill the tensors they are given; the reference is left to autograd."""


def linear_scan(
    decay: Tensor,
    value: Tensor,
    h0: Tensor | None = None,
    *,
    reset: Tensor | None = None,
    reset_state: Tensor | None = None,
    backend: str = "auto",
    group: Any = None,
) -> Tensor:
    r"""Linear scan: $h_t = a_t \odot h_{t-1} + v_t$.

    Args:
        decay: $a$, (B, T, D) or (D,), of the dtype of `value`.
        value: $v$, (B, T, D); float32, float64, bfloat16, float16, complex64 or complex128.
        h0: the state before the first step, (B, D); zeros if None.
        reset: bool (B, T): where true, the state is replaced by `reset_state` before that step.
        reset_state: (D,), zeros if None.
        backend: "reference" (time loop), "portable" (plain PyTorch, any device), "cpu" (Numba), "gpu"
            (Triton), or "auto" for the fastest that runs on the device.
        group: the processes that hold a part of the time each, as in `latch_scan`.

    Returns:
        The states after every step, (B, T, D); differentiable twice, with a `group` once. Half types are
        computed, and their gradients summed, in float32. For the backward pass, `decay` and the states are
        kept. The portable backend adds in another order than the rest, as do "cpu" and "gpu" where they cut
        time into pieces, because B and D give their threads too little to do, and as a `group` does; where
        every factor is 0 or 1, and nothing is added where it is 1, all give the same bits.

    Raises:
        ValueError: a shape, a device or the backend does not fit; the message names the argument.
        TypeError: a dtype or type does not fit.

    Source: Orvieto et al. (2023), arXiv 2303.06349.

    >>> linear_scan(torch.tensor([0.5]), torch.ones(1, 3, 1)).flatten().tolist()
    [1.0, 1.5, 1.75]
    """
    if group is None:
        _check(decay, value, h0, reset, reset_state, backend)
        return _run(decay, value, h0, reset, reset_state, backend)
    with refusal_announced(group):
        B, _, D = _check(decay, value, h0, reset, reset_state, backend, empty=True)
    place = place_in(group, value.device)
    agreement = Agreement(place, {"kind of scan": 1, "B": B, "D": D, "dtype": DTYPES.index(value.dtype)})
    inputs = (decay, value, reset, reset_state)
    return sharded(_SHARDED, place, agreement, inputs, (backend,), h0, torch.empty_like(value.detach()))


def _check(
    decay: Tensor,
    value: Tensor,
    h0: Tensor | None,
    reset: Tensor | None,
    reset_state: Tensor | None,
    backend: str,
    *,
    empty: bool = False,
) -> tuple[int, int, int]:
    B, T, D = check_sequence("value", value, REAL_DTYPES + COMPLEX_DTYPES, empty=empty)
    check_companion("decay", decay, value, {f"(B={B}, T={T}, D={D})": (B, T, D), f"(D={D},)": (D,)})
    if h0 is not None:
        check_companion("h0", h0, value, {f"(B={B}, D={D})": (B, D)})
    check_reset(reset, reset_state, value)
    check_backend(backend, BACKENDS, value)
    return B, T, D


def _run(
    decay: Tensor,
    value: Tensor,
    h0: Tensor | None,
    reset: Tensor | None,
    reset_state: Tensor | None,
    backend: str,
) -> Tensor:
    if backend == "reference":
        return reference.linear_scan(decay, value, h0, reset, reset_state)
    return _scan(decay, value, h0, reset, reset_state, backend)


def _linear_scan(
    decay: Tensor,
    value: Tensor,
    h0: Tensor | None,
    reset: Tensor | None,
    reset_state: Tensor | None,
    backend: str,
) -> Tensor:
    forward, _ = BACKENDS[fastest(backend, value)]
    states = empty_sequence(value, value.shape[2])
    forward(decay, value, h0, reset, reset_state, states)
    return states


def _fake_linear_scan(decay: Tensor, value: Tensor, *others: Any) -> Tensor:
    return empty_sequence(value, value.shape[2])


def _linear_scan_backward(
    grad: Tensor,
    states: Tensor,
    decay: Tensor,
    h0: Tensor | None,
    reset: Tensor | None,
    reset_state: Tensor | None,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    _, backward = BACKENDS[fastest(backend, grad)]
    assert backward is not None
    grads = _grads_like(grad, states, decay)
    backward(grad, states, decay, h0, reset, reset_state, grads)
    return grads


def _fake_linear_scan_backward(
    grad: Tensor, states: Tensor, decay: Tensor, *others: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return _grads_like(grad, states, decay)


def _grads_like(grad: Tensor, states: Tensor, decay: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Room for the gradients of decay, value, h0 and reset_state."""
    B, _, D = grad.shape
    grad_value, grad_h0, grad_reset_state = empty_sequence(states, D), grad.new_empty(B, D), grad.new_empty(D)
    return grad.new_empty(decay.shape), grad_value, grad_h0, grad_reset_state


def _save_inputs(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    decay, _, h0, reset, reset_state, ctx.backend = inputs
    ctx.save_for_backward(output, decay, h0, reset, reset_state)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    states, decay, h0, reset, reset_state = ctx.saved_tensors
    inputs = (decay, h0, reset, reset_state, ctx.backend)
    grad_decay, grad_value, grad_h0, grad_reset_state = _adjoint(grad, states, *inputs)
    return (
        grad_decay,
        grad_value,
        None if h0 is None else grad_h0,
        None,
        None if reset_state is None else grad_reset_state,
        None,
    )


def _save_adjoint(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    _, states, decay, h0, reset, reset_state, ctx.backend = inputs
    ctx.save_for_backward(output[1], states, decay, h0, reset, reset_state)


def _double_backward(
    ctx: Any, tan_decay: Tensor, tan_value: Tensor, tan_h0: Tensor, tan_reset_state: Tensor
) -> tuple[Tensor | None, ...]:
    """The adjoint runs back in time, so what goes back through it is a scan forward in time."""
    adjoint, states, decay, h0, reset, reset_state = ctx.saved_tensors
    tans = (tan_decay, tan_value, tan_h0, tan_reset_state)
    tan_decay, tan_value, tan_h0, tan_reset_state = (t.resolve_conj() for t in tans)
    previous = previous_states(states, h0, reset, reset_state)
    start = None if reset is None else tan_reset_state
    forward = _scan(decay, tan_value + tan_decay * previous, tan_h0, reset, start, ctx.backend)
    grad_decay = (adjoint * previous_states(forward, tan_h0, reset, start).conj()).sum_to_size(decay.shape)
    grad_previous = (adjoint * tan_decay.conj()).resolve_conj()
    if reset is None:
        kept, grad_start = grad_previous, None
    else:
        kept = torch.where(reset[..., None], 0.0, grad_previous)
        grad_start = torch.where(reset[..., None], grad_previous, 0.0).sum((0, 1))
    grad_states = torch.cat([kept[:, 1:], torch.zeros_like(kept[:, :1])], dim=1)
    return (
        forward,
        grad_states,
        grad_decay.resolve_conj(),
        None if h0 is None else kept[:, 0],
        None,
        None if reset_state is None else grad_start,
        None,
    )


_operator = define("remanent::linear_scan", _linear_scan, _fake_linear_scan)
_scan = differentiable(_operator, _save_inputs, _backward)
_adjoint = differentiable(
    define("remanent::linear_scan_backward", _linear_scan_backward, _fake_linear_scan_backward),
    _save_adjoint,
    _double_backward,
)


def _run_shard(inputs: tuple[Tensor | None, ...], options: tuple[Any, ...], h0: Tensor | None) -> tuple[Tensor, Tensor]:
    decay, value, reset, reset_state = inputs
    assert decay is not None
    assert value is not None
    states = _run(decay, value, h0, reset, reset_state, *options)
    return states, states


def _kept(inputs: tuple[Tensor | None, ...], options: tuple[Any, ...]) -> Tensor:
    """The product of all that is kept, in a wide dtype; 0 after a reset."""
    decay, value, reset, _ = inputs
    assert decay is not None
    assert value is not None
    B, T, D = value.shape
    wide = torch.complex128 if decay.is_complex() else torch.float64
    if decay.dim() == 1:
        kept = (decay.to(wide) ** T).expand(B, D)
    else:
        kept = reduce(torch.mul, (part.to(wide).prod(1) for part in decay.split(CHUNK, 1)))
    return kept if reset is None else torch.where(reset.any(1, keepdim=True), 0.0, kept)


def _adjoint_shard(
    grad: Tensor, states: Tensor, inputs: tuple[Tensor | None, ...], options: tuple[Any, ...], h0: Tensor | None
) -> tuple[tuple[Tensor | None, ...], Tensor]:
    decay, _, reset, reset_state = inputs
    if options[0] == "reference":
        return by_autograd(lambda leaves, start: _run_shard(leaves, options, start)[0], grad, inputs, h0)
    grads = _adjoint(grad.resolve_conj(), states, decay, h0, reset, reset_state, *options)
    grad_decay, grad_value, grad_h0, grad_reset_state = grads
    return (grad_decay, grad_value, None, None if reset_state is None else grad_reset_state), grad_h0


_SHARDED = ShardedScan(_run_shard, _kept, _adjoint_shard)
