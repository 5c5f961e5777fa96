"""The arithmetic of write rates: thresholds that a given share of a batch's steps reaches."""

import math

import torch
from torch import Tensor


def threshold_bias(candidate: Tensor, threshold: Tensor, rates: Tensor) -> Tensor:
    r"""The bias b of each channel for which $|c| \ge |t + b|$ in a share of the steps that is nearest to its rate.

    Where several are as near, the largest; where a channel would be written never, always, or to one side alone, the
    nearest of those where it is not, if there is one.

    Args:
        candidate: c, (N, D).
        threshold: t, without its bias, (N, D).
        rates: the shares, (D,).

    Returns:
        The biases, float64 (D,), each in the middle between two that the steps tell apart.
    """
    columns = zip(candidate.double().T, threshold.double().T, rates.tolist(), strict=True)
    return torch.stack([_channel_bias(c, t, rate) for c, t, rate in columns])


def _channel_bias(c: Tensor, t: Tensor, rate: float) -> Tensor:
    """A step writes where -|c| - t <= b <= |c| - t: one interval each, whose ends are walked in order."""
    N = c.shape[0]
    ends, order = torch.cat([-c.abs() - t, c.abs() - t]).sort()
    enters = torch.cat([torch.ones_like(c), -torch.ones_like(c)])
    written = enters[order].cumsum(0)[:-1]
    upwards = (enters * torch.cat([c, c]).ge(0))[order].cumsum(0)[:-1]
    apart = ends[1:] > ends[:-1]
    middles = ((ends[1:] + ends[:-1]) / 2)[apart]
    written, upwards = written[apart], upwards[apart]
    alive = (written > 0) & (written < N)
    both = alive & (upwards > 0) & (upwards < written)
    usable = both if both.any() else alive
    if not usable.any():
        return c.new_tensor(1.0)
    distance = (torch.logit(written[usable] / N) - _logit(rate)).abs()
    return middles[usable][distance <= distance.min() + 1e-9].max()


def _logit(share: float) -> float:
    """The measure in which rates are near to each other: that of 2 % is as far from 50 % as that of 98 %."""
    return math.log(share / (1 - share))


def band(values: Tensor, rates: Tensor) -> tuple[Tensor, Tensor]:
    """The ends of the band of each channel outside of which a share of the steps lies, half of it on either side.

    Args:
        values: (N, D).
        rates: the shares, (D,).

    Returns:
        The lower and the upper ends, float64 (D,), each between two values that differ; equal only where there are
        fewer than three.
    """
    pairs = [_channel_band(column, rate) for column, rate in zip(values.double().T, rates.tolist(), strict=True)]
    return torch.stack([low for low, _ in pairs]), torch.stack([high for _, high in pairs])


def _channel_band(values: Tensor, rate: float) -> tuple[Tensor, Tensor]:
    found, counts = values.unique(return_counts=True)
    if len(found) < 2:
        return found[0] - 1, found[0] + 1
    cuts = (found[1:] + found[:-1]) / 2
    below = counts.cumsum(0)[:-1].double() / len(values)  # the share of steps under each cut
    lower = int((torch.logit(below) - _logit(rate / 2)).abs().argmin())
    upper = int((torch.logit(1 - below) - _logit(rate / 2)).abs().argmin())
    if upper <= lower and len(cuts) > 1:
        lower, upper = (lower, lower + 1) if lower + 1 < len(cuts) else (lower - 1, lower)
    return cuts[lower], cuts[upper]
