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


def spaced_rates(low: float, high: float, D: int) -> Tensor:
    """D rates from low to high, evenly spaced in their logarithm: the middles of D parts, float64 (D,).

    >>> [round(rate, 3) for rate in spaced_rates(0.01, 1.0, 2).tolist()]
    [0.032, 0.316]
    """
    middles = (torch.arange(D, dtype=torch.float64) + 0.5) / D
    return low * torch.exp(math.log(high / low) * middles)


def normal_threshold_bias(candidate: Tensor, threshold: Tensor, covariance: Tensor, rates: Tensor) -> Tensor:
    r"""The bias b for which $|c| \ge |t + b|$ has a probability, where c and t are jointly normal with means of 0.

    Given c, t is normal, so that the probability is one integral over c; it falls as b rises from 0, and b is found by
    bisection. Where even b = 0 gives less than the rate, b is 0.

    Args:
        candidate: the variances of c, (D,).
        threshold: the variances of t, (D,).
        covariance: their covariances, (D,).
        rates: the probabilities, (D,), each in (0, 1).

    Returns:
        The biases, float64 (D,), at least 0.

    >>> one = torch.ones(1)
    >>> beyond_one_deviation = torch.tensor([0.3173105])
    >>> round(normal_threshold_bias(one, 0 * one, 0 * one, beyond_one_deviation).item(), 3)
    1.0
    """
    var_c, var_t, cov = (value.double() for value in (candidate, threshold, covariance))
    size = var_c.sqrt()
    z = torch.linspace(-6, 6, 481, dtype=torch.float64)
    weight = torch.exp(-(z**2) / 2)
    weight = weight / weight.sum()
    c = size[:, None] * z
    mean = torch.where(var_c > 0, cov / var_c.clamp(min=1e-300), 0)[:, None] * c
    spread = (2 * (var_t - cov**2 / var_c.clamp(min=1e-300)).clamp(min=0)).sqrt()[:, None].clamp(min=1e-9)

    def rate(b: Tensor) -> Tensor:
        centre = mean + b[:, None]
        inside = torch.erf((c.abs() - centre) / spread) + torch.erf((c.abs() + centre) / spread)
        return (inside * weight).sum(1) / 2

    low = torch.zeros_like(size)
    high = 10 * (size + var_t.sqrt()) + 1e-9
    for _ in range(30):
        middle = (low + high) / 2
        above = rate(middle) > rates.double()
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    return torch.where(rate(torch.zeros_like(size)) > rates.double(), (low + high) / 2, 0.0)
