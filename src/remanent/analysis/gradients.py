"""How far a gradient reaches back in time."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

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
from remanent.latches.layer_runs import LayerRun
from remanent.units._stack import own_state


class LagGradient(NamedTuple):
    """The result of `gradient_by_lag`.

    Attributes:
        lags: the steps before the last one, k, int64 (K,).
        norms: the norm of the gradient over the states of all units at each lag, the mean over the batch, (K,).
    """

    lags: Tensor
    norms: Tensor


def gradient_by_lag(
    module: Probed,
    x: Tensor,
    lags: Sequence[int] | None = None,
    *,
    loss: Callable[[Tensor], Tensor] | None = None,
) -> LagGradient:
    r"""The norm $\|\partial L_T / \partial h_{T-k}\|$ of the gradient of a loss at the last step, over the lag $k$.

    It shows how far back training can see. A latch with `epsilon` 0 passes a gradient on while it holds, and through
    its surrogate where it is written; with `epsilon` 1 the gradient passes undamped; a linear unit damps it by its
    eigenvalues. The gradient is computed piece by piece, backwards, so that memory does not grow with T.

    Args:
        module: a unit of one direction, or a model; the `grad` of its parameters is not touched.
        x: inputs, (B, T, M), or tokens (B, T).
        lags: k, a rising list of ints in [1, T - 1]; if None, the powers of two that fit, and T - 1.
        loss: a function from the output after the last step, (B, W), to the loss of each sequence, (B,); if None, the
            sum of the output.

    Returns:
        The lags, and the norm of the gradient at each.

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
        norms = _pull_back(partial(run, module), x, cuts, loss)
    return LagGradient(torch.tensor(chosen), torch.stack([norms[k] for k in chosen]))


def layer_gradient(layer: LayerRun) -> LagGradient:
    """The norm of the gradient of the sum of a layer's last states with respect to those k steps before, by lag k.

    Args:
        layer: a layer and its inputs of at least two steps; its unit is put into evaluation by the caller.
    """
    recurrence, p = layer.recurrence, {name: value.detach() for name, value in layer.p.items()}
    x = layer.x.detach()
    start = own_state(recurrence, p, x, layer.unit.hidden_size)

    def run_piece(x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        y, last = recurrence.run(p, x, start if state is None else state[0], None, None)
        return y, last[None]

    lags = _checked_lags(None, x.shape[1])
    cuts = [x.shape[1] - k for k in reversed(lags)] + [x.shape[1]]
    norms = _pull_back(run_piece, x, cuts, None)
    return LagGradient(torch.tensor(lags), torch.stack([norms[k] for k in lags]))


def _pull_back(
    run: Callable[[Tensor, Any], tuple[Tensor, Any]],
    x: Tensor,
    cuts: list[int],
    loss: Callable[[Tensor], Tensor] | None,
) -> dict[int, Tensor]:
    """The norm at each cut except the last, by lag: states go forwards, then the gradient backwards, piece by piece."""
    T = cuts[-1]
    state = None
    with torch.no_grad():
        for left, right in pieces(0, cuts[0], CHUNK):
            _, state = run(x[:, left:right], state)
        states = [state]
        for left, right in pairwise(cuts[:-1]):
            states.append(run(x[:, left:right], states[-1])[1])
    norms = {}
    flowing: list[Tensor] = []
    for i in range(len(states) - 1, -1, -1):
        start = detached(states[i])
        with torch.enable_grad():
            y, end = run(x[:, cuts[i] : cuts[i + 1]], start)
            last = y[:, -1] if y.dim() == 3 else y
            targets = [_summed(loss, last)] if i == len(states) - 1 else carried(end)
        flowing = _pull(targets, carried(start), flowing or None)
        norms[T - cuts[i]] = _norm(flowing, carried(start), start)
    return norms


def _pull(targets: list[Tensor], sources: list[Tensor], gradients: list[Tensor] | None) -> list[Tensor]:
    """The gradients of the sources, zeros where no gradient flows."""
    linked = [i for i, target in enumerate(targets) if target.requires_grad]
    if not linked:
        return [torch.zeros_like(source) for source in sources]
    outputs = [targets[i] for i in linked]
    given = None if gradients is None else [gradients[i] for i in linked]
    found = torch.autograd.grad(outputs, sources, given, allow_unused=True)
    return [torch.zeros_like(s) if g is None else g for s, g in zip(sources, found, strict=True)]


def _norm(gradients: list[Tensor], sources: list[Tensor], state: Any) -> Tensor:
    """The norm over the states of the units, a mean over the batch."""
    of = dict(zip(sources, gradients, strict=True))  # as a key, a tensor equals only itself
    squares = [of[part].abs().square().sum(dim=(0, 2)) for part in memories(state) if part in of]
    return torch.stack(squares).sum(0).sqrt().mean()


def _summed(loss: Callable[[Tensor], Tensor] | None, last: Tensor) -> Tensor:
    if loss is None:
        return last.sum()
    value = loss(last)
    given = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
    if given != last.shape[:1]:
        raise ValueError(f"`loss` must give a number for each sequence, ({len(last)},), got {given}")
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
