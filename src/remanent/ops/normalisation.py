"""Normalised gates: over the channels of a step, or by statistics over batch and time."""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from remanent.ops.collectives import place_in, sum_of_all

VARIANCE = 1e-5
"""What is added to a variance before the square root is taken."""


class Moments(NamedTuple):
    """The mean and the variance of each of some values, (N,)."""

    mean: Tensor
    variance: Tensor


def normalise_step(gates: Tensor, parts: int, gain: Tensor, bias: Tensor | None) -> Tensor:
    """Each part of the gates of a step at mean 0 and variance 1 over its channels, times a gain, plus a bias.

    Args:
        gates: (..., parts times D).
        parts: how many gates lie side by side.
        gain: (parts times D,).
        bias: (parts times D,), or None.
    """
    split = gates.unflatten(-1, (parts, -1))
    normed = F.layer_norm(split, split.shape[-1:], eps=VARIANCE).flatten(-2) * gain
    return normed if bias is None else normed + bias


def fold_moments(moments: Moments, gain: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """The factor of the gates, and what is added to them, in the place of mean, variance, gain and bias."""
    factor = gain * (moments.variance + VARIANCE).rsqrt()
    shift = -moments.mean * factor
    return factor, shift if bias is None else shift + bias


def projected_moments(x: Tensor, weight: Tensor, real: Tensor | None = None, group: Any = None) -> Moments:
    """The mean and variance of `x @ weight.T` over batch and time, with gradients, from those of x.

    Under autocast, too, they are computed in the type of the weight, which the running statistics have.

    Args:
        x: inputs, (B, T, M).
        weight: (N, M).
        real: which steps count, bool (B, T); None for all.
        group: the processes that hold a part of the time each, over all of which the moments are taken.
    """
    with torch.autocast(x.device.type, enabled=False):
        steps = x.flatten(0, 1).to(weight.dtype)
        counted = steps.new_full((1,), len(steps)) if real is None else real.sum().to(steps.dtype)[None]
        if real is not None:
            steps = torch.where(real.flatten()[:, None], steps, 0)
        count, total = _summed(counted, group), _summed(steps.sum(0), group)
        mean = total / count.clamp(min=1)
        centred = steps - mean if real is None else torch.where(real.flatten()[:, None], steps - mean, 0)
        covariance = _summed(centred.T @ centred, group) / count.clamp(min=1)
        return Moments(weight @ mean, ((weight @ covariance) * weight).sum(1).clamp(min=0))


def _summed(value: Tensor, group: Any) -> Tensor:
    """The sum over the processes, with its gradient; the value itself without a group."""
    if group is None:
        return value
    return sum_of_all(place_in(group, value.device), value)
