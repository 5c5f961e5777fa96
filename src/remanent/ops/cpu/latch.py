"""The latch on the CPU, fused: a pass reads once what it needs, and writes once what it gives."""

from types import ModuleType

from torch import Tensor

from remanent.ops.arguments import Gates, InitialStates, LatchGradients
from remanent.ops.cpu.arrays import LatchArrays
from remanent.ops.cpu.cut import Cut, chain, make_cut
from remanent.ops.cpu.launch import (
    deliver,
    first_state,
    gradient_buffer,
    readable,
    reset_gradient_buffer,
    restart_state,
    room,
    run,
    writable,
)


def latch_forward(gates: Gates, initial: InitialStates, epsilon: float, states: Tensor) -> None:
    """Fills the states of the latch, (B, T, D)."""
    cut = _cut(gates, epsilon)
    given = _given(gates, initial)
    if cut.pieces > 1:
        left, is_left = (given.reset_state.new_empty(cut.B, cut.pieces - 1, cut.D) for _ in range(2))
        run(_kernels().latch_carry, cut.without_last(), given._replace(left=left, is_left=is_left))
        given = given._replace(start=chain(given.start, left, is_left == 0))
    out = writable(states)
    run(_kernels().latch_forward, cut, given._replace(states=out), epsilon)
    deliver(out, states)


def latch_backward(
    grad: Tensor,
    starts: Tensor,
    gates: Gates,
    initial: InitialStates,
    epsilon: float,
    width: float,
    grads: LatchGradients,
    after: Tensor | None = None,
) -> None:
    """Fills the gradients of the latch from that of its states.

    The states are computed again from `starts`, (B, T // SPAN + 2, D), one for each span of time. Steps after the last
    one pass back `after`, (B, D), or nothing.
    """
    cut = _cut(gates, epsilon)
    given = _given(gates, initial)._replace(start=readable(starts), grad=readable(grad))
    fresh = given.reset_state
    carry = room(fresh, cut.B, 1, cut.D).zero_()
    if after is not None:
        carry += after[:, None]
    if cut.pieces > 1:
        passed, is_open = (room(fresh, cut.B, cut.pieces - 1, cut.D) for _ in range(2))
        later = LatchArrays._make(cut.after_first(v) for v in given)
        run(_kernels().latch_adjoint_carry, cut.without_first(), later._replace(passed=passed, is_open=is_open))
        carry = chain(carry, passed.flip(1), is_open.flip(1) != 0, add=True).flip(1)
    given = given._replace(
        carry=carry,
        grad_candidate=gradient_buffer(grads.gates.candidate, cut),
        grad_threshold=gradient_buffer(grads.gates.threshold, cut),
        grad_alpha=gradient_buffer(grads.gates.alpha, cut),
        grad_reset_state=reset_gradient_buffer(grads.reset_state, cut),
    )
    run(_kernels().latch_backward, cut, given, epsilon, width)
    deliver(given.grad_candidate, grads.gates.candidate)
    deliver(given.grad_threshold, grads.gates.threshold)
    deliver(given.grad_alpha, grads.gates.alpha)
    grads.h0.copy_(carry[:, 0])
    deliver(given.grad_reset_state, grads.reset_state)


def latch_ends(gates: Gates, initial: InitialStates) -> tuple[Tensor, Tensor]:
    """The last state that the steps set with epsilon 0, and whether they set one, 1 or 0; both (B, D).

    It reads from the last step back to the one by which every channel has been set.
    """
    given = _given(gates, initial)
    left, is_left = (given.reset_state.new_empty(gates.candidate[:, :1].shape) for _ in range(2))
    run(_kernels().latch_carry, _whole(gates), given._replace(left=left, is_left=is_left))
    return left[:, 0], is_left[:, 0]


def latch_passed(grad: Tensor, gates: Gates, initial: InitialStates) -> Tensor:
    """The gradient that the steps pass back with epsilon 0 to the state before them, from their own states, (B, D).

    It reads from the first step on to the one by which every channel has been set.
    """
    passed, is_open = (room(grad, *grad[:, :1].shape) for _ in range(2))
    given = _given(gates, initial)._replace(grad=readable(grad), passed=passed, is_open=is_open)
    run(_kernels().latch_adjoint_carry, _whole(gates), given)
    return passed[:, 0]


def _whole(gates: Gates) -> Cut:
    """Time in one piece: the channels of a piece are mostly set within a few steps."""
    return make_cut(gates.candidate.shape, pieces_a_thread=0)


def _cut(gates: Gates, epsilon: float) -> Cut:
    """With epsilon, time stays whole: a state is then a sum, whose bits depend on the order of addition."""
    return make_cut(gates.candidate.shape, pieces_a_thread=4 if epsilon == 0 else 0)


def _given(gates: Gates, initial: InitialStates) -> LatchArrays:
    """The arrays that every kernel reads."""
    candidate, threshold, alpha = (readable(v) for v in gates)
    start, fresh = first_state(initial.h0, candidate), restart_state(initial, candidate)
    return LatchArrays(candidate, threshold, alpha, start, initial.reset, fresh)


def _kernels() -> ModuleType:
    from remanent.ops.cpu import latch_kernels

    return latch_kernels
