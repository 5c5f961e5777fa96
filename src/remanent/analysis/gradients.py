"""How far a gradient reaches back in time."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from remanent._restore import cudnn_off
from remanent.analysis._called import answer, embeddings_of, inputs_of
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
from remanent.latches.layer_runs import LayerRun, check_module
from remanent.units._checks import check_flag
from remanent.units._stack import own_state


class LagGradient(NamedTuple):
    """The result of `gradient_by_lag`.

    Attributes:
        lags: the steps before the last one, k, int64 (K,).
        norms: the norm of the gradient at each lag, over the states of all units or over the inputs of the step, the
            mean over the batch, (K,).
    """

    lags: Tensor
    norms: Tensor


def gradient_by_lag(
    module: nn.Module,
    x: Any,
    lags: Sequence[int] | None = None,
    *,
    loss: Callable[[Tensor], Tensor] | None = None,
    batch_first: bool = True,
) -> LagGradient:
    r"""The norm of the gradient of a loss at the last step, over the lag $k$: how far back training can see.

    Of a unit or a model it is $\|\partial L_T / \partial h_{T-k}\|$, with respect to the states, which are known. A
    latch with `epsilon` 0 passes a gradient on while it holds, and through its surrogate where it is written; with
    `epsilon` 1 the gradient passes undamped; a linear unit damps it by its eigenvalues. The gradient is computed piece
    by piece, backwards, so that memory does not grow with T.

    Of any other module, one of your own or `torch.nn.GRU`, it is $\|\partial L_T / \partial x_{T-k}\|$, with respect to
    the inputs, or to what the first `nn.Embedding` gives for tokens. The module is called once, in evaluation.

    Args:
        module: a unit of one direction, a model, or any module; the `grad` of its parameters is not touched.
        x: inputs, (B, T, M), or tokens (B, T); for another module what it is called with, a tuple or list as several
            arguments, of which the first is the inputs.
        lags: k, a rising list of ints in [1, T - 1]; if None, the powers of two that fit, and T - 1.
        loss: a function from the output after the last step, (B, W), to the loss of each sequence, (B,); if None, the
            sum of the output.
        batch_first: whether `x` begins with the batch, or with the time, (T, B, M); the same holds for the output of
            another module. That is (B, T, W), of which the last step counts, or (B, W), an answer after the last step;
            or a tuple that begins with it.

    Returns:
        The lags, and the norm of the gradient at each.

    Raises:
        ValueError: the lags are out of their range or order, T is 1, a shape does not fit, or tokens are not embedded.
        TypeError: `module` is not a module, or it is given or gives something else than tensors.

    Source: Bengio, Simard and Frasconi (1994), IEEE Transactions on Neural Networks 5, for why it vanishes.

    >>> from remanent import CMRU
    >>> gradient_by_lag(CMRU(3, 8), torch.randn(2, 40, 3))[0].tolist()
    [1, 2, 4, 8, 16, 32, 39]
    >>> from torch import nn
    >>> gradient_by_lag(nn.GRU(3, 8, batch_first=True), torch.randn(2, 40, 3)).norms.shape
    torch.Size([7])
    """
    check_module(module)
    check_flag("batch_first", batch_first)
    if loss is not None and not callable(loss):
        raise TypeError(f"`loss` must be a function, got {type(loss).__name__}")
    if isinstance(module, Probed):
        check_probed(module)
        x = x if batch_first else inputs_of(x).transpose(0, 1)
        check_sequences(module, "x", x)
        T = x.shape[1]
        chosen = _checked_lags(lags, T)
        edges = sorted({T} | {T - k for k in chosen})
        cuts = [left for a, b in pairwise(edges) for left, _ in pieces(a, b, CHUNK)] + [T]
        with evaluating(module):
            norms = _pull_back(partial(run, module), x, cuts, loss)
        return LagGradient(torch.tensor(chosen), torch.stack([norms[k] for k in chosen]))
    chosen = _checked_lags(lags, inputs_of(x).shape[1 if batch_first else 0])
    with evaluating(module):
        by_step = _at_inputs(module, x, loss, batch_first)
    return LagGradient(torch.tensor(chosen), by_step[[-1 - k for k in chosen]])


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


def _at_inputs(module: nn.Module, batch: Any, loss: Callable[[Tensor], Tensor] | None, batch_first: bool) -> Tensor:
    """The norm of the gradient with respect to the inputs of each step, the mean over the batch, (T,)."""
    x = inputs_of(batch)
    rest = list(batch[1:]) if isinstance(batch, tuple | list) else []
    # in evaluation, cuDNN keeps nothing of an nn.GRU for its backward pass
    with torch.enable_grad(), cudnn_off(), embeddings_of(module, x) as embedded:
        source = x.detach().requires_grad_() if x.is_floating_point() else None
        y = answer(module, [x if source is None else source, *rest], batch_first=batch_first)
        if source is None:
            if not embedded:
                rule = "`module` must embed whole tokens by an nn.Embedding"
                raise ValueError(f"{rule}, got none that does in {type(module).__name__}")
            source = embedded[0]
        total = _summed(loss, y[:, -1] if y.dim() > 2 else y)
    (gradient,) = _pull([total], [source], None)
    by_step = gradient if batch_first else gradient.transpose(0, 1)
    return by_step.flatten(2).norm(dim=2).mean(0) if by_step.dim() > 2 else by_step.abs().mean(0)


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
