"""The hysteresis loop of a bistable channel."""

import torch
from torch import Tensor

from remanent.ops import latch_scan
from remanent.units import BMRU


@torch.no_grad()
def hysteresis_curve(unit: BMRU, channel: int, *, points: int = 401, span: float = 1.6) -> tuple[Tensor, Tensor, float]:
    r"""Sweeps one channel's candidate up and down and records its state: the loop has corners $\pm\beta$.

    Args:
        unit: a bistable unit, of which the first layer is taken; its threshold is that at zero input,
            $\beta = |b_\beta|$.
        channel: in [0, D).
        points: steps of each sweep, at least 2.
        span: the sweep ends at this many thresholds on either side, above 1.

    Returns:
        The candidate (2 points,), the state (2 points,), and the threshold.

    Raises:
        ValueError: an argument is out of its range.

    Source: De Geeter et al. (2026), arXiv 2601.09495.

    >>> candidate, state, threshold = hysteresis_curve(BMRU(1, 1), 0)
    >>> threshold, state.unique().tolist()
    (1.0, [-1.0, 1.0])
    """
    D = unit.hidden_size
    if not 0 <= channel < D:
        raise ValueError(f"`channel` must be in [0, D={D}), got {channel}")
    if not unit.bias:
        raise ValueError("`unit` must have biases, since its threshold is taken at zero input, got bias=False")
    if points < 2:
        raise ValueError(f"`points` must be at least 2, got {points}")
    if not span > 1:
        raise ValueError(f"`span` must be above 1, got {span}")
    threshold = unit.bias_ih_l0[D + channel].abs().reshape(1)
    alpha = unit.alpha_l0[channel].reshape(1)
    up = torch.linspace(-1, 1, points, dtype=alpha.dtype) * span * threshold.clamp(min=1e-6)
    candidate = torch.cat([up, up.flip(0)])
    state = latch_scan(candidate.reshape(1, -1, 1), threshold, alpha, epsilon=unit.epsilon)
    return candidate, state.flatten(), threshold.item()
