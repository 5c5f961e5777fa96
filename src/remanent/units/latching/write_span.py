"""Thresholds before any data are seen: what features of mean 0 and mean square 1 write, at rates over a span."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from remanent._options import check_at_least
from remanent._rates import normal_threshold_bias, spaced_rates
from remanent.ops.normalisation import Moments
from remanent.units.latching.gate_norm import settle_moments
from remanent.units.recurrence import Params

WRITE_SPAN = 256
"""The span of latches by default."""
LEAST_SPAN = 2
"""The steps in which the channel with the highest rate is written once; that with the lowest is in the whole span."""


class Features(NamedTuple):
    """What is expected of a layer's inputs, which are taken as independent: the mean and the variance of each."""

    mean: float
    variance: float


class Bands(NamedTuple):
    """The middle and the width of the band of each channel in which a state is held, (D,)."""

    middle: Tensor
    width: Tensor


NORMAL, BITS = Features(0.0, 1.0), Features(0.5, 0.25)
"""Inputs of mean 0 and mean square 1; and states that are as often 0 as 1."""


def check_write_span(write_span: int | None) -> None:
    """Raises unless a span is None or an int of at least two steps."""
    if write_span is None:
        return
    if not isinstance(write_span, int) or isinstance(write_span, bool):
        raise TypeError(f"`write_span` must be an int or None, got {write_span!r}")
    check_at_least("write_span", write_span, LEAST_SPAN)


def later_span(write_span: int, sums: bool) -> int:
    """The span of a layer that reads the states of another one, whose span is `write_span`.

    States change only when they are written, and a channel that reads them changes less often than it is written. With
    low rates in one layer after another, the last would hardly see both signs; so each later one has the root of the
    span. States that are sums grow without bound, so that no bias of a threshold matters for long: there every rate is
    1/2.

    Args:
        write_span: the span of the first layer.
        sums: whether writes add up.

    >>> later_span(256, False), later_span(256, True)
    (16, 2)
    """
    return LEAST_SPAN if sums else max(LEAST_SPAN, math.isqrt(write_span))


def span_threshold_bias(p: Params, D: int, gate_norm: str, write_span: int) -> Tensor:
    """The biases of thresholds, float64 (D,), where candidates have none and the inputs are `NORMAL`.

    Args:
        p: the parameters and buffers of a layer whose first gates are D candidates and D thresholds.
        D: the channels.
        gate_norm: how these gates are normalised.
        write_span: in how many steps the channel with the lowest rate is written once.
    """
    candidate, threshold = _expected_rows(p, 2, D, gate_norm, NORMAL)
    covariance = (candidate * threshold).sum(1)
    return normal_threshold_bias(_squares(candidate), _squares(threshold), covariance, _first_rates(write_span, D))


def span_bands(p: Params, gate_norm: str, write_span: int, features: Features) -> Bands:
    """The bands outside of which candidates without biases lie, half of the rate on either side, float64.

    Args:
        p: the parameters and buffers of a layer whose gates are D candidates.
        gate_norm: how they are normalised.
        write_span: in how many steps the channel with the lowest rate is written once.
        features: what the layer's inputs are.
    """
    D = p["weight_ih"].shape[0]
    (rows,) = _expected_rows(p, 1, D, gate_norm, features)
    size = (features.variance * _squares(rows)).sqrt()
    middle = torch.zeros_like(size) if gate_norm == "batch" else features.mean * rows.sum(1)
    return Bands(middle, 2 * size * torch.special.ndtri(1 - _first_rates(write_span, D) / 2))


def begin_moments(p: Params, features: Features) -> None:
    """Sets the running statistics, where there are some, to those expected for features."""
    if "gate_mean" in p:
        rows = p["weight_ih"][: p["gate_mean"].shape[0]].double()
        settle_moments(p, Moments(features.mean * rows.sum(1), features.variance * _squares(rows)))


def _expected_rows(p: Params, parts: int, D: int, gate_norm: str, features: Features) -> tuple[Tensor, ...]:
    """For each part of the gates the rows (D, M) that, times the inputs, give it normalised and with its gain."""
    split = p["weight_ih"][: parts * D].detach().double().cpu().unflatten(0, (parts, D))
    if gate_norm == "none":
        return split.unbind()
    if gate_norm == "layer":
        split = split - split.mean(1, keepdim=True)
    squares = features.variance * split.square().sum(2)
    if gate_norm == "layer":
        squares = (squares + (features.mean * split.sum(2)).square()).mean(1, keepdim=True).expand(parts, D)
    gain = p["gate_gain"].detach().double().cpu().unflatten(0, (parts, D))
    return (split * (gain / squares.clamp(min=1e-30).sqrt())[..., None]).unbind()


def _first_rates(write_span: int, D: int) -> Tensor:
    return spaced_rates(1 / write_span, 1 / LEAST_SPAN, D)


def _squares(rows: Tensor) -> Tensor:
    return rows.square().sum(1)
