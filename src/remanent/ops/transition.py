"""The scan of heads with K stable states: its public function, its operator and gradient."""

from typing import Any

import torch
from torch import Tensor

from remanent._options import check_at_least, check_range
from remanent.ops import operators, reference
from remanent.ops.arguments import (
    REAL_DTYPES,
    Backend,
    HeadSizes,
    InitialStates,
    TransitionCall,
    TransitionGradients,
)
from remanent.ops.checks import (
    check_backend,
    check_companion,
    check_reset,
    check_scalar,
    check_sequence,
    fastest,
    read_scalar,
)
from remanent.ops.collectives import DTYPES, Agreement, place_in, refusal_announced
from remanent.ops.cpu import transition as cpu
from remanent.ops.gpu import transition as gpu
from remanent.ops.heads import portable_tables as portable
from remanent.ops.heads.matrices import check_no_nan
from remanent.ops.heads.one_hot import MOST_STATES, check_one_hot, is_one_hot, start_state, started
from remanent.ops.heads.table_shards import ShardedTransition, sharded_transition
from remanent.ops.shards import by_autograd

BACKENDS: dict[str, Backend | None] = {
    "reference": None,
    "portable": Backend(portable.transition_forward, portable.transition_backward),
    "cpu": Backend(cpu.transition_forward, cpu.transition_backward),
    "gpu": Backend(gpu.transition_forward, gpu.transition_backward),
}
"""Name to the functions that fill results; None for the time loop in `reference.py`, left to autograd."""


def transition_scan(
    logits: Tensor,
    h0: Tensor | None = None,
    *,
    num_states: int,
    num_tracers: int = 1,
    epsilon: float | Tensor = 0.0,
    reset: Tensor | None = None,
    reset_state: Tensor | None = None,
    group: Any = None,
    backend: str = "auto",
) -> Tensor:
    r"""Transition scan: $h_t[k, r, l] = \sum_j M_t[k, j, l]\, h_{t-1}[k, r, j]$, with a table $M_t$ of one-hot rows.

    A head has K stable states, and a step moves it from each state j to one: to the one with the largest logit, the
    lowest of equal ones. R tracers share the table of a head and start in different states. With `epsilon` above 0,
    $M_t = (1 - \epsilon) P_t + \epsilon S_t$ is a mixture of the table $P_t$ and the softmax $S_t$ of the logits. With
    `epsilon` 0 a step looks up whole numbers, so that the states are one-hot, with the same bits in every backend,
    cut into chunks and dtype. In the backward pass, the gradient of the softmax stands for that of the table; the
    rest is exact.

    Args:
        logits: (B, T, H K K), at (k K + j) K + l how much head k goes from state j to state l; float32, float64,
            bfloat16 or float16. A NaN is never chosen, nor has it a weight or a gradient; "reference" rejects it.
        h0: the state before the first step, (B, D) with D = H R K: for each head, and in it for each tracer, K
            numbers. A row of zeros, and None, is the start: tracer r of head k in state (k R + r) mod K. With
            `epsilon` 0 others must be one-hot; what a compiler or a transform of `torch.func` runs is not checked.
        num_states: K, from 2 to 255.
        num_tracers: R, at least 1.
        epsilon: the share of the softmax, in [0, 1]: 0 is a finite automaton, 1 a probabilistic one. A tensor () of
            float64 on the CPU may change between calls without a new compilation.
        reset: bool (B, T): where true, the state is replaced by `reset_state` before that step.
        reset_state: (D,), or (B, T, D), of which the rows at resets are read; zeros and None are the start.
        group: the processes that hold a part of the time each, in the order of their ranks: a
            `torch.distributed` process group, or a device mesh of one dimension.
        backend: "reference" (time loop), "portable" (plain PyTorch, any device), "cpu" (Numba), "gpu"
            (Triton), or "auto" for the fastest that runs on the device.

    Returns:
        The states after every step, (B, T, D); differentiable once. Half types are computed, and their gradients
        summed, in float32. The backward pass keeps the logits and the states.

    With a `group`, each process passes any number of time steps of its own, and gets their states. With `epsilon` 0
    they have the bits of one process that has all steps. `h0` is the state before the first step of all, and only the
    first process reads it. The scan runs twice, and each process sends every other one a table for each head, with
    `epsilon` above 0 a matrix, and B D numbers backward. All processes must call the scan, and its backward pass, in
    the same order. The gradients of `h0` and of a `reset_state` (D,) come in parts: add them up.

    Raises:
        ValueError: a shape, a device, a range or the backend does not fit, or a state is not one-hot; the message names
            the argument. With a `group` also where another process rejects its arguments, or has others than this one.
        TypeError: a dtype or type does not fit.

    Source: De Geeter et al. (2026), arXiv 2601.09495; tables by the largest logit: Brandoit et al. (2026),
    "Length-independent state tracking under a parallel scan".

    >>> flip = torch.tensor([[[0.0, 1.0, 1.0, 0.0]] * 3])  # from state 0 to 1, from 1 to 0
    >>> transition_scan(flip, num_states=2).tolist()
    [[[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]]
    """
    given = (logits, InitialStates(h0, reset, reset_state), HeadSizes(num_states, num_tracers), epsilon, backend)
    if group is None:
        return _run(_checked(*given))
    with refusal_announced(group):
        call = _checked(*given, may_be_empty=True)
    place = place_in(group, logits.device)
    with refusal_announced(group):
        share = read_scalar("epsilon", call.epsilon, 0, 1)
    states = logits.new_empty(*logits.shape[:2], call.h0.shape[1])
    agreed = {"kind of scan": 2, "B": len(logits), "D": states.shape[2], "dtype": DTYPES.index(states.dtype)}
    agreed |= {"num_states": num_states, "num_tracers": num_tracers}
    agreement = Agreement(place, {**agreed, "epsilon": share})
    return sharded_transition(_SHARDED, place, agreement, call._replace(epsilon=call.epsilon.clone()), states)


def _checked(
    logits: Tensor,
    initial: InitialStates,
    sizes: HeadSizes,
    epsilon: float | Tensor,
    backend: str,
    *,
    may_be_empty: bool = False,
) -> TransitionCall:
    """The arguments of the operator, in which every state is given."""
    check_sizes(sizes)
    h0, reset, reset_state = initial
    B, T, W = check_sequence("logits", logits, REAL_DTYPES, may_be_empty=may_be_empty)
    check_width("logits", W, sizes)
    D = sizes.width(W)
    if h0 is not None:
        check_companion("h0", h0, logits, {f"(B={B}, D={D})": (B, D)})
    check_reset(reset, reset_state if reset is None else None, logits)
    if reset_state is not None:
        shapes: dict[str, tuple[int, ...]] = {f"(D={D},)": (D,), f"(B={B}, T={T}, D={D})": (B, T, D)}
        check_companion("reset_state", reset_state, logits, shapes)
    share = check_scalar("epsilon", epsilon, 0, 1)
    check_backend(backend, BACKENDS, logits)
    if backend == "reference":
        check_no_nan(logits)
    if backend == "gpu":
        gpu.check_sizes(sizes)
    is_hard = not (operators.is_traced() or logits.is_meta) and share.item() == 0
    if is_hard and reset is None and h0 is not None and is_one_hot(h0, sizes.states):  # a step: no start is needed
        return TransitionCall(logits, h0, share, reset, reset_state, *sizes, backend)
    start, given = start_state(logits, sizes.heads(W), sizes), InitialStates(h0, reset, reset_state)
    h0 = start.expand(B, D) if h0 is None else started(h0, start)
    if reset is not None:
        reset_state = start if reset_state is None else started(reset_state, start)
        if T > 0:  # what a reset at the first step replaces may be anything
            h0 = torch.where(reset[:, :1], start, h0)
    call = TransitionCall(logits, h0, share, reset, reset_state, *sizes, backend)
    if is_hard:  # the start is one-hot, and a look at it would make the host wait for a GPU
        if given.h0 is not None:
            check_one_hot("h0", h0, sizes.states)
        if given.reset_state is not None:
            _check_reset_state(call, sizes.states)
    return call


def check_sizes(sizes: HeadSizes) -> None:
    """Checks the sizes of a head."""
    check_at_least("num_states", sizes.states, 2)
    check_range("num_states", sizes.states, 2, MOST_STATES)
    check_at_least("num_tracers", sizes.tracers, 1)


def check_width(name: str, width: int, sizes: HeadSizes) -> None:
    """Checks that so many logits are those of a whole number of heads."""
    K = sizes.states
    if width == 0 or width % (K * K):
        raise ValueError(f"`{name}` must have a multiple of num_states^2 = {K * K} features, got {width}")


def _check_reset_state(call: TransitionCall, K: int) -> None:
    """Checks the rows that are read."""
    reset, reset_state = call.reset, call.reset_state
    if reset is not None and reset_state is not None:
        read = reset_state[None] if reset_state.dim() == 1 else reset_state[reset]
        check_one_hot("reset_state", read, K)


def _run(call: TransitionCall) -> Tensor:
    if call.backend != "reference":
        return _scan(*call)
    return reference.transition_scan(
        call.logits,
        call.h0,
        num_states=call.num_states,
        num_tracers=call.num_tracers,
        epsilon=read_scalar("epsilon", call.epsilon, 0, 1),
        reset=call.reset,
        reset_state=call.reset_state,
    )


def _transition_scan(*arguments: Any) -> Tensor:
    call = TransitionCall(*arguments)
    states = _room(*arguments)
    epsilon = read_scalar("epsilon", call.epsilon, 0, 1)
    _backend(call).forward(call.logits, call.initial(), call.sizes(), epsilon, states)
    return states


def _backend(call: TransitionCall) -> Backend:
    name = fastest(call.backend, call.logits)
    if name == "gpu" and call.backend == "auto" and max(call.sizes()) > gpu.MOST_STATES:
        name = "portable"
    backend = BACKENDS[name]
    assert backend is not None
    return backend


def _room(*arguments: Any) -> Tensor:
    """Allocates the states."""
    call = TransitionCall(*arguments)
    return operators.empty_sequence(call.logits, call.sizes().width(call.logits.shape[2]))


def _transition_scan_backward(grad: Tensor, states: Tensor, *arguments: Any) -> TransitionGradients:
    call = TransitionCall(*arguments)
    grads = _room_backward(grad, states, *arguments)
    epsilon = call.epsilon.item()
    _backend(call).backward(grad, states, call.logits, call.initial(), call.sizes(), epsilon, grads)
    return grads


def _room_backward(grad: Tensor, states: Tensor, *arguments: Any) -> TransitionGradients:
    """Allocates the gradients."""
    call = TransitionCall(*arguments)
    B, _, D = states.shape
    start = (D,) if call.reset_state is None else call.reset_state.shape
    logits = operators.empty_sequence(call.logits, call.logits.shape[2])
    return TransitionGradients(logits, call.logits.new_empty(B, D), call.logits.new_empty(start))


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    call = TransitionCall(*inputs)
    operators.save_call(ctx, call._replace(epsilon=call.epsilon.clone()), output)


def _backward(ctx: Any, grad: Tensor) -> Any:
    call, states = operators.saved_call(ctx)
    return _gradients(grad, states, call)


def _gradients(grad: Tensor, states: Tensor, call: TransitionCall) -> Any:
    """The gradients of all arguments, None where there is none."""
    found = TransitionGradients(*_adjoint(grad, states, *call))
    return operators.no_gradients(TransitionCall)._replace(
        logits=found.logits,
        h0=found.h0,
        reset_state=None if call.reset_state is None else found.reset_state,
    )


_ARGUMENTS = operators.schema_of(TransitionCall)
_operator = operators.define("remanent::transition_scan", f"({_ARGUMENTS}) -> Tensor", _transition_scan, _room)
_operator_backward = operators.define(
    "remanent::transition_scan_backward",
    f"(Tensor grad, Tensor states, {_ARGUMENTS}) -> (Tensor, Tensor, Tensor)",
    _transition_scan_backward,
    _room_backward,
)
_scan = operators.differentiable(_operator, _save, _backward)
_adjoint = operators.not_differentiable(
    _operator_backward, "`transition_scan` can be differentiated once, since its gradients are surrogates"
)


def _adjoint_shard(grad: Tensor, states: Tensor, call: TransitionCall) -> Any:
    return by_autograd(_run, grad, call) if call.backend == "reference" else _gradients(grad, states, call)


_SHARDED = ShardedTransition(_run, _adjoint_shard)
