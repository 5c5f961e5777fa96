"""What the scans take and give back, as named tuples, and the dtypes that they accept and compute in."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

REAL_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
"""The dtypes of every scan."""
COMPLEX_DTYPES = (torch.complex64, torch.complex128)
"""The dtypes that only the linear scan accepts beside the real ones."""
SPAN = 64
"""The latch keeps one state in this many steps for its backward pass, which computes the others again."""


class Backend(NamedTuple):
    """The functions of a backend, which fill the tensors that they are given.

    Attributes:
        forward: fills the states.
        backward: fills the gradients.
    """

    forward: Callable[..., None]
    backward: Callable[..., None]


class Gates(NamedTuple):
    """The gates of a latch.

    Attributes:
        candidate: values that may be written, (B, T, D).
        threshold: the least absolute value that is written, by its own absolute value, (B, T, D) or (D,).
        alpha: the size of a written state, (B, T, D) or (D,).
    """

    candidate: Tensor
    threshold: Tensor
    alpha: Tensor


class StoredGates(NamedTuple):
    """The gates of a latch as they lie in memory: apart, or side by side as one projection gives them.

    Attributes:
        joint: the candidate, (B, T, D), followed along the last axis by each gate that is None here.
        threshold: (B, T, D) or (D,), or None where it lies in `joint`.
        alpha: (B, T, D) or (D,), or None where it lies in `joint`.
    """

    joint: Tensor
    threshold: Tensor | None
    alpha: Tensor | None

    def parts(self) -> int:
        """The number of gates in `joint`."""
        return 1 + (self.threshold is None) + (self.alpha is None)

    def split(self) -> Gates:
        """The gates, each a tensor of its own; those in `joint` are views of it."""
        if self.threshold is not None and self.alpha is not None:
            return Gates(self.joint, self.threshold, self.alpha)
        candidate, *others = self.joint.chunk(self.parts(), dim=-1)
        threshold = others.pop(0) if self.threshold is None else self.threshold
        return Gates(candidate, threshold, others.pop(0) if self.alpha is None else self.alpha)


class InitialStates(NamedTuple):
    """The states that a scan starts from: at its first step, and again at every reset.

    Attributes:
        h0: the state before the first step, (B, D); zeros if None.
        reset: bool (B, T): where true, `reset_state` replaces the state before that step; None for no reset.
        reset_state: (D,), or (B, T, D), of which the rows at resets are read; zeros if None.
    """

    h0: Tensor | None
    reset: Tensor | None
    reset_state: Tensor | None


class LatchCall(NamedTuple):
    """The arguments of the operator of the latch, in its order; a gate that is None lies in `gates`."""

    gates: Tensor
    threshold: Tensor | None
    alpha: Tensor | None
    h0: Tensor | None
    epsilon: Tensor
    width: float
    reset: Tensor | None
    reset_state: Tensor | None
    backend: str

    def stored(self) -> StoredGates:
        """The gates."""
        return StoredGates(self.gates, self.threshold, self.alpha)

    def initial(self) -> InitialStates:
        """The states that the scan starts from."""
        return InitialStates(self.h0, self.reset, self.reset_state)


class LatchAdjoints(NamedTuple):
    """The results of the backward operator of the latch; of shape (0,) for a gate that lies in `gates`."""

    gates: Tensor
    threshold: Tensor
    alpha: Tensor
    h0: Tensor
    reset_state: Tensor

    def by_argument(self, call: LatchCall) -> Any:
        """The gradients of all arguments, a named tuple: None where there is none; that of `h0` in any case."""
        nothing: Any = LatchCall(*(None,) * len(LatchCall._fields))  # type: ignore[arg-type]
        return nothing._replace(
            gates=self.gates,
            threshold=None if call.threshold is None else self.threshold,
            alpha=None if call.alpha is None else self.alpha,
            h0=self.h0,
            reset_state=None if call.reset_state is None else self.reset_state,
        )


class LinearCall(NamedTuple):
    """The arguments of the operator of the linear scan, in its order; with `pairs`, complex ones are pairs."""

    decay: Tensor
    value: Tensor
    h0: Tensor | None
    reset: Tensor | None
    reset_state: Tensor | None
    backend: str
    pairs: bool = False

    def initial(self) -> InitialStates:
        """The states that the scan starts from."""
        return InitialStates(self.h0, self.reset, self.reset_state)


class LinearAdjointCall(NamedTuple):
    """The arguments of the backward operator of the linear scan, in its order; it does without `value`."""

    grad: Tensor
    states: Tensor
    decay: Tensor
    h0: Tensor | None
    reset: Tensor | None
    reset_state: Tensor | None
    backend: str
    pairs: bool = False


class HeadSizes(NamedTuple):
    """The sizes of a head of K stable states.

    Attributes:
        states: K, from 2 to 255.
        tracers: R, how many states of its own share a head's table.
    """

    states: int
    tracers: int

    def heads(self, width: int) -> int:
        """The number of heads whose logits lie side by side in so many features."""
        return width // (self.states * self.states)

    def width(self, features: int) -> int:
        """The width of the state of the heads whose logits lie side by side in so many features."""
        return self.heads(features) * self.tracers * self.states


class TransitionCall(NamedTuple):
    """The arguments of the operator of the transition scan, in its order."""

    logits: Tensor
    h0: Tensor
    epsilon: Tensor
    reset: Tensor | None
    reset_state: Tensor | None
    num_states: int
    num_tracers: int
    backend: str

    def initial(self) -> InitialStates:
        """The states that the scan starts from."""
        return InitialStates(self.h0, self.reset, self.reset_state)

    def sizes(self) -> HeadSizes:
        """The sizes of a head."""
        return HeadSizes(self.num_states, self.num_tracers)


class TransitionGradients(NamedTuple):
    """Allocated buffers for the gradients of a transition scan, in the shapes of what they are the gradients of.

    Attributes:
        logits: (B, T, H K K).
        h0: of the state before the first step, (B, D).
        reset_state: of the state after a reset, (D,) or (B, T, D).
    """

    logits: Tensor
    h0: Tensor
    reset_state: Tensor


class LatchGradients(NamedTuple):
    """Allocated buffers for the gradients of a latch, in the shapes and dtypes of what they are the gradients of.

    Attributes:
        gates: of the three gates.
        h0: of the state before the first step, (B, D).
        reset_state: of the state after a reset, (D,) or (B, T, D).
    """

    gates: Gates
    h0: Tensor
    reset_state: Tensor


class LinearGradients(NamedTuple):
    """Allocated buffers for the gradients of a linear scan, in the shapes and dtypes of what they are the gradients of.

    Attributes:
        decay: (B, T, D) or (D,).
        value: (B, T, D).
        h0: of the state before the first step, (B, D).
        reset_state: of the state after a reset, (D,) or (B, T, D).
    """

    decay: Tensor
    value: Tensor
    h0: Tensor
    reset_state: Tensor


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype that a scan computes in: float32 for half types, otherwise the dtype itself."""
    return torch.float32 if dtype in (torch.bfloat16, torch.float16) else dtype
