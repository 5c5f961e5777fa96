"""The scans as time loops, with the signatures of the public scans: the specification of every other backend.

Nothing here is fast. Each loop applies the function of one step, and autograd takes the gradients.
"""

import torch
from torch import Tensor

from remanent.ops.arguments import HeadSizes, StoredGates, compute_dtype
from remanent.ops.feedback_cells import CELLS, feed
from remanent.ops.heads.matrices import check_no_nan, transition_matrix
from remanent.ops.heads.one_hot import by_head, start_state
from remanent.ops.surrogates import select, surrogate_sign, write_gate


def latch_step(
    candidate: Tensor,
    threshold: Tensor,
    alpha: Tensor,
    h: Tensor,
    *,
    epsilon: float | Tensor = 0.0,
    width: float = 1.0,
) -> Tensor:
    r"""One set-or-hold step: $h' = z (\alpha\,\mathrm{sgn}(c) + \epsilon h) + (1 - z) h$, $z = H(|c| - |\beta|)$.

    The gate $z$ selects: what is not written, or not kept, is not read, even if it is infinite or NaN.

    Args:
        candidate: values that may be written, (B, D).
        threshold: $\beta$, used by its absolute value, (B, D) or (D,).
        alpha: the size of a written state, (B, D) or (D,).
        h: the state before the step, (B, D).
        epsilon: how much of the old state a write keeps, in [0, 1]; a number or a tensor ().
        width: the surrogate's width $a > 0$ in the backward pass.

    Returns:
        The state after the step, (B, D).

    Source: De Geeter et al. (2026), arXiv 2601.09495; epsilon: Brandoit et al. (2026), arXiv 2605.11855.

    >>> latch_step(torch.tensor([[0.1]]), torch.ones(1), torch.ones(1), torch.tensor([[-1.0]])).item()
    -1.0
    """
    write = write_gate(candidate, threshold, width)
    written = alpha * surrogate_sign(candidate, width)
    if isinstance(epsilon, Tensor):  # its value may not be asked for in a graph
        written = torch.where(epsilon == 0, written, written + epsilon * h)
    elif epsilon != 0:
        written = written + epsilon * h
    return select(write, written.expand(write.shape), h)


def linear_step(decay: Tensor, value: Tensor, h: Tensor) -> Tensor:
    r"""One step of a first-order linear recurrence: $h' = a \odot h + v$.

    Args:
        decay: $a$, (B, D) or (D,), real or complex.
        value: $v$, (B, D), of the same dtype.
        h: the state before the step, (B, D).

    Returns:
        The state after the step, (B, D).

    Source: Orvieto et al. (2023), arXiv 2303.06349.

    >>> linear_step(torch.tensor([0.5]), torch.tensor([[1.0]]), torch.tensor([[4.0]])).item()
    3.0
    """
    return decay * h + value


def feedback_step(value: Tensor, weight: Tensor, bias: Tensor | None, h: Tensor, *, cell: str) -> Tensor:
    r"""One step of a cell whose gates see the state: $h' = f(v, U h + b, h)$.

    Args:
        value: $v$, what the input adds to the gates, (B, N): N is 3 D for "brc" (feedback, update, candidate)
            and "gru" (reset, update, new), 4 D for "lstm" (input, forget, cell, output).
        weight: $U$, (K, D), or its diagonals (K,): K is 2 D for "brc", which has no feedback to the candidate,
            otherwise N.
        bias: $b$, (K,); zeros if None.
        h: the state before the step, (B, W): W is D, or 2 D for "lstm", the hidden part first.
        cell: $f$, "brc", "gru" or "lstm".

    Returns:
        The state after the step, (B, W).

    Source: brc: Vecoven, Ernst, Drion (2021), PLoS ONE 16(6); gru, lstm: the equations of PyTorch.

    >>> feedback_step(torch.zeros(1, 3), torch.zeros(3, 1), None, torch.ones(1, 1), cell="gru").item()
    0.5
    """
    return CELLS[cell].step(value, feed(h, weight, bias, cell), h)


def transition_step(
    logits: Tensor,
    h: Tensor,
    *,
    num_states: int,
    num_tracers: int = 1,
    epsilon: float | Tensor = 0.0,
) -> Tensor:
    r"""One step of heads of K states: $h'[k, r, m] = \sum_j M[k, j, m]\, h[k, r, j]$.

    The matrix is $M = (1 - \epsilon) P + \epsilon S$: P has a 1 in each row, at the largest of its logits, the lowest
    of equal ones; S is the softmax of the logits, whose gradient stands for that of both.

    Args:
        logits: (B, H K K), at (k K + j) K + l how much head k goes from state j to state l. NaN is rejected, except
            where a compiler or a transform of `torch.func` runs.
        h: the state before the step, (B, H R K): K numbers for each head, and in it for each tracer.
        num_states: K, at least 2.
        num_tracers: R, at least 1.
        epsilon: the share of the softmax, in [0, 1]; a number or a tensor ().

    Returns:
        The state after the step, (B, H R K); one-hot where `h` is and `epsilon` is 0.

    Raises:
        ValueError: a logit is NaN.

    Source: De Geeter et al. (2026), arXiv 2601.09495.

    >>> transition_step(torch.tensor([[0.0, 1.0, 1.0, 0.0]]), torch.tensor([[1.0, 0.0]]), num_states=2).tolist()
    [[0.0, 1.0]]
    """
    check_no_nan(logits)
    sizes = HeadSizes(num_states, num_tracers)
    heads = sizes.heads(logits.shape[-1])
    matrix = transition_matrix(logits.unflatten(-1, (heads, num_states, num_states)), epsilon)
    return (by_head(h, heads, sizes) @ matrix).flatten(-3)


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
) -> Tensor:
    """The set-or-hold scan as `latch_step` from the first step to the last; the arguments are not checked."""
    B, T, D = candidate.shape
    dtype, compute = candidate.dtype, compute_dtype(candidate.dtype)
    candidate, threshold, alpha = (v.to(compute).expand(B, T, D) for v in (candidate, threshold, alpha))
    h, start = _initial(h0, reset_state, candidate)
    states = []
    for t in range(T):
        if reset is not None:
            h = torch.where(reset[:, t, None], at_step(start, t), h)
        h = latch_step(candidate[:, t], threshold[:, t], alpha[:, t], h, epsilon=epsilon, width=width)
        states.append(h)
    return torch.stack(states, dim=1).to(dtype)


def latch_scan_joint(
    gates: Tensor,
    alpha: Tensor | None = None,
    h0: Tensor | None = None,
    *,
    epsilon: float | Tensor = 0.0,
    width: float = 1.0,
    reset: Tensor | None = None,
    reset_state: Tensor | None = None,
) -> Tensor:
    """`latch_scan` of gates that lie side by side in one tensor; the arguments are not checked."""
    apart = StoredGates(gates, None, alpha).split()
    return latch_scan(*apart, h0, epsilon=epsilon, width=width, reset=reset, reset_state=reset_state)


def linear_scan(
    decay: Tensor,
    value: Tensor,
    h0: Tensor | None = None,
    *,
    reset: Tensor | None = None,
    reset_state: Tensor | None = None,
    pairs: bool = False,
) -> Tensor:
    """The linear scan as `linear_step` from the first step to the last; the arguments are not checked."""
    if pairs:
        start, restart = (v if v is None else _complex(v) for v in (h0, reset_state))
        found = linear_scan(_complex(decay), _complex(value), start, reset=reset, reset_state=restart)
        return torch.view_as_real(found).flatten(-2)
    B, T, D = value.shape
    dtype, compute = value.dtype, compute_dtype(value.dtype)
    decay, value = (v.to(compute).expand(B, T, D) for v in (decay, value))
    h, start = _initial(h0, reset_state, value)
    states = []
    for t in range(T):
        if reset is not None:
            h = torch.where(reset[:, t, None], at_step(start, t), h)
        h = linear_step(decay[:, t], value[:, t], h)
        states.append(h)
    return torch.stack(states, dim=1).to(dtype)


def _complex(pairs: Tensor) -> Tensor:
    """A channel's real part and beside it its imaginary part, (..., 2 D), as complex numbers (..., D)."""
    return torch.view_as_complex(pairs.unflatten(-1, (-1, 2)).contiguous())


def feedback_scan(
    value: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    h0: Tensor,
    *,
    cell: str,
    reset: Tensor | None = None,
    reset_state: Tensor | None = None,
) -> Tensor:
    """The sequential scan as `feedback_step` from the first step to the last; the arguments are not checked."""
    h, states = h0, []
    start = h0.new_zeros(h0.shape[1]) if reset_state is None else reset_state
    for t, v in enumerate(value.unbind(1)):
        if reset is not None:
            h = torch.where(reset[:, t, None], at_step(start, t), h)
        h = feedback_step(v, weight, bias, h, cell=cell)
        states.append(h)
    return torch.stack(states, dim=1)


def transition_scan(
    logits: Tensor,
    h0: Tensor | None = None,
    *,
    num_states: int,
    num_tracers: int = 1,
    epsilon: float | Tensor = 0.0,
    reset: Tensor | None = None,
    reset_state: Tensor | None = None,
) -> Tensor:
    """The scan of heads as `transition_step` from the first step to the last; only NaN in `logits` is rejected."""
    B, T, W = logits.shape
    dtype, compute = logits.dtype, compute_dtype(logits.dtype)
    sizes = HeadSizes(num_states, num_tracers)
    own = start_state(logits, sizes.heads(W), sizes).to(compute)
    h = own.expand(B, -1) if h0 is None else h0.to(compute)
    start = own if reset_state is None else reset_state.to(compute)
    states = []
    for t in range(T):
        if reset is not None:
            h = torch.where(reset[:, t, None], at_step(start, t), h)
        h = transition_step(
            logits[:, t].to(compute), h, num_states=num_states, num_tracers=num_tracers, epsilon=epsilon
        )
        states.append(h)
    return torch.stack(states, dim=1).to(dtype)


def lookup_scan(tables: Tensor, tokens: Tensor, start: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The scan of looked-up tables, one token after another; the arguments are not checked."""
    _, H, K = tables.shape
    identity = torch.arange(K, dtype=torch.uint8, device=tables.device).expand(tokens.shape[0], H, K)
    places, states = identity if start is None else start, []
    for token in tokens.unbind(1):
        places = tables[token].gather(-1, places.long())
        states.append(places.flatten(1))
    return torch.stack(states, dim=1), places


def at_step(start: Tensor, t: int) -> Tensor:
    """The state after a reset at step t, (D,) or (B, D), from that of all steps, (D,) or (B, T, D)."""
    return start if start.dim() == 1 else start[:, t]


def _initial(h0: Tensor | None, reset_state: Tensor | None, like: Tensor) -> tuple[Tensor, Tensor]:
    """The state before the first step, (B, D), and after a reset, (D,) or (B, T, D); zeros where there is None."""
    B, _, D = like.shape
    h = like.new_zeros(B, D) if h0 is None else h0.to(like.dtype)
    start = like.new_zeros(D) if reset_state is None else reset_state.to(like.dtype)
    return h, start
