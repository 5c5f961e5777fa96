"""The latch as an operator: its backends, its results' shapes, its gradient; `latch.py` checks and describes."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from remanent.ops import portable, reference
from remanent.ops.checks import fastest, read_scalar
from remanent.ops.cpu import launch as cpu
from remanent.ops.gpu import scans as gpu
from remanent.ops.operators import define, differentiable, empty_sequence
from remanent.ops.reference import SPAN
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
    "reference": (reference.latch_scan, None),
    "portable": (portable.latch_forward, portable.latch_backward),
    "cpu": (cpu.latch_forward, cpu.latch_backward),
    "gpu": (gpu.latch_forward, gpu.latch_backward),
}
"""Name to (forward, backward), which fill the tensors they are given; the reference is left to autograd."""


def run_latch(
    gates: Tensor,
    threshold: Tensor | None,
    alpha: Tensor | None,
    h0: Tensor | None,
    epsilon: Tensor,
    width: float,
    reset: Tensor | None,
    reset_state: Tensor | None,
    backend: str,
) -> Tensor:
    """States of gates as in `latch_scan`; threshold and alpha that are None lie beside the candidate."""
    if backend == "reference":
        share = read_scalar("epsilon", epsilon, 0, 1)
        return reference.latch_scan(*split_gates(gates, threshold, alpha), h0, share, width, reset, reset_state)
    states, _ = _scan(gates, threshold, alpha, h0, epsilon, width, reset, reset_state, backend)
    return states


def run_shard(
    gates: Tensor,
    threshold: Tensor | None,
    alpha: Tensor | None,
    h0: Tensor | None,
    epsilon: Tensor,
    width: float,
    reset: Tensor | None,
    reset_state: Tensor | None,
    backend: str,
    *,
    group: Any,
) -> Tensor:
    """The same of this process's steps, of a sequence whose others lie on the other processes of a group."""
    place = place_in(group, gates.device)
    with refusal_announced(group):
        share = read_scalar("epsilon", epsilon, 0, 1)
    B, T, W = gates.shape
    states = gates.new_empty(B, T, W // _parts(threshold, alpha))
    values = {"kind of scan": 0, "B": B, "D": states.shape[2], "dtype": DTYPES.index(gates.dtype)}
    agreement = Agreement(place, values | {"epsilon": share, "width": width})
    inputs = (gates, threshold, alpha, reset, reset_state)
    return sharded(_SHARDED, place, agreement, inputs, (epsilon, width, backend), h0, states)


def split_gates(gates: Tensor, threshold: Tensor | None, alpha: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Candidate, threshold and alpha; those that are None lie beside the candidate."""
    if threshold is not None:
        assert alpha is not None
        return gates, threshold, alpha
    candidate, threshold, *size = gates.chunk(_parts(threshold, alpha), dim=-1)
    return candidate, threshold, size[0] if alpha is None else alpha


def _parts(threshold: Tensor | None, alpha: Tensor | None) -> int:
    return 1 + (threshold is None) + (alpha is None)


def _latch_scan(
    gates: Tensor,
    threshold: Tensor | None,
    alpha: Tensor | None,
    h0: Tensor | None,
    epsilon: Tensor,
    width: float,
    reset: Tensor | None,
    reset_state: Tensor | None,
    backend: str,
) -> tuple[Tensor, Tensor]:
    forward, _ = BACKENDS[fastest(backend, gates)]
    states, starts = _states_like(gates, threshold, alpha)
    inputs = (*split_gates(gates, threshold, alpha), h0, read_scalar("epsilon", epsilon, 0, 1), reset, reset_state)
    forward(*inputs, states)
    ends = states[:, SPAN - 1 :: SPAN]
    starts[:, 0] = 0 if h0 is None else h0
    starts[:, 1 : 1 + ends.shape[1]] = ends
    starts[:, 1 + ends.shape[1] :] = states[:, -1:]
    return states, starts


def _fake_latch_scan(
    gates: Tensor, threshold: Tensor | None, alpha: Tensor | None, *others: Any
) -> tuple[Tensor, Tensor]:
    return _states_like(gates, threshold, alpha)


def _states_like(gates: Tensor, threshold: Tensor | None, alpha: Tensor | None) -> tuple[Tensor, Tensor]:
    """Room for the states, and for those that each span of time starts from, (B, T // SPAN + 2, D).

    That is one too many or two, for a compiler would take a size that may be 1 apart from all others.
    """
    B, T, W = gates.shape
    D = W // _parts(threshold, alpha)
    return empty_sequence(gates, D), gates.new_empty(B, T // SPAN + 2, D)


def _latch_scan_backward(
    grad: Tensor,
    starts: Tensor,
    gates: Tensor,
    threshold: Tensor | None,
    alpha: Tensor | None,
    h0: Tensor | None,
    epsilon: Tensor,
    width: float,
    reset: Tensor | None,
    reset_state: Tensor | None,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    _, backward = BACKENDS[fastest(backend, gates)]
    assert backward is not None
    grads = _grads_like(grad, gates, threshold, alpha)
    places = split_gates(
        grads[0], *(None if v is None else g for v, g in zip((threshold, alpha), grads[1:3], strict=True))
    )
    inputs = (*split_gates(gates, threshold, alpha), h0, epsilon.item(), width, reset, reset_state)
    backward(grad, starts, *inputs, (*places, *grads[3:]))
    return grads


def _fake_latch_scan_backward(
    grad: Tensor, starts: Tensor, gates: Tensor, threshold: Tensor | None, alpha: Tensor | None, *others: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    return _grads_like(grad, gates, threshold, alpha)


def _grads_like(
    grad: Tensor, gates: Tensor, threshold: Tensor | None, alpha: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Room for the gradients of gates, threshold, alpha, h0 and reset_state; (0,) where there is none."""
    B, _, D = grad.shape
    shapes = (*((0,) if v is None else v.shape for v in (threshold, alpha)), (B, D), (D,))
    grad_gates = empty_sequence(gates, gates.shape[2])
    return grad_gates, *(gates.new_empty(shape) for shape in shapes)  # type: ignore[return-value]


def _save_inputs(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    gates, threshold, alpha, h0, epsilon, ctx.width, reset, reset_state, ctx.backend = inputs
    _, starts = output
    ctx.save_for_backward(starts, gates, threshold, alpha, h0, epsilon.clone(), reset, reset_state)


def _backward(ctx: Any, grad: Tensor, grad_starts: Tensor) -> tuple[Tensor | None, ...]:
    starts, gates, threshold, alpha, h0, epsilon, reset, reset_state = ctx.saved_tensors
    inputs = (gates, threshold, alpha, h0, epsilon, ctx.width, reset, reset_state, ctx.backend)
    grad_gates, grad_threshold, grad_alpha, grad_h0, grad_reset_state = _adjoint(grad, starts, *inputs)
    return (
        grad_gates,
        None if threshold is None else grad_threshold,
        None if alpha is None else grad_alpha,
        None if h0 is None else grad_h0,
        None,
        None,
        None,
        None if reset_state is None else grad_reset_state,
        None,
    )


def _run_shard(inputs: tuple[Tensor | None, ...], options: tuple[Any, ...], h0: Tensor | None) -> tuple[Tensor, Tensor]:
    gates, threshold, alpha, reset, reset_state = inputs
    epsilon, width, backend = options
    assert gates is not None
    if backend == "reference":
        states = run_latch(gates, threshold, alpha, h0, epsilon, width, reset, reset_state, backend)
        return states, states
    return _operator(gates, threshold, alpha, h0, epsilon, width, reset, reset_state, backend)


def _kept(inputs: tuple[Tensor | None, ...], options: tuple[Any, ...]) -> Tensor:
    """A power of epsilon, of the number of writes; 0 after a reset."""
    gates, threshold, alpha, reset, _ = inputs
    assert gates is not None
    candidate, beta, _ = split_gates(gates, threshold, alpha)
    betas = beta.split(CHUNK, 1) if beta.dim() == 3 else [beta] * -(-candidate.shape[1] // CHUNK)
    writes = candidate.new_zeros(candidate.shape[0], candidate.shape[2], dtype=torch.float64)
    for c, b in zip(candidate.split(CHUNK, 1), betas, strict=True):
        writes += (c.abs() >= b.abs()).sum(1)
    kept = options[0].item() ** writes
    return kept if reset is None else torch.where(reset.any(1, keepdim=True), 0.0, kept)


def _adjoint_shard(
    grad: Tensor, starts: Tensor, inputs: tuple[Tensor | None, ...], options: tuple[Any, ...], h0: Tensor | None
) -> tuple[tuple[Tensor | None, ...], Tensor]:
    gates, threshold, alpha, reset, reset_state = inputs
    epsilon, width, backend = options
    assert gates is not None
    if backend == "reference":
        return by_autograd(lambda leaves, start: _run_shard(leaves, options, start)[0], grad, inputs, h0)
    grads = _adjoint(grad, starts, gates, threshold, alpha, h0, epsilon, width, reset, reset_state, backend)
    grad_gates, grad_threshold, grad_alpha, grad_h0, grad_reset_state = grads
    found = (
        grad_gates,
        None if threshold is None else grad_threshold,
        None if alpha is None else grad_alpha,
        None,
        None if reset_state is None else grad_reset_state,
    )
    return found, grad_h0


def _save_nothing(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    pass


def _refuse(ctx: Any, *grads: Tensor) -> None:
    raise NotImplementedError("`latch_scan` can be differentiated once, since its gradients are surrogates")


def _scan_groups(args: tuple[Any, ...]) -> tuple[dict[int, int], dict[int, int]]:
    return {0: _parts(*args[1:3])}, {}


def _adjoint_groups(args: tuple[Any, ...]) -> tuple[dict[int, int], dict[int, int]]:
    return {2: _parts(*args[3:5])}, {0: _parts(*args[3:5])}


_operator = define("remanent::latch_scan", _latch_scan, _fake_latch_scan)
_scan = differentiable(_operator, _save_inputs, _backward, _scan_groups)
_adjoint = differentiable(
    define("remanent::latch_scan_backward", _latch_scan_backward, _fake_latch_scan_backward),
    _save_nothing,
    _refuse,
    _adjoint_groups,
)
_SHARDED = ShardedScan(_run_shard, _kept, _adjoint_shard)
