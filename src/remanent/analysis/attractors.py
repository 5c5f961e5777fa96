"""Where the states of a unit or model come to rest, and how many such places there are."""

from typing import NamedTuple

import torch
from torch import Tensor

from remanent._options import check_at_least, check_range
from remanent.analysis._probe import CHUNK, Probed, check_probed, check_sequences, evaluating, flat, pieces, run

TOLERANCE = 1e-4


class Attractors(NamedTuple):
    """What `find_attractors` found.

    Attributes:
        states: where each of the n sequences came to rest, (n, W): the states of all units in a row.
        points: the distinct ones, (K, W), in the order in which they were met.
        basins: how many of the n came to rest at each, int64 (K,).
        labels: which of the points each came to rest at, int64 (n,).
        movement: how far the last step moved each of the states, (n,); 0 at a fixed point.
        vaa: the share of distinct attractors, in [1 / n, 1].
    """

    states: Tensor
    points: Tensor
    basins: Tensor
    labels: Tensor
    movement: Tensor
    vaa: float


@torch.no_grad()
def find_attractors(
    module: Probed, warm_up: Tensor, constant: Tensor, *, settle: int = 10_000, tolerance: float = TOLERANCE
) -> Attractors:
    r"""Brings n states about by n sequences, leaves them under one constant input, and says which are distinct.

    A unit whose memory fades comes to one fixed point, whatever came before, and $\mathrm{VAA} = 1 / n$; n latches
    hold up to $2^n$ of them.

    Args:
        module: a unit of one direction, or a model.
        warm_up: the sequences, (n, T, M), at random for one; tokens (n, T) for a model of tokens.
        constant: the input afterwards, (M,), zeros for one; one token () for a model of tokens.
        settle: steps under it, at least 1. A memory that fades slowly needs many: read `movement`.
        tolerance: the distance below which two states are the same, above 0.

    Raises:
        ValueError: an argument is out of its range or does not fit.
        TypeError: `module` is neither a unit nor a model.

    Source: Lambrechts, De Geeter et al. (2023), Neural Networks 166, for VAA; there, as here, 1e-4.

    >>> from remanent import LRU
    >>> find_attractors(LRU(3, 8), torch.randn(20, 10, 3), torch.zeros(3)).vaa
    0.05
    """
    check_probed(module)
    check_at_least("settle", settle, 1)
    check_range("tolerance", tolerance, 0, float("inf"), open_low=True)
    check_sequences(module, "warm_up", warm_up)
    if not isinstance(constant, Tensor):
        raise TypeError(f"`constant` must be a torch.Tensor, got {type(constant).__name__}")
    if constant.shape != warm_up.shape[2:]:
        shape = tuple(warm_up.shape[2:])
        raise ValueError(f"`constant` must have shape {shape}, as a step has, got {tuple(constant.shape)}")
    check_sequences(module, "constant", constant[None, None])
    quiet = constant.expand(len(warm_up), min(settle, CHUNK), *constant.shape)
    state = None
    with evaluating(module):
        for left, right in pieces(0, warm_up.shape[1], CHUNK):
            _, state = run(module, warm_up[:, left:right], state)
        for left, right in pieces(0, settle - 1, CHUNK):
            _, state = run(module, quiet[:, : right - left], state)
        before = flat(state)
        _, state = run(module, quiet[:, :1], state)
    states = flat(state)
    points, labels = _distinct(states, tolerance)
    return Attractors(
        states=states,
        points=points,
        basins=torch.bincount(labels, minlength=len(points)),
        labels=labels,
        movement=(states - before).norm(dim=1),
        vaa=vaa(states, tolerance=tolerance),
    )


def vaa(states: Tensor, *, tolerance: float = TOLERANCE) -> float:
    r"""The share of distinct attractors, $\frac1n \sum_i 1 / \#\{j : \|h_i - h_j\| < \tau\}$, in [1 / n, 1].

    Args:
        states: where n sequences came to rest, real (n, W), n at least 1; one that is not finite is like no other.
        tolerance: $\tau$, above 0.

    Raises:
        ValueError: `states` has another shape, or `tolerance` is not above 0.
        TypeError: `states` is no tensor of real numbers.

    Source: Lambrechts, De Geeter et al. (2023), Neural Networks 166.

    >>> vaa(torch.tensor([[0.0], [0.0], [1.0], [1.0]]))
    0.5
    """
    _check_states(states, tolerance)
    same = torch.stack([(_distance(states, state) < tolerance).sum().clamp(min=1) for state in states])
    return (1 / same.double()).mean().item()


def _distinct(states: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
    """The states that are not near one met before, and which of them each is nearest to in that sense."""
    labels = torch.full((len(states),), -1, device=states.device)
    chosen: list[int] = []
    for i in range(len(states)):
        if labels[i] < 0:
            near = (_distance(states, states[i]) < tolerance) & (labels < 0)
            near[i] = True  # also where it is not finite
            labels[near] = len(chosen)
            chosen.append(i)
    return states[chosen], labels


def _distance(states: Tensor, state: Tensor) -> Tensor:
    return (states - state).double().norm(dim=1)


def _check_states(states: Tensor, tolerance: float) -> None:
    if not isinstance(states, Tensor) or not states.is_floating_point():
        came = states.dtype if isinstance(states, Tensor) else type(states).__name__
        raise TypeError(f"`states` must be a tensor of real numbers, got {came}")
    if states.dim() != 2 or len(states) == 0:
        raise ValueError(f"`states` must have shape (n, W) with n at least 1, got {tuple(states.shape)}")
    check_range("tolerance", tolerance, 0, float("inf"), open_low=True)
