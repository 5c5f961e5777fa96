"""The arrays of the CPU kernels: each kernel gets all arrays of its scan, in the order here, and uses those it needs.

Numba compiles a kernel again when the kernel's own file has changed. After a change of the order here, delete what
Numba keeps, `remanent/numba` in the user's cache: otherwise old machine code reads the wrong arrays.

A span is 64 steps of time (`SPAN`). A piece is a longer run of steps, which one thread computes.

Of a scan in a half type, all arrays are in that type but those that stay with the kernels, which are in float32: the
sums for each span, and what passes between pieces (`carry`, `passed`, `is_open`; of the linear scan also `left`, `kept`
and, forward, `start`).
"""

from typing import NamedTuple

from torch import Tensor


class LatchArrays(NamedTuple):
    """The arrays of the latch's kernels.

    Attributes:
        candidate: (B, T, D).
        threshold: (B, T, D) or (D,).
        alpha: (B, T, D) or (D,).
        start: the state that each piece of time starts from, (B, pieces, D); backward that of each span.
        reset: bool (B, T).
        reset_state: (D,), or (B, T, D), of which the rows at resets are read.
        states: written forward, (B, T, D).
        left: the last state that each piece sets, (B, pieces, D).
        is_left: 1 where a piece sets a state, else 0, (B, pieces, D).
        grad: of the states, (B, T, D).
        carry: the gradient that passes from later pieces into each piece, (B, pieces, D); in the end the one that
            each piece passes back.
        passed: the gradient that each piece passes back by itself, (B, pieces, D).
        is_open: 1 where a piece lets pass what comes from later ones, else 0, (B, pieces, D).
        grad_candidate: (B, T, D).
        grad_threshold: (B, T, D), or a sum for each span, (B, spans, D).
        grad_alpha: (B, T, D), or a sum for each span, (B, spans, D).
        grad_reset_state: a sum for each span, (B, spans, D), or (B, T, D), of which the rows at resets are written.
    """

    candidate: Tensor
    threshold: Tensor
    alpha: Tensor
    start: Tensor
    reset: Tensor | None
    reset_state: Tensor
    states: Tensor | None = None
    left: Tensor | None = None
    is_left: Tensor | None = None
    grad: Tensor | None = None
    carry: Tensor | None = None
    passed: Tensor | None = None
    is_open: Tensor | None = None
    grad_candidate: Tensor | None = None
    grad_threshold: Tensor | None = None
    grad_alpha: Tensor | None = None
    grad_reset_state: Tensor | None = None


class LinearArrays(NamedTuple):
    """The arrays of the linear scan's kernels.

    Attributes:
        decay: (B, T, D) or (D,).
        start: the state that each piece of time starts from, (B, pieces, D); backward only the first is read.
        reset: bool (B, T).
        reset_state: (D,), or (B, T, D), of which the rows at resets are read.
        value: (B, T, D).
        states: (B, T, D); written forward, read backward.
        left: the last state of each piece that starts from zero, (B, pieces, D).
        kept: the factor of each piece on what comes into it, (B, pieces, D).
        grad: of the states, (B, T, D).
        carry: the gradient that passes from later pieces into each piece, (B, pieces, D); in the end the one that
            each piece passes back.
        passed: the gradient that each piece passes back by itself, (B, pieces, D).
        grad_decay: (B, T, D), or a sum for each span, (B, spans, D).
        grad_value: (B, T, D).
        grad_reset_state: a sum for each span, (B, spans, D), or (B, T, D), of which the rows at resets are written.
    """

    decay: Tensor
    start: Tensor
    reset: Tensor | None
    reset_state: Tensor
    value: Tensor | None = None
    states: Tensor | None = None
    left: Tensor | None = None
    kept: Tensor | None = None
    grad: Tensor | None = None
    carry: Tensor | None = None
    passed: Tensor | None = None
    grad_decay: Tensor | None = None
    grad_value: Tensor | None = None
    grad_reset_state: Tensor | None = None


class TransitionArrays(NamedTuple):
    """The arrays of the kernels of heads; the sizes K and R follow them.

    Attributes:
        logits: (B, T, H K K).
        start: the state before the first step, (B, 1, D), D = H R K.
        reset: bool (B, T).
        reset_state: (D,), or (B, T, D), of which the rows at resets are read.
        states: (B, T, D); written forward, read backward.
        grad: of the states, (B, T, D).
        carry: the gradient that passes into the last step, (B, 1, D); in the end the one of the start.
        grad_logits: (B, T, H K K).
        grad_reset_state: a sum for each span, (B, spans, D), or (B, T, D), of which the rows at resets are written.
    """

    logits: Tensor
    start: Tensor
    reset: Tensor | None
    reset_state: Tensor
    states: Tensor | None = None
    grad: Tensor | None = None
    carry: Tensor | None = None
    grad_logits: Tensor | None = None
    grad_reset_state: Tensor | None = None


class LookupArrays(NamedTuple):
    """The arrays of the kernel that looks up tables, all of bytes but the tokens; the sizes K and R follow them.

    Attributes:
        tables: (V, 1, H K).
        tokens: int64 (B, T).
        start: the state before the first step, (B, 1, H R).
        states: written, (B, T, H R).
    """

    tables: Tensor
    tokens: Tensor
    start: Tensor
    states: Tensor
