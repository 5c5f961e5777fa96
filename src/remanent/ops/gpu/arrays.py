"""The tensors of the GPU kernels, by the names that kernels give them: each kernel gets those that it names."""

from typing import NamedTuple

from torch import Tensor


class LatchArrays(NamedTuple):
    """The tensors of the latch's kernels.

    Attributes:
        candidate: (B, T, D).
        threshold: (B, T, D) or (D,).
        alpha: (B, T, D) or (D,).
        reset: bytes (B, T).
        reset_state: (D,), or (B, T, D), of which the rows at resets are read.
        initial: the state that each piece of time starts from, (B, pieces, D).
        states: written, (B, T, D).
        last: written, the last state that each piece sets, (B, pieces, D).
        found: written, whether a piece sets a state, (B, pieces, D).
        grad: of the states, (B, T, D).
        starts: the state that each span of time starts from, (B, T // SPAN + 2, D).
        carried: the gradient that later pieces pass into each piece, (B, pieces, D).
        whole: written, whether what follows a piece passes through it, (B, pieces, D).
        scratch: room for some states of a span in each program.
        grad_candidate: written, (B, T, D).
        grad_threshold: written, (B, T, D), or rows of sums, (pieces B, D).
        grad_alpha: written, (B, T, D), or rows of sums, (pieces B, D).
        grad_h0: written, (B, D).
        grad_reset_state: written, (B, T, D), or rows of sums, (pieces B, D).
    """

    candidate: Tensor
    threshold: Tensor
    alpha: Tensor | None = None
    reset: Tensor | None = None
    reset_state: Tensor | None = None
    initial: Tensor | None = None
    states: Tensor | None = None
    last: Tensor | None = None
    found: Tensor | None = None
    grad: Tensor | None = None
    starts: Tensor | None = None
    carried: Tensor | None = None
    whole: Tensor | None = None
    scratch: Tensor | None = None
    grad_candidate: Tensor | None = None
    grad_threshold: Tensor | None = None
    grad_alpha: Tensor | None = None
    grad_h0: Tensor | None = None
    grad_reset_state: Tensor | None = None


class LinearArrays(NamedTuple):
    """The tensors of the linear scan's kernels.

    Attributes:
        decay: (B, T, D) or (D,).
        value: (B, T, D).
        reset: bytes (B, T).
        reset_state: (D,), or (B, T, D), of which the rows at resets are read.
        h0: (B, D).
        initial: the state that each piece of time starts from, (B, pieces, D).
        states: (B, T, D); written forward, read backward.
        products: written, the factor of each piece on what comes into it, (B, pieces, D).
        grad: of the states, (B, T, D).
        carried: the gradient that passes into or out of each piece, (B, pieces, D).
        grad_decay: written, (B, T, D), or rows of sums, (pieces B, D).
        grad_value: written, (B, T, D).
        grad_h0: written, (B, D).
        grad_reset_state: written, (B, T, D), or rows of sums, (pieces B, D).
    """

    decay: Tensor
    value: Tensor | None = None
    reset: Tensor | None = None
    reset_state: Tensor | None = None
    h0: Tensor | None = None
    initial: Tensor | None = None
    states: Tensor | None = None
    products: Tensor | None = None
    grad: Tensor | None = None
    carried: Tensor | None = None
    grad_decay: Tensor | None = None
    grad_value: Tensor | None = None
    grad_h0: Tensor | None = None
    grad_reset_state: Tensor | None = None


class TransitionArrays(NamedTuple):
    """The tensors of the kernels of heads, D = H R K.

    Attributes:
        initial: the state before the first step, (B, 1, D); forward the state that each piece starts from.
        reset: bytes (B, T).
        reset_state: (D,), or (B, T, D), of which the rows at resets are read.
        states: (B, T, D); written forward, or the last of each piece alone, (B, pieces, D); read backward.
        logits: (B, T, H K K).
        grad: of the states, (B, T, D).
        carry: the gradient that later pieces pass into each piece, (B, pieces, D).
        grad_logits: written, (B, T, H K K).
        grad_carry: written, the gradient that each piece passes back, (B, pieces, D).
        grad_reset_state: written, (B, T, D), or rows of sums, (pieces B, D).
    """

    initial: Tensor
    reset: Tensor | None
    reset_state: Tensor | None
    states: Tensor
    logits: Tensor | None = None
    grad: Tensor | None = None
    carry: Tensor | None = None
    grad_logits: Tensor | None = None
    grad_carry: Tensor | None = None
    grad_reset_state: Tensor | None = None
