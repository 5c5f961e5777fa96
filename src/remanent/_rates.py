"""The arithmetic of write rates: thresholds that a given share of a batch's steps reaches."""

import math

import numpy as np
import torch
from torch import Tensor

NODES = 12
"""The nodes of the quadrature over the angle of a correlation."""
LEAST_SIDE = 1 / 8
"""The least share of a channel's writes that goes to either side, where a bias can give it."""
POINTS, ROUNDS = 32, 3
"""Into how many parts the place of a bias is cut, and how often: to 1 in 32,768."""


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
    middles = (torch.arange(D, dtype=torch.float64, device="cpu") + 0.5) / D
    return low * torch.exp(math.log(high / low) * middles)


def normal_threshold_bias(candidate: Tensor, threshold: Tensor, covariance: Tensor, rates: Tensor) -> Tensor:
    r"""The bias b for which $|c| \ge |t + b|$ has a probability, where c and t are jointly normal with means of 0.

    Each sign of c has at least a share `LEAST_SIDE` of the probability, for which it may be larger, unless c and t
    determine each other so that one of them has none. Where several biases give the probability, the largest; where
    none gives as much, the one that gives most.

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
    rates = rates.double()[:, None]
    low = torch.zeros_like(rates)
    high = 6 * (var_c.sqrt() + var_t.sqrt())[:, None]
    share = torch.linspace(0, 1, POINTS + 1, dtype=torch.float64, device="cpu")
    for round_ in range(ROUNDS):
        b = low + (high - low) * share
        below, above = _normal_sides(var_c, var_t, cov, b)
        rate, side = below + above, torch.minimum(below, above)
        if round_ == 0:
            sided = side.amax(1, keepdim=True) < LEAST_SIDE * rates
            most = b.gather(1, rate.argmax(1, keepdim=True))
        enough = (rate >= rates) & (sided | (side >= LEAST_SIDE * rates))
        last = torch.where(enough, torch.arange(POINTS + 1, device="cpu"), -1).amax(1, keepdim=True)
        if round_ == 0:
            none = last < 0
        last = last.clamp(0, POINTS - 1)
        low, high = b.gather(1, last), b.gather(1, last + 1)
    return torch.where(none, most, low)[:, 0]


def _normal_sides(var_c: Tensor, var_t: Tensor, cov: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    r"""The probabilities of $|c| \ge |t + b|$ with a negative and with a positive c, for N biases (D, N).

    It is that of $(u - b)(v + b) \ge 0$ with the normal $u = c - t$ and $v = c + t$, hence of two opposite quadrants,
    each a product for independent parts and an integral over the angle of their correlation (Drezner and Wesolowsky
    1990, in the form of Genz 2004).
    """
    size_u = (var_c + var_t - 2 * cov).clamp(min=1e-30).sqrt()[:, None]
    size_v = (var_c + var_t + 2 * cov).clamp(min=1e-30).sqrt()[:, None]
    angle = torch.asin(((var_c - var_t)[:, None] / (size_u * size_v)).clamp(-1, 1))
    h, k = b / size_u, -b / size_v
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    squares, product, joint = (h**2 + k**2) / 2, h * k, torch.zeros_like(b)
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        sine = torch.sin(angle * node)
        joint += weight * torch.exp((product * sine - squares) / (1 - sine**2))
    joint *= angle / (2 * math.pi)
    u, v = torch.special.ndtr(h), torch.special.ndtr(k)
    return u * v + joint, (1 - u) * (1 - v) + joint
