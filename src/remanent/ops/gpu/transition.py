"""Heads of K states on a GPU: Triton kernels with one program per batch row, block of heads and piece of time.

Where batch and heads do not fill the device, time is cut: a first kernel finds the map of each piece, which are
composed here as if they were steps, and all pieces run at once. Triton is imported on first use.
"""

from types import ModuleType
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from remanent.ops.arguments import HeadSizes, InitialStates, TransitionGradients, compute_dtype
from remanent.ops.gpu import launch
from remanent.ops.gpu.arrays import TransitionArrays
from remanent.ops.heads import portable_tables as portable
from remanent.ops.heads.one_hot import by_head, start_state

MOST_STATES = 16
"""The most states and tracers of a head for which the products of a step fit into the registers of a program."""
ELEMENTS = 1024
"""Products of a step, for the heads of a program together."""
SHORTEST = 64
"""The fewest steps of a piece of time."""


def transition_forward(
    logits: Tensor, initial: InitialStates, sizes: HeadSizes, epsilon: float, states: Tensor
) -> None:
    """Fills the states of the heads, (B, T, H R K)."""
    check_sizes(sizes)
    if states.numel() == 0:
        return
    work = _Work.of(logits, sizes, epsilon)
    start, reset, reset_state = _given(initial)
    if work.pieces > 1:
        pieces, maps = _piece_resets(work, initial), _piece_maps(work, reset)
        starts = by_head(portable.starts(pieces, work.pieces).to(maps.dtype), work.heads(), sizes)
        ends = (starts @ portable.composed(maps, pieces.reset)).flatten(2)
        start = torch.cat([start.to(ends.dtype), ends[:, :-1]], dim=1)
    out = launch.rows_like(states)
    arrays = TransitionArrays(start, reset, reset_state, out)
    work.launch(kernels().transition_forward, arrays, {"ENDS": False})
    launch.give(out, states)


def transition_backward(
    grad: Tensor,
    states: Tensor,
    logits: Tensor,
    initial: InitialStates,
    sizes: HeadSizes,
    epsilon: float,
    grads: TransitionGradients,
) -> None:
    """Fills the gradients of the heads from their states and the gradient of these."""
    check_sizes(sizes)
    if grad.numel() == 0:
        return launch.give_zeros(grads)
    work = _Work.of(logits, sizes, epsilon)
    start, reset, reset_state = _given(initial)
    arrays = TransitionArrays(start, reset, reset_state, launch.channels_last(states), grad=launch.channels_last(grad))
    if work.pieces > 1:
        arrays = arrays._replace(carry=_piece_carries(work, arrays, _piece_resets(work, initial)))
    of_logits, of_pieces = launch.rows_like(grads.logits), launch.piece_tensor(states, work.pieces)
    of_reset = None if reset is None else launch.sums_or_rows(grads.reset_state, states, work.pieces)
    arrays = arrays._replace(grad_logits=of_logits, grad_carry=of_pieces, grad_reset_state=of_reset)
    work.launch(kernels().transition_backward, arrays, {"CARRY": False})
    for out, wanted in zip((of_logits, of_pieces[:, 0], of_reset), grads, strict=True):
        launch.give(out, wanted)
    return None


def check_sizes(sizes: HeadSizes) -> None:
    """Raises where a head is too large for the kernels."""
    for name, value in (("num_states", sizes.states), ("num_tracers", sizes.tracers)):
        if value > MOST_STATES:
            raise ValueError(f"`{name}` must be at most {MOST_STATES} for the backend 'gpu', got {value}")


class _Work(NamedTuple):
    """The logits of a scan, and how it is cut into programs."""

    logits: Tensor
    sizes: HeadSizes
    epsilon: float
    pieces: int
    length: int

    @classmethod
    def of(cls, logits: Tensor, sizes: HeadSizes, epsilon: float) -> "_Work":
        work = cls(launch.channels_last(logits), sizes, epsilon, 1, logits.shape[1])
        T = logits.shape[1]
        wanted = -(-launch.fill_of(logits.device) // work.programs())
        if wanted == 1 or T <= SHORTEST:
            return work
        length = SHORTEST * -(-T // (SHORTEST * wanted))
        return work._replace(pieces=-(-T // length), length=length)

    def heads(self) -> int:
        return self.sizes.heads(self.logits.shape[2])

    def padded(self) -> HeadSizes:
        return HeadSizes(*(1 << (size - 1).bit_length() for size in self.sizes))

    def block(self) -> int:
        """The heads of a program."""
        K, R = self.padded()
        return max(1, min(1 << (self.heads() - 1).bit_length(), ELEMENTS // (R * K * K)))

    def programs(self) -> int:
        """The programs of a piece."""
        return len(self.logits) * -(-self.heads() // self.block())

    def launch(self, kernel: Any, arrays: TransitionArrays, flags: dict[str, bool]) -> None:
        """Runs a kernel on all pieces, with the strides of the arrays, and which of them move with time."""
        import triton.language as tl

        (B, T, _), (K, R), padded = self.logits.shape, self.sizes, self.padded()
        dtype = tl.float64 if self.logits.dtype == torch.float64 else tl.float32
        given: dict[str, Tensor | None] = arrays._replace(logits=self.logits)._asdict()
        sizes: dict[str, Any] = {"epsilon": self.epsilon, "B": B, "T": T, "H": self.heads(), "length": self.length}
        sizes |= {"K": K, "R": R, "KP": padded.states, "RP": padded.tracers, "HP": self.block(), "DTYPE": dtype}
        sizes |= {"SOFT": self.epsilon != 0, "RESET": arrays.reset is not None} | flags
        wanted = {name: sizes[name] if name in sizes else launch.argument(name, given) for name in kernel.arg_names}
        products = self.block() * padded.tracers * padded.states**2
        warps = 1 if products <= ELEMENTS else 8
        with launch.on(self.logits.device):
            kernel[(self.programs() * self.pieces,)](**wanted, num_warps=warps, enable_fp_fusion=False)


def _given(initial: InitialStates) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """The state before the first step, (B, 1, D), resets as bytes, and the state after a reset."""
    assert initial.h0 is not None
    start = launch.channels_last(initial.h0)[:, None]
    return start, launch.reset_bytes(initial.reset), launch.restart_state(initial.reset_state)


def _piece_maps(work: _Work, reset: Tensor | None) -> Tensor:
    """The matrix of each piece of time, of its steps from the last reset on, (B, pieces, H, K, K)."""
    K = work.sizes.states
    whole = work._replace(sizes=HeadSizes(K, K))
    identity = start_state(work.logits, work.heads(), whole.sizes).to(compute_dtype(work.logits.dtype))
    B = len(work.logits)
    maps = identity.new_empty(B, work.pieces, len(identity))
    arrays = TransitionArrays(identity.expand(B, work.pieces, -1), reset, identity, maps)
    whole.launch(kernels().transition_forward, arrays, {"ENDS": True})
    return by_head(maps, work.heads(), whole.sizes)


def _piece_resets(work: _Work, initial: InitialStates) -> InitialStates:
    """The state before the first piece, which pieces have a reset, (B, pieces), and the state after the last of one."""
    h0, reset, reset_state = initial
    if reset is None:
        return initial
    assert h0 is not None
    assert reset_state is not None
    (B, T), D = reset.shape, h0.shape[1]
    last = torch.where(reset, torch.arange(1, T + 1, device=reset.device), 0)
    last = F.pad(last, (0, work.pieces * work.length - T)).view(B, work.pieces, work.length).amax(2)
    step = (last - 1).clamp(min=0)[..., None].expand(-1, -1, D)
    return InitialStates(h0, last > 0, reset_state.expand(B, T, D).gather(1, step))


def _piece_carries(work: _Work, arrays: TransitionArrays, pieces: InitialStates) -> Tensor:
    """What later pieces give to the last state of each piece, (B, pieces, D)."""
    own = launch.piece_tensor(arrays.states, work.pieces)
    work.launch(kernels().transition_backward, arrays._replace(grad_carry=own), {"CARRY": True})
    of_next = by_head(F.pad(own[:, 1:], (0, 0, 0, 1)), work.heads(), work.sizes)
    return portable.adjoint_of(_piece_maps(work, arrays.reset), of_next, pieces.reset).flatten(2)


def kernels() -> ModuleType:
    """Importing the kernels imports Triton."""
    from remanent.ops.gpu import transition_kernels

    return transition_kernels
