"""What a scan with gates is given, as an operator and as its kernels take it."""

from typing import NamedTuple

from torch import Tensor

from remanent.ops.arguments import InitialStates

CELLS = {"min_gru": 2, "min_lstm": 3, "between": 1}
"""Name to the number of gates that lie side by side: candidate and update; candidate, forget and write; candidate."""


class GatedCall(NamedTuple):
    """The arguments of the operator, in its order; only "between" has thresholds and a size of what is written."""

    gates: Tensor
    low: Tensor | None
    high: Tensor | None
    alpha: Tensor | None
    h0: Tensor | None
    reset: Tensor | None
    reset_state: Tensor | None
    cell: str
    width: float

    def initial(self) -> InitialStates:
        """The states that the scan starts from."""
        return InitialStates(self.h0, self.reset, self.reset_state)


class GatedGradients(NamedTuple):
    """The results of the backward operator, in the shapes of what they belong to; of shape (0,) for what is None."""

    gates: Tensor
    low: Tensor
    high: Tensor
    alpha: Tensor
    h0: Tensor
    reset_state: Tensor


class GatedArrays(NamedTuple):
    """The arrays of the kernels; the number of the cell, its place in `CELLS`, follows them.

    Attributes:
        candidate: (B, T, D).
        second: the update or forget gate, (B, T, D), or the lower threshold, (D,).
        third: the write gate, (B, T, D), or the upper threshold, (D,); any array where the cell has none.
        fourth: the size of what is written, (D,); any array where the cell has none.
        start: the state before the first step, (B, 1, D).
        reset: bool (B, T).
        reset_state: (D,), or (B, T, D), of which the rows at resets are read.
        states: (B, T, D); written forward, read backward.
        grad: of the states, (B, T, D).
        carry: the gradient that passes into the last step, (B, 1, D); in the end the one of the start.
        grad_candidate: (B, T, D).
        grad_second: (B, T, D), or a sum for each span, (B, spans, D), as of all that follow.
        grad_third: see `grad_second`.
        grad_fourth: see `grad_second`.
        grad_reset_state: a sum for each span, (B, spans, D), or (B, T, D), of which the rows at resets are written.
    """

    candidate: Tensor
    second: Tensor
    third: Tensor
    fourth: Tensor
    start: Tensor
    reset: Tensor | None
    reset_state: Tensor
    states: Tensor | None = None
    grad: Tensor | None = None
    carry: Tensor | None = None
    grad_candidate: Tensor | None = None
    grad_second: Tensor | None = None
    grad_third: Tensor | None = None
    grad_fourth: Tensor | None = None
    grad_reset_state: Tensor | None = None
