"""The set-or-hold scan: its public functions, its operator and gradient, and its scan of a part of the time."""

from collections.abc import Callable
from typing import Any

import torch  # noqa: F401 (for the examples)
from torch import Tensor

from remanent._allocator import empty_result
from remanent._options import check_range
from remanent.ops import operators, portable, reference
from remanent.ops.arguments import (
    SPAN,
    Backend,
    Gates,
    InitialStates,
    LatchAdjoints,
    LatchCall,
    LatchGradients,
    StoredGates,
)
from remanent.ops.checks import (
    check_backend,
    check_gates,
    check_initial,
    check_joint_gates,
    check_scalar,
    fastest,
    read_scalar,
)
from remanent.ops.collectives import DTYPES, Agreement, place_in, refusal_announced
from remanent.ops.cpu import latch as cpu
from remanent.ops.gpu import scans as gpu
from remanent.ops.shards import ShardedScan, by_autograd, latch_ahead, latch_kept, sharded

BACKENDS: dict[str, Backend | None] = {
    "reference": None,
    "portable": Backend(portable.latch_forward, portable.latch_backward),
    "cpu": Backend(cpu.latch_forward, cpu.latch_backward),
    "gpu": Backend(gpu.latch_forward, gpu.latch_backward),
}
"""Name to the functions that fill results; None for the time loop in `reference.py`, left to autograd."""


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
    group: Any = None,
) -> Tensor:
    r"""Set-or-hold: $h_t = \alpha\,\mathrm{sgn}(c_t) + \epsilon h_{t-1}$ where $|c_t| \ge |\beta_t|$, else $h_{t-1}$.

    With `epsilon` 0 a step writes exactly $\pm\alpha$ or copies the state, so that every backend, every
    cut into chunks and every dtype gives the same bits. The backward pass replaces the derivative of
    the step $H(u)$ by $a / (1 + (\pi a u)^2)$ and that of the sign by twice as much; the rest is exact.
    A NaN in `candidate` or `threshold` holds.

    Args:
        candidate: $c$, values that may be written, (B, T, D); float32, float64, bfloat16 or float16.
        threshold: $\beta$, used by its absolute value, (B, T, D) or (D,).
        alpha: the size of a written state, (B, T, D) or (D,).
        h0: the state before the first step, (B, D); zeros if None.
        epsilon: how much of the old state a write keeps, in [0, 1]: 0 is the BMRU, 1 the CMRU. A tensor
            () of float64 on the CPU may change between calls without a new compilation.
        width: the surrogate's $a > 0$; a larger one looks at a narrower band around the threshold.
        reset: bool (B, T): where true, the state is replaced by `reset_state` before that step.
        reset_state: (D,), or (B, T, D), of which the rows at resets are read; zeros if None, never the carried `h0`.
        backend: "reference" (time loop), "portable" (plain PyTorch, any device), "cpu" (Numba), "gpu"
            (Triton), or "auto" for the fastest that runs on the device.
        group: the processes that hold a part of the time each, in the order of their ranks: a
            `torch.distributed` process group, or a device mesh of one dimension.

    Returns:
        The states after every step, (B, T, D). Half types are computed, and their gradients summed,
        in float32. The backward pass keeps `candidate`, `threshold` and one state in 64 steps, from which it
        computes the others again: in float32 8.06 bytes for each element (B, T, D). The CPU uses the threads
        of `torch.set_num_threads`; states do not depend on their number.

    With a `group`, each process passes any number of time steps of its own, and gets their states. With `epsilon` 0
    they have the bits of one process that has all steps; otherwise they are equal up to rounding. `h0` is the state
    before the first step of all, and only the first process reads it. The scan runs twice, but once on the CPU with
    `epsilon` 0, and each process sends every other one 2 B D numbers forward and B D backward, whatever T is, and 8
    numbers that must agree everywhere.
    All processes must call the scan, and its backward pass, in the same order. The gradients of what all processes
    share (`h0`, and `threshold`, `alpha` and `reset_state` of shape (D,)) come in parts: add them up.

    Raises:
        ValueError: a shape, a device, a range or the backend does not fit; the message names the argument. With a
            `group` also where another process rejects its arguments, or has others than this one.
        TypeError: a dtype or type does not fit.

    Source: De Geeter et al. (2026), arXiv 2601.09495; epsilon: Brandoit et al. (2026), arXiv 2605.11855.

    >>> latch_scan(torch.tensor([[[2.0], [0.1], [-2.0]]]), torch.ones(1, 3, 1), torch.ones(1)).flatten().tolist()
    [1.0, 1.0, -1.0]
    """

    def checked(may_be_empty: bool) -> LatchCall:
        like = check_gates(Gates(candidate, threshold, alpha), may_be_empty=may_be_empty)
        gates, initial = StoredGates(candidate, threshold, alpha), InitialStates(h0, reset, reset_state)
        return _checked_call(gates, like, initial, epsilon, width, backend)

    return _run_checked(checked, group)


def latch_scan_joint(
    gates: Tensor,
    alpha: Tensor | None = None,
    h0: Tensor | None = None,
    *,
    epsilon: float | Tensor = 0.0,
    width: float = 1.0,
    reset: Tensor | None = None,
    reset_state: Tensor | None = None,
    backend: str = "auto",
    group: Any = None,
) -> Tensor:
    r"""`latch_scan` of gates that lie side by side in one tensor, as one projection gives them.

    The gates are read where they lie, and their gradient is written in the same form: nothing is copied.

    Args:
        gates: candidate and threshold, (B, T, 2 D), or candidate, threshold and the size of a written state,
            (B, T, 3 D), where `alpha` is None; float32, float64, bfloat16 or float16.
        alpha: the size of a written state, (B, T, D) or (D,); None where it lies in `gates`.
        h0: the state before the first step, (B, D); zeros if None.
        epsilon: how much of the old state a write keeps, in [0, 1]; a number or a tensor () of float64 on the CPU.
        width: the width $a > 0$ of the surrogate in the backward pass.
        reset: bool (B, T): where true, the state is replaced by `reset_state` before that step.
        reset_state: (D,), or (B, T, D) with a state for each step, of which those at resets are read; zeros if None.
        backend: "reference", "portable", "cpu", "gpu", or "auto" for the fastest that runs on the device.
        group: the processes that hold a part of the time each, in the order of their ranks.

    Returns:
        The states after every step, (B, T, D).

    Raises:
        ValueError: a shape, a device, a range or the backend does not fit; the message names the argument.
        TypeError: a dtype or type does not fit.

    Source: De Geeter et al. (2026), arXiv 2601.09495.

    >>> gates = torch.tensor([[[2.0, 1.0], [0.1, 1.0], [-2.0, 1.0]]])
    >>> latch_scan_joint(gates, torch.ones(1)).flatten().tolist()
    [1.0, 1.0, -1.0]
    """

    def checked(may_be_empty: bool) -> LatchCall:
        stored, initial = StoredGates(gates, None, alpha), InitialStates(h0, reset, reset_state)
        like = check_joint_gates(stored, may_be_empty=may_be_empty)
        return _checked_call(stored, like, initial, epsilon, width, backend)

    return _run_checked(checked, group)


def _checked_call(
    gates: StoredGates, like: Tensor, initial: InitialStates, epsilon: float | Tensor, width: float, backend: str
) -> LatchCall:
    check_initial(initial, like)
    share = check_scalar("epsilon", epsilon, 0, 1)
    check_range("width", width, 0, float("inf"), open_low=True)
    check_backend(backend, BACKENDS, like)
    return LatchCall(*gates, initial.h0, share, width, initial.reset, initial.reset_state, backend)


def _run_checked(checked: Callable[[bool], LatchCall], group: Any) -> Tensor:
    if group is None:
        return _run(checked(False))
    with refusal_announced(group):
        call = checked(True)
    place = place_in(group, call.gates.device)
    with refusal_announced(group):
        share = read_scalar("epsilon", call.epsilon, 0, 1)
    B, T, W = call.gates.shape
    states = call.gates.new_empty(B, T, W // call.stored().parts())
    values = {"kind of scan": 0, "B": B, "D": states.shape[2], "dtype": DTYPES.index(states.dtype)}
    agreement = Agreement(place, values | {"epsilon": share, "width": call.width})
    return sharded(_SHARDED, place, agreement, call._replace(epsilon=call.epsilon.clone()), states)


def _run(call: LatchCall) -> Tensor:
    if call.backend != "reference":
        states, _ = _scan(*call)
        return states
    return reference.latch_scan(
        *call.stored().split(),
        call.h0,
        epsilon=read_scalar("epsilon", call.epsilon, 0, 1),
        width=call.width,
        reset=call.reset,
        reset_state=call.reset_state,
    )


def _latch_scan(*arguments: Any) -> tuple[Tensor, Tensor]:
    call = LatchCall(*arguments)
    backend = BACKENDS[fastest(call.backend, call.gates)]
    assert backend is not None
    states, starts = _room(*arguments)
    backend.forward(call.stored().split(), call.initial(), read_scalar("epsilon", call.epsilon, 0, 1), states)
    ends = states[:, SPAN - 1 :: SPAN]
    starts[:, 0] = 0 if call.h0 is None else call.h0
    starts[:, 1 : 1 + ends.shape[1]] = ends
    starts[:, 1 + ends.shape[1] :] = states[:, -1:]
    return states, starts


def _room(*arguments: Any) -> tuple[Tensor, Tensor]:
    """Allocates the states, and those that each span of time starts from, (B, T // SPAN + 2, D).

    These are one or two too many: a compiler would compile a size that may be 1 apart from all others.
    """
    call = LatchCall(*arguments)
    B, T, W = call.gates.shape
    D = W // call.stored().parts()
    return operators.empty_sequence(call.gates, D), call.gates.new_empty(B, T // SPAN + 2, D)


def _latch_scan_backward(grad: Tensor, starts: Tensor, *arguments: Any, after: Tensor | None = None) -> LatchAdjoints:
    call = LatchCall(*arguments)
    backend = BACKENDS[fastest(call.backend, call.gates)]
    assert backend is not None
    found = _room_backward(grad, starts, *arguments)
    threshold = None if call.threshold is None else found.threshold
    alpha = None if call.alpha is None else found.alpha
    grads = LatchGradients(StoredGates(found.gates, threshold, alpha).split(), found.h0, found.reset_state)
    given = (grad, starts, call.stored().split(), call.initial(), call.epsilon.item(), call.width, grads)
    backend.backward(*given) if after is None else cpu.latch_backward(*given, after)
    return found


def _room_backward(grad: Tensor, starts: Tensor, *arguments: Any) -> LatchAdjoints:
    call = LatchCall(*arguments)
    B, _, D = grad.shape
    threshold, alpha = (empty_result(call.gates, (0,) if v is None else v.shape) for v in (call.threshold, call.alpha))
    h0 = call.gates.new_empty(B, D)
    reset_state = call.gates.new_empty((D,) if call.reset_state is None else call.reset_state.shape)
    return LatchAdjoints(operators.empty_sequence(call.gates, call.gates.shape[2]), threshold, alpha, h0, reset_state)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    call, (_, starts) = LatchCall(*inputs), output
    operators.save_call(ctx, call._replace(epsilon=call.epsilon.clone()), starts)


def _backward(ctx: Any, grad: Tensor, grad_starts: Tensor) -> Any:
    call, starts = operators.saved_call(ctx)
    grads = _gradients(grad, starts, call)
    return grads._replace(h0=None) if call.h0 is None else grads


def _gradients(grad: Tensor, starts: Tensor, call: LatchCall) -> Any:
    return LatchAdjoints(*_adjoint(grad, starts, *call)).by_argument(call)


def _groups(arguments: tuple[Any, ...]) -> tuple[dict[int, int], dict[int, int]]:
    return {0: LatchCall(*arguments).stored().parts()}, {}


def _groups_backward(arguments: tuple[Any, ...]) -> tuple[dict[int, int], dict[int, int]]:
    parts = LatchCall(*arguments[2:]).stored().parts()
    return {2: parts}, {0: parts}


_ARGUMENTS = operators.schema_of(LatchCall)
_operator = operators.define("remanent::latch_scan", f"({_ARGUMENTS}) -> (Tensor, Tensor)", _latch_scan, _room)
_operator_backward = operators.define(
    "remanent::latch_scan_backward",
    f"(Tensor grad, Tensor starts, {_ARGUMENTS}) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    _latch_scan_backward,
    _room_backward,
)
_scan = operators.differentiable(_operator, _save, _backward, _groups)
_adjoint = operators.not_differentiable(
    _operator_backward, "`latch_scan` can be differentiated once, since its gradients are surrogates", _groups_backward
)


def _scan_shard(call: LatchCall) -> tuple[Tensor, Tensor]:
    return (_run(call), call.gates.new_empty(0)) if call.backend == "reference" else _scan(*call)


def _adjoint_shard(grad: Tensor, starts: Tensor, call: LatchCall) -> Any:
    return by_autograd(_run, grad, call) if call.backend == "reference" else _gradients(grad, starts, call)


def _adjoint_after(grad: Tensor, starts: Tensor, call: LatchCall, after: Tensor) -> Any:
    return _latch_scan_backward(grad, starts, *call, after=after).by_argument(call)


_SHARDED = ShardedScan(_scan_shard, latch_kept, _adjoint_shard, latch_ahead(_adjoint_after))
