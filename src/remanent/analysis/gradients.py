"""How much of a gradient reaches back in time."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from remanent.analysis._probe import (
    CHUNK,
    Probed,
    carried,
    check_probed,
    check_sequences,
    detached,
    evaluating,
    memories,
    pieces,
    run,
)


def gradient_by_lag(
    module: Probed,
    x: Tensor,
    lags: Sequence[int] | None = None,
    *,
    loss: Callable[[Tensor], Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    r"""The norm $\|\partial L_T / \partial h_{T-k}\|$ of the gradient of a loss at the last step, over the lag $k$.

    It says how far training can see. A latch with `epsilon` 0 passes a gradient on only while it holds, and through
    its surrogate where it is written; with `epsilon` 1 it passes undamped; a linear unit damps it by its eigenvalues.
    It is taken piece by piece, backwards, so that memory does not grow with T.

    Args:
        module: a unit of one direction, or a model; its parameters' gradients are left alone.
        x: inputs, (B, T, M), or tokens (B, T).
        lags: k, each in [1, T - 1] and above the one before; by default the powers of two that fit, and T - 1.
        loss: from the output after the last step, (B, W), to the loss of each sequence, (B,); its sum by default.

    Returns:
        The lags, int64 (K,), and the norm over the states of all units at each, the mean over the batch, (K,).

    Raises:
        ValueError: the lags are out of their range or order, T is 1, or a shape does not fit.
        TypeError: `module` is neither a unit nor a model.

    Source: Bengio, Simard and Frasconi (1994), IEEE Transactions on Neural Networks 5, for why it vanishes.

    >>> from remanent import CMRU
    >>> gradient_by_lag(CMRU(3, 8), torch.randn(2, 40, 3))[0].tolist()
    [1, 2, 4, 8, 16, 32, 39]
    """
    check_probed(module)
    check_sequences(module, "x", x)
    if loss is not None and not callable(loss):
        raise TypeError(f"`loss` must be a function, got {type(loss).__name__}")
    T = x.shape[1]
    chosen = _checked_lags(lags, T)
    edges = sorted({T} | {T - k for k in chosen})
    cuts = [left for a, b in pairwise(edges) for left, _ in pieces(a, b, CHUNK)] + [T]
    with evaluating(module):
        norms = _pull_back(module, x, cuts, loss)
    return torch.tensor(chosen), torch.stack([norms[k] for k in chosen])


def _pull_back(
    module: Probed, x: Tensor, cuts: list[int], loss: Callable[[Tensor], Tensor] | None
) -> dict[int, Tensor]:
    """The norm at each cut but the last, by lag: states forwards, then the gradient from piece to piece backwards."""
    T = cuts[-1]
    state = None
    with torch.no_grad():
        for left, right in pieces(0, cuts[0], CHUNK):
            _, state = run(module, x[:, left:right], state)
        states = [state]
        for left, right in pairwise(cuts[:-1]):
            states.append(run(module, x[:, left:right], states[-1])[1])
    norms = {}
    flowing: list[Tensor] = []
    for i in range(len(states) - 1, -1, -1):
        start = detached(states[i])
        with torch.enable_grad():
            y, end = run(module, x[:, cuts[i] : cuts[i + 1]], start)
            last = y[:, -1] if y.dim() == 3 else y
            targets = [_summed(loss, last)] if i == len(states) - 1 else carried(end)
        flowing = _pull(targets, carried(start), flowing or None)
        norms[T - cuts[i]] = _norm(flowing, carried(start), start)
    return norms


def _pull(targets: list[Tensor], sources: list[Tensor], gradients: list[Tensor] | None) -> list[Tensor]:
    """The gradients of the sources, zeros where nothing flows."""
    linked = [i for i, target in enumerate(targets) if target.requires_grad]
    if not linked:
        return [torch.zeros_like(source) for source in sources]
    outputs = [targets[i] for i in linked]
    given = None if gradients is None else [gradients[i] for i in linked]
    found = torch.autograd.grad(outputs, sources, given, allow_unused=True)
    return [torch.zeros_like(s) if g is None else g for s, g in zip(sources, found, strict=True)]


def _norm(gradients: list[Tensor], sources: list[Tensor], state: Any) -> Tensor:
    """Over the units' states of each sequence, the mean over the batch."""
    kept = {id(part) for part in memories(state)}
    squares = [g.abs().square().sum(dim=(0, 2)) for g, s in zip(gradients, sources, strict=True) if id(s) in kept]
    return torch.stack(squares).sum(0).sqrt().mean()


def _summed(loss: Callable[[Tensor], Tensor] | None, last: Tensor) -> Tensor:
    if loss is None:
        return last.sum()
    value = loss(last)
    came = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
    if came != last.shape[:1]:
        raise ValueError(f"`loss` must give a number for each sequence, ({len(last)},), got {came}")
    return value.sum()


def _checked_lags(lags: Sequence[int] | None, T: int) -> list[int]:
    if T < 2:
        raise ValueError(f"`x` must have at least two steps, got T={T}")
    if lags is None:
        return sorted({2**i for i in range(T.bit_length()) if 2**i < T} | {T - 1})
    if not isinstance(lags, Sequence) or not all(isinstance(k, int) for k in lags):
        raise TypeError(f"`lags` must be a list of ints, got {lags!r}")
    chosen = list(lags)
    if not chosen or chosen[0] < 1 or chosen[-1] > T - 1 or any(a >= b for a, b in pairwise(chosen)):
        raise ValueError(f"`lags` must rise within [1, T - 1={T - 1}], got {chosen}")
    return chosen
