"""The attractors of a unit or a model: where its states come to rest, and how many such points there are."""

from typing import NamedTuple

import torch
from torch import Tensor

from remanent._options import check_at_least, check_range
from remanent.analysis._probe import CHUNK, Probed, check_probed, check_sequences, evaluating, flat, pieces, run

TOLERANCE = 1e-4
"""The distance below which two states count as the same."""


class Attractors(NamedTuple):
    """The result of `find_attractors`.

    Attributes:
        states: the state in which each of the n sequences came to rest, of all units in a row, (n, W).
        points: the distinct states among them, (K, W), in the order in which they were found.
        basins: the number of sequences that came to rest at each point, int64 (K,).
        labels: the number of the point at which each sequence came to rest, int64 (n,).
        movement: the distance that each state moved in the last step, (n,); 0 at a fixed point.
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
    r"""Runs n sequences, lets their states settle under one constant input, and tells which states are distinct.

    A unit whose memory fades reaches one fixed point, whatever it has read, and $\mathrm{VAA} = 1 / n$; n latches
    hold up to $2^n$ distinct states.

    Args:
        module: a unit of one direction, or a model.
        warm_up: the sequences, (n, T, M), for example at random; tokens (n, T) for a model of tokens.
        constant: the input after them, (M,), for example zeros; a token () for a model of tokens.
        settle: the number of steps under the constant input, at least 1. A memory that fades slowly needs many: check
            `movement`.
        tolerance: the distance below which two states count as the same, above 0.

    Raises:
        ValueError: an argument is out of its range or does not fit.
        TypeError: `module` is neither a unit nor a model.

    Source: Lambrechts, De Geeter et al. (2023), Neural Networks 166, for VAA and its tolerance of 1e-4.

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
        states: the states in which n sequences came to rest, real (n, W), n at least 1; a state that is not finite
            equals no other.
        tolerance: $\tau$, the distance below which two states count as the same, above 0.

    Raises:
        ValueError: `states` has another shape, or `tolerance` is not above 0.
        TypeError: `states` is not a tensor of real numbers.

    Source: Lambrechts, De Geeter et al. (2023), Neural Networks 166.

    >>> vaa(torch.tensor([[0.0], [0.0], [1.0], [1.0]]))
    0.5
    """
    _check_states(states, tolerance)
    same = torch.stack([(_distance(states, state) < tolerance).sum().clamp(min=1) for state in states])
    return (1 / same.double()).mean().item()


def _distinct(states: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
    """The states that are not near an earlier one, and for each state the number of the one that it is near."""
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
        given = states.dtype if isinstance(states, Tensor) else type(states).__name__
        raise TypeError(f"`states` must be a tensor of real numbers, got {given}")
    if states.dim() != 2 or len(states) == 0:
        raise ValueError(f"`states` must have shape (n, W) with n at least 1, got {tuple(states.shape)}")
    check_range("tolerance", tolerance, 0, float("inf"), open_low=True)
