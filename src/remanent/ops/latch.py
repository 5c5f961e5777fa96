"""The set-or-hold scan: its public functions."""

from typing import Any

import torch  # noqa: F401 (for the examples)
from torch import Tensor

from remanent._options import check_range
from remanent.ops._latch import BACKENDS, run_latch, run_shard
from remanent.ops.checks import (
    REAL_DTYPES,
    check_backend,
    check_companion,
    check_reset,
    check_scalar,
    check_sequence,
)
from remanent.ops.shards import refusal_announced

__all__ = ["BACKENDS", "latch_scan", "latch_scan_joint"]


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
    the step $H(u)$ by $a / (1 + (\pi a u)^2)$ and that of the sign by twice as much, and is exact for
    the rest. A NaN in `candidate` or `threshold` holds.

    Args:
        candidate: $c$, values that may be written, (B, T, D); float32, float64, bfloat16 or float16.
        threshold: $\beta$, used by its absolute value, (B, T, D) or (D,).
        alpha: the size of a written state, (B, T, D) or (D,).
        h0: the state before the first step, (B, D); zeros if None.
        epsilon: how much of the old state a write keeps, in [0, 1]: 0 is the BMRU, 1 the CMRU. A tensor
            () of float64 on the CPU may change between calls without a new compilation.
        width: the surrogate's $a > 0$; a larger one looks at a narrower band around the threshold.
        reset: bool (B, T): where true, the state is replaced by `reset_state` before that step.
        reset_state: (D,), zeros if None; never the carried `h0`: a new episode must not see the last.
        backend: "reference" (time loop), "portable" (plain PyTorch, any device), "cpu" (Numba), "gpu"
            (Triton), or "auto" for the fastest that runs on the device.
        group: the processes that hold a part of the time each, in the order of their ranks: a
            `torch.distributed` process group, or a mesh of one dimension. See below.

    Returns:
        The states after every step, (B, T, D). Half types are computed, and their gradients summed,
        in float32. For the backward pass, `candidate` and `threshold` are kept, and one state in 64
        steps, from which it computes the others again: in float32 8.06 bytes for each element (B, T, D).
        The CPU's threads are those of `torch.set_num_threads`; states do not depend on their number.

    With a `group`, each process gives its own steps, any number of them, and gets their states; the bits are those
    of one process with all steps where `epsilon` is 0, and the same up to rounding else. `h0` is that before the
    first step of all, and read by the first process alone. The scan runs twice, and each process sends every other
    2 B D numbers forward and B D backward, whatever T is, beside 8 of what must be the same everywhere. All
    processes must call it, and its backward pass, in the same order. The gradient of what all share (`h0`, and
    `threshold`, `alpha` and `reset_state` of (D,)) is in parts: add those of all processes up.

    Raises:
        ValueError: a shape, a device, a range or the backend does not fit; the message names the argument. With a
            `group` also where another process was given what does not fit, or does not fit to this one's.
        TypeError: a dtype or type does not fit.

    Source: De Geeter et al. (2026), arXiv 2601.09495; epsilon: Brandoit et al. (2026), arXiv 2605.11855.

    >>> latch_scan(torch.tensor([[[2.0], [0.1], [-2.0]]]), torch.ones(1, 3, 1), torch.ones(1)).flatten().tolist()
    [1.0, 1.0, -1.0]
    """
    others = (h0, epsilon, width, reset, reset_state, backend)
    if group is None:
        return run_latch(candidate, threshold, alpha, h0, *_checked_apart(candidate, threshold, alpha, *others))
    with refusal_announced(group):
        options = _checked_apart(candidate, threshold, alpha, *others, empty=True)
    return run_shard(candidate, threshold, alpha, h0, *options, group=group)


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
    r"""`latch_scan` of gates that lie side by side, as one projection puts them out.

    The gates are read where they lie, and their gradient is written in the same form: nothing is copied.

    Args:
        gates: candidate and threshold, (B, T, 2 D); and the size of a written state after them, (B, T, 3 D),
            where `alpha` is None.
        alpha: the size of a written state, (B, T, D) or (D,).
        h0: this and the rest as in `latch_scan`.

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
    others = (h0, epsilon, width, reset, reset_state, backend)
    if group is None:
        return run_latch(gates, None, alpha, h0, *_checked_joint(gates, alpha, *others))
    with refusal_announced(group):
        options = _checked_joint(gates, alpha, *others, empty=True)
    return run_shard(gates, None, alpha, h0, *options, group=group)


def _checked_apart(
    candidate: Tensor, threshold: Tensor, alpha: Tensor, *others: Any, empty: bool = False
) -> tuple[Any, ...]:
    B, T, D = check_sequence("candidate", candidate, REAL_DTYPES, empty=empty)
    gate_shapes = {f"(B={B}, T={T}, D={D})": (B, T, D), f"(D={D},)": (D,)}
    check_companion("threshold", threshold, candidate, gate_shapes)
    check_companion("alpha", alpha, candidate, gate_shapes)
    return _checked(candidate, *others)


def _checked_joint(gates: Tensor, alpha: Tensor | None, *others: Any, empty: bool = False) -> tuple[Any, ...]:
    B, T, W = check_sequence("gates", gates, REAL_DTYPES, empty=empty)
    parts = 3 if alpha is None else 2
    if W % parts:
        raise ValueError(f"`gates` must have shape (B, T, {parts} D), got {tuple(gates.shape)}")
    D = W // parts
    if alpha is not None:
        check_companion("alpha", alpha, gates, {f"(B={B}, T={T}, D={D})": (B, T, D), f"(D={D},)": (D,)})
    return _checked(gates[..., :D], *others)


def _checked(
    candidate: Tensor,
    h0: Tensor | None,
    epsilon: float | Tensor,
    width: float,
    reset: Tensor | None,
    reset_state: Tensor | None,
    backend: str,
) -> tuple[Any, ...]:
    """The options, from `epsilon` on."""
    B, _, D = candidate.shape
    if h0 is not None:
        check_companion("h0", h0, candidate, {f"(B={B}, D={D})": (B, D)})
    epsilon = check_scalar("epsilon", epsilon, 0, 1)
    check_range("width", width, 0, float("inf"), open_low=True)
    check_reset(reset, reset_state, candidate)
    return epsilon, width, reset, reset_state, check_backend(backend, BACKENDS, candidate)
