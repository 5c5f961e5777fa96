"""The transition scan in plain PyTorch, for any device: maps of many steps are composed by doubling, not in a loop.

A map of a step is a table (..., K) of whole numbers where epsilon is 0, and a matrix (..., K, K) where it is not.
"""

import torch
from torch import Tensor

from remanent.ops.arguments import HeadSizes, InitialStates, TransitionGradients, compute_dtype
from remanent.ops.heads.matrices import best, mixed, soft, softmax_gradient
from remanent.ops.heads.one_hot import by_head, one_hot, places_of
from remanent.ops.portable import fill_initial, previous_states


def transition_forward(
    logits: Tensor, initial: InitialStates, sizes: HeadSizes, epsilon: float, states: Tensor
) -> None:
    """Fills the states of the heads, (B, T, H R K)."""
    heads = sizes.heads(logits.shape[2])
    maps = composed(_maps(_by_row(logits, sizes), epsilon), initial.reset)
    start = starts(initial, logits.shape[1]).to(compute_dtype(logits.dtype))
    if epsilon == 0:
        places = places_of(start, heads, sizes).expand(*maps.shape[:3], sizes.tracers)
        states.copy_(one_hot(maps.gather(-1, places), sizes.states, states.dtype))
    else:
        states.copy_((by_head(start, heads, sizes) @ maps).flatten(2))


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
    heads, compute = sizes.heads(logits.shape[2]), compute_dtype(grad.dtype)
    rows = _by_row(logits, sizes)
    maps = _maps(rows, epsilon)
    adjoint = adjoint_of(maps, by_head(grad.to(compute), heads, sizes), initial.reset)
    previous = by_head(previous_states(states, initial).to(compute), heads, sizes)
    grads.logits.copy_(softmax_gradient(previous.mT @ adjoint, soft(rows)).flatten(2))
    fill_initial(grads, pulled(maps, adjoint).flatten(2), initial.reset)


def composed(maps: Tensor, reset: Tensor | None) -> Tensor:
    """The map of all steps up to each step, in log2(T) passes, without those before the last reset."""
    T, span = maps.shape[1], 1
    cut = None if reset is None else reset.view(*reset.shape, *(1,) * (maps.dim() - 2))
    while span < T:
        joined = _then(maps[:, :-span], maps[:, span:])
        if cut is not None:
            joined = torch.where(cut[:, span:], maps[:, span:], joined)
            cut = torch.cat([cut[:, :span], cut[:, span:] | cut[:, :-span]], dim=1)
        maps = torch.cat([maps[:, :span], joined], dim=1)
        span *= 2
    return maps


def pulled(maps: Tensor, adjoint: Tensor) -> Tensor:
    """What the adjoint after a step (..., R, K) is worth before it: at each state that of the state that follows."""
    if maps.dim() == adjoint.dim():
        return adjoint @ maps.mT
    return adjoint.gather(-1, maps[..., None, :].expand(adjoint.shape))


def adjoint_of(maps: Tensor, grad: Tensor, reset: Tensor | None) -> Tensor:
    """The adjoint of every step, from the last one back; nothing passes a reset."""
    T, span = grad.shape[1], 1
    adjoint = grad.flip(1)
    later = torch.cat([torch.zeros_like(maps[:, :1]), maps[:, 1:].flip(1)], dim=1)
    cut = None
    if reset is not None:
        cut = torch.cat([torch.zeros_like(reset[:, :1]), reset[:, 1:].flip(1)], dim=1)[..., None, None, None]
    while span < T:
        carried = pulled(later[:, span:], adjoint[:, :-span])
        joined = _then(later[:, span:], later[:, :-span])
        if cut is not None:
            carried = torch.where(cut[:, span:], 0.0, carried)
            cut = torch.cat([cut[:, :span], cut[:, span:] | cut[:, :-span]], dim=1)
        adjoint = torch.cat([adjoint[:, :span], adjoint[:, span:] + carried], dim=1)
        later = torch.cat([later[:, :span], joined], dim=1)
        span *= 2
    return adjoint.flip(1)


def starts(initial: InitialStates, T: int) -> Tensor:
    """The state after the last reset up to each step, (B, T, D); (B, 1, D) where there is no reset."""
    h0, reset, reset_state = initial
    assert h0 is not None
    if reset is None:
        return h0[:, None]
    assert reset_state is not None
    B, D = h0.shape
    choices = torch.cat([h0[:, None], reset_state.expand(B, T, D)], dim=1)
    step = torch.arange(1, T + 1, device=h0.device)
    latest = torch.where(reset, step, 0).cummax(dim=1).values
    return choices.gather(1, latest[..., None].expand(B, T, D))


def _by_row(logits: Tensor, sizes: HeadSizes) -> Tensor:
    """The logits by head and state, (B, T, H, K, K), in the dtype of the computation."""
    K = sizes.states
    return logits.to(compute_dtype(logits.dtype)).unflatten(-1, (sizes.heads(logits.shape[2]), K, K))


def _maps(rows: Tensor, epsilon: float) -> Tensor:
    return best(rows) if epsilon == 0 else mixed(rows, epsilon)


def _then(first: Tensor, second: Tensor) -> Tensor:
    """The map of one step, or run of steps, and then another."""
    return first @ second if first.is_floating_point() else second.gather(-1, first)
