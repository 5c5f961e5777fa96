"""The first-order linear scan, real or complex: its public function, its operator, and its two derivatives."""

from typing import Any

import torch
from torch import Tensor

from remanent._allocator import empty_result
from remanent._options import check_bool
from remanent.ops import operators, portable, reference
from remanent.ops.arguments import (
    COMPLEX_DTYPES,
    REAL_DTYPES,
    Backend,
    InitialStates,
    LinearAdjointCall,
    LinearCall,
    LinearGradients,
)
from remanent.ops.checks import check_backend, check_companion, check_initial, check_sequence, fastest
from remanent.ops.collectives import DTYPES, Agreement, place_in, refusal_announced
from remanent.ops.cpu import linear as cpu
from remanent.ops.gpu import scans as gpu
from remanent.ops.pairs.views import PAIR_DTYPES, as_complex, as_pairs, complex_call, paired_call
from remanent.ops.portable import previous_states
from remanent.ops.shards import ShardedScan, by_autograd, linear_kept, sharded

BACKENDS: dict[str, Backend | None] = {
    "reference": None,
    "portable": Backend(portable.linear_forward, portable.linear_backward),
    "cpu": Backend(cpu.linear_forward, cpu.linear_backward),
    "gpu": Backend(gpu.linear_forward, gpu.linear_backward),
}
"""Name to the functions that fill results; None for the time loop in `reference.py`, left to autograd."""


def linear_scan(
    decay: Tensor,
    value: Tensor,
    h0: Tensor | None = None,
    *,
    reset: Tensor | None = None,
    reset_state: Tensor | None = None,
    pairs: bool = False,
    backend: str = "auto",
    group: Any = None,
) -> Tensor:
    r"""Linear scan: $h_t = a_t \odot h_{t-1} + v_t$.

    Args:
        decay: $a$, (B, T, D) or (D,), of the dtype of `value`.
        value: $v$, (B, T, D); float32, float64, bfloat16, float16, complex64 or complex128.
        h0: the state before the first step, (B, D); zeros if None.
        reset: bool (B, T): where true, the state is replaced by `reset_state` before that step.
        reset_state: (D,), or (B, T, D) with a state for each step, of which those at resets are read; zeros if None.
        pairs: whether the tensors, of float32 or float64, hold complex numbers: a channel's real part and beside it its
            imaginary part, so that D is twice the number of channels. The scan gives the bits of that of complex
            tensors, which a compiler does not fuse with what is around it.
        backend: "reference" (time loop, which alone has a forward-mode derivative), "portable" (plain PyTorch, any
            device), "cpu" (Numba), "gpu" (Triton), or "auto" for the fastest that runs on the device and has the
            derivatives that are taken.
        group: the processes that hold a part of the time each, in the order of their ranks: a
            `torch.distributed` process group, or a device mesh of one dimension. All of them must call the scan,
            and its backward pass, in the same order.

    Returns:
        The states after every step, (B, T, D); differentiable twice, with a `group` once. Half types are
        computed, and their gradients summed, in float32. The backward pass keeps `decay` and the states. The
        order of addition differs in the portable backend, with a `group`, and in "cpu" and "gpu" where B and D
        give too little work to their threads, so that they cut time into pieces. Where every factor is 0 or 1,
        and nothing is added where it is 1, all orders give the same bits.

    Raises:
        ValueError: a shape, a device or the backend does not fit; the message names the argument.
        TypeError: a dtype or type does not fit.

    Source: Orvieto et al. (2023), arXiv 2303.06349.

    >>> linear_scan(torch.tensor([0.5]), torch.ones(1, 3, 1)).flatten().tolist()
    [1.0, 1.5, 1.75]
    """
    call = LinearCall(decay, value, h0, reset, reset_state, backend, pairs)
    if group is None:
        _check(call)
        return _run(call)
    with refusal_announced(group):
        _check(call, may_be_empty=True)
    place = place_in(group, value.device)
    complex_or_real = _unpaired(call)
    B, _, D = complex_or_real.value.shape
    values = {"kind of scan": 1, "B": B, "D": D, "dtype": DTYPES.index(complex_or_real.value.dtype)}
    states = torch.empty_like(complex_or_real.value.detach())
    states = sharded(_SHARDED, place, Agreement(place, values), complex_or_real, states)
    return as_pairs(states) if pairs else states


def _check(call: LinearCall, *, may_be_empty: bool = False) -> None:
    check_bool("pairs", call.pairs)
    dtypes = PAIR_DTYPES if call.pairs else REAL_DTYPES + COMPLEX_DTYPES
    B, T, D = check_sequence("value", call.value, dtypes, may_be_empty=may_be_empty)
    if call.pairs and D % 2:
        raise ValueError(
            f"`value` must have shape (B, T, D) with an even D with `pairs`, got {tuple(call.value.shape)}"
        )
    check_companion("decay", call.decay, call.value, {f"(B={B}, T={T}, D={D})": (B, T, D), f"(D={D},)": (D,)})
    check_initial(call.initial(), call.value)
    check_backend(call.backend, BACKENDS, call.value)


def _unpaired(call: Any) -> Any:
    """The arguments of one of the operators, with complex numbers in place of pairs."""
    return complex_call(call)._replace(pairs=False) if call.pairs else call


def _run(call: LinearCall) -> Tensor:
    in_loop = call.backend == "auto" and operators.in_forward_mode(call)  # the operator has no forward-mode derivative
    if call.backend != "reference" and not in_loop:
        return _scan(*call)
    decay, value, h0, reset, start, *_ = _unpaired(call)
    states = reference.linear_scan(decay, value, h0, reset=reset, reset_state=start)
    return as_pairs(states) if call.pairs else states


def _linear_scan(*arguments: Any) -> Tensor:
    call = LinearCall(*arguments)
    backend = BACKENDS[fastest(call.backend, call.value)]
    assert backend is not None
    states = _room(*arguments)
    given = _unpaired(call)
    backend.forward(given.decay, given.value, given.initial(), as_complex(states) if call.pairs else states)
    return states


def _room(*arguments: Any) -> Tensor:
    """Allocates the states."""
    value = LinearCall(*arguments).value
    return operators.empty_sequence(value, value.shape[2])


def _linear_scan_backward(*arguments: Any) -> LinearGradients:
    call = LinearAdjointCall(*arguments)
    backend = BACKENDS[fastest(call.backend, call.grad)]
    assert backend is not None
    grads = _room_backward(*arguments)
    given = _unpaired(call)
    initial = InitialStates(given.h0, given.reset, given.reset_state)
    backend.backward(given.grad, given.states, given.decay, initial, complex_call(grads) if call.pairs else grads)
    return grads


def _room_backward(*arguments: Any) -> LinearGradients:
    """Allocates the gradients."""
    call = LinearAdjointCall(*arguments)
    B, _, D = call.grad.shape
    start = (D,) if call.reset_state is None else call.reset_state.shape
    decay, h0, reset_state = (empty_result(call.grad, shape) for shape in (call.decay.shape, (B, D), start))
    return LinearGradients(decay, operators.empty_sequence(call.states, D), h0, reset_state)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    call: Any = LinearCall(*inputs)
    operators.save_call(ctx, call._replace(value=None), output)


def _backward(ctx: Any, grad: Tensor) -> Any:
    call, states = operators.saved_call(ctx)
    grads = _gradients(grad, states, call)
    return grads._replace(h0=None) if call.h0 is None else grads


def _gradients(grad: Tensor, states: Tensor, call: LinearCall) -> Any:
    """The gradients of all arguments but None where there is none; that of `h0` in any case."""
    backward = LinearAdjointCall(grad, states, call.decay, *call.initial(), call.backend, call.pairs)
    found = LinearGradients(*_adjoint(*backward))
    return operators.no_gradients(LinearCall)._replace(
        decay=found.decay,
        value=found.value,
        h0=found.h0,
        reset_state=None if call.reset_state is None else found.reset_state,
    )


def _save_adjoint(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    call: Any = LinearAdjointCall(*inputs)
    operators.save_call(ctx, call._replace(grad=None), LinearGradients(*output).value)


def _double_backward(ctx: Any, *tangents: Tensor) -> Any:
    call, adjoint = operators.saved_call(ctx)
    if not call.pairs:
        return _tangents(call, adjoint, LinearGradients(*(t.resolve_conj() for t in tangents)))
    return paired_call(_tangents(_unpaired(call), as_complex(adjoint), complex_call(LinearGradients(*tangents))))


def _tangents(call: LinearAdjointCall, adjoint: Tensor, tangent: LinearGradients) -> Any:
    """The adjoint runs back in time, so its own backward pass is a scan forward in time."""
    initial = InitialStates(call.h0, call.reset, call.reset_state)
    start = InitialStates(tangent.h0, call.reset, None if call.reset is None else tangent.reset_state)
    previous = previous_states(call.states, initial)
    added = tangent.value + tangent.decay * previous
    forward = _scan(*LinearCall(call.decay, added, *start, call.backend))
    grad_decay = (adjoint * previous_states(forward, start).conj()).sum_to_size(call.decay.shape)
    grad_previous = (adjoint * tangent.decay.conj()).resolve_conj()
    if call.reset is None:
        kept, grad_start = grad_previous, None
    else:
        fresh = call.reset[..., None]
        kept = torch.where(fresh, 0.0, grad_previous)
        grad_start = torch.where(fresh, grad_previous, 0.0).sum_to_size(tangent.reset_state.shape)
    return operators.no_gradients(LinearAdjointCall)._replace(
        grad=forward,
        states=torch.cat([kept[:, 1:], torch.zeros_like(kept[:, :1])], dim=1),
        decay=grad_decay.resolve_conj(),
        h0=None if call.h0 is None else kept[:, 0],
        reset_state=None if call.reset_state is None else grad_start,
    )


_operator = operators.define(
    "remanent::linear_scan", f"({operators.schema_of(LinearCall)}) -> Tensor", _linear_scan, _room
)
_operator_backward = operators.define(
    "remanent::linear_scan_backward",
    f"({operators.schema_of(LinearAdjointCall)}) -> (Tensor, Tensor, Tensor, Tensor)",
    _linear_scan_backward,
    _room_backward,
)
_scan = operators.differentiable(_operator, _save, _backward)
_adjoint = operators.differentiable(_operator_backward, _save_adjoint, _double_backward)


def _scan_shard(call: LinearCall) -> tuple[Tensor, Tensor]:
    states = _run(call)
    return states, states


def _adjoint_shard(grad: Tensor, states: Tensor, call: LinearCall) -> Any:
    if call.backend == "reference":
        return by_autograd(_run, grad, call)
    return _gradients(grad.resolve_conj(), states, call)


_SHARDED = ShardedScan(_scan_shard, linear_kept, _adjoint_shard)
